"""What is kept until a recorder has it."""

from typing import Any

import pytest

from neuroone.contract.messages import Missing, Recorded, RecordedStream, ServiceState, ServiceStatus
from neuroone.contract.shards import Shard
from neuroone.mqtt import replay as module
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.replay import ReplayBuffer
from tests.support.messages import NOON

STREAM = ("A", "Ana", "s1")


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.buffer = ReplayBuffer(lambda: self.now_s)
        self.due: list[bytes] = []

    def recorder(self, status: ServiceStatus, run: str = "a1", fault: str | None = None) -> None:
        state = ServiceState(status=status, version="0.1.0", epoch=1, connection=1, run=run, fault=fault)
        self.due = [outgoing.payload for outgoing in self.buffer.on_recorder("host", state)]

    def ack(self, *seqs: int) -> None:
        for seq in seqs:
            self.buffer.acked(STREAM, seq, Outgoing("t", b"%d" % seq, 1, False))

    def receipt(self, seq: int, *holes: tuple[int, int], gaps: int | None = None) -> None:
        group, source, session = STREAM
        missing = tuple(Missing(first=first, last=last) for first, last in holes)
        if gaps is None:
            gaps = sum(last - first + 1 for first, last in holes)
        entry = RecordedStream(
            group=group, source=source, session=session, seq=seq, rows=1, duplicates=0, gaps=gaps, missing=missing
        )
        self.buffer.on_receipt(Recorded(time=NOON, streams=(entry,)))

    def kept(self) -> list[bytes]:
        return [outgoing.payload for outgoing in self.buffer.replay()]


@pytest.fixture
def world() -> World:
    world = World()
    world.recorder(ServiceStatus.ONLINE)
    return world


def test_what_no_receipt_covers_is_kept_in_order(world):
    """After a crash of the broker the uncovered readings go out again, oldest first."""
    world.ack(0, 1, 2)
    world.receipt(0)
    assert world.kept() == [b"1", b"2"]
    world.receipt(2)
    assert (world.kept(), len(world.buffer), world.buffer.size_bytes) == ([], 0, 0)


def test_a_late_end_of_an_earlier_run_ends_no_recorder(world):
    """NATS may deliver the retained end of one run after the birth of the next."""
    world.recorder(ServiceStatus.ONLINE, run="b2")
    world.recorder(ServiceStatus.OFFLINE, run="a1")
    assert world.buffer.has_recorder
    world.recorder(ServiceStatus.OFFLINE, run="b2")
    assert not world.buffer.has_recorder


def test_the_end_of_an_unknown_run_after_an_outage_is_believed(world):
    """What came between its birth and its end was missed."""
    world.buffer.on_connected()
    world.recorder(ServiceStatus.OFFLINE, run="c3")
    assert not world.buffer.has_recorder


def test_the_latency_is_that_of_the_first_ack(world):
    """A reading that is replayed, or that the bridge sends (without a time of arrival), does not count."""
    latencies: list[float] = []
    world.buffer.on_first_ack = latencies.append

    def ack(seq: int, arrived_s: float | None, now_s: float) -> None:
        world.now_s = now_s
        world.buffer.acked(STREAM, seq, Outgoing("t", b"x", 1, False, arrived_s=arrived_s))

    ack(0, 1.0, 3.0)
    ack(0, 1.0, 50.0)
    ack(1, None, 50.0)
    ack(2, 50.0, 50.5)
    world.buffer.refused(STREAM, 3, is_lost=False)
    ack(4, 51.0, 51.25)
    ack(3, 51.0, 60.0)
    assert latencies == [2.0, 0.5, 0.25, 9.0]


def test_a_receipt_that_overtakes_the_ack_counts(world):
    """The recorder may be faster than the broker's ack to us."""
    world.receipt(3)
    world.ack(2, 3, 4)
    assert world.kept() == [b"4"]


def test_a_reading_that_is_acked_again_is_kept_once(world):
    """A replay does not double what is kept."""
    world.ack(0, 1, 0, 1)
    assert world.kept() == [b"0", b"1"]


def test_a_recorder_that_is_away_covers_it_later(world):
    """It may have stopped for a moment only: what is acknowledged meanwhile is kept too."""
    world.ack(1)
    world.recorder(ServiceStatus.OFFLINE)
    world.ack(2)
    assert world.kept() == [b"1", b"2"]


def test_the_first_recorder_gets_what_came_before_it():
    """The broker had nobody to keep those readings for; they are due once."""
    world = World()
    world.buffer.on_connected()
    world.ack(0, 1)
    assert world.due == []
    world.recorder(ServiceStatus.ONLINE)
    assert world.due == [b"0", b"1"]
    world.recorder(ServiceStatus.ONLINE)
    assert world.due == []


def test_a_recorder_that_comes_back_late_gets_what_came_before_it(world):
    """The broker lost its memory, and readings no longer waited."""
    world.buffer.on_connected()
    world.now_s = module.RECORDER_GRACE_S
    world.ack(7)
    world.recorder(ServiceStatus.ONLINE)
    assert world.due == [b"7"]


def test_a_recorder_that_is_back_in_time_is_due_nothing_more(world):
    """All that is kept goes out at the reconnect, and has waited for it."""
    world.ack(0)
    world.buffer.on_connected()
    world.recorder(ServiceStatus.ONLINE)
    assert world.due == []


def test_without_any_recorder_nothing_counts_as_lost():
    """A bench without one keeps two minutes in vain, and that is no fault."""
    world = World()
    world.ack(0)
    world.now_s = module.KEPT_MAX_S + 1
    world.buffer.forget_overdue()
    assert (world.kept(), world.buffer.overflowed) == ([], 0)


def test_what_is_too_old_is_let_go_and_counted(world):
    """A recorder that sends no receipts does not fill the memory."""
    world.ack(0)
    world.now_s = module.KEPT_MAX_S + 1
    world.buffer.forget_overdue()
    assert (world.kept(), world.buffer.overflowed) == ([], 1)


def test_what_does_not_fit_is_counted_and_said_once(world, monkeypatch, caplog):
    """The bound in bytes holds. The oldest go: the broker has saved those, and would lose the newest in a crash."""
    monkeypatch.setattr(module, "KEPT_MAX_BYTES", 2)
    for seq in range(4):
        world.ack(seq)
        world.now_s += 1.0
    assert (world.kept(), world.buffer.overflowed) == ([b"2", b"3"], 2)
    world.ack(2, 3)  # after a reconnect: they are kept already, and need no room
    assert (world.kept(), world.buffer.overflowed) == ([b"2", b"3"], 2)
    assert len(caplog.records) == 1


def test_readings_wait_for_the_recorder_after_a_reconnect(world):
    """A broker that lost its memory would take readings that nobody subscribes to."""
    assert not world.buffer.waits_for_recorder()
    world.buffer.on_connected()
    assert world.buffer.waits_for_recorder()
    world.recorder(ServiceStatus.ONLINE)
    assert not world.buffer.waits_for_recorder()


def test_readings_do_not_wait_for_ever(world):
    """A recorder that does not come back does not stop the dashboards."""
    world.buffer.on_connected()
    world.now_s = module.RECORDER_GRACE_S
    assert not world.buffer.waits_for_recorder()


def test_what_the_recorder_misses_stays(world):
    """Whatever else it has: the receipt names the holes."""
    covered = []
    world.buffer.on_covered = lambda stream, seq: covered.append(seq)
    world.ack(0, 1, 2, 3)
    world.receipt(3, (1, 1))
    assert (world.kept(), covered) == ([b"1"], [0])
    world.receipt(3)
    assert (world.kept(), covered) == ([], [0, 3])


def test_holes_of_the_sender_do_not_hinder(world):
    """What a phone itself lost is a gap on disk too, and the rest is covered."""
    world.ack(0, 5)
    world.receipt(5, (1, 4))
    assert world.kept() == []


def test_of_holes_that_are_not_named_the_worst_is_believed(world):
    """A receipt names only the newest holes; what is older than those may be missing."""
    world.ack(10, 20, 30)
    world.receipt(30, (15, 16), gaps=5)
    assert world.kept() == [b"10"]


def test_a_reading_that_its_sender_has_left_out_holds_acks_and_receipts_back(world):
    """It is kept in its place when it comes at last."""
    acked: list[int] = []
    covered: list[int] = []
    world.buffer.on_acked = lambda stream, seq: acked.append(seq)
    world.buffer.on_covered = lambda stream, seq: covered.append(seq)
    world.ack(0)
    world.buffer.expect(STREAM, (1, 2))
    world.ack(3)
    world.receipt(3, (1, 2))
    assert (acked, covered) == ([0, 0], [0])
    world.ack(1, 2)
    assert (acked, covered, world.kept()) == ([0, 0, 1, 3], [0], [b"1", b"2"])
    world.receipt(3)
    assert (covered, world.kept()) == ([0, 3], [])


def test_a_reading_that_its_sender_no_longer_has_holds_nothing_back(world):
    acked: list[int] = []
    world.buffer.on_acked = lambda stream, seq: acked.append(seq)
    world.buffer.expect(STREAM, (0, 1))
    world.ack(2)
    world.buffer.do_without(STREAM, (0, 1))
    world.ack(3)
    assert acked == [3]


class Shards(World):
    """Two streams, one of each of two shards."""

    A, B = ("ABC123", "Joao_Silva", "s1"), ("5KXPVN", "Maria", "s2")

    def online(self, *shards: Shard | None) -> list[bytes]:
        """Let recorders come; return what is due to the last one."""
        for shard in shards:
            named: dict[str, Any] = {} if shard is None else {"shard": shard.number, "shards": shard.of}
            state = ServiceState(status=ServiceStatus.ONLINE, version="1", epoch=1, connection=1, run="r", **named)
            self.due = [each.payload for each in self.buffer.on_recorder(f"shard-{shard and shard.number}", state)]
        return self.due

    def gone(self, number: int) -> None:
        state = ServiceState(status=ServiceStatus.OFFLINE, version="1", epoch=1, connection=1, run="r")
        self.buffer.on_recorder(f"shard-{number}", state)

    def ack_both(self) -> None:
        for stream, payload in ((self.A, b"a"), (self.B, b"b")):
            self.buffer.acked(stream, 0, Outgoing("t", payload, 1, False))


def test_a_stream_has_the_recorder_of_its_shard_only():
    world = Shards()
    assert [Shard(each, 2).includes(*world.A[:2]) for each in (1, 2)] == [False, True]
    assert [Shard(each, 2).includes(*world.B[:2]) for each in (1, 2)] == [True, False]
    world.online(Shard(1, 2))
    assert (world.buffer.has_recorder, world.buffer.missing) == (False, [Shard(2, 2)])
    assert [world.buffer.has_recorder_of(*each[:2]) for each in (world.A, world.B)] == [False, True]
    world.online(Shard(2, 2))
    assert world.buffer.has_recorder
    world.gone(1)
    assert [world.buffer.has_recorder_of(*each[:2]) for each in (world.A, world.B)] == [True, False]


def test_a_recorder_that_appears_gets_what_is_kept_for_its_shard():
    world = Shards()
    world.online(Shard(1, 2))
    world.ack_both()
    assert world.online(Shard(2, 2)) == [b"a"]
    assert world.online(Shard(2, 2)) == []


def test_a_recorder_with_another_shard_gets_what_others_have_dropped():
    """The number of recorders changed: the broker's session of this one may not have had these readings."""
    world = Shards()
    world.online(Shard(1, 2), Shard(2, 2))
    world.ack_both()
    assert world.online(Shard(1, 1)) == [b"a", b"b"]
    assert world.online(None) == [b"a", b"b"]


def test_after_a_reconnect_readings_wait_for_every_recorder_that_was_there():
    world = Shards()
    world.online(Shard(1, 2), Shard(2, 2))
    world.ack_both()
    world.buffer.on_connected()
    assert world.online(Shard(1, 2)) == []
    assert world.buffer.waits_for_recorder()
    world.now_s = module.RECORDER_GRACE_S
    assert not world.buffer.waits_for_recorder()
    assert world.online(Shard(2, 2)) == [b"a"]


def test_what_is_kept_goes_out_again_when_a_recorder_has_no_fault_any_more(world: World) -> None:
    """A broker without a leader refuses its subscription at first: nobody got what came until then."""
    world.ack(0, 1)
    world.recorder(ServiceStatus.ONLINE, fault="the broker refuses the subscription")
    assert world.due == []
    world.recorder(ServiceStatus.ONLINE)
    assert world.due == [b"0", b"1"]
    for fault in ("the disk is full", None):  # it comes and goes
        world.recorder(ServiceStatus.ONLINE, fault=fault)
        assert world.due == []
    world.now_s += module.MENDED_PERIOD_S
    for fault, due in (("the disk is full", []), (None, [b"0", b"1"])):
        world.recorder(ServiceStatus.ONLINE, fault=fault)
        assert world.due == due


def test_what_came_during_a_fault_that_lasts_does_not_go_out_again(world: World) -> None:
    for fault in ("refused", None, "refused"):
        world.recorder(ServiceStatus.ONLINE, fault=fault)
    world.ack(0)
    world.now_s += module.MENDED_PERIOD_S
    assert world.buffer.due_later() == []


def test_a_recorder_that_stays_online_and_records_nothing_is_gone(world: World) -> None:
    """It died together with its broker, which kept its state."""

    def has_recorder(after_s: float) -> tuple[bool, bool]:
        world.now_s += after_s
        world.buffer.forget_overdue()
        return world.buffer.has_recorder, world.buffer.has_recorder_of(*STREAM[:2])

    assert has_recorder(60) == (True, True)  # nobody sends anything
    world.ack(0)
    assert has_recorder(module.SILENT_S) == (True, True)
    assert has_recorder(0.5) == (False, False)
    world.receipt(0)
    assert has_recorder(0) == (True, True)
    world.ack(1)
    assert has_recorder(module.SILENT_S + 0.5) == (False, False)
    world.recorder(ServiceStatus.ONLINE, run="a2")
    assert world.due == [b"1"]  # the broker had nobody to keep it for
    assert has_recorder(module.SILENT_S - 1) == (True, True)


def test_the_silence_of_one_recorder_is_not_that_of_another() -> None:
    world = Shards()
    world.online(Shard(1, 2), Shard(2, 2))
    world.ack_both()
    world.now_s = module.SILENT_S
    group, source, session = world.B
    entry = RecordedStream(group=group, source=source, session=session, seq=0, rows=1, duplicates=0, gaps=0)
    world.buffer.on_receipt(Recorded(time=NOON, streams=(entry,), shard=1, shards=2))
    world.now_s += 0.5
    world.buffer.forget_overdue()
    assert (world.buffer.has_recorder, world.buffer.missing) == (False, [Shard(2, 2)])


def test_what_is_kept_is_that_of_the_recorder_that_is_away():
    world = Shards()
    world.online(Shard(1, 2), Shard(2, 2))
    world.gone(2)
    world.ack_both()
    group, source, session = world.B
    entry = RecordedStream(group=group, source=source, session=session, seq=0, rows=1, duplicates=0, gaps=0)
    world.buffer.on_receipt(Recorded(time=NOON, streams=(entry,), shard=1, shards=2))
    assert world.kept() == [b"a"]
