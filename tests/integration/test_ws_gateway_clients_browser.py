"""clients/neuroone.js in a real browser, through a bad network, to a real gateway: tablets, tabs, and the pages."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from neuroone.up import brokers
from tests.support.bad_network import recorded_stack, run_in_browser, wait_until_shown
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import Peer, running_gateway
from tests.support.relay import Relay
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

DEAD_AFTER_MS = 13_000
"""The client's own time, in which it notices that a connection is dead."""
RECONNECTED_WITHIN_MS = 15_000
DELAY_S = 0.2
SIMULATED_S = 2 * 60
"""A delay and a half-open connection. `python -m bench.client_network` runs three hours."""
CLIENT = """
  const { NeuroOneStudent, IndexedDbStore } = await import("/page/neuroone.js");
  const url = location.href.replace("http", "ws");
  const values = { attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5,
    high_beta: 6, low_gamma: 7, mid_gamma: 8 };
  const until = async (holds) => { while (!(await holds())) await new Promise((wake) => setTimeout(wake, 20)); };
  globalThis.make = (name, store) => {
    globalThis.store = new IndexedDbStore(store);
    globalThis.student = new NeuroOneStudent(url, { name, code: "7B", store: globalThis.store });
    return student.start();
  };
  globalThis.put = async (first, last) => {
    for (let delta = first; delta < last; delta += 1) student.send({ ...values, delta });
    const mine = ({ session }) => session === student.session;
    await until(async () => (await store.load()).readings.filter(mine).length >= student.waiting);
  };
  globalThis.emptied = () => until(() => student.waiting === 0);
  globalThis.nothingLeft = () => until(async () => (await store.load()).readings.length === 0);
"""
WITHOUT_LOCKS = "Object.defineProperty(navigator, 'locks', { value: undefined });"
"""As on a page over plain http."""


WATCH_LINK = """() => {
  globalThis.wasDown = new Promise((resolve) => {
    const look = () => document.body.dataset.link === "down" && resolve(true);
    new MutationObserver(look).observe(document.body, { attributes: true });
  });
}"""


@dataclass
class School:
    """Everything that runs for this module."""

    relay: Relay
    peer: Peer

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.relay.port}/"

    def deltas(self, name: str) -> list[int]:
        """Return the number `delta` of all readings of a student on the broker, in order."""
        return sorted(reading.delta for reading in self.peer.readings() if reading.name == name)

    def sessions(self, name: str) -> set[str]:
        return {reading.session for reading in self.peer.readings() if reading.name == name}


@pytest.fixture(scope="module")
def school(one_broker: Broker) -> Iterator[School]:
    with running_gateway(one_broker) as (gateway, peer), Relay(gateway.port) as relay:
        yield School(relay, peer)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, school: School) -> Iterator[Page]:
    with opened(browser, school.url + "student?test") as page:
        load_client(page)
        yield page
    school.relay.heal()


def load_client(page: Page) -> None:
    wait_until_shown(page)
    page.evaluate(f"async () => {{ {CLIENT} }}")


def test_the_teachers_page_notices_a_dead_connection(school, browser):
    """Half-open: nobody closes it. The page says so, replaces it, and shows everybody again."""
    with (
        SimulatedClass(school.url.replace("http", "ws"), [SimulatedStudent("Aluno 1")]) as room,
        opened(browser, school.url) as page,
    ):
        page.clock.install()
        page.reload()
        expect(page.locator(".card")).to_have_count(1)
        expect(page.locator("body")).to_have_attribute("data-link", "up")
        page.evaluate(WATCH_LINK)
        school.relay.freeze()
        room.students[0].is_gone = True
        page.clock.fast_forward(DEAD_AFTER_MS)
        assert page.evaluate("wasDown")
        page.clock.fast_forward(1000)
        expect(page.locator("body")).to_have_attribute("data-link", "up")


def test_the_students_page_notices_a_dead_connection(school, browser):
    """Half-open: what was sent is not acknowledged. The page connects again and sends it again."""
    with opened(browser, school.url + "student?test") as page:
        page.clock.install()
        page.reload()
        page.fill("[name=name]", "Meia")
        page.click("#connect")
        expect(page.locator("#link")).to_have_text("conectado")
        expect(page.locator("#acked")).to_have_text(re.compile(r"\d"))
        school.relay.freeze()
        page.clock.run_for(DEAD_AFTER_MS)
        page.clock.run_for(1000)
        expect(page.locator("#link")).to_have_text("conectado")
        sent = int(page.locator("#sent").text_content() or "")
        wait_for(lambda: len(school.deltas("Meia")) >= sent, "the readings of the dead connection")
        seqs = sorted(reading.seq for reading in school.peer.readings() if reading.name == "Meia")
        assert seqs == list(range(len(seqs)))


def test_a_bad_network_loses_and_doubles_nothing(school, browser):
    """Silent, dropping, refusing, slow, deaf, half-open; the browser's clock runs ahead of the network's."""
    relay = school.relay
    faults = (relay.hold, relay.cut, relay.refuse, lambda: relay.delay(DELAY_S), relay.deafen, relay.freeze)
    with opened(browser, school.url + "student?test") as page:
        page.clock.install()
        page.reload()
        load_client(page)
        page.evaluate("make('Rede', 'Rede')")
        for number, fault in enumerate(faults):
            fault()
            try:
                page.evaluate("([first, last]) => put(first, last)", [10 * number, 10 * number + 10])
                page.clock.run_for(DEAD_AFTER_MS)
            finally:
                relay.heal()
            page.clock.run_for(RECONNECTED_WITHIN_MS)
            page.evaluate("emptied()")
        page.evaluate("student.stop()")
    assert school.deltas("Rede") == list(range(10 * len(faults)))
    assert len(school.sessions("Rede")) == 1


def test_a_tablet_that_two_students_share(school, browser):
    """What the first one could not send is recorded as the first one's, while the second one works."""
    with opened(browser, school.url + "student?test") as page:
        wait_until_shown(page)
        school.relay.refuse()
        try:
            page.locator("#delta").fill("1000")
            page.fill("[name=name]", "Primeira")
            page.click("#connect")
            expect(page.locator("#waiting")).to_have_text("2")
            page.click("#disconnect")
        finally:
            school.relay.heal()
        page.locator("#delta").fill("2000")
        page.fill("[name=name]", "Segundo")
        page.click("#connect")
        wait_for(lambda: school.deltas("Segundo"), "readings of the second student")
        wait_for(lambda: len(school.deltas("Primeira")) >= 2, "readings of the first student")
        page.click("#disconnect")
    assert set(school.deltas("Primeira")) == {1000}
    assert set(school.deltas("Segundo")) == {2000}


def test_a_page_that_is_loaded_anew_in_the_moment_of_a_reading_keeps_it(school, browser):
    """Ten readings and the reload in one turn: the database has none of them yet."""
    with opened(browser, school.url + "student?test") as page:
        load_client(page)
        page.evaluate("make('Logo', 'Logo')")
        with page.expect_navigation():
            page.evaluate("() => { for (let n = 0; n < 10; n += 1) void put(n, n + 1); location.reload(); }")
        load_client(page)
        page.evaluate("make('Logo', 'Logo').then(() => put(10, 12)).then(() => nothingLeft())")
        page.evaluate("student.stop()")
    assert school.deltas("Logo") == list(range(12))


@pytest.mark.parametrize("has_locks", [True, False], ids=["web locks", "plain http"])
def test_two_tabs_of_one_student(school, browser, has_locks):
    """Each has its own session. What a closed tab could not send, the other tab sends in the closed one's."""
    name = f"Abas {has_locks}"
    with opened(browser, school.url + "student?test") as first:
        if not has_locks:
            first.context.add_init_script(WITHOUT_LOCKS)
            first.reload()
        second = first.context.new_page()
        second.goto(school.url + "student?test")
        for tab in (first, second):
            load_client(tab)
        school.relay.refuse()
        try:
            for number, tab in enumerate((first, second)):
                tab.evaluate("([name, store]) => make(name, store)", [name, name])
                tab.evaluate("([first, last]) => put(first, last)", [10 * number, 10 * number + 5])
            sessions = {tab.evaluate("student.session") for tab in (first, second)}
            assert len(sessions) == 2
        finally:
            school.relay.heal()
        for tab in (first, second):
            tab.evaluate("emptied()")
        school.relay.refuse()
        try:
            second.evaluate("put(15, 20)")
            second.close()
        finally:
            school.relay.heal()
        first.evaluate("dispatchEvent(new Event('online'))")
        first.evaluate("nothingLeft()")
        assert first.evaluate("student.stop()") is None
    wait_for(lambda: len(school.deltas(name)) >= 15, "all readings")
    assert school.deltas(name) == [*range(5), *range(10, 20)]
    assert school.sessions(name) == sessions


def test_stop_and_start_ten_times_in_a_row(school, page):
    """One working connection is left, and every reading arrives once."""
    page.evaluate("make('Dez', 'Dez')")
    page.evaluate("""async () => {
      for (let number = 0; number < 10; number += 1) {
        await put(number, number + 1);
        student.stop();
        const started = student.start();
        if (number % 2) await started;
      }
      await put(10, 20);
      await emptied();
      await nothingLeft();
      student.stop();
    }""")
    wait_for(lambda: len(school.deltas("Dez")) >= 20, "all readings")
    assert school.deltas("Dez") == list(range(20))
    assert len(school.sessions("Dez")) == 1


@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
def test_every_reading_is_recorded_once_and_under_its_own_name(broker, browser, tmp_path):
    """A bad network, tablets that two share, three tabs, stop and start: the script that Node's test runs too."""
    with recorded_stack(broker, tmp_path / "recordings") as stack:
        run_in_browser(stack, browser, SIMULATED_S)
        stack.check_rows(SIMULATED_S)
