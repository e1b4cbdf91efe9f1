"""Work that can wait: a piece in each turn of the event loop, so that readings go through between two pieces."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """Does things in their order, one in each turn of the loop.

    At most ``most`` wait; ``dropped`` counts the oldest ones, which then are left out.
    """

    def __init__(self, do: Callable[[Item], object], most: int) -> None:
        self._do = do
        self._waiting: deque[Item] = deque(maxlen=most)
        self._is_due = False
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Do it when its turn has come."""
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(item)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = len(self._waiting) > 1
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._turn)
        self._do(self._waiting.popleft())
