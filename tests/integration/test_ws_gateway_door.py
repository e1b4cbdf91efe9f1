"""The door of a lesson: real gateways, a real broker and recorder, phones of both dialects."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import StreamState
from tests.support.brokers import LOOPBACK
from tests.support.gateways import GatewayProgram, Peer, happens
from tests.support.lesson_door import App, Phone, Teacher
from tests.support.recorder_process import RecorderProcess

pytestmark = pytest.mark.broker
RECORDED_WITHIN_S = 30.0
PATIENT_GATEWAY = """
import sys
import ws_gateway.door.entrance as entrance
assert entrance.STARTING_MAX_S
entrance.STARTING_MAX_S = 60.0
from ws_gateway.__main__ import main
sys.exit(main())
"""
"""The command, but it waits a minute for the broker before it lets anybody in."""


def rows(file: Path) -> list[str]:
    """The attention of each row of a student's file."""
    return [line.split(",")[0] for line in file.read_text(encoding="utf-8").splitlines()[1:]] if file.exists() else []


def sent_by(peer: Peer, code: str) -> list[int]:
    """The attention of each reading of a code on the broker."""
    return [each.attention for each in peer.readings() if each.code == code]


def spawn(gateway: GatewayProgram) -> None:
    """Start a gateway, and do not wait until it has reached the broker."""
    gateway.process = subprocess.Popen(gateway.command, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def is_listening(gateway: GatewayProgram) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, gateway.port)) == 0


def resident_bytes(gateway: GatewayProgram) -> int:
    assert gateway.process is not None
    pages = Path(f"/proc/{gateway.process.pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def has_sent(peer: Peer, code: str, attention: int) -> bool:
    return attention in sent_by(peer, code)


def is_shown(peer: Peer, code: str) -> bool:
    return any(isinstance(message, StreamState) and message.code == code for _, message in peer.heard)


@pytest.mark.timeout(120)
async def test_a_stranger_cannot_take_marias_name_and_file_before_she_comes(broker, peer, start_gateway, tmp_path):
    recorder = RecorderProcess(broker.url, tmp_path)
    try:
        await happens(
            lambda: any(t.rule is topics.SERVICE_STATE and t["service"] == "csv_recorder" for t, _ in peer.heard)
        )
        gateway = start_gateway()
        async with Teacher(gateway) as teacher, Phone(gateway, "Maria", "5STRAN") as stranger:
            await teacher.begin("ask")
            await stranger.send(1, 2, 3)
            await stranger.is_told("waiting")
            async with Phone(gateway, "Maria", "5MARIA") as maria:
                await maria.send(51, 52)
                await teacher.sees(("Maria", "5STRAN", "new"), ("Maria", "5MARIA", "new"))
                await teacher.decide("admit", "5MARIA")
                await happens(lambda: sent_by(peer, "5MARIA") == [51, 52])
                await teacher.decide("refuse", "5STRAN")
                await stranger.is_told("removed")
                await stranger.send(4, 5)
                await maria.send(53)
                await happens(lambda: rows(tmp_path / "Maria.csv") == ["51", "52", "53"], RECORDED_WITHIN_S)
        assert not sent_by(peer, "5STRAN")
        assert not is_shown(peer, "5STRAN")
        assert [file.name for file in tmp_path.glob("Maria*.csv")] == ["Maria.csv"]
    finally:
        recorder.kill()


async def test_what_a_phone_sends_while_it_waits_is_recorded_once_it_is_admitted(peer, start_gateway):
    """The first dialect's frames are kept, with the time of each; an app of the new one sends them again."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher, contextlib.AsyncExitStack() as clients:
        await teacher.begin("ask")
        phone = await clients.enter_async_context(Phone(gateway, "Ana", "5ANA"))
        app = await clients.enter_async_context(App(gateway, "Bia", "5BIA", "session-of-bia"))
        hasty = await clients.enter_async_context(App(gateway, "Caio", "5CAIO", "session-of-caio"))
        await phone.send(1, 2, 3)
        await hasty.send(0, 1)
        await phone.is_told("waiting")
        for each in (app, hasty):
            await each.is_told("ask")
        everybody = [("Ana", "5ANA", "new"), ("Bia", "5BIA", "new"), ("Caio", "5CAIO", "new")]
        await teacher.sees(*everybody)
        assert not peer.readings()
        for code in ("5ANA", "5BIA", "5CAIO"):
            assert not is_shown(peer, code)
            await teacher.decide("admit", code)
        await happens(lambda: sent_by(peer, "5ANA") == [1, 2, 3])
        assert len({each.time for each in peer.readings()}) == 3
        await app.is_welcome()
        await app.send(0, 1)
        await happens(lambda: sent_by(peer, "5BIA") == [0, 1])
        await hasty.connection.wait_closed()
        again = await clients.enter_async_context(App(gateway, "Caio", "5CAIO", "session-of-caio"))
        await again.is_welcome()
        await again.send(0, 1, 2)
        await happens(lambda: sent_by(peer, "5CAIO") == [0, 1, 2])
        await teacher.sees()


async def test_a_closed_door_keeps_newcomers_out_until_it_opens(peer, start_gateway):
    """Phones stay connected, are on no list, and come in when the door opens; those who were here come back."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher, Phone(gateway, "Ana", "5ANA") as ana:
        await ana.send(1)
        await happens(lambda: peer.statuses("Ana"))
        await teacher.begin("closed")
        await ana.send(2)
        async with Phone(gateway, "Bia", "5BIA") as phone, App(gateway, "Caio", "5CAIO", "session-1") as app:
            await phone.send(1)
            await phone.is_told("door_closed")
            await app.is_told("closed")
            await ana.connection.close()
            await happens(lambda: "offline" in peer.statuses("Ana"))
            async with Phone(gateway, "Ana", "5ANA") as again:
                await again.send(3)
                await happens(lambda: sent_by(peer, "5ANA") == [1, 2, 3])
            assert teacher.waiting == []
            await teacher.set_door("open")
            await app.is_welcome()
            await phone.send(2)
            await happens(lambda: sent_by(peer, "5BIA") == [2])
            assert phone.heard == [each for each in phone.heard if set(each) == {"error"}]


async def test_a_phone_with_a_new_code_comes_in_by_itself_only_from_its_own_address(peer, start_gateway):
    """The real app makes a new code at each start. Who only knows her name, at another or a shared address, waits."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher, contextlib.AsyncExitStack() as clients:

        async def phone(name: str, code: str, address: str) -> Phone:
            client = await clients.enter_async_context(Phone(gateway, name, code, address))
            await client.send(1)
            return client

        maria = await phone("Maria", "5AAAAA", "127.0.1.1")
        ana, _ = await phone("Ana", "5ANA", "127.0.1.9"), await phone("Bia", "5BIA", "127.0.1.9")
        await happens(lambda: len(peer.readings()) == 3)
        await teacher.begin("ask")
        while_she_sends = await phone("Maria", "5WHILE", "127.0.1.1")
        await while_she_sends.is_told("waiting")
        for each in (maria, ana):
            await each.connection.close()
        await happens(lambda: "offline" in peer.statuses("Maria") and "offline" in peer.statuses("Ana"))
        await happens(lambda: sent_by(peer, "5WHILE") == [1])
        await while_she_sends.connection.close()
        await phone("Maria", "5OTHER", "127.0.1.2")
        await phone("Ana", "5SHARE", "127.0.1.9")
        await teacher.sees(("Maria", "5OTHER", "was_here"), ("Ana", "5SHARE", "was_here"))


async def test_who_is_removed_stays_out_for_the_lesson_unless_the_teacher_changes_her_mind(peer, start_gateway):
    """A class behind the same address is not locked out, nor is another student of the same name."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher, contextlib.AsyncExitStack() as clients:
        await teacher.begin()
        rude = await clients.enter_async_context(Phone(gateway, "Rui", "5RUI"))
        app = await clients.enter_async_context(App(gateway, "Tom", "5TOM", "session-of-tom"))
        await rude.send(1)
        await app.send(1)
        await happens(lambda: peer.statuses("Rui") == peer.statuses("Tom") == ["online"])
        for group, source in (("5RUI", "Rui"), ("5TOM", "Tom")):
            await teacher.say(type="remove", group=group, source=source)
        await happens(lambda: peer.statuses("Rui") == peer.statuses("Tom") == ["online", "offline"])
        await app.connection.wait_closed()
        assert (app.connection.close_code, app.heard[-1]["code"]) == (1008, "removed")
        await rude.send(2)
        await rude.is_told("removed")
        await rude.send(3)
        back = await clients.enter_async_context(App(gateway, "Tom", "5TOM", "session-of-tom"))
        await back.is_told("removed")
        other = await clients.enter_async_context(Phone(gateway, "Ana", "5ANA"))
        await other.send(1)
        await happens(lambda: sent_by(peer, "5ANA") == [1])
        namesake = await clients.enter_async_context(Phone(gateway, "Rui", "5OTHER"))
        await namesake.send(7)
        elsewhere = await clients.enter_async_context(Phone(gateway, "Rui", "5RUI", "127.0.1.1"))
        await elsewhere.send(8)
        await teacher.sees(("Rui", "5OTHER", "removed"), ("Rui", "5RUI", "removed"))
        await teacher.decide("admit", "5OTHER")
        await happens(lambda: sent_by(peer, "5OTHER") == [7])
        assert {each["id"] for each in teacher.board["removed"]} == {"5RUI/Rui", "5TOM/Tom"}
        await teacher.say(type="admit", id="5TOM/Tom")
        await back.is_welcome()
        assert sent_by(peer, "5RUI") == [1]
        assert [set(each) for each in rude.heard] == [{"error"}], "it is told once"


async def test_only_teachers_use_the_door_and_only_while_a_lesson_runs(start_gateway):
    gateway = start_gateway("--no-open-here", "--token", "T" * 20)
    gateway.url += f"?token={'T' * 20}"
    async with Teacher(gateway) as teacher, App(gateway, "Ana", "5ANA", "session-1") as app:
        await app.is_welcome()
        requests = (
            {"type": "door", "state": "ask"},
            {"type": "admit", "id": "0" * 32},
            {"type": "refuse", "id": "0" * 32},
            {"type": "remove", "group": "5ANA", "source": "Ana"},
        )
        for request in requests:
            await app.say(**request)
        await app.until_errors(4, "not_a_teacher")
        for request in requests:
            await teacher.say(**request)
        await teacher.until_errors(2, "no_lesson")
        await teacher.until_errors(2, "not_waiting")


async def test_the_door_is_one_for_all_gateways(peer, start_gateway):
    """A teacher at one gateway admits, refuses and removes students at the other."""
    one, two = start_gateway(), start_gateway(instance="two")
    async with Teacher(one) as teacher, contextlib.AsyncExitStack() as clients:
        await teacher.begin("ask")
        ana, bia = [
            await clients.enter_async_context(Phone(two, name, code)) for name, code in (("Ana", "5A"), ("Bia", "5B"))
        ]
        for each in (ana, bia):
            await each.send(1)
        await teacher.sees(("Ana", "5A", "new"), ("Bia", "5B", "new"))
        await teacher.decide("admit", "5A")
        await teacher.decide("refuse", "5B")
        await happens(lambda: sent_by(peer, "5A") == [1])
        await bia.is_told("removed")
        await ana.connection.close()
        await happens(lambda: peer.statuses("Ana") == ["online", "offline"])
        ana = await clients.enter_async_context(Phone(one, "Ana", "5A"))
        await ana.send(2)
        await happens(lambda: sent_by(peer, "5A") == [1, 2])
        async with Teacher(two) as other:
            await happens(lambda: other.door == "ask")
            await other.say(type="remove", group="5A", source="Ana")
            await ana.send(3)
            await ana.is_told("removed")
        assert sent_by(peer, "5B") == []


async def test_the_door_stays_as_it_is_when_the_gateway_is_killed_and_starts_again(peer, start_gateway):
    """Whoever was in comes back without a tap; who was removed, and strangers, do not."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher, contextlib.AsyncExitStack() as clients:
        await teacher.begin()
        for name, code in (("Ana", "5ANA"), ("Rui", "5RUI")):
            await (await clients.enter_async_context(Phone(gateway, name, code))).send(1)
        await happens(lambda: peer.statuses("Ana") == peer.statuses("Rui") == ["online"])
        await teacher.set_door("ask")
        await teacher.say(type="remove", group="5RUI", source="Rui")
        await happens(lambda: peer.statuses("Rui") == ["online", "offline"])
        gateway.end(signal.SIGKILL)
        gateway.start(peer)
        ana, rui, new = [
            await clients.enter_async_context(Phone(gateway, name, code))
            for name, code in (("Ana", "5ANA"), ("Rui", "5RUI"), ("Caio", "5CAIO"))
        ]
        for each in (ana, rui, new):
            await each.send(2)
        await happens(lambda: sent_by(peer, "5ANA") == [1, 2])
        for each in (rui, new):
            await each.is_told("waiting")
        async with Teacher(gateway) as again:
            await again.sees(("Rui", "5RUI", "removed"), ("Caio", "5CAIO", "new"))
            await again.until(lambda: again.door == "ask")
        assert sent_by(peer, "5RUI") == [1]


async def test_nobody_slips_in_while_a_gateway_that_starts_does_not_know_the_lesson_yet(broker, peer, start_gateway):
    """The broker hangs until the stranger has connected."""
    gateway = start_gateway()
    async with Teacher(gateway) as teacher:
        await teacher.begin("ask")
    gateway.end(signal.SIGKILL)
    gateway.command[1:3] = ["-c", PATIENT_GATEWAY]
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        spawn(gateway)
        await happens(lambda: is_listening(gateway))
        stranger = Phone(gateway, "Maria", "5STRAN")
        coming = asyncio.create_task(stranger.__aenter__())
        await asyncio.wait([coming], timeout=0.3)  # that it is not let in takes time
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    await coming
    await stranger.send(1)
    await stranger.is_told("waiting")
    await stranger.__aexit__()
    assert not peer.readings()


@pytest.mark.timeout(120)
async def test_ten_thousand_names_that_wait_cost_nobody_else_anything(peer, start_gateway):
    """A hundred connections of twenty addresses, each a hundred students one after the other.

    Whoever is in goes on, teachers see an honest newcomer and admit her, and no name of the crowd gets to the broker.
    """
    gateway = start_gateway()
    async with (
        Teacher(gateway) as teacher,
        Phone(gateway, "Ana", "5ANA") as ana,
        contextlib.AsyncExitStack() as clients,
    ):
        await ana.send(0)
        await happens(lambda: sent_by(peer, "5ANA") == [0])
        await teacher.begin("ask")
        memory_before = resident_bytes(gateway)
        crowd = [
            await clients.enter_async_context(Phone(gateway, "Flood", "F", f"127.0.2.{number % 20}"))
            for number in range(100)
        ]

        async def flood(phone: Phone) -> None:
            for number in range(100):
                phone.name = f"Flood-{number}-{id(phone)}"
                await phone.send(1)

        flooding = asyncio.gather(*map(flood, crowd))
        maria = await clients.enter_async_context(Phone(gateway, "Maria", "5MARIA", "127.0.1.1"))
        await maria.send(51)
        for attention in range(1, 11):
            await ana.send(attention)
            await happens(partial(has_sent, peer, "5ANA", attention))
        await teacher.decide("admit", "5MARIA")
        await happens(lambda: sent_by(peer, "5MARIA") == [51])
        await flooding
        await teacher.until(lambda: len(teacher.waiting) + teacher.board["more"] == 100)
        assert len(teacher.waiting) == 60
        assert resident_bytes(gateway) - memory_before < 30 * 2**20
        assert not any("Flood" in str(topic) for topic, message in peer.heard if topic.rule is not topics.WAITING)
