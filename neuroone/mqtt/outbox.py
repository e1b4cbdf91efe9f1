"""What is on its way to the broker: bounded, in order, kept until the broker acknowledged it."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 100
"""QoS 1 messages in flight at once. paho walks all of them at every ack, so a large window is slow."""
OUTBOX_MAX_BYTES: Final = 64 * 2**20
"""Payload bytes that may wait for the broker: 4000 students' readings for 40 s, one headset's for two days."""
OUTBOX_MAX_MESSAGES: Final = 200_000
"""Messages that may wait: bounds what small payloads cost beside their bytes (about 1 kB of Python each)."""


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """One message on its way; ``on_ack`` is called once the broker has it (QoS 1 only).

    A reading has its stream (group, source, session) and seq in ``reading``.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    on_ack: Callable[[], None] | None = None
    reading: tuple[tuple[str, str, str], int] | None = None


class Outbox:
    """Messages in the order they were given, at most so many and so large, ``window`` of them in flight.

    Any thread may ``put``; the other methods belong to the one thread that talks to the broker.
    """

    def __init__(
        self,
        *,
        window: int = WINDOW,
        max_bytes: int = OUTBOX_MAX_BYTES,
        max_messages: int = OUTBOX_MAX_MESSAGES,
    ) -> None:
        self.window = window
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._lock = threading.Lock()
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: OrderedDict[int, Outgoing] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    @property
    def in_flight(self) -> int:
        """Messages that were sent and are not acknowledged yet."""
        return len(self._in_flight)

    @property
    def size_bytes(self) -> int:
        """Payload bytes in the box."""
        return self._size_bytes

    def gauges(self) -> dict[str, float]:
        """What a service says of its outbox in its health."""
        return {"outbox": len(self), "outbox_bytes": self._size_bytes}

    def put(self, outgoing: Outgoing) -> bool:
        """Take a message; False, and nothing is taken, when the box is full."""
        with self._lock:
            if self._size_bytes + len(outgoing.payload) > self._max_bytes or len(self) >= self._max_messages:
                return False
            self._size_bytes += len(outgoing.payload)
            self._waiting.append(outgoing)
            return True

    def next(self) -> Outgoing | None:
        """The message to send now, if there is one and the window has room; it leaves the box until `sent`."""
        if len(self._in_flight) >= self.window or not self._waiting:
            return None
        return self._waiting.popleft()

    def sent(self, packet_id: int, outgoing: Outgoing) -> None:
        """The message went out: keep it until `acked` if its QoS is 1."""
        if outgoing.qos:
            self._in_flight[packet_id] = outgoing
        else:
            self._forget(outgoing)

    def unsent(self, outgoing: Outgoing) -> None:
        """The message could not be handed over: it stays first in line."""
        self._waiting.appendleft(outgoing)

    def acked(self, packet_id: int) -> Outgoing | None:
        """The broker has it: take it out. None for an id that is not in flight."""
        outgoing = self._in_flight.pop(packet_id, None)
        if outgoing is not None:
            self._forget(outgoing)
        return outgoing

    def rewind(self, first: Iterable[Outgoing] = ()) -> int:
        """A new connection: ``first``, then what was in flight, then the rest go out, each in its order.

        Old retained messages and those of QoS 0 are left out: ``first`` has the newest retained ones, and
        QoS 0 was a promise for one connection only. Returns how many of QoS 0 were dropped.
        """
        with self._lock:
            everything = [*self._in_flight.values(), *self._waiting]
            self._in_flight.clear()
            keep = [*first, *(each for each in everything if each.qos and not each.retained)]
            self._waiting = deque(keep)
            self._size_bytes = sum(len(each.payload) for each in keep)
        return sum(1 for each in everything if not each.qos)

    def _forget(self, outgoing: Outgoing) -> None:
        with self._lock:
            self._size_bytes -= len(outgoing.payload)
