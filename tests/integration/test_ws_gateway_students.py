"""One student is one student from phone to file: through gateways as programs, real brokers and the real recorder."""

import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS
from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.gateways import GatewayProgram, Peer, happens, hear, speak_until
from tests.support.recorder_process import RecorderProcess

pytestmark = pytest.mark.broker
RECORDED_WITHIN_S = 30.0


@pytest.fixture
def recordings(broker: Broker, peer: Peer, tmp_path: Path) -> Iterator[Path]:
    """The directory of a recorder that runs."""
    directory = tmp_path / "recordings"
    recorder = RecorderProcess(broker.url, directory)
    try:
        yield directory
    finally:
        recorder.kill()


async def until_recording(peer: Peer) -> None:
    await happens(lambda: peer.services("csv_recorder"))


def has_heard(peer: Peer, readings: int) -> bool:
    return len(peer.readings()) >= readings


def frame(attention: int, name: str = "Ana", code: str = "A") -> str:
    return json.dumps({"Nome": name, "Codigo": code, "Att": attention})


def rows(file: Path) -> list[str]:
    """The attention of each row of a student's file."""
    return [line.split(",")[0] for line in file.read_text(encoding="utf-8").splitlines()[1:]] if file.exists() else []


async def dashboard_of(gateway: GatewayProgram) -> ClientConnection:
    dashboard = await connect(gateway.url)
    await dashboard.send("dash")
    await dashboard.send("?")
    assert "error" in await hear(dashboard)
    return dashboard


@pytest.mark.timeout(120)
@pytest.mark.parametrize("gateways", [1, 2])
async def test_a_half_open_phone_that_comes_back_is_the_same_student(peer, start_gateway, recordings, gateways):
    """Its old connections say nothing any more and do not end: all rows are in one file, under one ID."""
    await until_recording(peer)
    programs = [start_gateway(instance=name) for name in ("one", "two")[:gateways]]
    dashboard = await dashboard_of(programs[-1])
    sent: list[str] = []
    async with contextlib.AsyncExitStack() as connections:
        for turn in range(3):
            phone = await connections.enter_async_context(connect(programs[turn % gateways].url))
            connections.callback(phone.transport.abort)
            for _ in range(3):
                await phone.send(frame(len(sent)))
                sent.append(str(len(sent)))
            await happens(partial(has_heard, peer, len(sent)))
            phone.transport.pause_reading()
            await happens(lambda: peer.statuses("Ana")[-1:] == ["stale"])
        heard = [await hear(dashboard) for _ in sent]
        await happens(lambda: len(rows(recordings / "Ana.csv")) == len(sent), RECORDED_WITHIN_S)
    assert {each["ID"] for each in heard} == {1}
    assert rows(recordings / "Ana.csv") == sent
    assert [file.name for file in recordings.glob("Ana*.csv") if rows(file)] == ["Ana.csv"]
    await dashboard.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
@pytest.mark.parametrize("gateways", [1, 2])
@pytest.mark.parametrize("end", ["half-open", "reset", "closed"])
async def test_a_phone_that_comes_back_within_3_s_is_the_same_student(peer, start_gateway, recordings, gateways, end):
    """Its old connection ends after the new one has begun, or never: all rows are in one file, under one ID."""
    await until_recording(peer)
    programs = [start_gateway(instance=name) for name in ("one", "two")[:gateways]]
    dashboard = await dashboard_of(programs[-1])
    count, old = 0, None
    async with contextlib.AsyncExitStack() as connections:
        for turn in range(3):
            phone = await connections.enter_async_context(connect(programs[turn % gateways].url))
            connections.callback(phone.transport.abort)
            for _ in range(2):
                await phone.send(frame(count))
                count += 1
            if old is not None and end == "half-open":
                old.transport.pause_reading()
            elif old is not None and end == "reset":
                old.transport.abort()
            elif old is not None:
                await old.close()
            await happens(partial(has_heard, peer, count))
            old = phone
        heard = [await hear(dashboard) for _ in range(count)]
        await happens(lambda: len(rows(recordings / "Ana.csv")) == count, RECORDED_WITHIN_S)
    assert [each["Att"] for each in heard] == [*range(count)]
    assert {each["ID"] for each in heard} == {1}
    assert rows(recordings / "Ana.csv") == [str(number) for number in range(count)]
    assert [file.name for file in recordings.glob("Ana*.csv")] == ["Ana.csv"]
    await dashboard.close()


@pytest.mark.timeout(120)
async def test_two_students_of_one_name_and_code_who_both_speak_have_two_files(peer, start_gateway, recordings):
    await until_recording(peer)
    gateway = start_gateway()
    async with connect(gateway.url) as first, connect(gateway.url) as second:
        files = [recordings / name for name in ("Ana.csv", "Ana__A.csv")]
        await first.send(frame(1))
        await happens(peer.readings)
        phones = [(first, frame(1)), (second, frame(51))]
        await speak_until(lambda: all(len(rows(file)) >= 10 for file in files), *phones)
    assert {int(row) < 50 for row in rows(recordings / "Ana.csv")} == {True}
    assert {int(row) < 50 for row in rows(recordings / "Ana__A.csv")} == {False}


@pytest.mark.timeout(120)
async def test_what_was_coalesced_stands_in_the_events_of_the_session(peer, start_gateway, recordings):
    """An app that sends 513 frames at once: what is left out is said, once, in the files of its session."""
    await until_recording(peer)
    gateway = start_gateway()
    async with connect(gateway.url) as app:
        for attention in range(513):
            await app.send(frame(attention % 100))
        await happens(lambda: len(peer.readings()) >= 10)
    await happens(lambda: "offline" in peer.statuses("Ana"))
    published = len(peer.readings())

    def events() -> list[str]:
        return [
            line
            for file in recordings.glob("sessions/*/*/events.csv")
            for line in file.read_text(encoding="utf-8").splitlines()
            if "readings coalesced" in line
        ]

    await happens(events, RECORDED_WITHIN_S)
    assert f"{513 - published} readings coalesced" in events()[-1]


async def test_other_programs_objects_are_answered_and_not_recorded(peer, start_gateway):
    gateway = start_gateway()
    async with connect(gateway.url) as client:
        for said in ("{}", '{"nome":"Ana","att":85}', '{"event":"start"}', '{"Nome":"Ana","Codigo":"A"}'):
            await client.send(said)
            error = (await hear(client))["error"]
            assert (error["code"], error["field"]) == ("bad_value", "")
        await client.send('{"Nome":"Ana","Delta":7}')
        await happens(peer.readings)
    assert [(each.name, each.delta, each.theta) for each in peer.readings()] == [("Ana", 7, 0)]


async def say_hello(url: str, **hello: Any) -> ClientConnection:
    connection = await connect(url, subprotocols=[Subprotocol("neuroone.v1")])
    await connection.send(json.dumps({"type": "hello", "role": "student", **hello}))
    return connection


async def heard_of(connection: ClientConnection, kind: str) -> Any:
    while (said := await hear(connection))["type"] != kind:
        pass
    return said


def numbered(seq: int) -> str:
    values = {"attention": 60, "meditation": 50, **dict.fromkeys(BANDS, 1)}
    return json.dumps({"type": "reading", "seq": seq, **values})


async def test_a_session_under_another_name_is_another_session(peer, start_gateway):
    """Two students on one tablet: nobody's readings are taken for the other's, and both are acknowledged."""
    gateway = start_gateway()
    ana = await say_hello(gateway.url, name="Ana", code="A", session="of-this-tablet")
    assert (await heard_of(ana, "welcome"))["session"] == "of-this-tablet"
    bruno = await say_hello(gateway.url, name="Bruno", code="A", session="of-this-tablet")
    assert (await heard_of(bruno, "welcome"))["session"] != "of-this-tablet"
    for student in (ana, bruno):
        await student.send(numbered(0))
        assert (await heard_of(student, "ack"))["seq"] == 0
    await happens(lambda: len({(each.name, each.session) for each in peer.readings()}) == 2)
    for student in (ana, bruno):
        await student.close()


async def test_acks_wait_for_a_reading_that_was_left_out(peer, start_gateway):
    """`ack` 4 means that 0, 1, 2, 3 and 4 are there."""
    gateway = start_gateway()
    student = await say_hello(gateway.url, name="Ana", code="A", session="session-1")
    for seq in (0, 1, 3, 4):
        await student.send(numbered(seq))
    await happens(lambda: len(peer.readings()) == 4)
    await student.send(numbered(2))
    acks: list[int] = []
    while not acks or acks[-1] < 4:
        acks.append((await heard_of(student, "ack"))["seq"])
    await happens(partial(has_heard, peer, 5))
    assert not {2, 3} & set(acks[:-1])
    assert sorted(each.seq for each in peer.readings()) == [0, 1, 2, 3, 4]
    await student.close()
