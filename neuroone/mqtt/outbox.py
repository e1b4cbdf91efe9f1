"""Keep what is on its way to the broker: bounded, in order, until the broker has acknowledged it."""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from msgspec import Struct

from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.packets import ConnAck, Publish

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
RETRY: Final = Backoff(first_s=1.0, cap_s=30.0)
"""The waits before a refused message is sent again, without jitter."""
PUBLISH_HEAD_BYTES: Final = 10
"""A PUBLISH without topic and payload: type 1, length 4, the topic's length 2, packet id 2, properties 1."""

log = logging.getLogger(__name__)


class Outgoing(Struct, frozen=True, eq=False):
    """One message on its way; ``on_ack`` is called when the broker has it (QoS 1 only).

    A reading has its stream (group, source, session) and seq in ``reading``, and the steady time of its arrival in
    ``arrived_s`` if that is known.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    on_ack: Callable[[], None] | None = None
    reading: tuple[tuple[str, str, str], int] | None = None
    arrived_s: float | None = None


class Outbox:
    """Hold messages in the order in which they were put, a bounded number and size of them.

    With a ``lock`` any thread may `put`; the other methods belong to the thread that talks to the broker.
    ``on_too_large`` is told of messages that the broker states it will not accept; they are dropped. One that
    ``is_closed`` accepts nothing: its program only listens, without a state and a Last Will, and needs no more than a
    login to read.
    """

    def __init__(self, lock: AbstractContextManager[object] | None = None, *, is_closed: bool = False) -> None:
        self.is_closed = is_closed
        self.counters = dict.fromkeys(("published", "dropped", "dropped_qos0", "dropped_too_large", "replayed"), 0)
        self.on_too_large: Callable[[Outgoing], None] = lambda outgoing: None
        self._limits: ConnAck | None = None
        self._window = 0
        self._lock = nullcontext() if lock is None else lock
        self._retained: OrderedDict[str, Outgoing] = OrderedDict()
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._refused_until_s: dict[Outgoing, float] = {}
        self._tries: dict[Outgoing, int] = {}
        self._hopeless: set[str] = set()
        self._size_bytes = 0
        self._packet_id = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight) + len(self._refused_until_s)

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
        if self.is_closed:
            return False
        with self._lock:
            if outgoing.retained:
                self._keep_state(outgoing)
                if self._limits is None:
                    return bool(outgoing.payload)
            elif not outgoing.qos and self._limits is None:
                self.counters["dropped_qos0"] += 1
                return False
            if not self._append(outgoing):
                return False
            self.counters["published"] += 1
        return True

    def leave_to_broker(self, topic: str) -> None:
        """Publish the state of a topic no more after a reconnect: the broker has it, and others may change it."""
        with self._lock:
            self._retained.pop(topic, None)

    def put_again(self, replayed: Iterable[Outgoing]) -> None:
        """Accept messages that the broker has acknowledged before."""
        with self._lock:
            for outgoing in replayed:
                self.counters["replayed"] += self._append(outgoing)

    def put_state_again(self, state: Outgoing) -> bool:
        """Accept a state that the broker has acknowledged before, unless a newer one of its topic was put since."""
        with self._lock:
            return self._retained.get(state.topic, state) is state and self._append(state)

    def next(self, *, states_only: bool = False) -> Publish | None:
        """Return the packet to send now, if there is one and the window has room."""
        limits = self._limits
        while limits is not None and self._waiting and len(self._in_flight) < self._window:
            if states_only and not self._waiting[0].retained:
                return None
            outgoing = self._waiting.popleft()
            if limits.packet_max_bytes is not None and _packet_bytes(outgoing) > limits.packet_max_bytes:
                self._drop_too_large(outgoing, limits.packet_max_bytes)
                continue
            packet_id = 0
            if outgoing.qos and limits.maximum_qos:
                packet_id = self.next_packet_id()
                self._in_flight[packet_id] = outgoing
            else:
                self._release(outgoing)
            return Publish(outgoing.topic, outgoing.payload, outgoing.retained and limits.retain_available, packet_id)
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
        self._refused_until_s[outgoing] = now_s + RETRY.full_s(tries - 1)
        return outgoing, False

    def retry(self, now_s: float) -> None:
        """Put refused messages whose wait is over in front of the others."""
        due = [outgoing for outgoing, until_s in self._refused_until_s.items() if until_s <= now_s]
        for outgoing in due:
            del self._refused_until_s[outgoing]
        self._waiting.extendleft(reversed(due))

    def link(self, limits: ConnAck, birth: Outgoing, again: Collection[Outgoing]) -> None:
        """Begin a connection: send the states (``birth`` first), ``again`` and then what was not acknowledged.

        Refused messages go on waiting: Mosquitto 2.0 ends the connection at each refusal. Messages of QoS 0 of an
        earlier connection are dropped: they were promised for that one only.
        """
        with self._lock:
            self._limits = limits
            self._window = min(WINDOW, limits.receive_maximum)
            if not self.is_closed:
                self._keep_state(birth)
                self._retained.move_to_end(birth.topic, last=False)
            old = [*self._in_flight.values(), *self._waiting]
            keep = [*self._retained.values(), *again, *(each for each in old if each.qos and not each.retained)]
            self._in_flight.clear()
            for outgoing in [each for each in self._refused_until_s if each.retained]:
                del self._refused_until_s[outgoing]
            self._waiting = deque(keep)
            kept = [*keep, *self._refused_until_s]
            self._tries = {each: self._tries[each] for each in kept if each in self._tries}
            self._size_bytes = sum(len(each.payload) for each in kept)
            self.counters["replayed"] += len(again)
            self.counters["dropped_qos0"] += sum(not each.qos for each in old)

    def unlink(self) -> None:
        """End a connection: from now on only what may wait is accepted."""
        with self._lock:
            self._limits = None

    def forget(self) -> None:
        """Forget all messages, between two connections: whoever has put them keeps them and will put them again."""
        with self._lock:
            for each in (self._retained, self._waiting, self._in_flight, self._refused_until_s, self._tries):
                each.clear()
            self._size_bytes = 0

    def _keep_state(self, outgoing: Outgoing) -> None:
        if not outgoing.payload:
            self._retained.pop(outgoing.topic, None)
            return
        self._retained[outgoing.topic] = outgoing
        self._retained.move_to_end(outgoing.topic)
        if len(self._retained) > RETAINED_MAX:
            self._retained.popitem(last=False)

    def _append(self, outgoing: Outgoing) -> bool:
        if self._size_bytes + len(outgoing.payload) > OUTBOX_MAX_BYTES or len(self) >= OUTBOX_MAX_MESSAGES:
            self.counters["dropped"] += 1
            if self.counters["dropped"] == 1:
                log.error("the broker is away or too slow: the outbox is full, and new messages are dropped")
            return False
        self._size_bytes += len(outgoing.payload)
        self._waiting.append(outgoing)
        return True

    def _drop_too_large(self, outgoing: Outgoing, max_bytes: int) -> None:
        self._release(outgoing)
        self.counters["dropped_too_large"] += 1
        if self.counters["dropped_too_large"] == 1:
            log.error("the broker accepts packets of %d bytes at most: larger ones are dropped", max_bytes)
        self.on_too_large(outgoing)

    def _release(self, outgoing: Outgoing) -> None:
        with self._lock:
            self._size_bytes -= len(outgoing.payload)


def _packet_bytes(outgoing: Outgoing) -> int:
    """Return how large the PUBLISH is at most; topics are ASCII."""
    return PUBLISH_HEAD_BYTES + len(outgoing.topic) + len(outgoing.payload)
