"""The dialect neuroone.v1 between real clients and real brokers, and what survives a crash of the broker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS, GroupEvent, Reading
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK
from tests.support.gateways import HEARD_WITHIN_S, GatewayProgram, close_code, happens, hear
from tests.support.messages import SESSION

pytestmark = pytest.mark.broker

LINK_WITHIN_S = 10.0


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    """Open a connection of the new dialect that says hello; it is closed after the test."""
    opened: list[ClientConnection] = []

    async def open_client(gateway: GatewayProgram, path: str = "/", **hello: Any) -> ClientConnection:
        connection = await connect(gateway.url + path, subprotocols=[Subprotocol("neuroone.v1")])
        assert connection.subprotocol == "neuroone.v1"
        opened.append(connection)
        await say(connection, "hello", **hello)
        return connection

    yield open_client
    for connection in opened:
        await connection.close()


async def say(connection: ClientConnection, kind: str, **content: Any) -> None:
    await connection.send(json.dumps({"type": kind, **content}))


async def hear_of(connection: ClientConnection, kind: str) -> Any:
    """The next message of a kind."""
    while (said := await hear(connection))["type"] != kind:
        pass
    return said


def values(seq: int, attention: int = 60) -> dict[str, Any]:
    return {"seq": seq, "attention": attention, "meditation": 50, **dict.fromkeys(BANDS, 1)}


STUDENT = {"role": "student", "name": "Ana", "code": "A", "session": SESSION}


async def test_a_student_says_hello_sends_and_is_acked(peer, start_gateway, client):
    """Readings keep the phone's session, seq and time, and are acknowledged once the broker has them."""
    student = await client(start_gateway(), **STUDENT)
    assert await hear(student) == {
        "type": "welcome",
        "session": SESSION,
        "group": "A",
        "source": "Ana",
        "next_seq": 0,
    }
    assert await hear(student) == {"type": "link", "broker": True, "recorder": False}
    await say(student, "reading", **values(0), time="2026-11-22T18:20:31.123456Z", poor_signal=26)
    assert await hear(student) == {"type": "ack", "stage": "broker", "seq": 0}
    await happens(peer.readings)
    said = peer.readings()[0]
    assert (said.session, said.seq, said.name, said.poor_signal, said.time.second) == (SESSION, 0, "Ana", 26, 31)


async def test_a_session_is_resumed_after_the_connection_broke(peer, start_gateway, client):
    """What was acknowledged is not published again."""
    gateway = start_gateway()
    student = await client(gateway, **STUDENT)
    for seq in range(3):
        await say(student, "reading", **values(seq))
    while (await hear_of(student, "ack"))["seq"] < 2:
        pass
    again = await client(gateway, **STUDENT)
    assert (await hear_of(again, "welcome"))["next_seq"] == 3
    assert await close_code(student) == 4001
    for seq in range(1, 5):
        await say(again, "reading", **values(seq))
    while (await hear_of(again, "ack"))["seq"] < 4:
        pass
    await happens(lambda: len(peer.readings()) >= 5)
    assert [reading.seq for reading in peer.readings()] == [0, 1, 2, 3, 4]
    assert {topic["source"] for topic, message in peer.heard if isinstance(message, Reading)} == {"Ana"}


async def test_a_dashboard_hears_who_is_there_at_once(start_gateway, client):
    """A dashboard that joins late gets the state and the last reading of everyone in its group, then new ones."""
    gateway = start_gateway()
    for name, code in (("Ana", "A"), ("Bia", "B")):
        student = await client(gateway, role="student", name=name, code=code)
        await say(student, "reading", **values(0, attention=61))
        await hear_of(student, "ack")
    everybody = await client(gateway, role="dashboard")
    heard: set[tuple[str, str]] = set()
    while len(heard) < 4:  # the gateway knows of both what it sends at once to who joins next
        said = await hear(everybody)
        heard |= {(said["type"], said["name"])} if said["type"] in ("state", "reading") else set()
    assert heard == {(kind, name) for kind in ("state", "reading") for name in ("Ana", "Bia")}
    of_one = await client(gateway, role="dashboard", code="B")
    state = await hear_of(of_one, "state")
    assert (state["status"], state["source"], state["group"]) == ("online", "Bia", "B")
    reading = await hear_of(of_one, "reading")
    assert (reading["name"], reading["attention"], reading["mid_gamma"], reading["id"]) == ("Bia", 61, 1, state["id"])
    await student.close()
    assert (await hear_of(of_one, "state"))["status"] == "offline"


async def test_old_and_new_clients_see_each_other(start_gateway, client):
    """An old dashboard shows a new student, and a new dashboard an old student."""
    gateway = start_gateway()
    viewer = await client(gateway, role="dashboard")
    async with connect(gateway.url) as old:
        await old.send("dash")
        await old.send('{"Nome": "Bia", "Codigo": "B", "Att": 85}')
        assert (await hear_of(viewer, "reading"))["attention"] == 85
        assert (await hear(old))["Nome"] == "Bia"
        student = await client(gateway, **STUDENT)
        await say(student, "reading", **values(0))
        assert await hear(old) == {"ID": 2, "Nome": "Ana", "Codigo": "A", "Att": 60, "Med": 50}


async def test_markers_reach_the_group(peer, start_gateway, client):
    """A marker of a dashboard or a student is an event of the group, and acknowledged."""
    gateway = start_gateway()
    viewer = await client(gateway, role="dashboard", code="A")
    await hear_of(viewer, "link")
    await say(viewer, "marker", id="m1", event="session_start", text="7B")
    heard = [await hear(viewer), await hear(viewer)]
    assert {"type": "ack", "stage": "broker", "marker": "m1"} in heard
    event = next(each for each in heard if each["type"] == "event")
    assert (event["event"], event["text"], event["group"], event["source"]) == ("session_start", "7B", "A", None)
    student = await client(gateway, **STUDENT)
    await say(student, "marker", id="m2", text="eyes closed")
    assert (await hear_of(viewer, "event"))["source"] == "Ana"
    await happens(lambda: len([m.id for _, m in peer.heard if isinstance(m, GroupEvent)]) == 2)
    first, second = (m.id for _, m in peer.heard if isinstance(m, GroupEvent))
    assert first == "m1"
    assert second.startswith("m2-"), "a student's marker has an id that no other student's has"


@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
async def test_a_dashboard_hears_something_every_ten_seconds(start_gateway, client):
    """Then it can tell a quiet class from a dead connection. Nothing else hears of it."""
    gateway = start_gateway()
    viewer, student = await client(gateway, role="dashboard"), await client(gateway, **STUDENT)
    async with connect(gateway.url) as old:
        await old.send("dash")
        await hear_of(viewer, "link")  # the answer to hello
        assert (await asyncio.wait_for(hear_of(viewer, "link"), LINK_WITHIN_S))["broker"] is True
        await old.send("?")
        assert "error" in await hear(old)
    await student.send("?")
    assert [(await hear(student))["type"] for _ in range(3)] == ["welcome", "link", "error"]


async def test_the_answer_to_a_bad_reading_says_which_one(start_gateway, client):
    """So a client can drop it, and send the rest again. A number that is none is not repeated."""
    student = await client(start_gateway(), **STUDENT)
    for seq, known in ((7, 7), (-1, None), ("7", None), (10**400, None), (True, None)):
        await say(student, "reading", **{**values(0, 101), "seq": seq})
        assert (await hear_of(student, "error")).get("seq") == known


@pytest.mark.parametrize(
    ("sent", "code", "field"),
    [
        ("?", "bad_json", ""),
        ('{"type":"dance"}', "bad_value", "type"),
        ('{"type":"hello","role":"student"}', "bad_value", "type"),
        ('{"type":"reading","seq":0}', "bad_value", "attention"),
        ('{"type":"reading","seq":-1,"attention":1}', "bad_value", None),
        ('{"type":"marker"}', "bad_value", "id"),
    ],
)
async def test_bad_messages_are_answered(start_gateway, client, sent, code, field):
    """The answer names the field; the connection stays and works."""
    student = await client(start_gateway(), **STUDENT)
    await student.send(sent)
    said = await hear_of(student, "error")
    assert said["code"] == code
    assert field is None or said["field"] == field
    await say(student, "reading", **values(0))
    assert (await hear_of(student, "ack"))["seq"] == 0


async def test_a_client_that_does_not_say_hello_first(start_gateway):
    async with connect(start_gateway().url, subprotocols=[Subprotocol("neuroone.v1")]) as stranger:
        await say(stranger, "reading", **values(0))
        assert (await hear(stranger))["code"] == "no_hello"


async def test_the_health_pages(start_gateway):
    """The same port answers /healthz, /readyz and /metrics over plain HTTP."""
    gateway = start_gateway()

    async def page(path: str) -> str:
        reader, writer = await asyncio.open_connection(LOOPBACK, gateway.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), HEARD_WITHIN_S)
        writer.close()
        return answer.decode()

    assert (await page("/healthz")).startswith("HTTP/1.1 200")
    assert (await page("/readyz")).startswith("HTTP/1.1 200")
    assert "neuroone_gateway_readings_total 0.0" in await page("/metrics")
    assert (await page("/nothing")).startswith("HTTP/1.1 404")


async def test_watching_needs_the_token(tmp_path: Path, start_gateway, client):
    """Students need none."""
    file = tmp_path / "token"
    gateway = start_gateway("--token-file", str(file), "--no-open-here")
    token = file.read_text(encoding="ascii").strip()
    assert file.stat().st_mode & 0o077 == 0
    async with connect(gateway.url) as stranger:
        await stranger.send("dash")
        assert (await hear(stranger))["error"]["code"] == "no_token"
        assert await close_code(stranger) == 1008
    stranger = await client(gateway, role="dashboard", token="wrong")
    assert (await hear(stranger))["code"] == "no_token"
    assert await close_code(stranger) == 1008
    viewers = [
        await client(gateway, role="dashboard", token=token),
        await client(gateway, path=f"/?token={token}", role="dashboard"),
    ]
    student = await client(gateway, **STUDENT)
    await say(student, "reading", **values(0))
    for viewer in viewers:
        assert (await hear_of(viewer, "reading"))["name"] == "Ana"


async def test_a_class_with_a_join_code(tmp_path: Path, start_gateway, client):
    """Students of other classes need none; wrong codes are limited."""
    file = tmp_path / "codes.json"
    file.write_text('{"A": "4821"}', encoding="utf-8")
    gateway = start_gateway("--join-codes", str(file))
    assert (await hear(await client(gateway, role="student", code="B")))["type"] == "welcome"
    assert (await hear(await client(gateway, **STUDENT, token="4821")))["type"] == "welcome"
    for guess in range(10):
        assert (await hear(await client(gateway, **STUDENT, token=str(guess))))["code"] == "no_join_code"
    assert (await hear(await client(gateway, **STUDENT, token="4821")))["code"] == "no_join_code"


@pytest.mark.parametrize("trusted", [False, True])
async def test_limits_behind_a_proxy(start_gateway, trusted):
    """Connections and wrong codes count for the address that a trusted proxy names; other headers are ignored."""
    proxies = ("--trusted-proxies", f"10.0.0.0/8,{LOOPBACK}") if trusted else ()
    gateway = start_gateway("--token", "secret", "--clients-per-address", "1", *proxies)

    def come_from(forwarded_for: str) -> connect:
        headers = {"X-Forwarded-For": forwarded_for}
        return connect(gateway.url + "/?token=secret", additional_headers=headers, proxy=None)

    async def is_let_in(forwarded_for: str) -> bool:
        with contextlib.suppress(InvalidStatus):
            async with come_from(forwarded_for):
                return True
        return False

    async with come_from("198.51.100.1"):
        assert await is_let_in("198.51.100.2") is trusted
        for spoofed in ("198.51.100.2, 198.51.100.1", "198.51.100.1, 10.0.0.7", "junk"):
            assert await is_let_in(spoofed) is (trusted and spoofed == "junk")
