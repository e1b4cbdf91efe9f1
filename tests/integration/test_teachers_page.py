"""The teacher's page in a real browser, on a real broker, gateway and recorder, with 30 simulated students."""

import csv
import json
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from neuroone.contract import topics
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.service import token_files
from neuroone.service.token_files import Role
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import GatewayProgram, Peer
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

STUDENTS = 30
TOKEN = "a-token-of-this-class"
ALARM_MS = 20_000
"""An alarm comes after 10 s, on a busy machine a little later."""
SORT_MS = 15_000
"""Cards change places every 5 s."""
CURVE_MS = 30_000
"""The class's curve has a point every 10 s."""
MEAN_MS = 40_000
"""What is not valid any more leaves the mean after 30 s."""
VIEWPORTS = {"phone": (390, 844), "tablet": (1024, 768), "projector": (1920, 1080)}


@dataclass
class School:
    """Everything that runs for this module."""

    gateway: GatewayProgram
    peer: Peer
    room: SimulatedClass
    folder: Path
    broker: Broker

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.gateway.port}/"

    def events(self, source: str) -> list[dict[str, str]]:
        """The rows of the events.csv of a student."""
        rows = []
        for file in self.folder.glob(f"sessions/*/*_{source}/events.csv"):
            with file.open(encoding="utf-8", newline="") as opened_file:
                rows += list(csv.DictReader(opened_file))
        return rows


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("recordings")
    kind = next(kind for kind in brokers.KINDS if brokers.find(kind))
    broker = Broker(kind, tmp_path_factory.mktemp("broker"))
    broker.start()
    peer = Peer(broker)
    wait_for(lambda: peer.bus.is_connected, "connection", 10)
    command = [sys.executable, "-m", "csv_recorder", "run", "--dir", str(folder), "--broker", broker.url]
    recorder = subprocess.Popen([*command, "--instance", "test"])
    gateway = GatewayProgram(broker, "--recordings", str(folder))
    try:
        gateway.start(peer)
        birth = topics.service_state("local", "csv_recorder", "test")
        wait_for(lambda: any(t == birth and _is_online(said) for t, said in peer.heard), "birth of the recorder")
        students = [SimulatedStudent(f"Aluno {number:02}") for number in range(1, STUDENTS + 1)]
        with SimulatedClass(gateway.url, students) as room:
            yield School(gateway, peer, room, folder, broker)
        gateway.finish()
    finally:
        recorder.terminate()
        recorder.wait(20)
        peer.bus.close()
        broker.stop()


def _is_online(said: object) -> bool:
    return isinstance(said, ServiceState) and said.status is ServiceStatus.ONLINE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, school: School) -> Iterator[Page]:
    with opened(browser, school.url) as page:
        expect(page.locator(".card")).to_have_count(STUDENTS)
        yield page


def card(page: Page, student: SimulatedStudent) -> Locator:
    return page.locator(".card").filter(has=page.get_by_role("button", name=str(student.name), exact=True))


def names(page: Page) -> list[str]:
    return page.locator(".card .open").all_text_contents()


def faults_of(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    found = Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {node['target']} {node['html'][:120]}" for each in grave for node in each["nodes"]]


def test_the_class_appears(page, school):
    """Every student has a tile, by name, with two numbers and the contact; the recorder says that it records."""
    assert names(page) == [student.name for student in school.room.students]
    first = card(page, school.room.students[0])
    expect(first).to_contain_text("Bom contato")
    expect(first.locator(".row").first).to_have_text("Atenção60")
    expect(first.locator(".trouble")).to_have_text("")
    expect(page.locator("#connected")).to_have_text("30 / 30")
    expect(page.locator("#good")).to_have_text("30 / 30")
    expect(page.locator("#mean-attention")).to_have_text("60")
    expect(page.locator("#mean-attention-of")).to_contain_text("média de 30 de 30")
    expect(page.locator("#rec")).to_contain_text("Gravando")
    assert page.evaluate("performance.getEntriesByType('resource').every((each) => each.name.startsWith(origin))")


def test_search_sort_and_filter(page, school):
    """Search finds a name, seats and those who need help come first when asked, the filter shows them alone."""
    page.fill("#search", "aluno 07")
    expect(page.locator(".card")).to_have_count(1)
    page.fill("#search", "nobody")
    expect(page.locator("#empty")).to_be_visible()
    page.fill("#search", "")
    last = school.room.students[-1]
    card(page, last).locator(".open").click()
    page.fill("#seat", "A1")
    page.click("#back")
    page.select_option("#sort", "seat")
    expect(page.locator(".card .open").first).to_have_text(str(last.name))
    student = school.room.students[4]
    student.poor_signal = 80
    try:
        page.select_option("#sort", "need")
        expect(page.locator(".card .open").first).to_have_text(str(student.name), timeout=SORT_MS)
        page.select_option("#show", "need")
        expect(page.locator(".card")).to_have_count(1)
        expect(page.locator("#shown")).to_have_text("1 de 30 alunos")
    finally:
        student.poor_signal = 0
    expect(page.locator(".card")).to_have_count(0, timeout=SORT_MS)


def test_trouble_is_seen_and_goes_away(page, school):
    """Poor contact greys at once, silence dims after 3 s; 10 s are an alert, to be seen to, until it is over."""
    off, frozen, silent, zeros, gone, unsaid = school.room.students[10:16]
    off.poor_signal, off.attention, off.meditation = 200, 0, 0
    frozen.poor_signal = 26
    zeros.attention = zeros.meditation = zeros.band = 0
    silent.is_silent = gone.is_gone = True
    unsaid.poor_signal = None
    try:
        expect(card(page, off)).to_contain_text("Fora da pele")
        expect(card(page, off).locator(".value").first).to_have_text("--")
        expect(card(page, frozen)).to_have_attribute("data-doubtful", "")
        expect(card(page, frozen).locator(".trouble")).to_have_text("Ajustar sensor")
        expect(card(page, zeros).locator(".value").first).to_have_text("--")
        expect(card(page, unsaid)).to_contain_text("Sem qualidade de sinal")
        expect(card(page, gone)).to_have_attribute("data-presence", "offline")
        expect(card(page, silent)).to_have_attribute("data-presence", "stale")
        expect(card(page, silent)).to_contain_text(re.compile(r"há \d s"))
        expect(page.locator("#good")).to_have_text("26 / 29")
        expect(card(page, silent)).to_have_attribute("data-presence", "offline", timeout=ALARM_MS)
        expect(page.locator("#alarms li")).to_have_count(5, timeout=ALARM_MS)
        alarms = page.locator("#alarms")
        expect(alarms.locator("summary")).to_have_text("5 avisos")
        place = page.locator("#cards").bounding_box()
        alarms.locator("summary").click()
        assert page.locator("#cards").bounding_box() == place, "the drawer moves nothing"
        for student, words in ((off, "mau contato"), (silent, "sem dados"), (zeros, "só zeros")):
            expect(alarms.get_by_role("button", name=f"Ciente: {student.name}: {words}")).to_be_visible()
        alarms.get_by_role("button", name=f"Ciente: {off.name}").click()
        expect(page.locator("#alarms li")).to_have_count(4)
        page.click("#acknowledge-all")
        expect(alarms).to_be_hidden()
        expect(page.locator("#mean-attention-of")).to_contain_text("média de 24 de 28", timeout=MEAN_MS)
        page.locator("#mean summary").click()
        page.check("#with-unknown")
        expect(page.locator("#mean-attention-of")).to_contain_text("média de 25 de 28")
    finally:
        off.poor_signal = frozen.poor_signal = unsaid.poor_signal = 0
        for student in (off, zeros):
            student.attention, student.meditation, student.band = 60, 50, 1000
        silent.is_silent = gone.is_gone = False
    for student in (off, frozen, silent, zeros, gone):
        expect(card(page, student)).to_have_attribute("data-presence", "online")
        expect(card(page, student)).to_contain_text("Bom contato")
        expect(card(page, student).locator(".value").first).to_have_text("60")
    expect(page.locator("#good")).to_have_text("30 / 30")


def test_start_mark_and_stop_land_in_the_recording(page, school, browser):
    """The session's start, a mark with its note and the end are acknowledged, shown, and in every events.csv."""
    page.click("#start")
    page.fill("#start-dialog [name=text]", "Aula de ciências")
    page.keyboard.press("Enter")
    expect(page.locator("#session")).to_have_text("Aula de ciências")
    expect(page.locator("#toast")).to_have_text("Registrado.")
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"00:0[2-9]"))
    page.click("#mark")
    page.fill("#mark-dialog [name=text]", 'olhos fechados, "agora"')
    page.click("#mark-dialog button.main")
    with opened(browser, school.url) as late:
        expect(late.locator("#session")).to_have_text("Aula de ciências")
    page.click("#stop")
    expect(page.locator("#session")).to_have_text("nenhuma aula")
    expected = [
        ("session_start", "Aula de ciências"),
        ("marker", 'olhos fechados, "agora"'),
        ("session_stop", ""),
    ]

    def happened(source: str) -> list[tuple[str, str]]:
        return [(row["event"], row["text"]) for row in school.events(source) if row["event"] in dict(expected)]

    for source in ("Aluno-01-*", "Aluno-30-*"):
        wait_for(lambda: len(happened(source)) == len(expected), "events")  # noqa: B023 (waited for at once)
        assert happened(source) == expected
    card(page, school.room.students[0]).locator(".open").click()
    expect(page.locator("#events")).to_contain_text("marcação: olhos fechados")


def test_downloads_equal_the_files(page, school):
    """The list names sessions and files; a CSV and a session's ZIP come out as they are on the disk."""
    student = school.room.students[20]
    student.is_gone = True
    try:
        expect(card(page, student)).to_have_attribute("data-presence", "offline")
        file = next(school.folder.glob("Aluno*21*.csv"))
        page.click("nav [data-view=recordings]")
        page.click("[data-by=files]")
        page.select_option("#format", "stored")
        expect(page.locator("#files tbody tr")).to_have_count(STUDENTS)
        row = page.locator("#files tbody tr").filter(has_text=file.name)
        with page.expect_download() as download:
            row.get_by_role("button").click()
        assert Path(download.value.path()).read_bytes() == file.read_bytes()
        assert download.value.suggested_filename == file.name
        page.click("[data-by=students]")
        row = page.locator("#students tbody tr").filter(has_text="Aluno 21").first
        with page.expect_download() as download:
            row.get_by_role("button").click()
        packed = zipfile.ZipFile(BytesIO(Path(download.value.path()).read_bytes()))
        assert {"readings.csv", "events.csv", "session.json"} <= {name.split("/")[2] for name in packed.namelist()}
        for name in packed.namelist():
            _, folder, member = name.split("/")
            date, _, session = folder.partition("_")
            assert packed.read(name) == (school.folder / "sessions" / date / session / member).read_bytes()
    finally:
        student.is_gone = False


def test_the_token(school, browser, tmp_path):
    """With a token nothing is shown and nothing loaded without it; in the address it is taken and forgotten there."""
    watch = token_files.new_token("games", Role.WATCH)
    token_files.add(tmp_path / "token", watch)
    words = ["--token", TOKEN, "--token-file", str(tmp_path / "token"), "--no-open-here"]
    words += ["--recordings", str(school.folder)]
    gateway = GatewayProgram(school.broker, *words, instance="with-token")
    gateway.start(school.peer)
    url = f"http://{LOOPBACK}:{gateway.port}/"
    try:
        with opened(browser, url) as page:
            dialog = page.locator("#token-dialog")
            expect(dialog).to_be_visible()
            expect(page.locator(".card")).to_have_count(0)
            _is_sound(page)
            assert page.evaluate("fetch('recordings').then((answer) => answer.status)") == 401
            assert page.evaluate("fetch('recordings/files/Aluno_01.csv').then((answer) => answer.status)") == 401
            page.fill("#token-dialog input", "wrong")
            page.keyboard.press("Enter")
            expect(page.locator("#token-fault")).to_have_text("Essa senha não foi aceita.")
            page.fill("#token-dialog input", TOKEN)
            page.keyboard.press("Enter")
            expect(page.locator(".card")).to_have_count(STUDENTS)
            expect(dialog).to_be_hidden()
        with opened(browser, f"{url}#token={TOKEN}") as page:
            expect(page.locator(".card")).to_have_count(STUDENTS)
            assert TOKEN not in page.url
            page.goto(f"{url}#token=wrong")
            expect(page.locator("#token-dialog")).to_be_visible()
            page.goto(f"{url}#token={TOKEN}")
            expect(page.locator(".card")).to_have_count(STUDENTS)
        with opened(browser, f"{url}#token={watch.token}") as page:
            expect(page.locator(".card")).to_have_count(STUDENTS)
            page.click("#start")
            page.fill('#start-dialog [name="text"]', "7B")
            page.keyboard.press("Enter")
            expect(page.locator("#toast")).to_contain_text("sua senha só permite assistir")
            page.click("nav [data-view=recordings]")
            expect(page.locator("#recordings-state")).to_have_text(
                "Sua senha só permite assistir. A do professor abre as gravações."
            )
        with opened(browser, f"{url}?token={TOKEN}") as page:
            expect(page.locator(".card")).to_have_count(STUDENTS)
            assert TOKEN not in page.url
            page.reload()
            expect(page.locator(".card")).to_have_count(STUDENTS)
            page.click("nav [data-view=recordings]")
            page.click("[data-by=files]")
            page.select_option("#format", "stored")
            with page.expect_download() as download:
                page.locator("#files tbody button").first.click()
            assert Path(download.value.path()).read_bytes().startswith(b"Att,Med,")
    finally:
        code, log = gateway.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in log
    assert TOKEN not in log


def test_language_and_theme(page):
    """Both languages and all themes, at once and after a reload; the document says its language."""
    expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    page.click("#menu summary")
    page.select_option("#language", "en")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".card").first).to_contain_text("Good contact")
    expect(page.locator("#start")).to_have_text("Start lesson")
    expect(page).to_have_title("NeuroOne – class")
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    page.select_option("#theme", "dark")
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("#start")).to_have_text("Start lesson")
    page.click("#menu summary")
    page.select_option("#theme", "system")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_keyboard_alone(page, school):
    """Search, walk, open, go back, mark, load: everything without a pointer; single keys can be turned off."""
    press = page.keyboard.press
    page.locator("body").press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("aluno 0")
    expect(page.locator(".card")).to_have_count(9)
    press("Escape")
    page.fill("#search", "")
    expect(page.locator(".card")).to_have_count(STUDENTS)
    page.locator("#mean summary").focus()
    press("Tab")
    expect(page.locator(".card .open").first).to_be_focused()
    press("ArrowRight")
    press("ArrowDown")
    across = page.evaluate("getComputedStyle(document.getElementById('cards')).gridTemplateColumns.split(' ').length")
    expect(page.locator(".card .open").nth(1 + across)).to_be_focused()
    press("End")
    expect(page.locator(".card .open").last).to_be_focused()
    press("Tab")
    assert not page.evaluate("document.activeElement.classList.contains('open')"), "one stop for all cards"
    page.locator(".card .open").last.focus()
    press("Enter")
    expect(page.locator("#student-name")).to_have_text("Aluno 30")
    expect(page.locator("#esense-chart canvas")).to_be_visible()
    press("Escape")
    expect(page.locator("#view-class")).to_be_visible()
    expect(page.locator(".card .open").last).to_be_focused()
    press("m")
    expect(page.locator("#mark-dialog [name=text]")).to_be_focused()
    page.keyboard.type("só teclado")
    press("Enter")
    expect(page.locator("#toast")).to_have_text("Registrado.")
    press("2")
    expect(page.locator("#view-recordings")).to_be_visible()
    expect(page.locator("#lessons tbody tr").first).to_be_visible()
    press("1")
    press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    page.locator("#keys").focus()
    press("Space")
    press("Escape")
    press("m")
    expect(page.locator("#mark-dialog")).to_be_hidden()


def test_the_projection_is_large_and_calm(page, school):
    """In front of the class neither a name, a value of anybody nor a control is in sight, nor in the document."""
    press = page.keyboard.press
    press("p")
    expect(page.locator("#projected-connected")).to_have_text("30")
    expect(page.locator("#projected-good")).to_have_text("30")
    expect(page.locator("#projected-elapsed")).to_have_text("--")
    expect(page.locator(".card")).to_have_count(0)
    text = page.evaluate("document.body.textContent")
    assert not any(str(student.name) in text for student in school.room.students[:9])
    seen = page.locator("button:visible, select:visible, input:visible, summary:visible, a:visible")
    expect(page.locator("#leave")).to_have_css("opacity", "0")
    assert seen.evaluate_all("(all) => all.filter((each) => each.id !== 'leave' && each.id !== 'skip').length") == 0
    assert page.evaluate("parseFloat(getComputedStyle(document.getElementById('projected-good')).fontSize)") > 100
    expect(page.locator("#curve")).to_be_hidden()
    press("2")
    expect(page.locator("#said")).to_contain_text("modo projeção")
    press("c")
    expect(page.locator("#curve")).to_be_visible(timeout=CURVE_MS)
    press("Escape")
    expect(page.locator(".card .open").first).to_have_text("Aluno 01")


@pytest.mark.parametrize(("size", "theme"), [("phone", "light"), ("tablet", "dark"), ("projector", "dark")])
def test_nothing_serious_for_axe(browser, school, theme, size):
    """No view has a serious or critical fault, in each theme and size, and nothing is wider than the screen."""
    width, height = VIEWPORTS[size]
    try:
        with opened(
            browser, school.url, color_scheme=theme, viewport={"width": width, "height": height}, locale="en"
        ) as page:
            expect(page.locator(".card")).to_have_count(STUDENTS)
            school.room.students[2].poor_signal, school.room.students[3].is_silent = 200, True
            expect(page.locator('.card[data-presence="stale"], .card[data-presence="offline"]')).to_have_count(1)
            _is_sound(page)
            if size == "tablet":
                expect(page.locator("#alarms")).to_be_visible(timeout=ALARM_MS)
                for drop in ("alarms", "filters", "mean", "menu"):
                    page.click(f"#{drop} summary")
                    expect(page.locator(f"#{drop} .panel")).to_be_visible()
                    _is_sound(page)
            page.locator(".card .open").first.click()
            page.locator("#esense-table summary").click()
            page.locator("#bands-table summary").click()
            expect(page.locator("#bands-chart canvas")).to_be_visible()
            _is_sound(page)
            page.click("nav [data-view=recordings]")
            expect(page.locator("#lessons tbody tr").first).to_be_visible()
            _is_sound(page)
            page.click("nav [data-view=class]")
            for key, dialog in (("?", "help"), ("m", "mark"), ("s", "start")):
                page.keyboard.press(key)
                expect(page.locator(f"#{dialog}-dialog")).to_be_visible()
                _is_sound(page)
                page.keyboard.press("Escape")
            page.keyboard.press("p")
            _is_sound(page)
            page.goto(school.url + "student?test")
            expect(page.locator("#connect")).to_be_visible()
            _is_sound(page)
    finally:
        school.room.students[2].poor_signal, school.room.students[3].is_silent = 0, False


def _is_sound(page: Page) -> None:
    assert faults_of(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "something is wider than the screen"


def test_hostile_names(school, browser):
    """A name is text, whatever is in it: shown, cut, turning nothing round, and harming nothing."""
    hostile = [
        SimulatedStudent("<img src=x onerror=\"document.title='pwned'\">", code="RUIM"),
        SimulatedStudent("\u202egnp.exe\u2066\u200f\u0000\u0007 RTL", code="RUIM"),
        SimulatedStudent("😀" * 1900, code="RUIM"),
        SimulatedStudent("Z̸̡̛͇̭͔͚" * 300, code="RUIM"),
        SimulatedStudent('=HYPERLINK("http://x")\n../../etc/passwd', code="RUIM"),
    ]
    with SimulatedClass(school.gateway.url, hostile), opened(browser, school.url + "?code=RUIM") as page:
        expect(page.locator(".card")).to_have_count(len(hostile))
        shown = "\n".join(names(page))
        assert "<img src=x" in shown
        assert "\u202e" not in shown
        assert max(map(len, page.locator(".card .open").all_text_contents())) <= 130
        boxes = [each.bounding_box() for each in page.locator(".card").all()]
        assert len({round(box["height"]) for box in boxes if box}) == 1
        for number in range(len(hostile)):
            page.locator(".card .open").nth(number).click()
            expect(page.locator("#student-rows")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.click("[data-by=students]")
        expect(page.locator("#students tbody tr").first).to_be_visible()
        assert page.locator("img").count() == 0
        expect(page).to_have_title("NeuroOne – turma")


def test_it_comes_back_by_itself(page, school):
    """While the gateway is away the page says so and looks it; then it goes on, with nobody missing."""
    school.gateway.end(signal.SIGTERM)
    try:
        expect(page.locator("#banner")).to_contain_text("Sem conexão com o servidor")
        expect(page.locator("body")).to_have_attribute("data-link", "down")
        expect(page.locator('.card[data-presence="online"]')).to_have_count(0)
        page.keyboard.press("m")
        page.keyboard.press("Enter")
        expect(page.locator("#toast")).to_contain_text("Não foi enviado")
    finally:
        school.gateway.start(school.peer)
    expect(page.locator("#banner")).to_be_hidden(timeout=ALARM_MS)
    expect(page.locator('.card[data-presence="online"]')).to_have_count(STUDENTS, timeout=ALARM_MS)
    expect(page.locator("#alarms")).to_be_hidden()


def test_raw_samples_of_a_headset(school, browser):
    """A headset at a serial port shows its raw trace to who looks at it."""
    words = ["--port", "sim", "--name", "Headset Simulado", "--code", "BANCADA", "--broker", school.broker.url]
    bridge = subprocess.Popen([sys.executable, "-m", "serial_bridge", "run", *words], stderr=subprocess.DEVNULL)
    try:
        with opened(browser, school.url + "?code=BANCADA") as page:
            page.locator(".card .open").click()
            expect(page.locator("#raw-chart canvas")).to_be_visible()
            expect(page.locator("#raw-chart")).to_have_attribute("aria-label", re.compile("último valor -?\\d+"))
            expect(page.locator("#student-rows")).to_have_text(re.compile(r"[1-9]"))
            page.select_option("#scale", "relative")
            expect(page.locator("#bands-chart")).to_have_attribute("aria-label", re.compile("% da soma"))
    finally:
        bridge.terminate()
        bridge.wait(20)


def test_the_students_page(school, browser, tmp_path):
    """A technician sends from sliders and out of a recorded file, and sees both acks."""
    recorded = tmp_path / "recorded.csv"
    recorded.write_text(
        "time,session,seq,poor_signal,valid,attention,meditation,delta,theta,low_alpha,high_alpha,low_beta,high_beta,"
        "low_gamma,mid_gamma,check\n" + "x,s,1,0,1,77,33,1,2,3,4,5,6,7,8,abcd\n" * 3 + "torn,row\n",
        encoding="utf-8",
    )
    with opened(browser, school.url + "student?test") as page, opened(browser, school.url + "?code=TESTE") as teacher:
        page.fill("[name=name]", "Técnica")
        page.fill("[name=code]", "TESTE")
        page.locator("#attention").fill("42")
        page.keyboard.press("Enter")
        page.click("#connect")
        expect(page.locator("#link")).to_have_text("conectado")
        expect(page.locator("#acked")).to_have_text(re.compile(r"\d"))
        expect(page.locator("#recorded")).to_have_text(re.compile(r"\d"))
        page.set_viewport_size({"width": 390, "height": 844})
        _is_sound(page)
        value = teacher.locator(".card .value").first
        expect(value).to_have_text("42")
        page.set_input_files("#file", recorded)
        expect(page.locator("#file-state")).to_have_text("3 leituras no arquivo")
        expect(value).to_have_text("77")
        page.click("#disconnect")
        expect(teacher.locator(".card")).to_have_attribute("data-presence", "offline")
        other = tmp_path / "other.csv"
        other.write_text("a,b\n1,2\n", encoding="utf-8")
        page.set_input_files("#file", other)
        expect(page.locator("#file-state")).to_contain_text("attention")


def test_the_client_keeps_readings_over_a_reload(school, browser):
    """clients/neuroone.js in a browser: what no gateway took is in IndexedDB, and goes out after a reload."""
    begin = """async ([url, WebSocket]) => {
      const { NeuroOneStudent, IndexedDbStore } = await import("/page/neuroone.js");
      globalThis.store = new IndexedDbStore("test");
      globalThis.student = new NeuroOneStudent(url, {
        name: "Recarga", code: "JS", store, WebSocket: WebSocket ? globalThis.WebSocket : class { close() {} } });
      await student.start();
      return student.session;
    }"""
    fill = """async () => {
      const values = { attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5,
        high_beta: 6, low_gamma: 7, mid_gamma: 8 };
      for (let number = 0; number < 5; number += 1) student.send(values);
      while ((await store.load()).readings.length < 5);
      return student.waiting;
    }"""
    empty = """async () => {
      while (student.waiting > 0) await new Promise((resolve) => student.addEventListener("ack", resolve));
      while ((await store.load()).readings.length > 0);
      student.stop();
      return true;
    }"""
    with opened(browser, school.url + "student?test") as page:
        session = page.evaluate(begin, [school.gateway.url, False])
        assert page.evaluate(fill) == 5
        page.reload()
        assert page.evaluate(begin, [school.gateway.url, True]) == session
        assert page.evaluate(empty)

    def readings() -> list[tuple[str, int]]:
        return [(each.session, each.seq) for each in school.peer.readings() if each.name == "Recarga"]

    wait_for(lambda: len(readings()) >= 5, "the readings")  # the broker's ack may be here before they are there
    assert readings() == [(session, seq) for seq in range(5)]


def test_the_words_are_complete(page):
    """No key of a word is shown in place of the word, in any language."""
    page.click("#menu summary")
    for language in ("pt-BR", "en"):
        page.select_option("#language", language)
        shown = page.evaluate("document.body.textContent")
        known = json.loads((Path(__file__).parents[2] / f"services/ws_gateway/page/{language}.json").read_text("utf-8"))
        assert [key for key in known if "." in key and key in shown] == []
