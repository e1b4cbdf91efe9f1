"""One client's way out: frames in order, bounded, and only the latest of each stream for a client that is slow."""

import asyncio
import logging
from collections import deque
from typing import Final

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

BACKLOG_MAX_FRAMES: Final = 1000
"""Every frame waits for a slow client up to here, beyond it the latest of each stream: about 150 kB a client."""
ROOM_BYTES: Final = 32 * 1024
"""The connection's own buffer; what is beyond it waits in the backlog, where it can be conflated."""
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
        """Let a frame wait."""
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
        """The frame to send next; None when none waits."""
        if self._all:
            return self._all.popleft()[1]
        if self._latest:
            return self._latest.pop(next(iter(self._latest)))
        return None


class Outlet:
    """Sends frames over one WebSocket connection without ever waiting for it."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._backlog = Backlog()
        self._writing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.was_too_slow = False

    @property
    def conflated(self) -> int:
        """Frames that a newer one of the same stream took the place of."""
        return self._backlog.conflated

    def send(self, key: str, frame: str) -> None:
        """Send a frame as soon as the client takes it."""
        if self._connection.state is not State.OPEN:
            return
        if self._writing is None:
            if self._connection.transport.get_write_buffer_size() < ROOM_BYTES:
                broadcast((self._connection,), frame)
                return
            self._writing = asyncio.create_task(self._write())
        self._backlog.put(key, frame)

    def end(self, code: int, reason: str) -> None:
        """Close the connection, without waiting for it."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._connection.close(code, reason))

    async def close(self) -> None:
        """Forget what waits, once the connection is over."""
        if self._writing is not None:
            self._writing.cancel()
        await asyncio.gather(*filter(None, (self._writing, self._ending)), return_exceptions=True)

    async def _write(self) -> None:
        try:
            while (frame := self._backlog.pop()) is not None:
                await asyncio.wait_for(self._connection.send(frame), STALLED_AFTER_S)
        except TimeoutError:
            self.was_too_slow = True
            log.warning("a client took nothing for %.0f s and is told to come again", STALLED_AFTER_S)
            await self._connection.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        except ConnectionClosed:
            pass
        finally:
            self._writing = None
