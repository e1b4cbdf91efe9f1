"""One gateway for two schools: what a token of one does with everything of the other, and what a district sees."""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bench import district_flood
from neuroone.contract import topics
from neuroone.contract.files import INBOX_FILE
from neuroone.contract.messages import GroupEvent, LessonState, Reading
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service import token_files
from neuroone.service.token_files import Role
from neuroone.up import brokers
from neuroone.up.broker_access import Access
from tests.support.brokers import LOOPBACK, free_port
from tests.support.browser import chromium, opened
from tests.support.bus_listener import Listener
from tests.support.messages import reading
from tests.support.recorder_process import RecorderProcess
from tests.support.recordings import SEED_FILE, reading_rows, write_session
from tests.support.site_broker import OURS, THEIRS, site_broker
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
DISTRICT = "the-districts-own-token"
KEY = "the-key-of-school-a"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
STUDENT = '{"Nome": "%s", "Codigo": "6B", "Att": 50, "Med": 50, "Delta": 1}'


@dataclass
class District:
    """Its gateway, its broker, and everything that is said there of either school."""

    port: int
    folder: Path
    access: Access
    heard: Listener

    def token(self, site: str) -> str:
        """The first token of a school: its teacher's."""
        return (self.folder / site / "token").read_text(encoding="ascii").strip()

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """Ask for a page; return the status and the body."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(asked) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def connect(self, path: str, *protocols: Any) -> ClientConnection:
        return connect(f"ws://{LOOPBACK}:{self.port}{path}", subprotocols=protocols or None, proxy=None)

    @contextlib.contextmanager
    def dashboard(self, site: str, token: str) -> Iterator[ClientConnection]:
        """Say hello as a teacher's page."""
        with self.connect(f"/{site}/", "neuroone.v1") as connection:
            connection.send(json.dumps({"type": "hello", "role": "dashboard", "token": token}))
            yield connection


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    """Run the gateway of a district with two schools, of which there are recordings."""
    with running(tmp_path_factory.mktemp("district"), {}) as found:
        yield found


@contextlib.contextmanager
def running(folder: Path, more: Mapping[str, Mapping[str, str]], files: int = 1024) -> Iterator[District]:
    """Run it with ``more`` schools and so many open files."""
    port = free_port()
    kind = next(kind for kind in brokers.KINDS if brokers.find(kind))
    sites: dict[str, Mapping[str, str]] = {}
    for site in (OURS, THEIRS):
        recordings = folder / site / "recordings"
        write_session(recordings, "Ana", "6B", "s1", NOON, reading_rows(2, NOON))
        (recordings / "Ana.csv").write_text(SEED_FILE, encoding="ascii")
        sites[site] = {
            "name": f"Escola {site[-1].upper()}",
            "broker": f"file:{folder}/logins/site-{site}.url",
            "token_file": f"{folder}/{site}/token",
            "recordings": str(recordings),
        } | ({"site_key": KEY} if site == OURS and not more else {})
    (folder / "sites.json").write_text(json.dumps({**sites, **more}), encoding="utf-8")
    (folder / "token").write_text(DISTRICT, encoding="ascii")
    heard = Listener()
    with contextlib.ExitStack() as stack:
        access = stack.enter_context(site_broker(kind, folder))
        bus = ThreadedClient(
            [access.of("monitor_gui")],
            Identity("local", "monitor_gui", "test", "0", 1, "run"),
            subscriptions={"neuroone/v1/#": 1},
            on_delivery=heard.deliveries.append,
        )
        bus.start()
        stack.callback(bus.close)
        words = ["--sites", f"{folder}/sites.json", "--token-file", f"{folder}/token", "--no-open-here"]
        command = [sys.executable, "-m", "ws_gateway", "--host", LOOPBACK, "--ws-port", str(port), *words]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
        found = District(port, folder, access, heard)
        try:
            wait_for(lambda: is_ready(found), "ready gateway")
            yield found
        finally:
            process.terminate()
            _, log = process.communicate(timeout=20)
            print(log)
            assert "Traceback" not in log


def is_ready(district: District) -> bool:
    with contextlib.suppress(OSError):
        return district.get("/readyz")[1].startswith(b"2 of ")
    return False


def frames(connection: ClientConnection) -> list[dict[str, Any]]:
    """Receive everything until the gateway closes the connection."""
    received = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            received.append(json.loads(connection.recv(20)))
    return received


def wait_for_frame(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """Receive until a frame of this type comes."""
    while True:
        frame: dict[str, Any] = json.loads(connection.recv(20))
        if frame.get("type") == kind:
            return frame


PAGES = {
    "list of recordings": "/recordings",
    "file of a student": "/recordings/files/Ana.csv",
    "session": "/recordings/sessions/2026-11-22/s1.zip",
    "lesson": "/recordings/lessons/2026-11-22?format=xlsx",
    "invitation": "/invitation?code=6B",
    "metrics": "/metrics",
    "readiness": "/readyz",
}


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_a_page_of_another_school_is_refused(district: District, path: str) -> None:
    assert district.get(f"/{THEIRS}{path}", district.token(OURS))[0] == 401
    assert district.get(f"/{THEIRS}{path}")[0] == 401
    assert district.get(f"/{OURS}{path}", district.token(OURS))[0] in (200, 404)


@pytest.mark.parametrize("path", ["/recordings", "/recordings/files/Ana.csv", "/metrics", "/readyz"])
def test_a_school_opens_its_own(district: District, path: str) -> None:
    """So that the test above would notice what opens."""
    assert district.get(f"/{OURS}{path}", district.token(OURS))[0] == 200


@pytest.mark.parametrize("path", [f"/{THEIRS}/../{OURS}/recordings", f"//{OURS}/recordings", f"/{OURS}%2Frecordings"])
def test_no_other_spelling_of_a_path_leads_into_a_school(district: District, path: str) -> None:
    assert district.get(path, district.token(OURS))[0] in (400, 401, 404)


def test_a_dashboard_of_another_school_is_refused(district: District) -> None:
    with district.dashboard(THEIRS, district.token(OURS)) as connection:
        assert [frame["code"] for frame in frames(connection)] == ["no_token"]
    assert connection.close_code == 1008


def test_an_old_dashboard_of_another_school_is_refused(district: District) -> None:
    with district.connect(f"/{THEIRS}/?token={district.token(OURS)}") as connection:
        connection.send("dash")
        assert [frame["error"]["code"] for frame in frames(connection)] == ["no_token"]


def test_who_follows_a_student_of_another_school_is_refused(district: District) -> None:
    with district.connect(f"/{THEIRS}/?follow=6B/Ana&token={district.token(OURS)}") as connection:
        assert [frame["error"]["code"] for frame in frames(connection)] == ["no_token"]


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "marker", "id": "m1", "event": "session_start", "text": "x"},
        {"type": "marker", "id": "m2", "event": "session_stop"},
        {"type": "door", "state": "closed"},
        {"type": "admit", "id": "x"},
        {"type": "remove", "group": "6B", "source": "Ana"},
        {"type": "raw_wanted", "wanted": True},
    ],
    ids=lambda each: str(each.get("event", each["type"])),
)
def test_a_teacher_of_another_school_has_no_say_there(district: District, request_: dict[str, Any]) -> None:
    """Not even after a hello as a student, which needs no token."""
    with district.connect(f"/{THEIRS}/", "neuroone.v1") as connection:
        token = district.token(OURS)
        connection.send(json.dumps({"type": "hello", "role": "student", "name": "Eva", "code": "6B", "token": token}))
        wait_for_frame(connection, "welcome")
        connection.send(json.dumps(request_))
        assert wait_for_frame(connection, "error")["code"] == "not_a_teacher"


def test_nothing_of_one_school_is_seen_in_the_other(district: District) -> None:
    """Students, markers and lessons of one: the dashboards of the other hear none, nor does the broker there."""
    with (
        district.dashboard(OURS, district.token(OURS)) as ours,
        district.dashboard(THEIRS, district.token(THEIRS)) as theirs,
        district.connect(f"/{THEIRS}/ws") as student,
    ):
        for each in (ours, theirs):
            wait_for_frame(each, "welcome")
        theirs.send(json.dumps({"type": "marker", "id": "b-start", "event": "session_start", "text": "Lesson of B"}))
        theirs.send(json.dumps({"type": "marker", "id": "b-mark", "event": "marker", "text": "Mark of B"}))
        assert wait_for_frame(theirs, "lesson")["name"] == "Lesson of B"
        student.send(STUDENT % "Bia_of_B")
        while wait_for_frame(theirs, "reading")["source"] != "Bia_of_B":
            pass
        ours.send(json.dumps({"type": "marker", "id": "a-end", "event": "marker", "text": "Mark of A"}))
        seen: list[dict[str, Any]] = []
        while not (seen and seen[-1].get("type") == "event" and seen[-1].get("text") == "Mark of A"):
            seen.append(json.loads(ours.recv(20)))
        assert not [frame for frame in seen if "of B" in json.dumps(frame) or "of_B" in json.dumps(frame)]
        theirs.send(json.dumps({"type": "marker", "id": "b-stop", "event": "session_stop"}))
        district.heard.wait_for(GroupEvent, lambda topic, event: event.id == "b-stop")
    sites = {topic.site for topic, said in district.heard.of(Reading) if said.name == "Bia_of_B"}
    assert sites == {THEIRS}
    assert {topic.site for topic, said in district.heard.of(LessonState)} == {THEIRS}
    assert {topic.site for topic, said in district.heard.of(GroupEvent) if said.text == "Mark of A"} == {OURS}


def test_a_token_opens_its_school_and_that_of_the_district_all(district: District) -> None:
    listed = {token: json.loads(district.get("/sites", token)[1]) for token in (district.token(OURS), DISTRICT, "x")}
    both = [{"site": OURS, "name": "Escola A"}, {"site": THEIRS, "name": "Escola B"}]
    assert list(listed.values()) == [both[:1], both, []]
    assert json.loads(district.get(f"/{THEIRS}/sites", district.token(OURS))[1]) == both[:1]
    assert district.get(f"/{THEIRS}/recordings", DISTRICT)[0] == 200


def test_a_token_that_is_made_later_opens_its_school_only(district: District) -> None:
    made = token_files.new_token("games", Role.WATCH)
    token_files.add(district.folder / OURS / "token", made)
    wait_for(lambda: district.get("/sites", made.token)[1] != b"[]", "the new token")
    with district.dashboard(OURS, made.token) as ours, district.dashboard(THEIRS, made.token) as theirs:
        wait_for_frame(ours, "welcome")
        assert [frame["code"] for frame in frames(theirs)] == ["no_token"]


@pytest.mark.parametrize("path", [f"/{OURS}/ws/another-key", f"/{OURS}/", f"/{OURS}/ws/{KEY}"])
def test_a_student_needs_the_key_of_its_school(district: District, path: str) -> None:
    with district.connect(path, "neuroone.v1") as connection:
        connection.send(json.dumps({"type": "hello", "role": "student", "name": "Davi", "code": "6B"}))
        first = json.loads(connection.recv(20))
    assert first["type"] == ("welcome" if path.endswith(KEY) else "error")


def test_an_invitation_leads_to_the_students_page_of_the_school(district: District) -> None:
    asked = f"/{OURS}/invitation?code=6B&folder=/{OURS}/"
    url = json.loads(district.get(asked, district.token(OURS))[1])["url"]
    assert url.endswith(f":{district.port}/{OURS}/student?code=6B#key={KEY}")


def test_an_app_whose_address_names_no_school_is_told_so(district: District) -> None:
    """Unless --site says whose it is."""
    for path in ("/", "/ws", "/school-c/", f"/{OURS}.x/"):
        with pytest.raises(InvalidStatus) as refused:
            district.connect(path).__enter__()
        assert refused.value.response.status_code == 404


def test_a_schools_address_may_lack_the_slash(district: District) -> None:
    status, page = district.get(f"/{OURS}")  # urllib follows
    assert (status, b"page/main.js" in page) == (200, True)
    lean = http.client.HTTPConnection(LOOPBACK, district.port)
    lean.request("GET", f"/{OURS}?token=x&by=lesson")
    assert lean.getresponse().headers["Location"] == f"{OURS}/?token=x&by=lesson"
    lean.close()


def test_what_a_device_keeps_for_one_school_is_not_found_at_another(district: District) -> None:
    """Names that were typed, and readings that the gateway does not have yet."""
    here = f"http://{LOOPBACK}:{district.port}"
    ask = """async (site) => {
      const [who, folder] = await Promise.all(["who", "folder"].map((name) => import(`/${site}/page/${name}.js`)));
      const before = who.remembered().map(({ name }) => name);
      who.remember({ name: site, code: "6B", key: "" });
      return [before, folder.ofSchool("neuroone")];
    }"""
    with chromium() as browser, opened(browser, f"{here}/{OURS}/student") as page:
        stores = set()
        for site in (OURS, THEIRS, OURS):
            page.goto(f"{here}/{site}/student")
            before, store = page.evaluate(ask, site)
            assert before == ([site] if store in stores else [])
            stores.add(store)
    assert len(stores) == 2


def test_a_recorder_with_the_login_of_one_school_records_nothing_of_the_other(
    district: District, tmp_path: Path
) -> None:
    def recorder(login: str, folder: str) -> RecorderProcess:
        options = ("--site", THEIRS, "--instance", folder)
        return RecorderProcess(district.access.of(login).url, tmp_path / folder, *options)

    topic = topics.reading(THEIRS, "7C", "Caio")
    identity = Identity(THEIRS, "serial_bridge", "x", "0", 1, "x")
    with recorder(f"site-{OURS}", "ours"), recorder(f"site-{THEIRS}", "theirs"):
        bus = ThreadedClient(BrokerAddresses([district.access.of(f"site-{THEIRS}")]), identity)
        bus.start()
        try:
            wait_for(lambda: (tmp_path / "ours" / INBOX_FILE).exists(), "the recorder of the other school")

            def is_recorded() -> bool:
                bus.publish(topic, reading(name="Caio", code="7C", session="c", seq=0))
                return (tmp_path / "theirs" / "Caio.csv").exists()

            wait_for(is_recorded, "the file")
        finally:
            bus.close()
        assert not list((tmp_path / "ours").rglob("*.csv"))


def test_the_pages_lead_from_one_school_to_the_next(district: District) -> None:
    """The district's page lists the schools of a token; each school's page has a chooser."""
    with chromium() as browser, opened(browser, f"http://{LOOPBACK}:{district.port}/") as page:
        page.locator("input[name=token]").fill(district.token(OURS))
        page.locator("form button").click()
        expect(page.locator("#schools a")).to_have_text(["Escola A"])
        page.locator("input[name=token]").fill(DISTRICT)
        page.locator("form button").click()
        expect(page.locator("#schools a")).to_have_text(["Escola A", "Escola B"])
        assert Axe().run(page).violations_count == 0
        page.locator("#schools a").first.click()
        page.locator("#menu summary").click()
        expect(page.locator("#school")).to_have_value(OURS)
        page.locator("#school").select_option(THEIRS)
        page.wait_for_url(f"**/{THEIRS}/")
        page.locator("#menu summary").click()
        expect(page.locator("#school")).to_have_value(THEIRS)


def test_a_flood_of_one_school_and_the_dead_broker_of_another_leave_a_third_one_alone(tmp_path: Path) -> None:
    """Each reading of it is shown once, and its clients keep their connections; the flood could use up all of those."""
    with socket.create_server((LOOPBACK, 0)) as silent, contextlib.ExitStack() as stack:
        broker = f"mqtt://{LOOPBACK}:{silent.getsockname()[1]}"
        dead = {"school-c": {"broker": broker, "token_file": str(tmp_path / "c")}}
        district = stack.enter_context(running(tmp_path, dead, files=400))
        school = district_flood.School(district.port, district.token(THEIRS))
        for kind in ("bad_frames", "connections", "deaf_dashboards", "new_frames"):
            flood = district_flood.start_flood(kind, district.port, district.token(OURS), 0.05)
            stack.callback(flood.wait)
            stack.callback(flood.kill)
        wait_for(lambda: refused(district, OURS) > 0, "more connections than there may be", 20)
        lost, doubled, connections_lost, *_ = asyncio.run(school.measure(2))
        assert (lost, doubled, connections_lost) == (0, 0, 0)
        assert refused(district, THEIRS) == 0


def refused(district: District, site: str) -> float:
    """Return how many clients a school was told to come again, for want of connections."""
    page = district.get(f"/{site}/metrics", district.token(site))[1].decode()
    return float(re.findall(r'refusals_total{.*reason="too_many_connections".*} (.+)', page)[0])
