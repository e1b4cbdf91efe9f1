"""The gateway as a program, between real WebSocket clients and real brokers."""

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from neuroone.contract import topics
from neuroone.contract.messages import Kind
from tests.support.brokers import LOOPBACK, Broker
from tests.support.gateways import HEARD_WITHIN_S, GatewayProgram, Peer, close_code, happens, hear
from tests.support.messages import reading

SEED_EXAMPLE = json.loads((Path(__file__).parents[1] / "golden" / "ws_student.json").read_text(encoding="utf-8"))[
    "sent"
]
pytestmark = pytest.mark.broker


@pytest.fixture
def gateway(broker: Broker, peer: Peer) -> Iterator[GatewayProgram]:
    program = GatewayProgram(broker)
    program.start(peer)
    yield program
    program.finish()


@pytest.fixture
async def client(gateway: GatewayProgram) -> AsyncIterator[Callable[..., Any]]:
    """Open a connection that sends these messages; it is closed after the test."""
    opened: list[ClientConnection] = []

    async def open_client(*words: str | bytes, path: str = "/") -> ClientConnection:
        connection = await connect(gateway.url + path, compression=None)
        opened.append(connection)
        for word in words:
            await connection.send(word)
        return connection

    yield open_client
    for connection in opened:
        await connection.close()


async def dashboard_of(client: Callable[..., Any], word: str = "dash") -> ClientConnection:
    """A dashboard that the gateway knows: it has answered the bad frame sent after dash."""
    dashboard: ClientConnection = await client(word, "?")
    assert "error" in await hear(dashboard)
    return dashboard


def has_heard(peer: Peer, readings: int) -> bool:
    return len(peer.readings()) >= readings


def frame(name: str, code: str = "A", **values: Any) -> str:
    return json.dumps({"Nome": name, "Codigo": code, "Att": 85, **values})


@pytest.mark.parametrize("word", ["dash", ' "dash"\n'])
async def test_the_seeds_example(peer, client, word):
    """The old student example reaches an old dashboard to the byte, and the broker as a reading."""
    dashboard = await dashboard_of(client, word)
    await client(SEED_EXAMPLE, path="/ws/")
    heard = await asyncio.wait_for(dashboard.recv(), HEARD_WITHIN_S)
    assert heard == '{"ID": 1, "Nome": "Joao_Silva", "Codigo": "ABC123", "Att": 85, "Med": 72}'
    await happens(peer.readings)
    said = peer.readings()[0]
    assert (said.kind, said.name, said.code, said.mid_gamma, said.seq) == (
        Kind.CLIENT,
        "Joao_Silva",
        "ABC123",
        890123,
        0,
    )
    await happens(lambda: peer.statuses("Joao_Silva") == ["online"])


async def test_every_dashboard_hears_every_student(client):
    dashboards = [await dashboard_of(client) for _ in range(3)]
    for name in ("Ana", "Bia"):
        await client(frame(name))
    for dashboard in dashboards:
        assert {(await hear(dashboard))["Nome"] for _ in range(2)} == {"Ana", "Bia"}


async def test_a_dashboard_hears_each_reading_once_also_of_a_student_who_leaves_at_once(peer, client):
    """A broker of MQTT 3.1.1 sends the gateway's own readings back."""
    dashboard = await dashboard_of(client)
    for number in range(20):
        student = await client(frame("Ana", Att=number))
        await student.close()
        if number % 10 == 9:
            await happens(partial(has_heard, peer, number + 1))
    other = topics.reading("local", "B", "Bia")
    peer.bus.publish(other, reading(name="Bia", code="B", session="elsewhere", attention=77))
    heard = [await hear(dashboard) for _ in range(21)]
    assert [(each["Nome"], each["Att"]) for each in heard] == [*(("Ana", n) for n in range(20)), ("Bia", 77)]


async def test_a_dashboard_hears_a_student_who_sends_right_after_its_dash(client):
    """Both are often read in one turn of the gateway's loop, in any order."""
    for number in range(100):
        dashboard, student = await client(), await client()
        await dashboard.send("dash")
        await student.send(frame(f"N{number}"))
        assert (await hear(dashboard))["Nome"] == f"N{number}"
        await dashboard.close()
        await student.close()


async def test_a_dashboard_hears_the_students_also_while_the_broker_is_away(client, broker):
    dashboard = await dashboard_of(client)
    student = await client(frame("Ana", Att=1))
    assert (await hear(dashboard))["Att"] == 1
    broker.stop()
    await student.send(frame("Ana", Att=2))
    assert (await hear(dashboard))["Att"] == 2
    broker.start()
    await student.send(frame("Ana", Att=3))
    assert (await hear(dashboard))["Att"] == 3


async def test_a_client_that_says_nothing_hears_the_local_headset(peer, client):
    """Games get ten keys once a second, and no student's numbers."""
    listener = await client()
    dashboard = await dashboard_of(client)
    await client(frame("Ana"))
    await hear(dashboard)
    topic = topics.reading("local", "no-group", "bench")
    peer.bus.publish(topic, reading(kind=Kind.HEADSET, name=None, code=None, attention=61, poor_signal=0))
    heard = await hear(listener)
    assert list(heard) == [
        "Att", "Med", "Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta", "LowGamma", "MiddleGamma",
    ]  # fmt: skip
    assert heard["Att"] == 61


async def test_bad_frames_harm_nobody(client):
    """One student's faults are answered to that student; the others go on, and so does the connection itself."""
    dashboard = await dashboard_of(client)
    bad = await client(b"\xff", "[]", "null", frame("Eva", Att="85"), frame("Eva", Delta=-1), "x" * 8000)
    for field in ("", "", "", "Att", "Delta", ""):
        assert (await hear(bad))["error"]["field"] == field
    await client(frame("Ana"))
    assert (await hear(dashboard))["Nome"] == "Ana"
    await bad.send(frame("Eva"))
    assert (await hear(dashboard))["Nome"] == "Eva"


async def test_ten_bad_frames_in_a_row_close_the_connection(client):
    """The close code is 1008."""
    bad = await client(*["?"] * 9, frame("Eva"), *["?"] * 10)
    assert await close_code(bad) == 1008


async def test_a_message_that_is_too_long_closes_only_its_own_connection(client):
    """More than 8 KiB: the close code is 1009."""
    dashboard = await dashboard_of(client)
    bad = await client("x" * (8 * 1024 + 1))
    assert await close_code(bad) == 1009
    await client(frame("Ana"))
    assert (await hear(dashboard))["Nome"] == "Ana"


async def test_a_reconnect_keeps_stream_and_id(peer, client):
    """A phone that comes back with its code and name is the same student for everybody."""
    dashboard = await dashboard_of(client)
    first = await client(frame("Ana"))
    assert (await hear(dashboard))["ID"] == 1
    await first.close()
    await happens(lambda: "offline" in peer.statuses("Ana"))
    await client(frame("Bia"))
    assert (await hear(dashboard))["ID"] == 2
    await client(frame("Ana"))
    assert (await hear(dashboard))["ID"] == 1
    await happens(lambda: peer.statuses("Ana") == ["online", "offline", "online"])
    assert len({said.session for said in peer.readings() if said.name == "Ana"}) == 2


async def test_two_students_of_one_name_are_two(peer, client):
    """The second one has another ID and another stream, under the same name, as soon as the first one speaks again."""
    dashboard = await dashboard_of(client)
    first = await client(frame("Ana"))
    heard = [await hear(dashboard)]
    await client(frame("Ana", Att=7))
    while heard[-1]["ID"] != 2:
        await first.send(frame("Ana"))
        heard.append(await hear(dashboard))
    assert heard.pop() == {"ID": 2, "Nome": "Ana", "Codigo": "A", "Att": 7, "Med": 0}
    assert all(each == {"ID": 1, "Nome": "Ana", "Codigo": "A", "Att": 85, "Med": 0} for each in heard)
    await happens(lambda: "online" in peer.statuses("Ana-2"))


async def test_513_frames_a_second_are_coalesced(peer, client):
    """A client that sends every packet of its headset does not flood the others."""
    flood = [frame("Eva", Att=0)] * 513
    flood[300] = frame("Eva", Att=77)
    student = await client(*flood)
    await happens(lambda: any(said.attention == 77 for said in peer.readings()))
    await student.close()
    await happens(lambda: "offline" in peer.statuses("Eva"))
    assert len(peer.readings()) < 40


async def test_sigterm_leaves_offline_states_and_asks_clients_to_come_again(gateway, peer, client, broker):
    """The gateway ends in order: states offline, close code 1012, exit code 0."""
    dashboard = await dashboard_of(client)
    await client(frame("Ana"))
    await hear(dashboard)
    gateway.process.send_signal(signal.SIGTERM)
    await happens(lambda: gateway.process.poll() is not None)
    code, log = gateway.end(signal.SIGTERM)
    assert (code, "Traceback" in log) == (0, False)
    assert "Ana" not in log
    assert await close_code(dashboard) == 1012
    late = Peer(broker)
    try:
        await happens(lambda: late.statuses("Ana"))
        assert late.statuses("Ana") == ["offline"]
        states = [m for t, m in late.heard if t == topics.service_state("local", "ws_gateway", "test")]
        assert [getattr(state, "status", None) for state in states] == ["offline"]
    finally:
        late.bus.close()


def test_clients_that_do_not_close_do_not_delay_the_stop(gateway):
    """Not even those that the gateway has closed before."""
    handshake = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    handshake += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    address = (LOOPBACK, gateway.port)
    with socket.create_connection(address) as broken, socket.create_connection(address) as silent:
        for client in (broken, silent):
            client.sendall(handshake)
            assert client.recv(1024).endswith(b"\r\n\r\n")
        broken.sendall(b"\x83\x80\0\0\0\0")  # an opcode that there is not
        assert broken.recv(1024)[0] == 0x88
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(HEARD_WITHIN_S) == 0


async def test_a_killed_gateways_states_are_cleared_by_the_next(gateway, peer, client):
    await client(frame("Ana"))
    await happens(lambda: "online" in peer.statuses("Ana"))
    gateway.end(signal.SIGKILL)
    gateway.start(peer)
    await happens(lambda: peer.statuses("Ana") == ["online", "offline"])


def test_a_port_in_use_is_reported_in_one_sentence(broker):
    """Exit code 2 and a sentence that says which port, no traceback."""
    program = GatewayProgram(broker)
    with socket.create_server((LOOPBACK, program.port)):
        ended = subprocess.run(
            program.command, capture_output=True, text=True, encoding="utf-8", timeout=20, check=False
        )
    assert ended.returncode == 2
    assert f"port {program.port}" in ended.stderr
    assert "Traceback" not in ended.stderr
