"""Who may watch, teach, mark and join: a real gateway, its clients' headers, and `neuroone token`."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import GroupEvent, Kind, Reading
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.gateways import HEARD_WITHIN_S, GatewayProgram, Peer, close_code, happens, hear
from tests.support.messages import reading

TOKEN = "of-the-teacher"
ELSEWHERE = {"X-Forwarded-For": "198.51.100.1"}
"""What a proxy adds: the connection does not come from this machine, even if the proxy does."""
EVIL = "http://evil.example"
LOW_RATE = """
import sys
import ws_gateway.access as access
assert access.CONNECTS_BURST and access.CONNECTS_RATE_HZ
access.CONNECTS_BURST, access.CONNECTS_RATE_HZ = 5, 0.001
from ws_gateway.__main__ import main
sys.exit(main())
"""
"""The command, with a rate of connections that a test can exceed."""

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the gateway is ended by signals"),
]


@pytest.fixture
def broker(start_broker) -> Broker:
    """Access does not depend on the kind of broker: one is enough."""
    started: Broker = start_broker(brokers.NATS)
    return started


@pytest.fixture
def start(broker: Broker, peer: Peer, tmp_path: Path) -> Iterator[Callable[..., GatewayProgram]]:
    """Start gateways that serve recordings; assert at the end that their logs have no traceback."""
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "Ana.csv").write_text("Att\n85\n", encoding="utf-8")
    running: list[GatewayProgram] = []

    def begin(*words: str) -> GatewayProgram:
        gateway = GatewayProgram(broker, "--recordings", str(tmp_path / "recordings"), *words)
        gateway.start(peer)
        running.append(gateway)
        return gateway

    try:
        yield begin
    finally:
        for gateway in running:
            gateway.finish()


def come(gateway: GatewayProgram, token: str | None = None, **headers: str) -> connect:
    """Connect as an old client, from elsewhere, as a page of another site or under another name of the server."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    origin = given.pop("Origin", None)
    host = given.pop("Host", f"{LOOPBACK}:{gateway.port}")
    return connect(
        f"ws://{host}/" + ("" if token is None else f"?token={token}"),
        host=LOOPBACK,
        port=gateway.port,
        additional_headers=given,
        origin=None if origin is None else Origin(origin),
        proxy=None,
    )


@contextlib.asynccontextmanager
async def client(gateway: GatewayProgram, elsewhere: bool = True, **hello: Any) -> Any:
    """Connect as a client of the new dialect, from elsewhere by default."""
    headers = ELSEWHERE if elsewhere else {}
    protocols = [Subprotocol("neuroone.v1")]
    async with connect(gateway.url, subprotocols=protocols, additional_headers=headers, proxy=None) as connection:
        await say(connection, "hello", **hello)
        yield connection


async def say(connection: ClientConnection, kind: str, **content: Any) -> None:
    await connection.send(json.dumps({"type": kind, **content}))


async def hear_of(connection: ClientConnection, *kinds: str) -> Any:
    while (frame := await hear(connection))["type"] not in kinds:
        pass
    return frame


async def may_watch(gateway: GatewayProgram, token: str | None = None, code: str = "A", **headers: str) -> bool:
    """Say `dash`; return False if it is refused, True if it hears of a student who comes then."""
    async with come(gateway, token, **headers) as dashboard, come(gateway) as student:
        await dashboard.send("dash")
        for _ in range(40):
            await student.send(json.dumps({"Nome": "Ana", "Codigo": code, "Att": 60, "Med": 50}))
            with contextlib.suppress(TimeoutError):
                frame = json.loads(await asyncio.wait_for(dashboard.recv(), 0.5))
                if "error" in frame:
                    assert frame["error"]["code"] == "no_token"
                    assert await close_code(dashboard) == 1008
                    return False
                return "Nome" in frame
    raise AssertionError("neither a frame nor an error")


def status(gateway: GatewayProgram, path: str = "/recordings", **headers: str) -> int:
    """Ask over HTTP; return the status of the answer."""
    connection = HTTPConnection(LOOPBACK, gateway.port, timeout=20)
    host = headers.pop("Host", f"localhost:{gateway.port}")
    connection.putrequest("GET", path, skip_host=True)
    for name, value in {"Host": host, **{n.replace("_", "-"): v for n, v in headers.items()}}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with contextlib.closing(connection):
        return connection.getresponse().status


def neuroone_token(*words: str) -> str:
    """Run `neuroone token`; return what it prints."""
    command = [sys.executable, "-m", "neuroone", "token", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8", timeout=60).stdout


def token_in_line(line: str) -> str:
    return line.rpartition("?token=")[2].strip()


async def test_web_pages_of_others_see_neither_students_nor_recordings(start):
    """Without --token too, and under a name of a stranger's that points to this machine (DNS rebinding)."""
    gateway = start()
    assert await may_watch(gateway)
    own = f"{LOOPBACK}:{gateway.port}"
    assert await may_watch(gateway, Origin=f"http://{own}")
    assert not await may_watch(gateway, Origin=EVIL)
    assert not await may_watch(gateway, Origin=f"{EVIL}:{gateway.port}", Host=f"evil.example:{gateway.port}")
    assert await may_watch(gateway, Host="a-program-may-write.anything"), "browsers always send Origin"
    assert not await may_watch(gateway, **ELSEWHERE)
    assert status(gateway) == 200
    assert status(gateway, Host=own) == 200
    assert status(gateway, Host=f"evil.example:{gateway.port}") == 401
    assert status(gateway, Origin=EVIL) == 401
    assert status(gateway, Sec_Fetch_Site="cross-site") == 401
    assert status(gateway, **ELSEWHERE) == 401


async def test_a_browser_of_this_machine_needs_a_token_neither_for_the_class_nor_for_recordings(start):
    gateway = start("--token", TOKEN)
    for host in ("localhost", LOOPBACK, "[::1]"):
        own = f"{host}:{gateway.port}"
        assert await may_watch(gateway, Origin=f"http://{own}", Host=own)
        assert status(gateway, Host=own) == 200
    assert status(gateway, **ELSEWHERE) == 401
    assert status(gateway, Authorization=f"Bearer {TOKEN}", **ELSEWHERE) == 200
    assert status(gateway, f"/recordings?token={TOKEN}", **ELSEWHERE) == 200


async def test_origin_does_not_shut_out_the_gateways_own_page(start):
    gateway = start("--origin", "https://School.example/", "--origin", "http://pwa.example:8080")
    for origin in (f"http://{LOOPBACK}:{gateway.port}", "https://school.example", "http://pwa.example:8080"):
        assert await may_watch(gateway, Origin=origin)
    for origin in (EVIL, "http://school.example", "https://pwa.example:8080", f"http://{LOOPBACK}:1"):
        with pytest.raises(InvalidStatus):
            await come(gateway, Origin=origin)


async def test_the_right_token_passes_however_many_wrong_ones_came_before(start):
    gateway = start("--token", TOKEN)
    for n in range(15):
        assert not await may_watch(gateway, f"wrong-{n}", **ELSEWHERE)
    assert await may_watch(gateway, TOKEN, **ELSEWHERE)
    assert status(gateway, f"/recordings?token={TOKEN}", **ELSEWHERE) == 200


async def test_join_codes_lock_nobody_of_another_class_out(tmp_path, start):
    """Right ones never count, wrong ones count for one class."""
    file = tmp_path / "codes.json"
    file.write_text('{"A": "4821", "B": "1357", "Turma 7": "2468"}', encoding="utf-8")
    gateway = start("--token", TOKEN, "--join-codes", str(file))
    student = {"Nome": "Ana", "Codigo": "A", "Att": 60, "Med": 50}

    async def may_join(word: str, code: str = "A", name: str = "Ana") -> bool:
        async with client(gateway, role="student", name=name, code=code, token=word) as connection:
            return bool((await hear(connection))["type"] == "welcome")

    for n in range(25):
        async with come(gateway, "4821", **ELSEWHERE) as phone:
            await phone.send(json.dumps({**student, "Nome": f"Ana {n}"}))
    assert await may_join("4821")
    assert await may_watch(gateway, TOKEN, "no code", **ELSEWHERE)
    for n in range(12):
        assert not await may_join(str(n))
    assert not await may_join("4821")
    assert await may_join("1357", "B")
    assert not await may_join("", topics.group_id("Turma 7")), "another spelling of a class wants its code too"
    assert await may_watch(gateway, TOKEN, "no code", **ELSEWHERE)


async def test_only_teachers_start_and_stop_lessons(start, peer):
    gateway = start("--token", TOKEN)
    async with (
        client(gateway, role="student", name="Ana", code="A", session="session-ana") as student,
        client(gateway, role="dashboard", token=TOKEN) as teacher,
    ):
        for event in ("session_stop", "session_start"):
            await say(student, "marker", id=event, event=event, text="taken over")
            assert (await hear_of(student, "error", "ack"))["code"] == "not_a_teacher"
        await say(student, "marker", id="m1", text="eyes closed")
        assert (await hear_of(student, "error", "ack"))["marker"] == "m1"
        await say(teacher, "marker", id="t1", event="session_start", text="7B", code="A")
        assert (await hear_of(teacher, "ack"))["marker"] == "t1"
    await happens(lambda: len(events(peer)) == 2)
    assert [(each.type, each.text) for each in events(peer)] == [("marker", "eyes closed"), ("session_start", "7B")]


def events(peer: Peer) -> list[GroupEvent]:
    return [message for _, message in peer.heard if isinstance(message, GroupEvent)]


async def test_many_markers_do_not_hide_a_running_lesson(start, peer):
    gateway = start("--token", TOKEN)
    async with client(gateway, role="dashboard", token=TOKEN, code="A") as teacher:
        await say(teacher, "marker", id="t1", event="session_start", text="7B")
        for n in range(101):
            await say(teacher, "marker", id=f"m{n}")
        await happens(lambda: len(events(peer)) == 102)
        async with client(gateway, role="dashboard", token=TOKEN, code="A") as late:
            await hear_of(late, "link")
            assert (await hear_of(late, "event"))["event"] == "session_start"
        await say(teacher, "marker", id="t2", event="session_stop")
        for n in range(101):
            await say(teacher, "marker", id=f"n{n}")
        await happens(lambda: len(events(peer)) == 204)
        async with client(gateway, role="dashboard", token=TOKEN, code="A") as late:
            await hear_of(late, "link")
            assert {(await hear_of(late, "event"))["event"] for _ in range(100)} == {"marker"}


async def test_markers_of_two_students_with_one_id_are_two(start, peer):
    """And the same marker, sent again after a reconnect, is the same."""
    gateway = start()
    ana = {"role": "student", "name": "Ana", "code": "A", "session": "session-ana"}
    for hello in (ana, {**ana, "name": "Bia", "session": "session-bia"}, ana):
        async with client(gateway, elsewhere=True, **hello) as student:
            await say(student, "marker", id="1")
            assert (await hear_of(student, "ack", "error"))["marker"] == "1"
    await happens(lambda: len(events(peer)) == 3)
    first, second, again = (each.id for each in events(peer))
    assert first == again != second


async def test_a_student_marks_once_a_second(start, peer):
    gateway = start("--token", TOKEN)
    async with client(gateway, role="student", name="Ana", code="A", session="session-ana") as student:
        for n in range(8):
            await say(student, "marker", id=str(n))
        said = [await hear_of(student, "ack", "error") for _ in range(8)]
    assert sum(each["type"] == "ack" for each in said) <= 3
    assert {each["code"] for each in said if each["type"] == "error"} == {"too_fast"}


@pytest.mark.parametrize("origin", ["null", "file://"])
async def test_a_page_from_a_file_of_this_machine_watches_and_the_log_says_so(broker, peer, origin):
    """It can be any page that hides where it is from, so it watches only."""
    gateway = GatewayProgram(broker, "--token", TOKEN)
    gateway.start(peer)
    try:
        assert await may_watch(gateway, Origin=origin)
        assert not await may_watch(gateway, Origin=origin, **ELSEWHERE)
        peer.bus.publish(topics.reading("local", "A", "bench"), reading(kind=Kind.HEADSET))
        assert status(gateway, Origin=origin) == 403
    finally:
        code, log = gateway.end(signal.SIGTERM)
    assert code == 0
    assert "a page from a file of this machine watches without a token" in log


async def test_open_here_can_be_forbidden(start):
    gateway = start("--token", TOKEN, "--no-open-here")
    assert not await may_watch(gateway)
    assert not await may_watch(gateway, Origin="null")
    assert status(gateway) == 401
    assert await may_watch(gateway, TOKEN)


async def test_open_dashboards_let_everybody_watch_and_no_web_page_read_recordings(start):
    """As with the first server; but a page of another site gets no recordings, whatever its name points to."""
    gateway = start("--open-dashboards")
    assert await may_watch(gateway, Origin=EVIL, **ELSEWHERE)
    assert status(gateway, **ELSEWHERE) == 200
    assert status(gateway, Host="evil.example", **ELSEWHERE) == 403


async def test_a_token_to_watch_shows_live_frames_and_nothing_else(tmp_path, start, peer):
    file = tmp_path / ".token"
    gateway = start("--token-file", str(file))
    words = ("--token-file", str(file))
    watch = token_in_line(neuroone_token("make", "games", *words))
    ana = token_in_line(neuroone_token("make", "Ana's game", "--code", "A", "--student", "Ana", *words))
    other = token_in_line(neuroone_token("make", "room 2", "--code", "B", *words))
    assert file.with_name(".token.list").stat().st_mode & 0o077 == 0
    await happens(lambda: status_of(gateway, other) == 403)  # the gateway has read the new tokens
    assert await may_watch(gateway, watch, **ELSEWHERE)
    assert await may_watch(gateway, ana, **ELSEWHERE)
    async with (
        client(gateway, role="dashboard", token=watch, code="A") as game,
        client(gateway, role="dashboard", token=ana) as anas,
        client(gateway, role="dashboard", token=other) as others,
        come(gateway) as student,
    ):
        for name in ("Bia", "Ana"):
            await student.send(json.dumps({"Nome": name, "Codigo": "A", "Att": 60, "Med": 50}))
        assert (await hear_of(anas, "reading"))["name"] == "Ana"
        for kind in ("session_start", "session_stop"):
            await say(game, "marker", id="1", event=kind)
            assert (await hear_of(game, "error"))["code"] == "not_a_teacher"
        await say(others, "marker", id="1", code="A")
        assert (await hear_of(others, "error", "reading", "event"))["code"] == "not_a_teacher"
    async with client(gateway, role="dashboard", token=other, code="A") as curious:
        assert (await hear(curious))["code"] == "no_token"


async def test_a_game_follows_one_student_as_far_as_its_token_allows(tmp_path, start):
    """Ten numbers once a second and nothing else; who may not follow is told why, and closed."""
    file = tmp_path / ".token"
    gateway = start("--token-file", str(file))
    words = ("--token-file", str(file))
    token = token_in_line(neuroone_token("make", "games of 7B", "--code", "7B", *words))
    await happens(lambda: status_of(gateway, token) == 403)

    def follow(query: str, **headers: str) -> connect:
        return connect(f"{gateway.url}/?{query}", additional_headers=headers, proxy=None)

    game = follow(f"follow=7B/Ana&token={token}", **ELSEWHERE)
    async with game as anas, follow("follow=7C/Ana") as here, come(gateway) as ana, come(gateway) as other:

        async def send() -> None:
            while True:
                await ana.send(json.dumps({"Nome": "Ana", "Codigo": "7B", "Att": 60, "Med": 50}))
                await other.send(json.dumps({"Nome": "Ana", "Codigo": "7C", "Att": 30, "Med": 50}))
                await asyncio.sleep(1)

        sending = asyncio.create_task(send())
        for _ in range(2):
            frame = await hear(anas)
            assert (frame["Att"], len(frame)) == (60, 10)
        assert (await hear(here))["Att"] == 30
        sending.cancel()
        for query, headers, code in (
            ("follow=7B/Ana", ELSEWHERE, "no_token"),
            (f"follow=7C/Ana&token={token}", ELSEWHERE, "no_token"),
            ("follow=7B/", {}, "bad_value"),
        ):
            async with follow(query, **headers) as refused:
                assert (await hear(refused))["error"]["code"] == code
                assert await close_code(refused) == 1008
        neuroone_token("revoke", "games of 7B", *words)
        assert await close_code(anas) == 1008


async def test_readings_go_out_as_osc_where_it_is_wanted(start, peer):
    """A student's and a headset's, read by another implementation's parser; the quality only if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind((LOOPBACK, 0))
        program.setblocking(False)

        async def hear_osc() -> OscMessage:
            return OscMessage(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(program, 4096), 20))

        gateway = start("--osc", f"{LOOPBACK}:{program.getsockname()[1]}")
        async with come(gateway) as student:
            await student.send(json.dumps({"Nome": "Ana", "Codigo": "7B", "Att": 60, "Med": 50, "HighBeta": 6}))
            heard = [await hear_osc() for _ in range(3)]
        assert [(each.address, each.params) for each in heard] == [
            ("/neuroone/7B/Ana/attention", [60.0]),
            ("/neuroone/7B/Ana/meditation", [50.0]),
            ("/neuroone/7B/Ana/bands", [0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0]),
        ]
        peer.bus.publish(topics.reading("local", "7B", "usb"), reading(kind=Kind.HEADSET, poor_signal=26))
        heard = [await hear_osc() for _ in range(4)]
        assert (heard[3].address, heard[3].params) == ("/neuroone/7B/usb/poor_signal", [26.0])


def status_of(gateway: GatewayProgram, token: str) -> int:
    return status(gateway, f"/recordings?token={token}", **ELSEWHERE)


async def test_a_revoked_token_is_worth_nothing_within_seconds(tmp_path, start):
    """Whoever watches by it is disconnected, others are not; a restart changes nothing."""
    file = tmp_path / ".token"
    words = ("--token-file", str(file))
    watch = token_in_line(neuroone_token("make", "games", *words))
    gateway = start(*words)
    first = file.read_text(encoding="ascii").strip()
    assert {"first: teacher", "games: watch"} == {
        line.partition(" http")[0] for line in neuroone_token("list", *words).splitlines()
    }
    async with (
        client(gateway, role="dashboard", token=watch) as game,
        client(gateway, role="dashboard", token=first) as teacher,
        come(gateway, watch, **ELSEWHERE) as old,
        come(gateway, watch, **ELSEWHERE) as silent,
    ):
        await old.send("dash")
        await hear_of(game, "link")
        neuroone_token("revoke", "games", *words)
        assert (await hear_of(game, "error"))["code"] == "no_token"
        for each in (game, old, silent):
            assert await close_code(each) == 1008
        await say(teacher, "marker", id="1")
        assert (await hear_of(teacher, "ack"))["marker"] == "1"
        assert not await may_watch(gateway, watch, **ELSEWHERE)
        replaced = token_in_line(neuroone_token("revoke", "first", *words))
        assert await close_code(teacher) == 1008
    assert replaced != first
    assert not await may_watch(gateway, first, **ELSEWHERE)
    assert await may_watch(gateway, replaced, **ELSEWHERE)


async def test_doubled_headers_and_odd_addresses_are_answered(start):
    gateway = start("--token", TOKEN)
    for head, status in (
        ("GET /recordings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400),
        ("GET /recordings HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET /recordings HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nOrigin: http://localhost\r\n", 400),
        ("GET /recordings HTTP/1.1\r\nHost: [::1\r\n", 401),
        ("GET /recordings HTTP/1.1\r\nHost: localhost\r\nOrigin: http://[::1\r\n", 401),
    ):
        reader, writer = await asyncio.open_connection(LOOPBACK, gateway.port)
        writer.write(f"{head}X-Forwarded-For: 198.51.100.1\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), head


async def test_one_client_that_makes_names_up_is_limited(start, peer):
    """Those who came before go on, and so does a student who comes to the same address."""
    gateway = start()
    begun: set[str] = set()

    def count_streams() -> int:
        begun.update(topic["source"] for topic, message in peer.heard if isinstance(message, Reading))
        return len(begun)

    async with come(gateway) as friend:
        await friend.send(json.dumps({"Nome": "Friend", "Att": 1}))
        refused = 0
        for n in range(9):
            async with come(gateway) as flooder:
                with contextlib.suppress(ConnectionClosed):
                    for each in range(100):
                        await flooder.send(json.dumps({"Nome": f"Made up {n} {each}", "Att": 1}))
                    await flooder.send("no JSON")
                    assert "error" in await hear(flooder)
                    continue
                await flooder.wait_closed()
                assert flooder.close_code == 1013
                refused += 1
        await friend.send(json.dumps({"Nome": "Friend", "Att": 2}))
        async with client(gateway, role="student", name="Bia", code="A") as late:
            assert (await hear(late))["type"] == "welcome"
        await happens(lambda: count_streams() > 500 and "Friend" in begun)
    assert refused >= 3
    assert count_streams() < 800
    assert 'neuroone_gateway_refusals_total{reason="too_many_names"}' in metrics_page(gateway)


def metrics_page(gateway: GatewayProgram) -> str:
    connection = HTTPConnection(LOOPBACK, gateway.port, timeout=20)
    connection.request("GET", "/metrics")
    with contextlib.closing(connection):
        return connection.getresponse().read().decode()


async def test_students_need_the_sites_key_in_their_address(start):
    """Dashboards need none, and neither do programs of this machine."""
    gateway = start("--site-key", "of-the-school", "--token", TOKEN)
    frame = json.dumps({"Nome": "Ana", "Codigo": "A", "Att": 60, "Med": 50})
    hello = json.dumps({"type": "hello", "role": "student", "name": "Ana"})

    def to(path: str, *protocols: str, **headers: str) -> connect:
        subprotocols = [Subprotocol(each) for each in protocols] or None
        return connect(gateway.url + path, subprotocols=subprotocols, additional_headers=headers, proxy=None)

    for path in ("/", "/ws/", "/ws/of-the-schoo"):
        async with to(path, **ELSEWHERE) as old, to(path, "neuroone.v1", **ELSEWHERE) as new:
            await old.send(frame)
            assert (await hear(old))["error"]["code"] == "no_join_code"
            assert await close_code(old) == 1008
            await new.send(hello)
            assert (await hear(new))["code"] == "no_join_code"
            assert await close_code(new) == 1008
    async with come(gateway, TOKEN, **ELSEWHERE) as dashboard:
        await dashboard.send("dash")
        await (await dashboard.ping())
        for path in ("/ws/of-the-school", "/ws/of-the-school?token=of-the-teacher"):
            async with to(path, **ELSEWHERE) as old, to(path, "neuroone.v1", **ELSEWHERE) as new:
                await old.send(frame)
                assert (await hear(dashboard))["Nome"] == "Ana"
                await new.send(hello)
                assert (await hear(new))["type"] == "welcome"
    assert await may_watch(gateway)


async def test_nobody_is_locked_out_by_a_flood_of_connections_from_the_same_address(broker, peer):
    """Beyond the rate connections take turns; none is refused, neither in the flood nor after it."""
    gateway = GatewayProgram(broker)
    gateway.command[1:3] = ["-c", LOW_RATE]
    gateway.start(peer)
    try:
        for _ in range(20):
            async with client(gateway, elsewhere=False, role="student", name="Ana", code="A") as student:
                assert await hear_of(student, "welcome")
    finally:
        gateway.finish()


async def test_students_come_in_under_pseudonyms_and_nobody_else_does(tmp_path, start, peer):
    """In both dialects; a change of the file counts within seconds; no name is on the broker or in the log."""
    file = tmp_path / "names.csv"
    file.write_text("name;pseudonym\nAna Íris;A01\nCaio;A03\n", encoding="utf-8")
    gateway = start("--pseudonyms", str(file))
    async with come(gateway) as dashboard, come(gateway) as ana, client(gateway, role="student", name="Caio") as caio:
        assert (await hear_of(caio, "welcome"))["source"] == "A03"
        await dashboard.send("dash")
        await ana.send(json.dumps({"Nome": "Ana I\u0301ris", "Codigo": "A", "Att": 60, "Med": 50}))
        assert (await hear(dashboard))["Nome"] == "A01"
        async with come(gateway) as bia:
            await bia.send(json.dumps({"Nome": "Bia", "Codigo": "A", "Att": 60, "Med": 50}))
            assert (await hear(bia))["error"]["code"] == "not_listed"
            assert await close_code(bia) == 1008
        async with client(gateway, role="student", name="Bia") as bia:
            assert (await hear_of(bia, "error"))["code"] == "not_listed"
        file.write_text("name;pseudonym\nAna Íris;A01\nCaio;A03\nBia;A02\n", encoding="utf-8")

        async def may_come_in() -> bool:
            async with client(gateway, role="student", name="Bia") as bia:
                return bool((await hear_of(bia, "error", "welcome")).get("source") == "A02")

        async with asyncio.timeout(HEARD_WITHIN_S):
            while not await may_come_in():
                pass
        await happens(lambda: {"A01"} <= {each.name for each in peer.readings()})
    _, log = gateway.end(signal.SIGTERM)
    sent = [f"{topic} {encode(message)!r}" for topic, message in peer.heard]
    assert not [each for each in (*sent, log) if any(name in each for name in ("Ana", "Bia", "Caio"))]
    assert "a student was refused: the name is not in the file" in log
