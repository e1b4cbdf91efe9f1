"""Send what the broker delivers to dashboards and to clients that only listen.

This half knows nothing of the students' connections, so it shows the students of all gateways alike.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import (
    DEMO,
    EventType,
    GroupEvent,
    Kind,
    LessonState,
    RawBlock,
    Reading,
    RecordedStream,
    StreamState,
    StreamStatus,
)
from neuroone.contract.topics import ALL, Topic
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.access import Grant
from ws_gateway.dialects import first, v1
from ws_gateway.followers import Followers
from ws_gateway.websocket.send_queue import SendQueue

NUMBERS_MAX: Final = 100_000
"""Streams whose number is remembered; the one silent for longest is forgotten first. A school's whole year; 20 MB."""
STREAMS_MAX: Final = 20_000
"""Streams whose last reading and state a new dashboard gets at once; the one known for longest is forgotten first.
About 30 MB."""
SHOWN_AT_ONCE: Final = 50
"""Streams shown to new dashboards in one turn of the event loop, about 1 ms of work: a dashboard that comes to 2000
students keeps nobody waiting, and many that come again and again keep only each other waiting."""
EVENTS_MAX: Final = 100
"""Newest events of a group that a new dashboard gets, beside the start of the lesson that is running."""
LESSONS_MAX: Final = 1000
"""Groups whose running lesson is remembered; the one that began first is forgotten first. A school has 100 classes."""
GROUPS_MAX: Final = 1000
"""Groups whose events are remembered; the one without an event for longest is forgotten first. A school's day; 20 MB.
"""

log = logging.getLogger(__name__)


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

    @property
    def name(self) -> str | None:
        """The student's name, as it was said last."""
        said = self.reading or self.state
        return None if said is None else said.name


class Dashboards:
    """All clients that watch, and what each may see. ``clock`` is a steady clock in seconds.

    ``first_dashboards`` and ``listeners`` speak the first dialect. A viewer is a dashboard of the new one.
    ``on_each_reading`` is told of every reading, of this gateway's students and of all others. ``on_watched`` is told
    of a stream (group/source) when a dashboard wants its raw samples, and when none does.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.on_watched: Callable[[str, bool], None] = lambda stream, is_watched: None
        self.on_each_reading: Callable[[Topic, Reading], None] = lambda topic, reading: None
        self._numbers = StreamNumbers()
        self._headsets: dict[str, tuple[str, Reading, float]] = {}
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._events: OrderedDict[str, deque[tuple[Topic, GroupEvent]]] = OrderedDict()
        self._lessons: OrderedDict[str, tuple[Topic, GroupEvent]] = OrderedDict()
        self._running: dict[str, LessonState] = {}
        self._viewers: dict[SendQueue, Grant] = {}
        self._unseen: dict[SendQueue, dict[str, None]] = {}
        """The streams that new dashboards are still to be shown."""
        self._raw_viewers: dict[SendQueue, str] = {}
        self.first_dashboards: dict[SendQueue, Grant] = {}
        self.listeners: dict[SendQueue, Grant] = {}
        self.followers = Followers(clock)

    def __len__(self) -> int:
        return len(self.first_dashboards) + len(self._viewers)

    def add_viewer(self, viewer: SendQueue, grant: Grant) -> None:
        """Add a dashboard of the new dialect, and send it recent events and each stream's last state and reading."""
        self._viewers[viewer] = grant
        for group, running in self._running.items():
            self._send_lesson(viewer, grant, group, running)
        for group, lesson in self._lessons.items():
            if lesson not in self._events.get(group, ()):  # many markers came after it
                self._send_event(viewer, grant, *lesson)
        for events in self._events.values():
            for topic, event in events:
                self._send_event(viewer, grant, topic, event)
        self._unseen[viewer] = dict.fromkeys(self._streams)
        if len(self._unseen) == 1:
            self._show_streams()

    def _show_streams(self) -> None:
        """Show new dashboards their next streams, and go on in the next turn of the event loop."""
        left = SHOWN_AT_ONCE
        while left and self._unseen:
            viewer, unseen = next(iter(self._unseen.items()))
            for name in tuple(islice(unseen, left)):
                left -= 1
                del unseen[name]
                try:
                    self._show_stream(viewer, name)
                except Exception:  # a fault of ours in one stream keeps no other from the dashboards
                    log.exception("a fault while showing a stream")
            if not unseen:
                del self._unseen[viewer]
        if self._unseen:
            asyncio.get_running_loop().call_soon(self._show_streams)

    def _show_stream(self, viewer: SendQueue, name: str) -> None:
        """Send a dashboard the last state and reading of a stream that is still there."""
        stream = self._streams.get(name)
        if stream is None or not self._viewers[viewer].includes(stream.topic["group"], stream.name):
            return
        topic, state, reading = stream.topic, stream.state, stream.reading
        if state is not None:
            viewer.send(f"{name} state", v1.state(self._number_of(name, state), topic, state))
        if reading is not None:
            viewer.send(name, v1.reading(self._number_of(name, reading), topic, reading))

    def remove(self, client: SendQueue) -> None:
        """Forget a client. Idempotent."""
        self.first_dashboards.pop(client, None)
        self.stop_listening(client)
        self._viewers.pop(client, None)
        self._unseen.pop(client, None)
        self._show_raw(client, None)

    def stop_listening(self, client: SendQueue) -> None:
        """Send a client no longer what silent ones get. Idempotent."""
        self.listeners.pop(client, None)
        self.followers.remove(client)

    def watch(self, viewer: SendQueue, group: str | None, source: str | None) -> None:
        """Send a dashboard the raw samples of one stream from now on, or of none."""
        grant = self._viewers.get(viewer)
        stream = None
        if group is not None and source is not None and topics.is_id(group) and topics.is_id(source):
            is_shown = grant is not None and grant.includes(group, self._name_of_source(group, source))
            stream = f"{group}/{source}" if is_shown else None
        self._show_raw(viewer, stream)

    def _show_raw(self, viewer: SendQueue, stream: str | None) -> None:
        """Send a dashboard the raw samples of this stream, or of none."""
        if self._raw_viewers.get(viewer) == stream:
            return
        before = set(self._raw_viewers.values())
        self._raw_viewers.pop(viewer, None)
        if stream is not None:
            self._raw_viewers[viewer] = stream
        after = set(self._raw_viewers.values())
        for each in before ^ after:
            self.on_watched(each, each in after)

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
        frames: dict[Grant, str | None] = {}
        for viewer, grant in self._viewers.items():
            if grant not in frames:
                shown = [
                    each
                    for each in streams
                    if grant.includes(each.group, grant.student and self._name_of_source(each.group, each.source))
                ]
                frames[grant] = v1.recorded(shown) if shown else None
            frame = frames[grant]
            if frame is not None:
                viewer.send(f"recorded {instance}", frame)

    def send_link(self, frame: str) -> None:
        """Send the dashboards of the new dialect that the link is there: if this stops, it is not. Call often."""
        for viewer in self._viewers:
            viewer.send("link", frame)

    def on_own_reading(self, topic: Topic, reading: Reading) -> None:
        """Send a reading of this gateway, behind everything else that has come in this turn of the event loop.

        So a dashboard that says `dash` just before a student sends hears it, in whatever order both are read.
        """
        asyncio.get_running_loop().call_soon(self._send_own, topic, reading)

    def _send_own(self, topic: Topic, reading: Reading) -> None:
        try:
            self.on_reading(topic, reading)
        except Exception:  # a fault of ours in one reading keeps no other from the dashboards
            log.exception("a fault while showing a reading")

    def on_reading(self, topic: Topic, reading: Reading) -> None:
        """Send a reading to the dashboards; one of a headset without a name only to those of the new dialect."""
        if reading.kind is Kind.HEADSET:
            self._headsets[reading.session] = (topic["group"], reading, self._clock())
        self.followers.on_reading(topic, reading)
        self.on_each_reading(topic, reading)
        name = _name_of(topic)
        number = self._number_of(name, reading)
        if number is not None:
            frame = first.dashboard_frame(number, reading)
            for dashboard, grant in self.first_dashboards.items():
                if grant.includes(topic["group"], reading.name):
                    dashboard.send(name, frame)
        self._stream(name, topic).reading = reading
        if self._viewers:
            self._send_to_viewers(topic, reading.name, name, name, v1.reading(number, topic, reading))

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Send a stream's state to the dashboards of the new dialect."""
        name = _name_of(topic)
        if state.status is StreamStatus.OFFLINE:
            self._streams.pop(name, None)
            self.followers.on_end(topic)
        else:
            self._stream(name, topic).state = state
        if self._viewers:
            frame = v1.state(self._number_of(name, state), topic, state)
            self._send_to_viewers(topic, state.name, name, f"{name} state", frame)

    def on_event(self, topic: Topic, event: GroupEvent) -> None:
        """Send a marker to the dashboards of the new dialect."""
        group = topic["group"]
        events = self._events.setdefault(group, deque(maxlen=EVENTS_MAX))
        self._events.move_to_end(group)
        if len(self._events) > GROUPS_MAX:
            self._events.popitem(last=False)
        events.append((topic, event))
        if event.type is not EventType.MARKER:
            self._lessons.pop(group, None)
        if event.type is EventType.SESSION_START:
            self._lessons[group] = (topic, event)
            if len(self._lessons) > LESSONS_MAX:
                self._lessons.popitem(last=False)
        for viewer, grant in self._viewers.items():
            self._send_event(viewer, grant, topic, event)

    def on_lesson(self, group: str, state: LessonState) -> None:
        """Send the dashboards of the new dialect which lesson runs now in a group, or of everybody."""
        self._running.pop(group, None)
        if state.began is not None:
            self._running[group] = state
        for viewer, grant in self._viewers.items():
            self._send_lesson(viewer, grant, group, state)

    def send_headset(self) -> None:
        """Send the listeners the headset that was started last, while one is live, and followers their students.

        Call once a second.
        """
        self.followers.send()
        since_s = self._clock() - STALE_AFTER_S
        self._headsets = {session: each for session, each in self._headsets.items() if each[2] > since_s}
        newest_first = [(group, reading) for group, reading, _ in reversed(self._headsets.values())]
        for grant in set(self.listeners.values()):
            seen = (reading for group, reading in newest_first if grant.includes(group, reading.name))
            reading = next(seen, None)
            if reading is not None:
                frame = first.listener_frame(reading)
                for listener in [each for each, its in self.listeners.items() if its == grant]:
                    listener.send("headset", frame)

    def _send_to_viewers(self, topic: Topic, student: str | None, name: str, key: str, frame: str) -> None:
        """Send what is new of a stream to all dashboards but those that will be shown it anyway."""
        for viewer, grant in self._viewers.items():
            if grant.includes(topic["group"], student) and name not in self._unseen.get(viewer, ()):
                viewer.send(key, frame)

    def _send_event(self, viewer: SendQueue, grant: Grant, topic: Topic, event: GroupEvent) -> None:
        """Send an event to a dashboard that may see its group, and the student if it is about one."""
        group, source = topic["group"], event.source
        if group == ALL and source is None:
            group = grant.group or group
        student = grant.student if source is None else self._name_of_source(group, source)
        if grant.includes(group, student):
            # Ids are their senders': two groups or students may have the same one.
            viewer.send(f"event {topic['group']} {source} {event.id}", v1.event(topic, event))

    def _send_lesson(self, viewer: SendQueue, grant: Grant, group: str, state: LessonState) -> None:
        if group == ALL or grant.group in (None, group):
            viewer.send(f"lesson {group}", v1.lesson(group, state))

    def _name_of_source(self, group: str, source: str) -> str | None:
        stream = self._streams.get(f"{group}/{source}")
        return None if stream is None else stream.name

    def _number_of(self, name: str, whose: Reading | StreamState) -> int | None:
        """Return the number of a stream; None for a headset that nobody named, which old dashboards do not show."""
        is_demo = whose.simulated is True and (whose.name or "").partition(" ")[0] == DEMO
        is_nameless = whose.kind is Kind.HEADSET and whose.name is None
        return None if is_demo or is_nameless else self._numbers.number_of(name)

    def _stream(self, name: str, topic: Topic) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(topic)
            if len(self._streams) > STREAMS_MAX:
                self._streams.popitem(last=False)
        return stream


def _name_of(topic: Topic) -> str:
    return "/".join(topic.ids)
