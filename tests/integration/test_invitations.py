"""Invitations on the teacher's page, in a real browser: the QR codes that it draws, read back by another decoder."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened, wait_on
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import GatewayProgram, Peer
from tests.support.qr_codes import read_qr_codes
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

PUBLIC = "https://school.example/eeg/"
JOIN_CODE = "come-in & sit"
SITE_KEY = "key-of-the-site"
TOKEN = "of-the-teacher"
NAMES = ("João Conceição", "Ana & Bia? #1 100% =+/", "李小龙 🧠", "a" * 200, "🧠" * 100)
SIZES = {"projector": (1920, 1080), "laptop": (1366, 768), "phone": (360, 640)}


@pytest.fixture(scope="module")
def gateway(one_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProgram]:
    """A gateway with a site key, and a class with a join code."""
    codes = tmp_path_factory.mktemp("codes") / "codes.json"
    codes.write_text(json.dumps({"7B": JOIN_CODE}), encoding="utf-8")
    words = [
        "--site-key",
        SITE_KEY,
        "--join-codes",
        str(codes),
        "--public-url",
        PUBLIC,
        "--token",
        TOKEN,
        "--no-open-here",
    ]
    peer, program = Peer(one_broker), GatewayProgram(one_broker, *words)
    wait_for(lambda: peer.bus.is_connected, "connection")
    program.start(peer)
    yield program
    log = program.end(signal.SIGTERM)[1]
    peer.bus.close()
    assert not any(secret in log for secret in (JOIN_CODE, SITE_KEY, "Conceição", "7B")), log


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, gateway: GatewayProgram) -> Iterator[Page]:
    with opened(browser, f"http://{LOOPBACK}:{gateway.port}/#token={TOKEN}") as page:
        expect(page.locator("body")).to_have_attribute("data-link", "up")
        yield page


def shown(page: Page) -> str:
    """Return the address on the page, and assert that the picture of the QR code says the same."""
    expect(page.locator("#invite-code svg")).to_be_visible()
    url = str(page.locator("#invite-url").text_content())
    assert read_qr_codes(page.locator("#invite-code").screenshot()) == [url]
    return url


def test_what_is_drawn_is_the_address(page):
    """Any name and code; the key is in the QR code, and in no title, address or history."""
    history = page.evaluate("history.length")
    page.click("#invite")
    page.fill("#invite-form [name=code]", "7C")
    for name in NAMES:
        page.fill("#invite-form [name=name]", name)
        parts = urlsplit(shown(page))
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{PUBLIC}student"
        assert (parse_qs(parts.query), parts.fragment) == ({"name": [name], "code": ["7C"]}, f"key={SITE_KEY}")
    assert SITE_KEY not in page.title() + page.url
    assert page.evaluate("history.length") == history
    page.keyboard.press("Escape")
    expect(page.locator("#invite-url")).to_have_text("")


def test_a_late_answer_is_not_shown_for_another_text(page):
    """Who prints or scans meanwhile would invite somebody else."""
    held: list[Route] = []
    page.route("**/invitation?*", lambda route: route.continue_() if held else held.append(route))
    page.clock.install()
    page.evaluate(
        """() => {
          globalThis.shown = [];
          const url = document.getElementById("invite-url");
          const watch = new MutationObserver(() => shown.push(url.textContent));
          watch.observe(url, { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.click("#invite")
    page.fill("#invite-form [name=name]", "Bia")
    with page.expect_response("**/invitation?*"):
        held[0].continue_()
    page.clock.run_for(1000)
    expect(page.locator("#invite-url")).to_contain_text("name=Bia")
    assert all("name=Bia" in each for each in page.evaluate("shown") if each)


def test_a_class_is_invited_by_a_key(page, gateway):
    """The class that is there is offered; another code changes the QR code; the address can be copied on plain http."""
    students = [SimulatedStudent(name, code="7C") for name in ("Ana", "Bento")]
    with SimulatedClass(f"{gateway.url}/ws/{SITE_KEY}", students):
        expect(page.locator(".card")).to_have_count(2)
        page.keyboard.press("i")
        expect(page.locator("#invite-url")).to_have_text(f"{PUBLIC}student?code=7C#key={SITE_KEY}")
        shown(page)
        page.fill("#invite-form [name=code]", "7B")
        expect(page.locator("#invite-url")).to_contain_text("code=7B#")
        assert parse_qs(urlsplit(shown(page)).fragment) == {"key": [f"{SITE_KEY}:{JOIN_CODE}"]}
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        page.click("#invite-copy")
        expect(page.locator("#invite-copied")).to_have_text("Endereço copiado.")
        page.keyboard.press("Escape")
        page.locator(".card .open").first.click()
        page.click("#invite-student")
        expect(page.locator("#invite-url")).to_have_text(f"{PUBLIC}student?name=Ana&code=7C#key={SITE_KEY}")
        expect(page.locator("#invite-who")).to_have_text("Ana · 7C")


def test_the_students_page_comes_in_by_an_invitation(page, browser, gateway):
    """What a camera reads is all that it needs, for a class with a join code too: one tap, and it is welcome."""
    page.click("#invite")
    page.fill("#invite-form [name=code]", "7B")
    page.fill("#invite-form [name=name]", "Lia & Bia")
    expect(page.locator("#invite-who")).to_have_text("Lia & Bia · 7B")
    invited = shown(page).replace(PUBLIC, f"http://{LOOPBACK}:{gateway.port}/")
    with opened(browser, invited) as student:
        heard: list[str] = []
        student.on("websocket", lambda link: link.on("framereceived", lambda frame: heard.append(str(frame))))
        expect(student.locator("#who [name=name]")).to_have_value("Lia & Bia")
        expect(student.locator("#who [name=code]")).to_have_value("7B")
        assert SITE_KEY not in student.url
        student.click("#next")
        wait_on(student, lambda: heard)
        assert json.loads(heard[0])["type"] == "welcome"


def test_a_sheet_for_the_whole_class(page):
    """One QR code for each name, readable on paper; too many names, none, or one twice are refused in words."""
    page.evaluate("void (globalThis.print = () => document.body.toggleAttribute('data-printed'))")
    page.click("#invite")
    page.fill("#invite-form [name=code]", "7C")
    page.click("#invite-dialog summary")
    for names, words in {
        " \n": "Digite pelo menos um nome.",
        "\n".join(f"Aluno {each}" for each in range(61)): "No máximo 60 nomes",
        "Ana\nBento\nAna": "Repetido na lista: Ana.",
        f"Ana\n{'x' * 201}": "no máximo 200 caracteres",
    }.items():
        page.fill("#invite-names", names)
        page.click("#invite-sheet")
        expect(page.locator("#invite-sheet-state")).to_contain_text(words)
    students = [f"Aluno Número {each}" for each in range(1, 8)]
    page.fill("#invite-names", "\n".join([*students, "", "  "]))
    page.click("#invite-sheet")
    expect(page.locator("#paper figure")).to_have_count(len(students))
    expect(page.locator("body")).to_have_attribute("data-printed", "")
    page.emulate_media(media="print")
    read = read_qr_codes(page.screenshot(full_page=True))
    assert sorted(parse_qs(urlsplit(url).query)["name"][0] for url in read) == students
    expect(page.locator("#paper figcaption").first).to_have_text("Aluno Número 17C")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    page.emulate_media(media="screen")
    page.click("#invite-print")
    expect(page.locator("body")).not_to_have_attribute("data-printed", "")
    page.emulate_media(media="print")
    assert read_qr_codes(page.screenshot(full_page=True)) == [f"{PUBLIC}student?code=7C#key={SITE_KEY}"]


@pytest.mark.parametrize(
    ("size", "theme", "locale"),
    [("projector", "light", "pt-BR"), ("laptop", "dark", "en"), ("phone", "dark", "pt-BR")],
)
def test_it_fits_the_screen(browser, gateway, size, theme, locale):
    """On a projector the QR code has 60 % of the height and more; nothing is wider than a phone; axe finds nothing."""
    width, height = SIZES[size]
    look = {"color_scheme": theme, "locale": locale, "viewport": {"width": width, "height": height}}
    with opened(browser, f"http://{LOOPBACK}:{gateway.port}/#token={TOKEN}", **look) as page:
        expect(page.locator("body")).to_have_attribute("data-link", "up")
        if size == "phone":
            page.click("#menu summary")
        page.click("#invite-too" if size == "phone" else "#invite")
        shown(page)
        box = page.locator("#invite-code svg").bounding_box()
        assert box is not None
        if size != "phone":
            assert box["height"] >= 0.6 * height
            assert box["y"] + box["height"] <= height
        page.click("#invite-dialog summary")
        assert page.evaluate("document.querySelector('#invite-dialog').scrollWidth <= innerWidth")
        found = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] != "minor"] == []


def test_who_only_watches_invites_nobody(gateway):
    """And no answer about it is kept by a browser."""
    connection = HTTPConnection(LOOPBACK, gateway.port, timeout=10)
    for token, host, status in ((TOKEN, "192.168.0.9", 200), ("wrong", "192.168.0.9", 401)):
        connection.request("GET", "/invitation?code=7B", headers={"Authorization": f"Bearer {token}", "Host": host})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert (answer.status, answer.getheader("Cache-Control")) == (status, "no-store")
        assert (SITE_KEY in body) is (status == 200)
    connection.request("POST", "/invitation", headers={"Authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().status == 405
