"""Give the window a recording as `Feed` gives it a live stream: the same methods, the recording's own clock. No Qt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

from monitor_gui.feed import Feed, StreamId, WatchedStream
from monitor_gui.playing.recording import Recording
from monitor_gui.view import WINDOWS_S
from neuroone.contract.messages import NOTE_MAX_CHARS, Kind, Link, Reading, ServiceState, StreamState, StreamStatus
from neuroone.service.stream_states import status_after

SPEEDS: Final = (0.5, 1, 2, 4, 8, 16)
FILLED_S: Final = float(max(WINDOWS_S) + 10)
"""So much before the position is in the plots after a jump: the longest window, and the seconds before its edge."""


class Playback:
    """Play a recording. `clock` is the position in it, in seconds: it runs at ``speed``, stands still and jumps.

    ``now_s`` is a steady clock. Nothing is published, and no broker is asked.
    """

    is_live = False
    is_connected = True

    def __init__(self, recording: Recording, now_s: Callable[[], float]) -> None:
        self.recording = recording
        self.stream = recording.about.stream
        self.is_running = True
        self.is_looped = False
        self.speed = 1.0
        self._now_s = now_s
        self._began_s = now_s()
        """When the position was 0, or would have been, at this speed."""
        self._position_s = 0.0
        self._next = 0
        self._watched = self._new_watched()

    def clock(self) -> float:
        """Return the position, in seconds since the beginning."""
        if self.is_running:
            self._position_s = (self._now_s() - self._began_s) * self.speed
            end_s = self.recording.duration_s
            if self._position_s >= end_s:
                self._on_end(end_s)
        return self._position_s

    def run(self, is_running: bool) -> None:
        """Play on, from the beginning if the end was reached, or stand still."""
        if is_running and self.clock() >= self.recording.duration_s:
            self.seek(0.0)
        self.is_running = is_running
        self._set_position(self._position_s)

    def set_speed(self, speed: float) -> None:
        """Play so many times faster than it was recorded."""
        position_s = self.clock()
        self.speed = speed
        self._set_position(position_s)

    def seek(self, position_s: float) -> None:
        """Jump to a position; what was before it is in the plots."""
        self._set_position(min(max(0.0, position_s), self.recording.duration_s))
        self._next = self.recording.first_due(self._position_s - FILLED_S)
        self._watched = self._new_watched()

    def watch(self, *streams: StreamId) -> None:
        """Do nothing: there is one stream."""

    def states(self) -> dict[StreamId, StreamState]:
        """Return the state of the recording's stream."""
        return {self.stream: self._state()}

    def state(self, stream: StreamId) -> tuple[StreamState | None, ServiceState | None]:
        """Return the state of the recording's stream; no service has it."""
        return self._state(), None

    def status(self, stream: StreamId, age_s: float | None) -> StreamStatus | None:
        """Return the status that the stream had at the position, by the age of its last reading."""
        return StreamStatus.ONLINE if age_s is None else status_after(age_s)

    @contextmanager
    def watched(self, stream: StreamId) -> Iterator[WatchedStream]:
        """Give what is kept of the stream, up to the position."""
        position_s = self.clock()
        if self.recording.first_due(position_s - FILLED_S) > self._next:  # nobody looked for long
            self.seek(position_s)
        for due_s, message in self.recording.due(self._next, position_s):
            self._next += 1
            if isinstance(message, Reading):
                self._watched.history.add_reading(message, due_s)
            else:
                self._watched.history.add_raw(message, due_s)
        yield self._watched

    def publish_marker(self, stream: StreamId, time: datetime, note: str) -> bool:
        """Publish nothing."""
        return False

    def now(self, stream: StreamId) -> datetime:
        """Return the time of the recording at the position."""
        return datetime.fromtimestamp(self.clock() + self._watched.history.offset_s, UTC)

    def _on_end(self, end_s: float) -> None:
        if not self.recording.is_read:
            self._set_position(end_s)  # wait for what is still being read
        elif self.is_looped and end_s > 0:
            self.seek(0.0)
        else:
            self.is_running = False
            self._position_s = end_s

    def _set_position(self, position_s: float) -> None:
        self._position_s = position_s
        self._began_s = self._now_s() - position_s / self.speed

    def _new_watched(self) -> WatchedStream:
        watched = WatchedStream()
        watched.events.extend(self.recording.about.events)
        return watched

    def _state(self) -> StreamState:
        about = self.recording.about
        return StreamState(
            status=StreamStatus.ONLINE,
            session="recording",
            time=datetime.now(UTC),
            kind=Kind.HEADSET,
            name=about.name,
            code=None,
            link=Link.CONNECTED,
            hint=None,
            device=str(about.path).encode(errors="replace").decode()[-NOTE_MAX_CHARS:],
            service="monitor_gui",
            instance="recording",
            epoch=0,
            counters={},
        )


Source: TypeAlias = Feed | Playback
"""What a panel shows: what a broker sends, or a recording."""
