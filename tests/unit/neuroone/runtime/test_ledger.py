"""What is kept until a recorder has it."""

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import Recorded, RecordedStream, ServiceState, ServiceStatus
from neuroone.runtime import ledger as module
from neuroone.runtime.ledger import Ledger
from neuroone.runtime.outbox import Outgoing
from tests.messages import NOON

STREAM = ("A", "Ana", "s1")


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(lambda: self.now_s)

    def recorder(self, status: ServiceStatus) -> None:
        topic = topics.service_state("local", "csv_recorder", "host")
        self.ledger.take_state(topic, ServiceState(status=status, version="0.1.0", epoch=1, connection=1))

    def ack(self, *seqs: int) -> None:
        for seq in seqs:
            self.ledger.acked(STREAM, seq, Outgoing("t", b"%d" % seq, 1, False))

    def mark(self, seq: int) -> None:
        group, source, session = STREAM
        entry = RecordedStream(group=group, source=source, session=session, seq=seq, rows=1, duplicates=0, gaps=0)
        self.ledger.take_mark(Recorded(time=NOON, streams=(entry,)))

    def kept(self) -> list[bytes]:
        return [outgoing.payload for outgoing in self.ledger.replay()]


@pytest.fixture
def world() -> World:
    world = World()
    world.recorder(ServiceStatus.ONLINE)
    return world


def test_what_no_mark_covers_is_kept_in_order(world):
    """After a crash of the broker the uncovered readings go out again, oldest first."""
    world.ack(0, 1, 2)
    world.mark(0)
    assert world.kept() == [b"1", b"2"]
    world.mark(2)
    assert (world.kept(), len(world.ledger), world.ledger.size_bytes) == ([], 0, 0)


def test_a_mark_that_overtakes_the_ack_counts(world):
    """The recorder may be faster than the broker's ack to us."""
    world.mark(3)
    world.ack(2, 3, 4)
    assert world.kept() == [b"4"]


def test_a_reading_that_is_acked_again_is_kept_once(world):
    """A replay does not double what is kept."""
    world.ack(0, 1, 0, 1)
    assert world.kept() == [b"0", b"1"]


def test_without_a_recorder_nothing_is_kept():
    """Nobody would ever cover it."""
    world = World()
    world.ack(0)
    world.recorder(ServiceStatus.ONLINE)
    world.ack(1)
    world.recorder(ServiceStatus.OFFLINE)
    world.ack(2)
    assert world.kept() == [b"1"]


def test_what_is_too_old_is_let_go_and_counted(world):
    """A recorder that never marks does not fill the memory."""
    world.ack(0)
    world.now_s = module.KEPT_MAX_S + 1
    world.ledger.look()
    assert (world.kept(), world.ledger.overflowed) == ([], 1)


def test_what_does_not_fit_is_counted(world, monkeypatch):
    """The bound in bytes holds."""
    monkeypatch.setattr(module, "KEPT_MAX_BYTES", 2)
    world.ack(0, 1, 2)
    assert (world.kept(), world.ledger.overflowed) == ([b"0", b"1"], 1)


def test_readings_wait_for_the_recorder_after_a_reconnect(world):
    """A broker that lost its memory would take readings that nobody subscribes to."""
    assert not world.ledger.waits_for_recorder()
    world.ledger.linked(True)
    assert world.ledger.waits_for_recorder()
    world.recorder(ServiceStatus.ONLINE)
    assert not world.ledger.waits_for_recorder()


def test_readings_do_not_wait_for_ever(world):
    """A recorder that does not come back does not stop the dashboards."""
    world.ledger.linked(True)
    world.now_s = module.RECORDER_GRACE_S
    assert not world.ledger.waits_for_recorder()


def test_a_recorder_that_misses_some_covers_nothing_yet(world):
    """A mark beyond a hole that is not the sender's own leaves the readings here, to be sent again."""
    world.ack(0, 1, 2)
    group, source, session = STREAM
    entry = RecordedStream(group=group, source=source, session=session, seq=2, rows=1, duplicates=0, gaps=2)
    world.ledger.take_mark(Recorded(time=NOON, streams=(entry,)))
    assert len(world.kept()) == 3


def test_holes_of_the_sender_do_not_hinder(world):
    """What a phone itself lost is a gap on disk too, and the rest is covered."""
    world.ack(0, 5)
    group, source, session = STREAM
    entry = RecordedStream(group=group, source=source, session=session, seq=5, rows=2, duplicates=0, gaps=4)
    world.ledger.take_mark(Recorded(time=NOON, streams=(entry,)))
    assert world.kept() == []
