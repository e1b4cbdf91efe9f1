"""Readings that the broker has and no recorder yet: a broker that crashes loses what it had in memory.

A reading enters when the broker acknowledges it and leaves when a recorder's mark covers it. After a reconnect, and
when the first recorder appears, all that is left here goes to the broker again, with its own session and seq, so a
recorder can tell what it has.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from neuroone.contract.messages import Message, Recorded, RecordedStream, ServiceState, ServiceStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.outbox import Outgoing

RECORDER: Final = "csv_recorder"
KEPT_MAX_S: Final = 120.0
"""A recorder marks once a second; a broker and a recorder that start anew take less than two minutes."""
KEPT_MAX_BYTES: Final = 64 * 2**20
"""Payload bytes: 4000 students' readings for 40 s."""
STREAMS_MAX: Final = 20_000
"""Sessions that are remembered, so that an ack that comes after its mark keeps nothing. About 5 MB."""
RECORDER_GRACE_S: Final = 5.0
"""After a reconnect readings wait so long for the recorder to be back: a broker that lost its state would take them
with nobody subscribed."""

log = logging.getLogger(__name__)

Stream = tuple[str, str, str]
"""Group, source and session."""


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    since_s: float
    outgoing: Outgoing


@dataclass(slots=True)
class _Session:
    """The last seq of a session that was acknowledged, and up to which all are on disk; -1 for none."""

    acked: int = -1
    covered: int = -1


class ReplayBuffer:
    """Keeps readings until a recorder covers them. ``clock`` is a steady clock in seconds.

    They are kept before there is a recorder, too: one that appears gets them. What then becomes too old was nobody's
    loss and is not counted.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[Stream, deque[_Kept]] = {}
        self._sessions: OrderedDict[Stream, _Session] = OrderedDict()
        self._recorders: set[str] = set()
        self._seen: set[str] = set()
        self._had_recorder = False
        self._owes = False
        self._linked_s = float("-inf")
        self._size_bytes = 0
        self._length = 0
        self.overflowed = 0
        self.on_covered: Callable[[Stream, int], None] = lambda stream, seq: None

    def __len__(self) -> int:
        return self._length

    @property
    def size_bytes(self) -> int:
        """Payload bytes that are kept."""
        return self._size_bytes

    @property
    def has_recorder(self) -> bool:
        """Whether a recorder is there, as far as is known."""
        return bool(self._recorders)

    def take_state(self, topic: Topic, state: ServiceState) -> None:
        """A service came or went. A recorder that the broker may have had no session for is owed what is kept."""
        if topic["service"] != RECORDER:
            return
        if state.status is ServiceStatus.ONLINE:
            is_new = topic["instance"] not in self._seen
            self._owes |= is_new and self._length > 0 and not self.waits_for_recorder()
            self._had_recorder = True
            self._recorders.add(topic["instance"])
            self._seen.add(topic["instance"])
        else:
            # It may come back within moments, and then it covers what is kept: that stays until it is too old.
            self._recorders.discard(topic["instance"])

    def gauges(self) -> dict[str, float]:
        """What a service says of its ledger in its health."""
        return {"kept": self._length, "kept_bytes": self._size_bytes, "kept_overflowed": self.overflowed}

    def take(self, topic: Topic, message: Message) -> None:
        """Something was delivered: a recorder's state or mark is taken in, anything else is no matter."""
        if isinstance(message, Recorded):
            self.take_mark(message)
        elif isinstance(message, ServiceState):
            self.take_state(topic, message)

    def acked(self, stream: Stream, seq: int, outgoing: Outgoing) -> None:
        """The broker has a reading."""
        session = self._session(stream)
        session.acked = max(session.acked, seq)
        if seq <= session.covered:
            return
        if self._size_bytes + len(outgoing.payload) > KEPT_MAX_BYTES:
            self._give_up(1)
            return
        kept = self._kept.setdefault(stream, deque())
        if kept and seq <= kept[-1].seq:
            return  # it was sent again, and is still kept
        kept.append(_Kept(seq, self._clock(), outgoing))
        self._length += 1
        self._size_bytes += len(outgoing.payload)

    def take_mark(self, mark: Recorded) -> None:
        """A recorder has these on disk."""
        for each in mark.streams:
            stream = (each.group, each.source, each.session)
            kept = self._kept.get(stream)
            if kept is not None and len(kept) == 1 and kept[0].seq == each.seq and not each.gaps:  # so it nearly is
                self._drop(kept[0])
                del self._kept[stream]
                kept = None
            elif kept is not None:
                self._forget(stream, lambda kept, each=each: _is_recorded(kept.seq, each))  # type: ignore[misc]
                kept = self._kept.get(stream)
            session = self._session(stream)
            # What is kept here and missing there is on its way again, or will be.
            covered = min(each.seq, kept[0].seq - 1) if kept else each.seq
            if covered > session.covered:
                session.covered = covered
                self.on_covered(stream, covered)

    def look(self) -> None:
        """Let go of what no recorder covered in time. Call every second or so."""
        too_old_s = self._clock() - KEPT_MAX_S
        for stream in tuple(stream for stream, kept in self._kept.items() if kept[0].since_s < too_old_s):
            before = self._length
            self._forget(stream, lambda kept: kept.since_s < too_old_s)
            self._give_up(before - self._length)

    def linked(self, up: bool) -> None:
        """The broker came or went."""
        if up:
            self._linked_s = self._clock()
            self._seen.clear()

    def waits_for_recorder(self) -> bool:
        """Whether readings wait: the broker is just back, and the recorder that was there is not yet."""
        if self._recorders <= self._seen:
            return False
        return self._clock() - self._linked_s < RECORDER_GRACE_S

    def replay(self) -> list[Outgoing]:
        """Everything that is kept, each stream in its order; its acks enter nothing twice."""
        return [each.outgoing for kept in self._kept.values() for each in kept]

    def owed(self) -> list[Outgoing]:
        """What must go to the broker once more now, for a recorder that has just appeared."""
        owes, self._owes = self._owes, False
        return self.replay() if owes else []

    def _session(self, stream: Stream) -> _Session:
        session = self._sessions.get(stream)
        if session is None:
            session = self._sessions[stream] = _Session()
            if len(self._sessions) > STREAMS_MAX:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(stream)
        return session

    def _give_up(self, readings: int) -> None:
        if self._had_recorder:
            if not self.overflowed:
                log.error("the recorder is away or too slow: readings that it has not marked are no longer kept here")
            self.overflowed += readings

    def _drop(self, kept: _Kept) -> None:
        self._size_bytes -= len(kept.outgoing.payload)
        self._length -= 1

    def _forget(self, stream: Stream, is_done: Callable[[_Kept], bool]) -> None:
        kept = self._kept.get(stream)
        if kept is None:
            return
        left: deque[_Kept] = deque()
        for each in kept:
            if is_done(each):
                self._drop(each)
            else:
                left.append(each)
        if left:
            self._kept[stream] = left
        else:
            del self._kept[stream]


def _is_recorded(seq: int, mark: RecordedStream) -> bool:
    """Whether a mark says that a reading is on disk. Of older holes than it names it says only how many there are."""
    if seq > mark.seq or any(hole.first <= seq <= hole.last for hole in mark.missing):
        return False
    named = sum(hole.last - hole.first + 1 for hole in mark.missing)
    return named == mark.gaps or (bool(mark.missing) and seq >= mark.missing[0].first)
