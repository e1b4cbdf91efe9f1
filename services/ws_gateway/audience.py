"""The outbound half: from what the broker delivers to dashboards and to clients that only listen.

It knows nothing of the students' connections, so it shows students of every gateway alike.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from neuroone.contract.messages import Kind, Reading
from neuroone.contract.topics import Topic
from neuroone.runtime.streams import STALE_AFTER_S
from ws_gateway import wire

ROSTER_MAX: Final = 100_000
"""Streams whose ID is remembered, the longest silent forgotten first: a school's whole year; about 20 MB."""


class Sink(Protocol):
    """One client's way out. Frames of one ``key`` may take the place of each other when the client is slow."""

    def send(self, key: str, frame: str) -> None:
        """Send a frame as soon as the client takes it. Does not block."""
        ...


class Roster:
    """The number that dashboards know each stream by: given at first sight, rising from 1, kept while remembered."""

    def __init__(self, most: int = ROSTER_MAX) -> None:
        self._ids: OrderedDict[str, int] = OrderedDict()
        self._most = most
        self._last = 0

    def id_of(self, stream: str) -> int:
        """The stream's number."""
        known = self._ids.get(stream)
        if known is not None:
            self._ids.move_to_end(stream)
            return known
        if len(self._ids) >= self._most:
            self._ids.popitem(last=False)
        self._last += 1
        self._ids[stream] = self._last
        return self._last


class Audience:
    """Everybody who listens. ``clock`` is a steady clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._roster = Roster()
        self._headsets: dict[str, tuple[Reading, float]] = {}
        self.dashboards: set[Sink] = set()
        self.listeners: set[Sink] = set()

    def take_reading(self, topic: Topic, reading: Reading) -> None:
        """A reading came from the broker: dashboards hear it at once, but for a headset that has no name."""
        if reading.kind is Kind.HEADSET:
            self._headsets[reading.session] = (reading, self._clock())
            if reading.name is None:
                return
        stream = str(topic)
        frame = wire.dashboard_frame(self._roster.id_of(stream), reading)
        for dashboard in self.dashboards:
            dashboard.send(stream, frame)

    def tick(self) -> None:
        """Tell the listeners of the headset that was started last, while one is live. Call once a second."""
        now_s = self._clock()
        for session, (_, arrived_s) in tuple(self._headsets.items()):
            if now_s - arrived_s >= STALE_AFTER_S:
                del self._headsets[session]
        if not self._headsets:
            return
        reading, _ = self._headsets[next(reversed(self._headsets))]
        frame = wire.listener_frame(reading)
        for listener in self.listeners:
            listener.send("headset", frame)
