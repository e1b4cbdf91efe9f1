"""Send frames to one client: in order, bounded, and only the latest of each stream to a slow client."""

import asyncio
import logging
from collections import deque
from typing import Final

from websockets.frames import CloseCode

from ws_gateway.websocket.connection import Connection

BACKLOG_MAX_FRAMES: Final = 1000
"""Up to here all frames wait for a slow client, beyond it the latest of each stream: about 150 kB a client."""
STALLED_AFTER_S: Final = 10.0
"""A client that takes nothing for so long is told to come again: its phone sleeps or its network is gone."""

log = logging.getLogger(__name__)


class Backlog:
    """Frames that wait: all of them in order, or, once ``most`` wait, the latest of each key until it is empty."""

    def __init__(self, most: int = BACKLOG_MAX_FRAMES) -> None:
        self._most = most
        self._all: deque[tuple[str, str]] = deque()
        self._latest: dict[str, str] = {}
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._all) + len(self._latest)

    def put(self, key: str, frame: str) -> None:
        """Append a frame, or replace the one of the same key."""
        if not self._latest and len(self._all) < self._most:
            self._all.append((key, frame))
            return
        if not self._latest:
            self._latest = dict(self._all)
            self.conflated += len(self._all) - len(self._latest)
            self._all.clear()
        self.conflated += key in self._latest
        self._latest[key] = frame

    def pop(self) -> str | None:
        """Remove and return the frame to send next, or None."""
        if self._all:
            return self._all.popleft()[1]
        if self._latest:
            return self._latest.pop(next(iter(self._latest)))
        return None


class SendQueue:
    """Send frames over one WebSocket connection without blocking."""

    __slots__ = ("_backlog", "_connection", "_stall_timer", "was_too_slow")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._backlog: Backlog | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self.was_too_slow = False

    @property
    def conflated(self) -> int:
        """Frames that a newer one of the same key replaced."""
        return 0 if self._backlog is None else self._backlog.conflated

    def send(self, key: str, frame: str) -> None:
        """Send a frame as soon as the client takes it; a newer one of the same ``key`` may replace it until then."""
        if self._stall_timer is None and self._connection.has_room:
            self._connection.send(frame)
        elif self._connection.is_open:
            if self._backlog is None:
                self._backlog = Backlog()
            self._backlog.put(key, frame)
            self._start_timer()

    def resume(self) -> None:
        """Send what waits, as far as the connection has room."""
        if self._stall_timer is None or self._backlog is None:
            return
        self._stall_timer.cancel()
        self._stall_timer = None
        while self._connection.has_room and (frame := self._backlog.pop()) is not None:
            self._connection.send(frame)
        if len(self._backlog):
            self._start_timer()

    def stop(self) -> None:
        """Send nothing more: the connection is closed."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _start_timer(self) -> None:
        if self._stall_timer is None:
            self._stall_timer = asyncio.get_running_loop().call_later(STALLED_AFTER_S, self._give_up)

    def _give_up(self) -> None:
        self.was_too_slow = True
        log.warning("a client took nothing for %.0f s and is told to come again", STALLED_AFTER_S)
        self._connection.close(CloseCode.TRY_AGAIN_LATER, "too slow")
