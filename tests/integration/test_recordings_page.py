"""The teacher's list of very many recordings, in a real browser: paged and searched by the gateway."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.gateways import GatewayProgram, Peer
from tests.support.recordings import SEED_FILE, reading_rows, write_session
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

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
    kind = next(kind for kind in brokers.KINDS if brokers.find(kind))
    broker = Broker(kind, tmp_path_factory.mktemp("broker"))
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
        expect(page.locator("#sessions tbody tr")).to_have_count(50)
        yield page


def test_every_session_and_file_is_reached(page):
    """Three pages of sessions and two of files, each turned by itself; at the ends a button does nothing."""
    pager = page.locator("#sessions-pager")
    expect(pager.locator("span")).to_have_text("1 a 50 de 120")
    seen = []
    for shown, rows in (("1 a 50 de 120", 50), ("51 a 100 de 120", 50), ("101 a 120 de 120", 20)):
        expect(pager.locator("span")).to_have_text(shown)
        expect(page.locator("#sessions tbody tr")).to_have_count(rows)
        seen += page.locator("#sessions tbody td:nth-child(3)").all_text_contents()
        pager.get_by_role("button", name="Próxima").click(force=True)
    assert seen == [f"João {number:03}" for number in range(SESSIONS)]
    expect(pager.get_by_role("button", name="Próxima")).to_have_attribute("aria-disabled", "true")
    expect(pager.get_by_role("button", name="Próxima")).to_be_focused()
    expect(page.locator("#files tbody tr")).to_have_count(50)
    page.locator("#files-pager").get_by_role("button", name="Próxima").click()
    expect(page.locator("#files tbody tr")).to_have_count(10)
    expect(pager.locator("span")).to_have_text("101 a 120 de 120")


def test_a_search_by_name_class_and_date(page):
    """Without case and accents; a date is that of the teacher's clock, in the form that the page shows."""
    search, rows = page.locator("#recordings-query"), page.locator("#sessions tbody tr")
    search.fill("joao 007")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("João 007")
    search.fill("BIOLOGIA")
    expect(page.locator("#sessions-pager span")).to_have_text("1 a 50 de 60")
    search.fill("21/11/2026")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("21/11/2026")
    search.fill("ninguém")
    expect(page.locator("#recordings-state")).to_have_text("Nenhuma gravação corresponde à busca.")
    expect(page.locator("#sessions")).to_be_hidden()
    page.select_option("#language", "en")
    expect(page.locator("#recordings-state")).to_have_text("No recording matches the search.")


def test_a_search_begins_at_the_first_page(page):
    pager = page.locator("#sessions-pager")
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
    expect(page.locator("#sessions-pager span")).to_have_text("1 a 50 de 60")
    press("Escape")
    expect(page.locator("#sessions-pager span")).to_have_text("1 a 50 de 120")
    page.locator("#sessions-pager button").last.focus()
    press("Enter")
    expect(page.locator("#sessions-pager span")).to_have_text("51 a 100 de 120")
    expect(page.locator("#said")).to_have_text("51 a 100 de 120")
    press("Space")
    expect(page.locator("#sessions-pager span")).to_have_text("101 a 120 de 120")


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1024)])
def test_nothing_serious_for_axe_in_the_list(browser, url, theme, width):
    with opened(browser, url, color_scheme=theme, viewport={"width": width, "height": 800}, locale="en") as page:
        page.click("nav [data-view=recordings]")
        expect(page.locator("#sessions tbody tr")).to_have_count(50)
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
