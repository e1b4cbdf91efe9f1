"""The teacher's list of very many recordings, in a real browser: paged and searched by the gateway."""

import io
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.gateways import GatewayProgram, Peer
from tests.support.recordings import SEED_FILE, reading_rows, time_text, write_session
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

CONVERT_MS = 60_000
"""The recorder's program starts, reads and writes, on a busy machine."""
SESSIONS = 120
EVENING = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
"""The evening before in Brazil."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(SESSIONS):
        start = EVENING - timedelta(days=number)
        about: dict[str, Any] = {"class": "Biologia" if number % 2 else "Química"}
        write_session(folder, f"João {number:03}", "T1", f"s{number}", start, reading_rows(2, start), **about)
    for number in range(60):
        (folder / f"Aluno {number:02}.csv").write_text(SEED_FILE, encoding="ascii")
    with serving(folder, tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture(scope="module")
def lesson_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lesson in which Ana's phone was back twice with another code and two are called Bia, and a day without one."""
    folder = tmp_path_factory.mktemp("lesson")
    lesson = {"group": "_all", "name": "Ciências", "began": time_text(EVENING), "first_seq": 0, "last_seq": None}
    ended = {**lesson, "ended": time_text(EVENING + timedelta(minutes=50))}
    stays = [("Ana Íris", "5AAAAA", 0), ("Ana Íris", "5AAAAB", 20), ("Ana Íris", "5AAAAC", 40), ("Bia", "5BBBBB", 0)]
    for name, code, after_min in [*stays, ("Bia", "5CCCCC", 0)]:
        start = EVENING + timedelta(minutes=after_min)
        end = time_text(start + timedelta(minutes=50 if name == "Bia" else 5))
        about: dict[str, Any] = {"class": "Ciências", "lessons": [ended], "end": end}
        write_session(folder, name, code, name.replace(" ", "-"), start, reading_rows(2, start), **about)
    before = EVENING - timedelta(days=3)
    write_session(folder, "Ana Íris", "5DDDDD", "Ana", before, reading_rows(2, before))
    (folder / "Ana Íris.csv").write_text(SEED_FILE, encoding="ascii")
    with serving(folder, tmp_path_factory.mktemp("broker")) as url:
        yield url


@contextmanager
def serving(folder: Path, broker_folder: Path) -> Iterator[str]:
    """Run a gateway for these recordings."""
    kind = next(kind for kind in brokers.KINDS if brokers.find(kind))
    broker = Broker(kind, broker_folder)
    broker.start()
    peer = Peer(broker)
    gateway = GatewayProgram(broker, "--recordings", str(folder))
    try:
        wait_for(lambda: peer.bus.is_connected, "connection", 10)
        gateway.start(peer)
        yield f"http://{LOOPBACK}:{gateway.port}/"
        gateway.finish()
    finally:
        peer.bus.close()
        broker.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, url, timezone_id="America/Sao_Paulo") as page:
        page.click("nav [data-view=recordings]")
        page.click("[data-by=students]")
        expect(page.locator("#students tbody tr")).to_have_count(50)
        yield page


def test_every_session_and_file_is_reached(page):
    """Three pages of students and two of files, each turned by itself; at the ends a button does nothing."""
    pager = page.locator("#students-pager")
    expect(pager.locator("span")).to_have_text("1 a 50 de 120")
    seen = []
    for shown, rows in (("1 a 50 de 120", 50), ("51 a 100 de 120", 50), ("101 a 120 de 120", 20)):
        expect(pager.locator("span")).to_have_text(shown)
        expect(page.locator("#students tbody tr")).to_have_count(rows)
        seen += page.locator("#students tbody td:nth-child(2)").all_text_contents()
        pager.get_by_role("button", name="Próxima").click(force=True)
    assert seen == [f"João {number:03}" for number in range(SESSIONS)]
    expect(pager.get_by_role("button", name="Próxima")).to_have_attribute("aria-disabled", "true")
    expect(pager.get_by_role("button", name="Próxima")).to_be_focused()
    page.click("[data-by=files]")
    expect(page.locator("#files tbody tr")).to_have_count(50)
    page.locator("#files-pager").get_by_role("button", name="Próxima").click()
    expect(page.locator("#files tbody tr")).to_have_count(10)
    page.click("[data-by=lessons]")
    expect(page.locator("#lessons-pager span")).to_have_text("1 a 50 de 120")


def test_a_search_by_name_class_and_date(page):
    """Without case and accents; a date is that of the teacher's clock, in the form that the page shows."""
    search, rows = page.locator("#recordings-query"), page.locator("#students tbody tr")
    search.fill("joao 007")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("João 007")
    search.fill("BIOLOGIA")
    expect(page.locator("#students-pager span")).to_have_text("1 a 50 de 60")
    search.fill("21/11/2026")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("21/11/2026")
    search.fill("ninguém")
    expect(page.locator("#recordings-state")).to_have_text("Nenhuma gravação corresponde à busca.")
    expect(page.locator("#students")).to_be_hidden()
    page.click("#menu summary")
    page.select_option("#language", "en")
    expect(page.locator("#recordings-state")).to_have_text("No recording matches the search.")


def test_a_search_begins_at_the_first_page(page):
    pager = page.locator("#students-pager")
    pager.get_by_role("button", name="Próxima").click()
    expect(pager.locator("span")).to_have_text("51 a 100 de 120")
    page.fill("#recordings-query", "química")
    expect(pager.locator("span")).to_have_text("1 a 50 de 60")


def test_the_list_by_the_keyboard_alone(page):
    """The slash goes to the search, Enter asks at once, Escape ends it; the pages are turned by buttons."""
    press = page.keyboard.press
    page.locator("body").press("/")
    expect(page.locator("#recordings-query")).to_be_focused()
    page.keyboard.type("biologia")
    press("Enter")
    expect(page.locator("#students-pager span")).to_have_text("1 a 50 de 60")
    press("Escape")
    expect(page.locator("#students-pager span")).to_have_text("1 a 50 de 120")
    page.locator("#students-pager button").last.focus()
    press("Enter")
    expect(page.locator("#students-pager span")).to_have_text("51 a 100 de 120")
    expect(page.locator("#said")).to_have_text("51 a 100 de 120")
    press("Space")
    expect(page.locator("#students-pager span")).to_have_text("101 a 120 de 120")


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1024)])
def test_nothing_serious_for_axe_in_the_list(browser, url, theme, width):
    with opened(browser, url, color_scheme=theme, viewport={"width": width, "height": 800}, locale="en") as page:
        page.click("nav [data-view=recordings]")
        expect(page.locator("#lessons tbody tr")).to_have_count(50)
        _is_sound(page)
        page.click("[data-by=students]")
        expect(page.locator("#students tbody tr")).to_have_count(50)
        _is_sound(page)


def _is_sound(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_student_of_a_lesson_is_one_row_however_often_the_phone_came_back(browser, lesson_url):
    """The app made three codes: the list counts one student, and all of the lesson is one ZIP."""
    with opened(browser, lesson_url, timezone_id="America/Sao_Paulo") as page:
        page.click("nav [data-view=recordings]")
        lessons = page.locator("#lessons tbody tr")
        expect(lessons).to_have_count(2)
        expect(lessons.first).to_contain_text("Ciências")
        expect(lessons.first.locator("td").nth(1)).to_have_text("21/11/2026, 22:30")
        expect(lessons.first.locator("td").nth(3)).to_have_text("3")
        expect(lessons.first.locator("td").nth(4)).to_have_text("50:00")
        expect(lessons.last).to_contain_text("fora de aula")
        lessons.first.get_by_role("button", name="Ver alunos").click()
        expect(page.locator("#students-title")).to_have_text("Alunos de Ciências")
        rows = page.locator("#students tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.locator("td:nth-child(2)")).to_have_text(["Ana Íris", "Bia · 5BBBBB", "Bia · 5CCCCC"])
        expect(rows.first.locator("td").nth(5)).to_have_text("6")
        page.click("#all-lessons")
        page.fill("#recordings-query", "ana ciencias 21/11")
        expect(lessons).to_have_count(1)


@pytest.mark.parametrize(
    ("choice", "ending", "held"),
    [
        ("CSV como gravado", ".zip", "/readings.csv"),
        ("CSV para planilhas", ".zip", "Ana Íris_1.csv"),
        ("Excel (xlsx)", ".zip", ".xlsx"),
        ("Relatório", ".html", ""),
    ],
)
def test_a_lesson_in_every_format(browser, lesson_url, choice, ending, held):
    with opened(browser, lesson_url, timezone_id="America/Sao_Paulo") as page:
        page.click("nav [data-view=recordings]")
        expect(page.locator("#format option:checked")).to_have_text("CSV para planilhas")
        page.select_option("#format", label=choice)
        with page.expect_download(timeout=CONVERT_MS) as download:
            page.get_by_role("button", name="Baixar tudo: Ciências").click()
        assert download.value.suggested_filename == f"2026-11-21 Ciências{ending}"
        content = Path(download.value.path()).read_bytes()
        if held:
            members = zipfile.ZipFile(io.BytesIO(content)).namelist()
            assert sum(held in name for name in members) >= 1, members
        else:
            assert "Ana Íris" in content.decode()
        page.reload()
        expect(page.locator("#format option:checked")).to_have_text(choice)


def test_the_page_says_what_brings_the_formats_that_this_server_cannot_make(browser, lesson_url):
    """Without a restart they are there as soon as the server has what makes them."""
    lacking = True

    def answer(route):
        answered = route.fetch()
        listed = answered.json()
        if lacking and "formats" in listed:
            listed["formats"] = ["stored", "csv-ptbr"]
        route.fulfill(response=answered, json=listed)

    with opened(browser, lesson_url, timezone_id="America/Sao_Paulo") as page:
        page.route("**/recordings?*", answer)
        page.click("nav [data-view=recordings]")
        note = page.locator("#formats-missing")
        expect(note).to_contain_text("Execute lá, uma vez: python3 run.py exec csv-recorder report --help")
        expect(page.locator("#format option")).to_have_text(["CSV como gravado", "CSV para planilhas"])
        _is_sound(page)
        lacking = False
        page.click("#reload")
        expect(note).to_be_hidden()
        expect(page.locator("#format option")).to_have_count(4)


def test_a_brazilian_spreadsheet_opens_a_students_csv(browser, lesson_url):
    """Semicolons, a byte order mark and the school's time; of one session there is one file, and no ZIP."""
    with opened(browser, lesson_url, timezone_id="America/Sao_Paulo") as page:
        page.click("nav [data-view=recordings]")
        page.click("[data-by=students]")
        row = page.locator("#students tbody tr").filter(has_text="5BBBBB")
        with page.expect_download() as download:
            row.get_by_role("button").click()
        assert download.value.suggested_filename == "2026-11-21 Ciências Bia (5BBBBB).csv"
        lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
        assert lines[0].split(";")[:4] == ["horario", "sinal_ruim", "valido", "atencao"]
        assert lines[1].startswith("21/11/2026 22:30:00,000;0;1;")
        page.click("[data-by=files]")
        with page.expect_download() as download:
            page.locator("#files tbody button").first.click()
        assert Path(download.value.path()).read_bytes().startswith("\ufeffAtt;Med;Delta;".encode())
