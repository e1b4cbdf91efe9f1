"""Keep what the broker sends, for the window: the client's thread writes here, the window's thread reads.

Everything is bounded and under one lock. No message is queued for the window: after an hour hidden it draws the newest
state at once.
"""

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from monitor_gui.classroom import Classmate, Tile, tile_of
from monitor_gui.history import History
from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.files import search_key
from neuroone.contract.messages import (
    EventType,
    GroupEvent,
    LessonState,
    RawBlock,
    Reading,
    Recorded,
    RecordedStream,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.stream_states import status_of

STREAMS_MAX: Final = 5000
"""Streams in the list: ten times a large school. Further ones are counted and left out."""
CLOSE_S: Final = 1.0
"""How long a closing client waits for the broker to acknowledge the last markers."""
EVENTS_MAX: Final = 1000
"""Events that are kept of a group: more than anyone marks in an hour."""


class StreamId(NamedTuple):
    """A stream's two ids in the topics."""

    group: str
    source: str

    def __str__(self) -> str:
        return f"{self.group}/{self.source}"


def named(stream: StreamId, name: str | None) -> str:
    """Return a stream for people: its name first, if it has one."""
    return str(stream) if name is None else f"{name} ({stream})"


def place_of(stream: StreamId, name: str | None) -> tuple[bool, str, StreamId]:
    """Return the place of a stream in lists: by name, without case and accents; nameless ones are last."""
    return name is None, search_key(name or ""), stream


@dataclass(slots=True)
class WatchedStream:
    """What is kept of a stream that is shown. Use it under the feed's lock."""

    history: History = field(default_factory=History)
    events: deque[GroupEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    recorded: RecordedStream | None = None
    recorded_at_s: float = 0.0


@dataclass(slots=True)
class Retained:
    """The states that the broker keeps: of streams, of services and of the groups' lessons."""

    streams: dict[StreamId, StreamState] = field(default_factory=dict)
    services: dict[tuple[str, str], ServiceState] = field(default_factory=dict)
    lessons: dict[str, LessonState] = field(default_factory=dict)


class Feed:
    """What the broker has sent. ``new_client`` makes a `ThreadedClient`; ``clock`` is monotonic, in seconds."""

    def __init__(self, new_client: Callable[..., ThreadedClient], site: str, clock: Callable[[], float]) -> None:
        self.site = site
        self.clock = clock
        self.broker: BrokerAddress | None = None
        self.fault: NeuroOneError | None = None
        self.counters = dict.fromkeys(("bad_messages", "streams_left_out"), 0)
        self._new_client = new_client
        self._client: ThreadedClient | None = None
        self._connection = 0
        self._connected_at_s = float("-inf")
        self._closing: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._retained = Retained()
        self._watched: dict[StreamId, WatchedStream] = {}
        self._classmates: dict[StreamId, Classmate] | None = None
        """None until the class view was opened: then the readings of every stream are received."""

    def connect(self, broker: BrokerAddress, site: str | None = None, ca_file: Path | None = None) -> None:
        """Connect to a broker and stay connected; forget everything that another broker sent.

        Without a ``site`` it stays the same. ``ca_file`` has the certificate authority of the broker.
        """
        self._close_client()
        self.site = site or self.site
        with self._lock:
            self._retained = Retained()
            self._classmates = None if self._classmates is None else {}
            self._watched = {stream: WatchedStream() for stream in self._watched}
        self.broker, self.fault = broker, None
        rules = (topics.STREAM_STATE, topics.SERVICE_STATE, topics.RECORDED, topics.LESSON)
        subscriptions = {topics.every(rule, self.site): rule.qos for rule in rules}
        subscriptions[str(topics.event(self.site, topics.ALL))] = topics.EVENT.qos
        subscriptions |= self._filters(*self._watched)
        if self._classmates is not None:
            subscriptions[topics.every(topics.READING, self.site)] = 0
        self._connection = connection = self._connection + 1
        self._client = self._new_client(
            broker,
            subscriptions=subscriptions,
            on_delivery=partial(self._on_delivery, connection),
            on_fatal=partial(self._on_fatal, connection),
            on_link=partial(self._on_link, connection),
            **({} if ca_file is None else {"ca_file": ca_file}),
        )
        self._client.start()

    def close(self) -> None:
        """Close the connection and wait until that is done."""
        self._close_client()
        for thread in self._closing:
            thread.join()
        self._closing.clear()

    @property
    def is_live(self) -> bool:
        """Return True: this is what happens now, and no recording."""
        return True

    @property
    def is_connected(self) -> bool:
        """Return True while the broker answers."""
        return self._client is not None and self._client.is_connected

    @property
    def connection_fault(self) -> NeuroOneError | None:
        """Return why the broker is not connected, as far as it is known."""
        return None if self._client is None else self._client.fault

    def watch(self, *streams: StreamId) -> None:
        """Subscribe to the readings, raw samples and events of these streams only."""
        with self._lock:
            before = self._watched
            self._watched = {stream: before.get(stream) or WatchedStream() for stream in streams}
        if self._client is None:
            return
        old, new = self._filters(*before), self._filters(*streams)
        for filter in old.keys() - new.keys():
            self._client.unsubscribe(filter)
        for filter in sorted(new.keys() - old.keys()):
            self._client.subscribe(filter, new[filter])

    def watch_class(self) -> None:
        """Subscribe to the readings of every stream, from now on."""
        if self._classmates is None:
            self._classmates = {}
            if self._client is not None:
                self._client.subscribe(topics.every(topics.READING, self.site), 0)

    def tiles(self) -> list[Tile]:
        """Return the tile of each stream that is live or was heard."""
        now_s, tiles = self.clock(), []
        with self._lock:
            states = dict(self._retained.streams)
            classmates = {stream: mate.copy() for stream, mate in (self._classmates or {}).items()}
        for stream, state in states.items():
            mate = classmates.get(stream)
            age_s = None if mate is None or mate.arrived_s is None else max(0.0, now_s - mate.arrived_s)
            if mate is not None or state.status is not StreamStatus.OFFLINE:
                tiles.append(tile_of(stream, state, mate, self.status(stream, age_s), age_s))
        return tiles

    def states(self) -> dict[StreamId, StreamState]:
        """Return the retained states of all streams."""
        with self._lock:
            return dict(self._retained.streams)

    def state(self, stream: StreamId) -> tuple[StreamState | None, ServiceState | None]:
        """Return the state of a stream and of the service that owns it."""
        with self._lock:
            state = self._retained.streams.get(stream)
            return state, None if state is None else self._retained.services.get((state.service, state.instance))

    def status(self, stream: StreamId, age_s: float | None) -> StreamStatus | None:
        """Return a stream's status by the age of its last reading; None while no broker tells it.

        The time without a broker does not count as silence of the headset.
        """
        if not self.is_connected:
            return None
        heard_s = self.clock() - self._connected_at_s
        return status_of(*self.state(stream), None if age_s is None else min(age_s, heard_s))

    @contextmanager
    def watched(self, stream: StreamId) -> Iterator[WatchedStream]:
        """Lock and give what is kept of a stream that is watched. Be quick: the client's thread waits."""
        with self._lock:
            yield self._watched[stream]

    def publish_marker(self, stream: StreamId, time: datetime, note: str) -> bool:
        """Publish a marker to the stream's group; False if it can neither be sent nor kept for sending."""
        return self.publish_event(stream.group, EventType.MARKER, time, note, stream.source)

    def publish_event(self, group: str, kind: EventType, time: datetime, text: str, source: str | None = None) -> bool:
        """Publish an event of a group; False if it can neither be sent nor kept for sending."""
        if self._client is None:
            return False
        event = GroupEvent(id=uuid.uuid4().hex, time=time, type=kind, text=text, source=source)
        return self._client.publish(topics.event(self.site, group), event)

    def has_service(self, service: str) -> bool:
        """Return True if an instance of this service is online."""
        with self._lock:
            found = [state for (name, _), state in self._retained.services.items() if name == service]
        return any(state.status is ServiceStatus.ONLINE for state in found)

    def lesson(self, group: str) -> str | None:
        """Return the name of the lesson that runs in a group, or of everybody; None if none runs."""
        with self._lock:
            found = [self._retained.lessons[each] for each in (group, topics.ALL) if each in self._retained.lessons]
        return next((state.name or "" for state in found if state.began is not None), None)

    def receipt(self, stream: StreamId) -> RecordedStream | None:
        """Return the recorder's last receipt for a stream that is watched."""
        with self._lock:
            watched = self._watched.get(stream)
            return None if watched is None else watched.recorded

    def now(self, stream: StreamId) -> datetime:
        """Return the current time of the clock that stamps a watched stream's readings, for markers to match them."""
        with self.watched(stream) as watched:
            if watched.history.latest is None:
                return datetime.now(UTC)
            return datetime.fromtimestamp(self.clock() + watched.history.offset_s, UTC)

    def _close_client(self) -> None:
        """Close the client in a thread of its own: a broker that does not answer takes seconds."""
        client, self._client = self._client, None
        if client is not None:
            thread = threading.Thread(target=client.close, args=(CLOSE_S,), name="close", daemon=True)
            self._closing = [each for each in self._closing if each.is_alive()] + [thread]
            thread.start()

    def _filters(self, *streams: StreamId) -> dict[str, int]:
        """Return the filters for these streams, and their QoS: 0 for data, since a lost reading is only a gap."""
        events = {topics.every(topics.EVENT, self.site, group=group): topics.EVENT.qos for group, _ in streams}
        rules = (topics.READING, topics.RAW)
        return events | {topics.every(rule, self.site, **each._asdict()): 0 for rule in rules for each in streams}

    def _on_link(self, connection: int, is_up: bool) -> None:
        if is_up and connection == self._connection:
            self._connected_at_s = self.clock()

    def _on_fatal(self, connection: int, fault: NeuroOneError) -> None:
        if connection == self._connection:
            self.fault = fault

    def _on_delivery(self, connection: int, delivery: Delivery) -> None:
        if connection != self._connection:
            return  # from a client that is being closed
        now_s = self.clock()
        if not delivery.payload:
            self._on_cleared(delivery.topic)
            return
        try:
            topic, message = delivery.open()
        except ContractError:
            self.counters["bad_messages"] += 1
            return
        with self._lock:
            if isinstance(message, StreamState):
                self._on_stream_state(StreamId(topic["group"], topic["source"]), message)
            elif isinstance(message, ServiceState):
                self._retained.services[topic["service"], topic["instance"]] = message
            elif isinstance(message, LessonState):
                if topic["group"] in self._retained.lessons or len(self._retained.lessons) < STREAMS_MAX:
                    self._retained.lessons[topic["group"]] = message
            elif isinstance(message, Recorded):
                for receipt in message.streams:
                    if recorded := self._watched.get(StreamId(receipt.group, receipt.source)):
                        recorded.recorded, recorded.recorded_at_s = receipt, now_s
            elif isinstance(message, GroupEvent):
                for stream, watched in self._watched.items():
                    is_meant = topic["group"] in (stream.group, topics.ALL)
                    if is_meant and all(each.id != message.id for each in watched.events):
                        watched.events.append(message)
            elif isinstance(message, Reading):
                self._on_reading(StreamId(topic["group"], topic["source"]), message, now_s)
            elif isinstance(message, RawBlock):
                if shown := self._watched.get(StreamId(topic["group"], topic["source"])):
                    shown.history.add_raw(message, now_s)

    def _on_reading(self, stream: StreamId, reading: Reading, now_s: float) -> None:
        if shown := self._watched.get(stream):
            shown.history.add_reading(reading, now_s)
        if self._classmates is not None and stream in self._retained.streams:  # which are bounded
            self._classmates.setdefault(stream, Classmate()).add(reading, now_s)

    def _on_stream_state(self, stream: StreamId, state: StreamState) -> None:
        if stream not in self._retained.streams and len(self._retained.streams) >= STREAMS_MAX:
            self.counters["streams_left_out"] += 1
        else:
            self._retained.streams[stream] = state

    def _on_cleared(self, topic: str) -> None:
        """Forget a state: an empty retained message clears it."""
        try:
            parsed = topics.parse(topic)
        except ContractError:
            return
        with self._lock:
            if parsed.rule is topics.STREAM_STATE:
                stream = StreamId(parsed["group"], parsed["source"])
                self._retained.streams.pop(stream, None)
                (self._classmates or {}).pop(stream, None)
            elif parsed.rule is topics.LESSON:
                self._retained.lessons.pop(parsed["group"], None)
            elif parsed.rule is topics.SERVICE_STATE:
                self._retained.services.pop((parsed["service"], parsed["instance"]), None)
