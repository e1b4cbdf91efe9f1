"""Keep readings that the broker has and no recorder yet: a broker that crashes loses what it had in memory.

A reading enters when the broker acknowledges it and leaves when a recorder's receipt covers it. After a reconnect, and
when a recorder appears, what is left here for it goes to the broker again, with its own session and seq, so that a
recorder can tell what it has already. A recorder with another shard than before counts as one that appears: what the
one before it has dropped is now its own.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from msgspec import Struct

from neuroone.contract import shards
from neuroone.contract.messages import Recorded, RecordedStream, ServiceState, ServiceStatus
from neuroone.contract.shards import Shard, shard_from
from neuroone.mqtt.outbox import Outgoing

RECORDER: Final = "csv_recorder"
KEPT_MAX_S: Final = 120.0
"""A recorder sends receipts once a second; a broker and a recorder that start anew take less than two minutes."""
KEPT_MAX_BYTES: Final = 64 * 2**20
"""Payload bytes: 4000 students' readings for 40 s. Beyond it the oldest are given up: the broker has saved those
(Mosquitto does every 30 s), and the newest are what it loses in a crash."""
ROOM_S: Final = 0.1
"""Readings of so many seconds are given up at once: looking for the oldest takes a millisecond with 4000 students."""
STREAMS_MAX: Final = 20_000
"""Sessions that are remembered, so that an ack that comes after its receipt keeps nothing. About 5 MB."""
RECORDER_GRACE_S: Final = 5.0
"""After a reconnect readings wait so long for the recorder to be back: a broker that lost its state would accept them
with nobody subscribed."""
MENDED_PERIOD_S: Final = 10.0
"""Readings go out again at most so often because a fault of a recorder is over: that of a disk may come and go."""
SILENT_S: Final = 10.0
"""A recorder of which nothing is heard for so long, while a reading waits for it as long, is taken to be gone. One that
died together with its broker stays online in the state that the broker kept, until it starts again."""

log = logging.getLogger(__name__)

Stream = tuple[str, str, str]
"""Group, source and session."""


class _Kept(Struct, frozen=True):
    seq: int
    since_s: float
    outgoing: Outgoing


@dataclass(slots=True)
class _Recorder:
    """A recorder that is online, as its state says. ``heard_s`` is when its last state or receipt came."""

    run: object
    shard: Shard | None
    heard_s: float
    is_silent: bool = False


@dataclass(slots=True)
class _Session:
    """How far a session is: ``acked`` by the broker, ``covered`` by receipts; -1 for nothing yet.

    ``refused`` readings will be sent again, by us or by their sender. No ack and no receipt is reported from the first
    of them, or from ``lost_from``, the first reading that was given up.
    """

    acked: int = -1
    covered: int = -1
    refused: frozenset[int] = frozenset()
    lost_from: float = float("inf")

    def up_to(self, seq: int) -> int:
        """Return the last seq, at most this one, before which no reading is missing."""
        if not self.refused and self.lost_from > seq:
            return seq
        return int(min(seq, min(self.refused, default=seq + 1) - 1, self.lost_from - 1))


class ReplayBuffer:
    """Keep readings until a recorder covers them. ``clock`` is a steady clock in seconds.

    Readings are kept before there is a recorder, too: one that appears gets them. What then becomes too old is no loss
    and not counted. ``on_acked`` and ``on_covered`` are called with a stream and the seq up to which the broker, or a
    recorder, has all of its readings; ``on_first_ack`` with the seconds from a reading's arrival to its first ack.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[Stream, list[_Kept]] = {}
        self._sessions: OrderedDict[Stream, _Session] = OrderedDict()
        self._recorders: dict[str, _Recorder] = {}
        """Those that are online, by instance."""
        self._seen: dict[str, Shard | None] = {}
        """The shards of those that were seen on this connection to the broker."""
        self._faulty: dict[str, bool] = {}
        """Whether they still have the fault, of those that had one and for which nothing went out again since."""
        self._mended_s: dict[str, float] = {}
        self._had_recorder = False
        self._linked_s = float("-inf")
        self._size_bytes = 0
        self._length = 0
        self.overflowed = 0
        self.on_acked: Callable[[Stream, int], None] = lambda stream, seq: None
        self.on_covered: Callable[[Stream, int], None] = lambda stream, seq: None
        self.on_first_ack: Callable[[float], None] = lambda latency_s: None

    def __len__(self) -> int:
        return self._length

    @property
    def size_bytes(self) -> int:
        """Payload bytes that are kept."""
        return self._size_bytes

    @property
    def has_recorder(self) -> bool:
        """True while all streams have a recorder that is online and records, as far as is known."""
        return bool(self._shards) and not self.missing

    @property
    def missing(self) -> list[Shard]:
        """The shards whose recorder is not there while others are."""
        return shards.missing(self._shards)

    @property
    def _shards(self) -> set[Shard | None]:
        return {each.shard for each in self._recorders.values() if not each.is_silent}

    def has_recorder_of(self, group: str, source: str) -> bool:
        """Return True while the recorder of a stream is there."""
        return any(shard is None or shard.includes(group, source) for shard in self._shards)

    def gauges(self) -> dict[str, float]:
        """Return what a service's health says of its replay buffer."""
        return {"kept": self._length, "kept_bytes": self._size_bytes, "kept_overflowed": self.overflowed}

    def on_recorder(self, instance: str, state: ServiceState) -> list[Outgoing]:
        """Note that a recorder came or went; return what must go to the broker once more for it."""
        if state.status is not ServiceStatus.ONLINE:
            # It may come back within moments, and then it covers what is kept: that stays until it is too old.
            known = self._recorders.get(instance)
            if known is not None and (instance not in self._seen or known.run == state.run):
                del self._recorders[instance]
            return []  # the end of another run that a new one has followed: NATS may deliver it after the birth
        shard = shard_from(state.shard, state.shards)
        before = self._recorders.get(instance)
        was_gone = before is not None and before.is_silent
        is_known = instance in self._seen and self._seen[instance] == shard and not was_gone
        if state.fault is not None or instance in self._faulty:
            self._faulty[instance] = state.fault is not None
        is_new = not is_known or self._is_mended(instance)
        is_due = is_new and not self.waits_for_recorder()  # the broker may have no session for it
        self._had_recorder = True
        self._recorders[instance] = _Recorder(state.run, shard, self._clock())
        self._seen[instance] = shard
        return [*self._kept_for(shard)] if is_due else []

    def _is_mended(self, instance: str) -> bool:
        """Return True if a recorder no longer has a fault, such as a subscription that its broker refused.

        After the time before it stays mended until the period is over: what came during its fault must go out too.
        """
        now_s = self._clock()
        if self._faulty.get(instance, True) or now_s < self._mended_s.get(instance, float("-inf")) + MENDED_PERIOD_S:
            return False
        del self._faulty[instance]
        self._mended_s[instance] = now_s
        return True

    def due_later(self) -> list[Outgoing]:
        """Return what must go to the broker once more for recorders that were mended too often. Call every second."""
        mended = [each for each in tuple(self._faulty) if each in self._recorders and self._is_mended(each)]
        return [outgoing for each in mended for outgoing in self._kept_for(self._recorders[each].shard)]

    def acked(self, stream: Stream, seq: int, outgoing: Outgoing) -> None:
        """Keep a reading that the broker has acknowledged."""
        now_s = self._clock()
        session = self._session(stream)
        was_refused = seq in session.refused
        if was_refused:
            session.refused -= {seq}
        if (seq > session.acked or was_refused) and outgoing.arrived_s is not None:
            self.on_first_ack(now_s - outgoing.arrived_s)
        session.acked = max(session.acked, seq)
        if seq > session.covered:
            self._keep(stream, _Kept(seq, now_s, outgoing), is_late=was_refused)
        up_to = session.up_to(session.acked)
        if up_to >= 0:
            self.on_acked(stream, up_to)

    def refused(self, stream: Stream, seq: int, *, is_lost: bool) -> None:
        """Report no ack or receipt from this reading on: the broker refused it, and it is sent again or ``is_lost``."""
        session = self._session(stream)
        if is_lost:
            session.refused -= {seq}
            session.lost_from = min(session.lost_from, seq)
        else:
            session.refused |= {seq}

    def expect(self, stream: Stream, seqs: Iterable[int]) -> None:
        """Report no ack or receipt from these readings on until they have come: a sender has left them out."""
        self._session(stream).refused |= frozenset(seqs)

    def do_without(self, stream: Stream, seqs: Iterable[int]) -> None:
        """Report acks and receipts beyond readings that were expected: their sender no longer has them."""
        self._session(stream).refused -= frozenset(seqs)

    def on_receipt(self, receipt: Recorded) -> None:
        """Let go of what a recorder has on disk."""
        shard = shard_from(receipt.shard, receipt.shards)
        for recorder in self._recorders.values():
            if recorder.shard == shard:
                recorder.heard_s, recorder.is_silent = self._clock(), False
        for each in receipt.streams:
            stream = (each.group, each.source, each.session)
            kept = self._kept.get(stream)
            if kept is not None and kept[-1].seq <= each.seq and not each.gaps:  # nearly always
                self._length -= len(kept)
                self._size_bytes -= sum(len(one.outgoing.payload) for one in kept)
                del self._kept[stream]
                kept = None
            elif kept is not None:
                self._forget(stream, lambda kept, each=each: _is_recorded(kept.seq, each))  # type: ignore[misc]
                kept = self._kept.get(stream)
            session = self._session(stream)
            # What is kept here and missing there is on its way again, or will be.
            covered = session.up_to(min(each.seq, kept[0].seq - 1) if kept else each.seq)
            if covered > session.covered:
                session.covered = covered
                self.on_covered(stream, covered)

    def forget_overdue(self) -> None:
        """Let go of what no recorder covered in time, and note which recorders are gone. Call every second or so."""
        now_s = self._clock()
        self._give_up_before(now_s - KEPT_MAX_S)
        for each in self._recorders.values():
            if not each.is_silent and each.heard_s < now_s - SILENT_S:
                each.is_silent = self._waits_since(now_s - SILENT_S, each.shard)

    def _waits_since(self, time_s: float, shard: Shard | None) -> bool:
        return any(
            kept[0].since_s < time_s and (shard is None or shard.includes(group, source))
            for (group, source, _), kept in self._kept.items()
        )

    def on_connected(self) -> None:
        """Note that the connection to the broker is there."""
        self._linked_s = self._clock()
        self._seen.clear()

    def waits_for_recorder(self) -> bool:
        """Return True while readings must wait: the broker is just back, and the recorder that was there is not yet."""
        if self._recorders.keys() <= self._seen.keys():
            return False
        return self._clock() - self._linked_s < RECORDER_GRACE_S

    def replay(self) -> list[Outgoing]:
        """Return everything that is kept, each stream in its order; acknowledged again, it is not kept twice."""
        return [*self._kept_for(None)]

    def _kept_for(self, shard: Shard | None) -> Iterator[Outgoing]:
        for (group, source, _), kept in self._kept.items():
            if shard is None or shard.includes(group, source):
                for each in kept:
                    yield each.outgoing

    def _session(self, stream: Stream) -> _Session:
        session = self._sessions.get(stream)
        if session is None:
            session = self._sessions[stream] = _Session()
            if len(self._sessions) > STREAMS_MAX:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(stream)
        return session

    def _keep(self, stream: Stream, new: _Kept, *, is_late: bool) -> None:
        kept = self._kept.get(stream)
        if kept is not None and new.seq <= kept[-1].seq and not is_late:
            return  # it was sent again, and is still kept
        size_bytes = len(new.outgoing.payload)
        while self._kept and self._size_bytes + size_bytes > KEPT_MAX_BYTES:
            self._give_up_before(min(each[0].since_s for each in self._kept.values()) + ROOM_S)
            kept = self._kept.get(stream)
        if kept is None:
            kept = self._kept[stream] = []
        kept.append(new)
        if is_late:
            self._kept[stream] = sorted(kept, key=lambda each: each.seq)
        self._length += 1
        self._size_bytes += size_bytes

    def _give_up_before(self, time_s: float) -> None:
        """Let go of the readings that were acknowledged before this time."""
        before = self._length
        for stream in tuple(stream for stream, kept in self._kept.items() if kept[0].since_s < time_s):
            kept = self._kept[stream]
            old = tuple(takewhile(lambda each: each.since_s < time_s, kept))
            for each in old:
                self._drop(each)
            del kept[: len(old)]
            if not kept:
                del self._kept[stream]
        readings = before - self._length
        if readings and self._had_recorder:
            if not self.overflowed:
                log.error("the recorder is away or too slow: readings that it has not recorded are no longer kept here")
            self.overflowed += readings

    def _drop(self, kept: _Kept) -> None:
        self._size_bytes -= len(kept.outgoing.payload)
        self._length -= 1

    def _forget(self, stream: Stream, is_done: Callable[[_Kept], bool]) -> None:
        left: list[_Kept] = []
        for each in self._kept.pop(stream, ()):
            if is_done(each):
                self._drop(each)
            else:
                left.append(each)
        if left:
            self._kept[stream] = left


def _is_recorded(seq: int, receipt: RecordedStream) -> bool:
    """Return True if the receipt proves that this reading is on disk.

    A receipt lists the newest gaps; older ones are only counted.
    """
    if seq > receipt.seq or any(hole.first <= seq <= hole.last for hole in receipt.missing):
        return False
    named = sum(hole.last - hole.first + 1 for hole in receipt.missing)
    return named == receipt.gaps or (bool(receipt.missing) and seq >= receipt.missing[0].first)
