"""Keep what is on its way to the broker: bounded, in order, until the broker has acknowledged it."""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from neuroone.mqtt.packets import Publish

WINDOW: Final = 500
"""QoS 1 messages in flight at once: what Mosquitto is configured to accept."""
OUTBOX_MAX_BYTES: Final = 64 * 2**20
"""Payload bytes that may wait for the broker: 4000 students' readings for 40 s, one headset's for two days."""
OUTBOX_MAX_MESSAGES: Final = 200_000
"""Messages that may wait: bounds what small payloads cost beside their bytes (about 1 kB of Python each)."""
RETAINED_MAX: Final = 20_000
"""States that are published again after a reconnect; the longest unchanged is forgotten first. About 20 MB."""
PERMANENT: Final = frozenset((0x87, 0x90, 0x99))
"""Refusals that the same message will meet again: not authorized, topic name invalid, payload format invalid."""
HOPELESS_MAX: Final = 10_000
"""Topics that are remembered as permanently refused; beyond that they are tried anew. About 2 MB."""
PERMANENT_TRIES_MAX: Final = 5
"""Tries of a message that meets a permanent refusal: 15 s, in case somebody is mending the access list just now."""
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 30.0
"""The wait before a refused message is sent again doubles from the first value to the cap."""
PUBLISH_HEAD_BYTES: Final = 10
"""A PUBLISH without topic and payload: type 1, length 4, the topic's length 2, packet id 2, properties 1."""

log = logging.getLogger(__name__)


class Outgoing(Struct, frozen=True, eq=False):
    """One message on its way; ``on_ack`` is called when the broker has it (QoS 1 only).

    A reading has its stream (group, source, session) and seq in ``reading``.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    on_ack: Callable[[], None] | None = None
    reading: tuple[tuple[str, str, str], int] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker accepts on one connection. ``packet_max_bytes`` is None where it states no limit."""

    window: int = WINDOW
    qos: int = 1
    retain: bool = True
    packet_max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Refused:
    due_s: float
    outgoing: Outgoing


class Outbox:
    """Hold messages in the order in which they were put, a bounded number and size of them.

    With a ``lock`` any thread may `put`; the other methods belong to the thread that talks to the broker.
    ``on_too_large`` is told of messages that the broker states it will not accept; they are dropped.
    """

    def __init__(
        self,
        *,
        lock: AbstractContextManager[object] | None = None,
        max_bytes: int = OUTBOX_MAX_BYTES,
        max_messages: int = OUTBOX_MAX_MESSAGES,
    ) -> None:
        self.counters = dict.fromkeys(("published", "dropped", "dropped_qos0", "dropped_too_large", "replayed"), 0)
        self.on_too_large: Callable[[Outgoing], None] = lambda outgoing: None
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._limits = Limits()
        self._is_linked = False
        self._lock = nullcontext() if lock is None else lock
        self._retained: OrderedDict[str, Outgoing] = OrderedDict()
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._refused: list[_Refused] = []
        self._tries: dict[Outgoing, int] = {}
        self._hopeless: set[str] = set()
        self._size_bytes = 0
        self._packet_id = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight) + len(self._refused)

    @property
    def in_flight(self) -> int:
        """The number of messages that were sent and not acknowledged yet."""
        return len(self._in_flight)

    def gauges(self) -> dict[str, float]:
        """Return what a service's health says of its outbox."""
        return {"outbox": len(self), "outbox_bytes": self._size_bytes}

    def put(self, outgoing: Outgoing) -> bool:
        """Accept a message; return False if it is dropped: the outbox is full, or QoS 0 has no connection.

        A retained message is kept for later connections too, until one without a payload removes its topic.
        """
        with self._lock:
            if outgoing.retained:
                self._keep_state(outgoing)
                if not self._is_linked:
                    return bool(outgoing.payload)
            elif not outgoing.qos and not self._is_linked:
                self.counters["dropped_qos0"] += 1
                return False
            if not self._append(outgoing):
                return False
            self.counters["published"] += 1
        return True

    def put_again(self, replayed: Iterable[Outgoing]) -> None:
        """Accept messages that the broker has acknowledged before."""
        with self._lock:
            for outgoing in replayed:
                self.counters["replayed"] += self._append(outgoing)

    def next(self, *, states_only: bool = False) -> Publish | None:
        """Return the packet to send now, if there is one and the window has room."""
        while self._waiting and len(self._in_flight) < self._limits.window:
            if states_only and not self._waiting[0].retained:
                return None
            outgoing = self._waiting.popleft()
            limits = self._limits
            if limits.packet_max_bytes is not None and _packet_bytes(outgoing) > limits.packet_max_bytes:
                self._drop_too_large(outgoing)
                continue
            packet_id = 0
            if outgoing.qos and limits.qos:
                packet_id = self.next_packet_id()
                self._in_flight[packet_id] = outgoing
            else:
                self._release(outgoing)
            return Publish(outgoing.topic, outgoing.payload, outgoing.retained and limits.retain, packet_id)
        return None

    def next_packet_id(self) -> int:
        """Return a packet id that no message in flight has."""
        while True:
            self._packet_id = self._packet_id % 0xFFFF + 1
            if self._packet_id not in self._in_flight:
                return self._packet_id

    def acked(self, packet_id: int) -> Outgoing | None:
        """Take out a message that the broker has acknowledged. Return None for an id that is not in flight."""
        outgoing = self._in_flight.pop(packet_id, None)
        if outgoing is not None:
            self._release(outgoing)
            if self._tries or self._hopeless:
                self._tries.pop(outgoing, None)
                self._hopeless.discard(outgoing.topic)
        return outgoing

    def refused(self, packet_id: int, reason: int, now_s: float) -> tuple[Outgoing | None, bool]:
        """Keep a refused message, to be sent again by `retry`. Return it, and whether it is given up instead."""
        outgoing = self._in_flight.pop(packet_id, None)
        if outgoing is None:
            return None, False
        tries = self._tries.pop(outgoing, 0) + 1
        is_hopeless = tries >= PERMANENT_TRIES_MAX or outgoing.topic in self._hopeless
        with self._lock:
            is_old_state = outgoing.retained and self._retained.get(outgoing.topic, outgoing) is not outgoing
            is_given_up = reason in PERMANENT and is_hopeless and not is_old_state
            if is_given_up:
                self._retained.pop(outgoing.topic, None)
        if is_old_state or is_given_up:
            if is_given_up and len(self._hopeless) < HOPELESS_MAX:
                self._hopeless.add(outgoing.topic)
            self._release(outgoing)
            return outgoing, is_given_up
        self._tries[outgoing] = tries
        wait_s = min(RETRY_CAP_S, RETRY_FIRST_S * 2.0 ** min(tries - 1, 32))
        self._refused.append(_Refused(now_s + wait_s, outgoing))
        return outgoing, False

    def retry(self, now_s: float) -> None:
        """Put refused messages whose wait is over in front of the others."""
        if not self._refused:
            return
        due = [each.outgoing for each in self._refused if each.due_s <= now_s]
        self._refused = [each for each in self._refused if each.due_s > now_s]
        self._waiting.extendleft(reversed(due))

    def link(self, limits: Limits, birth: Outgoing, replayed: Iterable[Outgoing]) -> None:
        """Begin a connection: send the states (``birth`` first), ``replayed`` and then what was not acknowledged.

        Refused messages go on waiting: Mosquitto 2.0 ends the connection at each refusal. Messages of QoS 0 of an
        earlier connection are dropped: they were promised for that one only.
        """
        with self._lock:
            self._limits = limits
            self._is_linked = True
            self._keep_state(birth)
            self._retained.move_to_end(birth.topic, last=False)
            again = tuple(replayed)
            old = [*self._in_flight.values(), *self._waiting]
            keep = [*self._retained.values(), *again, *(each for each in old if each.qos and not each.retained)]
            self._in_flight.clear()
            self._refused = [each for each in self._refused if not each.outgoing.retained]
            self._waiting = deque(keep)
            kept = [*keep, *(each.outgoing for each in self._refused)]
            self._tries = {each: self._tries[each] for each in kept if each in self._tries}
            self._size_bytes = sum(len(each.payload) for each in kept)
            self.counters["replayed"] += len(again)
            self.counters["dropped_qos0"] += sum(not each.qos for each in old)

    def unlink(self) -> None:
        """End a connection: from now on only what may wait is accepted."""
        with self._lock:
            self._is_linked = False

    def _keep_state(self, outgoing: Outgoing) -> None:
        if not outgoing.payload:
            self._retained.pop(outgoing.topic, None)
            return
        self._retained[outgoing.topic] = outgoing
        self._retained.move_to_end(outgoing.topic)
        if len(self._retained) > RETAINED_MAX:
            self._retained.popitem(last=False)

    def _append(self, outgoing: Outgoing) -> bool:
        if self._size_bytes + len(outgoing.payload) > self._max_bytes or len(self) >= self._max_messages:
            self.counters["dropped"] += 1
            if self.counters["dropped"] == 1:
                log.error("the broker is away or too slow: the outbox is full, and new messages are dropped")
            return False
        self._size_bytes += len(outgoing.payload)
        self._waiting.append(outgoing)
        return True

    def _drop_too_large(self, outgoing: Outgoing) -> None:
        self._release(outgoing)
        self.counters["dropped_too_large"] += 1
        if self.counters["dropped_too_large"] == 1:
            log.error(
                "the broker accepts packets of %d bytes at most: larger ones are dropped", self._limits.packet_max_bytes
            )
        self.on_too_large(outgoing)

    def _release(self, outgoing: Outgoing) -> None:
        with self._lock:
            self._size_bytes -= len(outgoing.payload)


def _packet_bytes(outgoing: Outgoing) -> int:
    """Return how large the PUBLISH is at most; topics are ASCII."""
    return PUBLISH_HEAD_BYTES + len(outgoing.topic) + len(outgoing.payload)
