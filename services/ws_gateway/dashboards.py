"""Send what the broker delivers to dashboards and to clients that only listen.

This half knows nothing of the students' connections, so it shows the students of all gateways alike.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from neuroone.contract.messages import GroupEvent, Kind, RawBlock, Reading, RecordedStream, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.dialects import first, v1
from ws_gateway.websocket.send_queue import SendQueue

NUMBERS_MAX: Final = 100_000
"""Streams whose number is remembered; the one silent for longest is forgotten first. A school's whole year; 20 MB."""
STREAMS_MAX: Final = 20_000
"""Streams whose last reading and state a new dashboard gets at once; the one known for longest is forgotten first.
About 30 MB."""
EVENTS_MAX: Final = 100
"""Newest events of a group that a new dashboard gets: so it knows the session that is running."""
GROUPS_MAX: Final = 1000
"""Groups whose events are remembered; the one without an event for longest is forgotten first. A school's day; 20 MB.
"""


class StreamNumbers:
    """The number that dashboards know each stream by: given on first sight, rising from 1, kept while remembered."""

    def __init__(self, most: int = NUMBERS_MAX) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._most = most
        self._last = 0

    def number_of(self, stream: str) -> int:
        """Return the stream's number."""
        known = self._numbers.get(stream)
        if known is not None:
            self._numbers.move_to_end(stream)
            return known
        if len(self._numbers) >= self._most:
            self._numbers.popitem(last=False)
        self._last += 1
        self._numbers[stream] = self._last
        return self._last


@dataclass(slots=True)
class _Stream:
    """The last reading and state of a stream that is there."""

    topic: Topic
    reading: Reading | None = None
    state: StreamState | None = None


class Dashboards:
    """All clients that watch. ``clock`` is a steady clock in seconds.

    ``first_dashboards`` and ``listeners`` speak the first dialect. A viewer is a dashboard of the new one, of one group
    or of all (None).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = StreamNumbers()
        self._headsets: dict[str, tuple[Reading, float]] = {}
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._events: OrderedDict[str, deque[tuple[Topic, GroupEvent]]] = OrderedDict()
        self._viewers: dict[SendQueue, str | None] = {}
        self._raw_viewers: dict[SendQueue, str] = {}
        self.first_dashboards: set[SendQueue] = set()
        self.listeners: set[SendQueue] = set()

    def __len__(self) -> int:
        return len(self.first_dashboards) + len(self._viewers)

    def add_viewer(self, viewer: SendQueue, group: str | None) -> None:
        """Add a dashboard of the new dialect, and send it recent events and each stream's last state and reading."""
        self._viewers[viewer] = group
        for events in self._events.values():
            for topic, event in events:
                if group in (None, topic["group"]):
                    viewer.send(f"event {event.id}", v1.event(topic, event))
        for name, stream in self._streams.items():
            topic, state, reading = stream.topic, stream.state, stream.reading
            if group in (None, topic["group"]):
                if state is not None:
                    viewer.send(f"{name} state", v1.state(self._number_of(name, state), topic, state))
                if reading is not None:
                    viewer.send(name, v1.reading(self._number_of(name, reading), topic, reading))

    def remove(self, client: SendQueue) -> None:
        """Forget a client. Idempotent."""
        self.first_dashboards.discard(client)
        self.listeners.discard(client)
        self._viewers.pop(client, None)
        self._raw_viewers.pop(client, None)

    def watch(self, viewer: SendQueue, group: str | None, source: str | None) -> None:
        """Send a dashboard the raw samples of one stream from now on, or of none."""
        self._raw_viewers.pop(viewer, None)
        if group is not None and source is not None and self._viewers.get(viewer, "") in (None, group):
            self._raw_viewers[viewer] = f"{group}/{source}"

    def is_watched(self, topic: Topic) -> bool:
        """Return True if a dashboard wants the raw samples of this stream."""
        return bool(self._raw_viewers) and _name_of(topic) in self._raw_viewers.values()

    def on_raw(self, topic: Topic, block: RawBlock) -> None:
        """Send raw samples to the dashboards that want them."""
        name, frame = _name_of(topic), v1.raw(topic, block)
        for viewer, watched in self._raw_viewers.items():
            if watched == name:
                viewer.send(f"{name} raw", frame)

    def on_receipts(self, instance: str, streams: Sequence[RecordedStream]) -> None:
        """Send a recorder's receipts to the dashboards of the new dialect."""
        frames: dict[str | None, str] = {}
        for viewer, group in self._viewers.items():
            shown = [stream for stream in streams if group in (None, stream.group)]
            if shown and group not in frames:
                frames[group] = v1.recorded(shown)
            if shown:
                viewer.send(f"recorded {instance}", frames[group])

    def send_link(self, frame: str) -> None:
        """Send the dashboards of the new dialect that the link is there: if this stops, it is not. Call often."""
        for viewer in self._viewers:
            viewer.send("link", frame)

    def on_reading(self, topic: Topic, reading: Reading) -> None:
        """Send a reading to the dashboards; one of a headset without a name only to those of the new dialect."""
        if reading.kind is Kind.HEADSET:
            self._headsets[reading.session] = (reading, self._clock())
        name = _name_of(topic)
        number = self._number_of(name, reading)
        if number is not None:
            frame = first.dashboard_frame(number, reading)
            for dashboard in self.first_dashboards:
                dashboard.send(name, frame)
        self._stream(name, topic).reading = reading
        if self._viewers:
            self._send_to_viewers(topic, name, v1.reading(number, topic, reading))

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Send a stream's state to the dashboards of the new dialect."""
        name = _name_of(topic)
        if state.status is StreamStatus.OFFLINE:
            self._streams.pop(name, None)
        else:
            self._stream(name, topic).state = state
        if self._viewers:
            self._send_to_viewers(topic, f"{name} state", v1.state(self._number_of(name, state), topic, state))

    def on_event(self, topic: Topic, event: GroupEvent) -> None:
        """Send a marker to the dashboards of the new dialect."""
        events = self._events.setdefault(topic["group"], deque(maxlen=EVENTS_MAX))
        self._events.move_to_end(topic["group"])
        if len(self._events) > GROUPS_MAX:
            self._events.popitem(last=False)
        events.append((topic, event))
        self._send_to_viewers(topic, f"event {event.id}", v1.event(topic, event))

    def send_headset(self) -> None:
        """Send the listeners the headset that was started last, while one is live. Call once a second."""
        since_s = self._clock() - STALE_AFTER_S
        self._headsets = {session: each for session, each in self._headsets.items() if each[1] > since_s}
        if not self._headsets:
            return
        reading, _ = self._headsets[next(reversed(self._headsets))]
        frame = first.listener_frame(reading)
        for listener in self.listeners:
            listener.send("headset", frame)

    def _send_to_viewers(self, topic: Topic, key: str, frame: str) -> None:
        for viewer, group in self._viewers.items():
            if group in (None, topic["group"]):
                viewer.send(key, frame)

    def _number_of(self, name: str, whose: Reading | StreamState) -> int | None:
        """Return the number of a stream; None for a headset without a name, which dashboards do not show."""
        return None if whose.kind is Kind.HEADSET and whose.name is None else self._numbers.number_of(name)

    def _stream(self, name: str, topic: Topic) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(topic)
            if len(self._streams) > STREAMS_MAX:
                self._streams.popitem(last=False)
        return stream


def _name_of(topic: Topic) -> str:
    return "/".join(topic.ids)
