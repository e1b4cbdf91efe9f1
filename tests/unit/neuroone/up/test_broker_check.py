"""Tests of the decision what to do with a broker that runs and does not work."""

import shutil
import socket
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from neuroone.mqtt.address import BrokerAddress
from neuroone.up import broker_check
from neuroone.up.broker_check import (
    ENDING_S,
    FAILING_S,
    REFUSES,
    SILENT,
    STARTING_MAX_S,
    STARTING_S,
    STORES_NOTHING,
    TRY_EVERY_S,
    UNSAVED_S,
    BrokerCheck,
    Tried,
    broker_fault,
)
from neuroone.up.brokers import MOSQUITTO, NATS
from neuroone.up.children import Child

FULL = "the disk has 0.0 MB left"


class FakeBroker(Child):
    """A broker that ends when it is asked to, or only when it is killed, and is started again at once."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, ())
        self.now_s = self.at_s = 0.0
        self.restarts: list[float] = []
        self.kills = 0
        self.ends_when_asked = True

    @property
    def started_s(self) -> float:
        return self.at_s

    def terminate(self) -> None:
        if self.ends_when_asked:
            self._restart()

    def kill(self) -> None:
        self.kills += 1
        self._restart()

    def _restart(self) -> None:
        self.at_s = self.now_s
        self.restarts.append(self.now_s)


class World:
    """A check of a fake broker whose tries the test decides."""

    def __init__(self, kind: str) -> None:
        self.broker = FakeBroker(kind)
        self.check = BrokerCheck(self.broker, Path("/nowhere"), lambda: None)
        self.saves = 0

    def run(self, seconds: float, fault: str | None = None, *, saves: bool = True, **found: object) -> None:
        """Let this much time pass with tries that find this."""
        end_s = self.broker.now_s + seconds
        while self.broker.now_s < end_s:
            self.saves += saves
            tried = Tried(began_s=self.broker.now_s + 0.1, fault=fault, saved=(self.saves,))
            self.check._tried = replace(tried, **found)  # type: ignore[arg-type]
            self.broker.now_s += TRY_EVERY_S
            self.check.step(self.broker.now_s)


@pytest.mark.parametrize("kind", [MOSQUITTO, NATS])
def test_a_busy_broker_is_left_alone(kind: str) -> None:
    world = World(kind)
    for _ in range(10):
        world.run(20)
        world.run(FAILING_S - TRY_EVERY_S, SILENT)
    assert not world.broker.restarts


@pytest.mark.parametrize("fault", [SILENT, REFUSES, STORES_NOTHING])
def test_a_broker_that_fails_is_restarted_once_it_had_time(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World(NATS)
    world.run(20)
    world.run(FAILING_S + 2 * TRY_EVERY_S, fault)
    assert len(world.broker.restarts) == 1
    world.run(20)
    assert [each.getMessage() for each in caplog.records] == [
        f"the broker nats runs, but {fault}: restarting it",
        "the broker nats works again",
    ]


def test_restarts_that_do_not_help_become_rare() -> None:
    world = World(NATS)
    world.run(20)
    world.run(3600, REFUSES)
    gaps = [after - before for before, after in zip(world.broker.restarts, world.broker.restarts[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= STARTING_S
    assert STARTING_MAX_S <= gaps[-1] <= STARTING_MAX_S + 2 * TRY_EVERY_S


def test_a_broker_that_does_not_end_is_killed() -> None:
    world = World(MOSQUITTO)
    world.broker.ends_when_asked = False
    world.run(20)
    world.run(FAILING_S + ENDING_S + 3 * TRY_EVERY_S, SILENT)
    assert world.broker.kills == 1


def test_a_broker_on_a_full_disk_is_restarted_only_when_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    world = World(NATS)
    world.run(20)
    world.run(3600, REFUSES, disk_fault=FULL)
    assert not world.broker.restarts
    assert [each.getMessage().partition(FULL)[0] for each in caplog.records] == [
        "the disk of the broker nats is full or faulty: ",
        "the broker nats runs, but refuses every connection; it is restarted when its disk has room",
    ]
    world.run(2 * TRY_EVERY_S, REFUSES)
    assert len(world.broker.restarts) == 1


def test_a_disk_that_is_full_now_and_then_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(NATS)
    for _ in range(100):
        world.run(TRY_EVERY_S, disk_fault=FULL)
        world.run(TRY_EVERY_S)
    assert len(caplog.records) == 1


def test_mosquitto_that_saves_nothing_is_reported_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the reason: a directory that is not its own, a faulty disk."""
    world = World(MOSQUITTO)
    world.run(60)
    world.run(UNSAVED_S + 2 * TRY_EVERY_S, saves=False)
    assert [each.getMessage()[:75] for each in caplog.records] == [
        "the disk of the broker mosquitto is full or faulty: it has not saved its st"
    ]
    world.run(60)
    assert caplog.messages[1:] == ["the disk of the broker mosquitto works again"]
    assert not world.broker.restarts


def test_mosquitto_may_be_mute_for_long_while_it_saves() -> None:
    world = World(MOSQUITTO)
    world.run(20)
    world.run(STARTING_S - 2 * TRY_EVERY_S, SILENT, is_saving=True)
    assert not world.broker.restarts


def test_nats_writes_all_the_time_and_is_not_asked_to_save(caplog: pytest.LogCaptureFixture) -> None:
    world = World(NATS)
    world.run(3600, saves=False)
    assert not caplog.records


def answering(*answers: bytes) -> tuple[socket.socket, threading.Thread]:
    """Listen for one client, give it an answer for each thing that it sends, and hang up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        with client:
            for answer in answers:
                client.recv(1000)
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return server, thread


ACCEPTED, SUBSCRIBED, STORED = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01", b"\x40\x02\x00\x02"


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ((ACCEPTED, SUBSCRIBED, STORED), None),
        ((ACCEPTED, SUBSCRIBED, b"\x32\x05\x00\x01x\x00\x07" + STORED), None),
        ((), REFUSES),
        ((b"\x20\x02\x00\x03",), REFUSES),
        ((b"HTTP/1.1 400 Bad Request\r\n",), SILENT),
        ((ACCEPTED,), STORES_NOTHING),
        ((ACCEPTED, b"\x90\x03\x00\x01\x80"), STORES_NOTHING),
        ((ACCEPTED, SUBSCRIBED), STORES_NOTHING),
    ],
)
def test_what_a_broker_does_not_do_is_named(answers: tuple[bytes, ...], fault: str | None) -> None:
    server, thread = answering(*answers)
    with server:
        assert broker_fault(BrokerAddress("127.0.0.1", server.getsockname()[1]), "test") == fault
        thread.join()


def test_a_mute_broker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_check, "CONNECT_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert broker_fault(BrokerAddress("127.0.0.1", mute.getsockname()[1]), "test") == SILENT


def test_a_directory_without_room_or_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broker_check.disk_fault(tmp_path) is None
    assert (
        broker_check.disk_fault(tmp_path / "no") == f"{tmp_path / 'no'} cannot be written (No such file or directory)"
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=10**11, free=10**6))
    assert broker_check.disk_fault(tmp_path) == f"{tmp_path} has 1.0 MB left, and the broker needs 50 MB"
