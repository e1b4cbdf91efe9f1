"""Where the bus's thread and the window's meet: deliveries go into histories, the window reads what it draws.

Everything is under one lock and bounded; nothing is handed over message by message, so a window that was hidden for an
hour draws the newest at once.
"""

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from monitor_gui.history import History
from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.messages import (
    EventType,
    GroupEvent,
    RawBlock,
    Reading,
    Recorded,
    RecordedStream,
    ServiceState,
    StreamState,
)
from neuroone.contract.topics import TopicRule
from neuroone.mqtt.session import Delivery
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.settings import BrokerAddress

STREAMS_MAX: Final = 5000
"""Streams that are listed: ten times a large school. More are counted and left out."""
LEAVE_S: Final = 1.0
"""For markers that the broker has not acknowledged yet, when the monitor leaves it."""
EVENTS_MAX: Final = 1000
"""Events of a group that are kept: more than anyone marks in an hour."""


class StreamId(NamedTuple):
    """Where a stream is in the topics."""

    group: str
    source: str

    def __str__(self) -> str:
        return f"{self.group}/{self.source}"


class NewBus(Protocol):
    """Makes the connection to a broker."""

    def __call__(
        self,
        broker: BrokerAddress,
        *,
        subscriptions: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        on_fatal: Callable[[NeuroOneError], None],
    ) -> ThreadedClient:
        """A bus that is not yet started."""
        ...


@dataclass(slots=True)
class Watched:
    """What is kept of a stream that is looked at. Use it under the feed's lock."""

    history: History = field(default_factory=History)
    events: deque[GroupEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    recorded: RecordedStream | None = None
    recorded_at_s: float = 0.0


class Feed:
    """What the broker said, for the window. ``clock`` is monotonic, in seconds."""

    def __init__(self, new_bus: NewBus, site: str, clock: Callable[[], float]) -> None:
        self.site = site
        self.clock = clock
        self.broker: BrokerAddress | None = None
        self.fault: NeuroOneError | None = None
        self.counters = dict.fromkeys(("bad_messages", "streams_left_out"), 0)
        self._new_bus = new_bus
        self._bus: ThreadedClient | None = None
        self._connection = 0
        self._leaving: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._states: dict[StreamId, StreamState] = {}
        self._services: dict[tuple[str, str], ServiceState] = {}
        self._watched: dict[StreamId, Watched] = {}

    def connect(self, broker: BrokerAddress) -> None:
        """Connect to that broker, and again for ever; forget what another one said."""
        self._leave()
        with self._lock:
            self._states.clear()
            self._services.clear()
            self._watched = {stream: Watched() for stream in self._watched}
        self.broker, self.fault = broker, None
        wanted = {
            topics.every(topics.STREAM_STATE, self.site): topics.STREAM_STATE.qos,
            topics.every(topics.SERVICE_STATE, self.site): topics.SERVICE_STATE.qos,
            topics.every(topics.RECORDED, self.site): topics.RECORDED.qos,
        }
        for stream in self._watched:
            wanted |= self._filters(stream)
        self._connection = connection = self._connection + 1  # a bus that is left must not be heard any more

        def take(delivery: Delivery) -> None:
            if connection == self._connection:
                self._take(delivery)

        def die(fault: NeuroOneError) -> None:
            if connection == self._connection:
                self.fault = fault

        self._bus = self._new_bus(broker, subscriptions=wanted, on_delivery=take, on_fatal=die)
        self._bus.start()

    def close(self) -> None:
        """Leave the broker, and wait until that is done."""
        self._leave()
        for thread in self._leaving:
            thread.join()
        self._leaving.clear()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._bus is not None and self._bus.is_connected

    def watch(self, *streams: StreamId) -> None:
        """Take the readings, raw samples and events of these streams, and of no others."""
        with self._lock:
            before = self._watched
            self._watched = {stream: before.get(stream) or Watched() for stream in streams}
        if self._bus is None:
            return
        old = {f: q for stream in before for f, q in self._filters(stream).items()}
        new = {f: q for stream in streams for f, q in self._filters(stream).items()}
        for filter in old.keys() - new.keys():
            self._bus.unsubscribe(filter)
        for filter in sorted(new.keys() - old.keys()):
            self._bus.subscribe(filter, new[filter])

    def states(self) -> dict[StreamId, StreamState]:
        """The retained states of all streams."""
        with self._lock:
            return dict(self._states)

    def state(self, stream: StreamId) -> tuple[StreamState | None, ServiceState | None]:
        """A stream's state, and that of the service which owns it."""
        with self._lock:
            return self._state(stream)

    @contextmanager
    def watched(self, stream: StreamId) -> Iterator[Watched | None]:
        """What is kept of a stream, for as long as the block runs; be quick, the bus's thread waits."""
        with self._lock:
            yield self._watched.get(stream)

    def mark(self, stream: StreamId, time: datetime, note: str) -> bool:
        """Publish a marker to the stream's group; False when it can neither be sent nor kept for sending."""
        if self._bus is None:
            return False
        event = GroupEvent(id=uuid.uuid4().hex, time=time, type=EventType.MARKER, text=note, source=stream.source)
        return self._bus.publish(topics.event(self.site, stream.group), event)

    def now(self, stream: StreamId) -> datetime:
        """Now, by the clock that stamps the stream's readings: that is what a marker is compared with."""
        with self._lock:
            watched = self._watched.get(stream)
            if watched is None or watched.history.latest is None:
                return datetime.now(UTC)
            return datetime.fromtimestamp(self.clock() + watched.history.offset_s, UTC)

    def _leave(self) -> None:
        """Let the bus go in a thread of its own: a broker that does not answer takes seconds."""
        bus, self._bus = self._bus, None
        if bus is not None:
            thread = threading.Thread(target=bus.close, args=(LEAVE_S,), name="leave", daemon=True)
            self._leaving = [each for each in self._leaving if each.is_alive()] + [thread]
            thread.start()

    def _state(self, stream: StreamId) -> tuple[StreamState | None, ServiceState | None]:
        state = self._states.get(stream)
        return state, None if state is None else self._services.get((state.service, state.instance))

    def _filters(self, stream: StreamId) -> dict[str, int]:
        group, source = stream
        rules: tuple[TopicRule, ...] = (topics.READING, topics.RAW)
        return {topics.every(rule, self.site, group=group, source=source): 0 for rule in rules} | {
            topics.every(topics.EVENT, self.site, group=group): topics.EVENT.qos
        }

    def _take(self, delivery: Delivery) -> None:
        now_s = self.clock()
        if not delivery.payload:
            self._forget(delivery.topic)
            return
        try:
            topic, message = delivery.open()
        except ContractError:
            self.counters["bad_messages"] += 1
            return
        with self._lock:
            if isinstance(message, StreamState):
                self._list(StreamId(topic["group"], topic["source"]), message)
            elif isinstance(message, ServiceState):
                self._services[topic["service"], topic["instance"]] = message
            elif isinstance(message, Recorded):
                self._take_marks(message, now_s)
            elif isinstance(message, GroupEvent):
                for stream, watched in self._watched.items():
                    if stream.group == topic["group"] and all(each.id != message.id for each in watched.events):
                        watched.events.append(message)
            elif chosen := self._watched.get(StreamId(topic["group"], topic["source"])):
                if isinstance(message, Reading):
                    chosen.history.add_reading(message, now_s)
                elif isinstance(message, RawBlock):
                    chosen.history.add_raw(message, now_s)

    def _list(self, stream: StreamId, state: StreamState) -> None:
        if stream not in self._states and len(self._states) >= STREAMS_MAX:
            self.counters["streams_left_out"] += 1
        else:
            self._states[stream] = state

    def _take_marks(self, recorded: Recorded, now_s: float) -> None:
        for mark in recorded.streams:
            if watched := self._watched.get(StreamId(mark.group, mark.source)):
                watched.recorded, watched.recorded_at_s = mark, now_s

    def _forget(self, topic: str) -> None:
        """An empty retained message takes a state away."""
        try:
            parsed = topics.parse(topic)
        except ContractError:
            return
        with self._lock:
            if parsed.rule is topics.STREAM_STATE:
                self._states.pop(StreamId(parsed["group"], parsed["source"]), None)
            elif parsed.rule is topics.SERVICE_STATE:
                self._services.pop((parsed["service"], parsed["instance"]), None)
