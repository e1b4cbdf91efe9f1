"""Read each connection in small pieces and within a budget, so that a busy one costs the others nothing.

Four limits, each for its own case. A piece bounds what one connection may do before another one is looked at. Busy
connections, those that send more than a piece at once, take turns in a fixed part of the time. A connection that goes
on above its rate rests: nothing of it is read until it is within its rate again. And in a gateway of several sites all
connections of one that takes more than its share of the time take turns, however little each of them sends.
"""

import asyncio
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, cast

from ws_gateway.token_bucket import TokenBucket

READ_MAX_BYTES: Final = 4 * 1024
"""Bytes read of a connection at once. The rest waits in the operating system, which then slows down the sender."""
PIECE_BYTES: Final = 1024
"""Bytes handled at once: four readings that came together, or 170 empty frames, which take about 2 ms."""
TURN_S: Final = 0.004
"""Time of all busy connections together in one turn of the event loop; everybody else is served between turns."""
PAUSE_RATIO: Final = 1.0
"""After a turn busy connections wait for so many times as long as it took: they get half of the time at most, and the
broker and the recorder on the same computer get theirs."""
MESSAGES_RATE_HZ: Final = 1000.0
"""One connection's messages; an app that sends every packet of a headset sends 513 a second. Faster ones wait."""
MESSAGES_BURST: Final = 3000.0
"""A phone sends again what it kept while it was away: 50 minutes of readings."""
CONTROL_MESSAGES: Final = 10
"""A ping, a pong, a fragment, and a piece without the end of any frame each count as so many messages: browsers send
one pong in 20 s, and whole messages. So a connection may send 100 of them a second, and 300 at once."""


SITE_SHARE: Final = 0.25
"""Part of the time in which one site of several is served at once: 3500 readings a second on a slow core."""
SITE_BURST_S: Final = 0.05
"""Time that it may take at once after less than that: nobody else is served meanwhile."""


def share_of_time() -> TokenBucket:
    """Return what one site of several may spend, in seconds."""
    return TokenBucket(SITE_SHARE, SITE_BURST_S, time.monotonic())


class Turns:
    """Let busy connections take turns, each with one piece, for a limited time in each turn of the event loop.

    Their owners take turns, and the connections of each owner do among themselves.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_MAX_BYTES))  # one for all: its content is copied at once
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}
        self._is_scheduled = False
        self._next_s = 0.0

    def wait(self, then: Callable[[], None], owner: Hashable = None) -> None:
        """Call ``then`` when its turn has come."""
        self._waiting.setdefault(owner, deque()).append(then)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(max(0.0, self._next_s - time.monotonic()), self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        begin_s = now_s = time.monotonic()
        while self._waiting and now_s < begin_s + TURN_S:
            owner = next(iter(self._waiting))
            queue = self._waiting.pop(owner)
            then = queue.popleft()
            if queue:
                self._waiting[owner] = queue
            then()
            now_s = time.monotonic()
        self._next_s = now_s + (now_s - begin_s) * PAUSE_RATIO
        if self._waiting:
            self._schedule()


class PacedReader(asyncio.BufferedProtocol):
    """The reading side of a connection. A subclass handles the pieces and says as how many messages each counts.

    While ``is_paced``, or while nothing is left of the share of its ``owner``, every piece waits for its turn, also
    one that comes alone.
    """

    __slots__ = (
        "_bucket",
        "_is_full",
        "_is_waiting",
        "_rest_timer",
        "_share",
        "_transport",
        "_turns",
        "_unread",
        "is_paced",
        "owner",
    )

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._bucket = TokenBucket(MESSAGES_RATE_HZ, MESSAGES_BURST, time.monotonic())
        self._unread = b""
        self.is_paced = False
        self.owner: Hashable = None
        self._share: TokenBucket | None = None
        self._is_waiting = False
        self._is_full = False
        self._rest_timer: asyncio.TimerHandle | None = None

    def belong_to(self, owner: Hashable, share: TokenBucket | None = None) -> None:
        """Take turns as one of this owner's connections, and have its share of the time; None is all."""
        self.owner, self._share = owner, share

    def spend(self, messages: int) -> None:
        """Count something that costs as much as so many messages; the connection may have to rest for it."""
        self._bucket.spend(time.monotonic(), messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: D102
        return self._turns.buffer

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102
        piece = bytes(self._turns.buffer[:nbytes])
        began_s = time.monotonic()
        has_time = self._share is None or self._share.balance(began_s) > 0
        is_busy = nbytes > PIECE_BYTES or self._is_waiting or self._is_full or self._unread or self.is_paced
        if has_time and not is_busy:
            self._handle_piece(piece)
            if self._share is not None:
                now_s = time.monotonic()
                self._share.spend(now_s, now_s - began_s)
        else:
            self._unread += piece
            self._wait_for_turn()

    def pause_writing(self) -> None:  # noqa: D102
        self._is_full = True
        self._update_reading()

    def resume_writing(self) -> None:  # noqa: D102
        self._is_full = False
        if self._unread:
            self._wait_for_turn()
        self._update_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._unread = b""
        if self._rest_timer is not None:
            self._rest_timer.cancel()

    @abstractmethod
    def _on_piece(self, piece: bytes) -> int:
        """Handle bytes, at most a piece; return as how many messages they count."""

    def _handle_piece(self, piece: bytes) -> None:
        messages = self._on_piece(piece)
        rest_s = self._bucket.spend(time.monotonic(), messages)
        if rest_s and not self._transport.is_closing():
            self._is_waiting = True
            self._rest_timer = asyncio.get_running_loop().call_later(rest_s, self._end_rest)
            self._update_reading()

    def _end_rest(self) -> None:
        self._rest_timer = None
        self._is_waiting = False
        self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._turns.wait(self._take_turn, self.owner)
            self._update_reading()

    def _take_turn(self) -> None:
        self._is_waiting = False
        if self._transport.is_closing() or self._is_full:  # a client that takes nothing is not served: pongs need room
            return
        piece, self._unread = self._unread[:PIECE_BYTES], self._unread[PIECE_BYTES:]
        if piece:
            self._handle_piece(piece)
        if self._unread:
            self._wait_for_turn()
        self._update_reading()

    def _update_reading(self) -> None:
        """Read nothing while the client takes nothing, while something that was read waits, and during a rest."""
        if self._transport.is_closing():
            return
        if self._is_full or self._is_waiting or self._unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
