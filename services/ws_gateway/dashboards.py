"""The outbound half: from what the broker delivers to dashboards and to clients that only listen.

It knows nothing of the students' connections, so it shows students of every gateway alike.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from neuroone.contract.messages import GroupEvent, Kind, RawBlock, Reading, RecordedStream, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.dialects import first, v1

ROSTER_MAX: Final = 100_000
"""Streams whose ID is remembered, the longest silent forgotten first: a school's whole year; about 20 MB."""


STREAMS_MAX: Final = 20_000
"""Streams whose last reading and state a new dashboard hears at once, the longest known forgotten first: 30 MB."""
EVENTS_MAX: Final = 100
"""Events of a group that a new dashboard hears, the newest ones: so it knows the session that runs."""
GROUPS_MAX: Final = 1000
"""Groups whose events are remembered, the longest without one forgotten first: a school's day; 20 MB."""


class Sink(Protocol):
    """One client's way out. Frames of one ``key`` may take the place of each other when the client is slow."""

    def send(self, key: str, frame: str) -> None:
        """Send a frame as soon as the client takes it. Does not block."""
        ...


class StreamNumbers:
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


@dataclass(slots=True)
class _Stream:
    """What is shown of one stream that is there."""

    group: str
    reading: tuple[Topic, Reading] | None = None
    state: tuple[Topic, StreamState] | None = None


class Dashboards:
    """Everybody who listens. ``clock`` is a steady clock in seconds.

    ``dashboards`` and ``listeners`` speak the first dialect. A viewer is a dashboard of the new one: of one group, or
    of all (None).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._roster = StreamNumbers()
        self._headsets: dict[str, tuple[Reading, float]] = {}
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self.dashboards: set[Sink] = set()
        self.listeners: set[Sink] = set()
        self._events: OrderedDict[str, deque[tuple[Topic, GroupEvent]]] = OrderedDict()
        self.viewers: dict[Sink, str | None] = {}
        self._watchers: dict[Sink, str] = {}

    def add_viewer(self, viewer: Sink, group: str | None) -> None:
        """A dashboard of the new dialect: it hears at once who is there, the last reading of each, and what was."""
        self.viewers[viewer] = group
        for events in self._events.values():
            for topic, event in events:
                if group in (None, topic["group"]):
                    viewer.send(f"event {event.id}", v1.event(topic, event))
        for name, stream in self._streams.items():
            if group in (None, stream.group):
                if stream.state is not None:
                    viewer.send(f"{name} state", v1.state(self._id_of(name, stream.state[1]), *stream.state))
                if stream.reading is not None:
                    viewer.send(name, v1.reading(self._id_of(name, stream.reading[1]), *stream.reading))

    def remove_viewer(self, viewer: Sink) -> None:
        """A dashboard is gone. Nothing for one that was none."""
        self.viewers.pop(viewer, None)
        self._watchers.pop(viewer, None)

    def watch(self, viewer: Sink, group: str | None, source: str | None) -> None:
        """A dashboard wants the raw samples of one stream from now on, or of none."""
        self._watchers.pop(viewer, None)
        if group is not None and source is not None and self.viewers.get(viewer, "") in (None, group):
            self._watchers[viewer] = f"{group}/{source}"

    def is_watched(self, topic: Topic) -> bool:
        """Whether anybody wants the raw samples of this stream."""
        return bool(self._watchers) and _name_of(topic) in self._watchers.values()

    def take_raw(self, topic: Topic, block: RawBlock) -> None:
        """Raw samples came from the broker."""
        name, frame = _name_of(topic), v1.raw(topic, block)
        for viewer, watched in self._watchers.items():
            if watched == name:
                viewer.send(f"{name} raw", frame)

    def take_recorded(self, instance: str, streams: Sequence[RecordedStream]) -> None:
        """A recorder says how far streams are safe on disk."""
        frames: dict[str | None, str] = {}
        for viewer, group in self.viewers.items():
            mine = [stream for stream in streams if group in (None, stream.group)]
            if mine and group not in frames:
                frames[group] = v1.recorded(mine)
            if mine:
                viewer.send(f"recorded {instance}", frames[group])

    def take_reading(self, topic: Topic, reading: Reading) -> None:
        """A reading came from the broker: dashboards hear it at once, but for a headset that has no name."""
        if reading.kind is Kind.HEADSET:
            self._headsets[reading.session] = (reading, self._clock())
        name = _name_of(topic)
        number = self._id_of(name, reading)
        if number is not None:
            frame = first.dashboard_frame(number, reading)
            for dashboard in self.dashboards:
                dashboard.send(name, frame)
        self._stream(name, topic).reading = (topic, reading)
        if self.viewers:
            self._show(topic, name, v1.reading(number, topic, reading))

    def take_state(self, topic: Topic, state: StreamState) -> None:
        """A stream's state came from the broker."""
        name = _name_of(topic)
        if state.status is StreamStatus.OFFLINE:
            self._streams.pop(name, None)
        else:
            self._stream(name, topic).state = (topic, state)
        if self.viewers:
            self._show(topic, f"{name} state", v1.state(self._id_of(name, state), topic, state))

    def take_event(self, topic: Topic, event: GroupEvent) -> None:
        """A marker came from the broker."""
        events = self._events.setdefault(topic["group"], deque(maxlen=EVENTS_MAX))
        self._events.move_to_end(topic["group"])
        if len(self._events) > GROUPS_MAX:
            self._events.popitem(last=False)
        events.append((topic, event))
        self._show(topic, f"event {event.id}", v1.event(topic, event))

    def tick(self) -> None:
        """Tell the listeners of the headset that was started last, while one is live. Call once a second."""
        now_s = self._clock()
        for session, (_, arrived_s) in tuple(self._headsets.items()):
            if now_s - arrived_s >= STALE_AFTER_S:
                del self._headsets[session]
        if not self._headsets:
            return
        reading, _ = self._headsets[next(reversed(self._headsets))]
        frame = first.listener_frame(reading)
        for listener in self.listeners:
            listener.send("headset", frame)

    def _show(self, topic: Topic, key: str, frame: str) -> None:
        for viewer, group in self.viewers.items():
            if group in (None, topic["group"]):
                viewer.send(key, frame)

    def _id_of(self, name: str, whose: Reading | StreamState) -> int | None:
        """The number of a stream; a headset that has no name is nobody and has none."""
        return None if whose.kind is Kind.HEADSET and whose.name is None else self._roster.id_of(name)

    def _stream(self, name: str, topic: Topic) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(topic["group"])
            if len(self._streams) > STREAMS_MAX:
                self._streams.popitem(last=False)
        return stream


def _name_of(topic: Topic) -> str:
    return f"{topic['group']}/{topic['source']}"
