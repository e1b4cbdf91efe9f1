"""From the bus's thread to the event loop: deliveries cross in batches, and no more wait than fit."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from neuroone.runtime.bus import Delivery

WAITING_MAX: Final = 50_000
"""Deliveries that may wait for the loop: 10 s of 5000 students, about 40 MB."""


class Deliveries:
    """Hands each delivery to ``take`` in the loop. ``put`` belongs to the bus's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Delivery], None]) -> None:
        self._loop = loop
        self._take = take
        self._waiting: deque[Delivery] = deque()
        self._is_called = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: Delivery) -> None:
        """Let a delivery cross; drop and count it when too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        self._waiting.append(delivery)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._cross)

    def _cross(self) -> None:
        self._is_called = False  # before the look: what comes during it calls again
        for _ in range(len(self._waiting)):
            self._take(self._waiting.popleft())
        if self._waiting and not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._cross)
