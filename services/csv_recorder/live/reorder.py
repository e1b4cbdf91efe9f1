"""The window in which a session's readings get their order back.

Brokers send again what was not acknowledged after what is newer: NATS always, Mosquitto at times. A reading that
comes before its predecessor waits for it a little.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ORDER_S: Final = 10.0
"""NATS sends again after 5 s (see `neuroone.brokers`), and Mosquitto at the next connect."""
HELD_MAX: Final = 1000
"""Readings of one session that wait at most: 16 minutes at 1 Hz, 400 kB. With more the hole is given up."""


@dataclass(slots=True)
class Window(Generic[T]):
    """Items of one session by seq; ``next_seq`` is the one whose turn it is."""

    next_seq: int
    held: dict[int, T] = field(default_factory=dict)
    _since_s: float | None = None

    def push(self, seq: int, item: T) -> None:
        """An item arrived."""
        self.held[seq] = item

    def pop(self, now_s: float, *, all: bool = False) -> tuple[list[T], list[tuple[int, int]]]:
        """What may be written now, in order, and the holes (first and last seq) that were given up for it.

        What comes after its hole was given up is not held any more. With ``all`` nothing is.
        """
        held = self.held
        items: list[T] = []
        holes: list[tuple[int, int]] = []
        if len(held) == 1 and self.next_seq in held:  # so it is nearly always
            items.append(held.pop(self.next_seq))
            self.next_seq += 1
            self._since_s = None
            return items, holes
        for seq in sorted(each for each in held if each < self.next_seq):
            items.append(held.pop(seq))
        for seq in sorted(held):
            if seq > self.next_seq:
                if self._since_s is None:
                    self._since_s = now_s
                if not all and now_s - self._since_s < ORDER_S and len(held) <= HELD_MAX:
                    break
                holes.append((self.next_seq, seq - 1))
            items.append(held.pop(seq))
            self.next_seq = seq + 1
            self._since_s = None
        return items, holes
