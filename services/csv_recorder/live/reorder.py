"""Puts a session's readings back into their order.

A broker may redeliver a reading after newer ones: NATS always does, Mosquitto sometimes. A reading that comes before
its predecessor waits for it.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ORDER_S: Final = 10.0
"""NATS redelivers after 5 s (see `neuroone.up.brokers`), Mosquitto at the next connect."""
HELD_MAX: Final = 1000
"""Readings of one session that may wait: 16 minutes at 1 Hz, 400 kB. Beyond that, the hole is given up."""


@dataclass(slots=True)
class ReorderBuffer(Generic[T]):
    """Items of one session: those that wait by seq, and the seq that is written next."""

    next_seq: int
    held: dict[int, T] = field(default_factory=dict)
    _since_s: float | None = None

    def pop(self, now_s: float, *, all: bool = False) -> tuple[list[T], list[tuple[int, int]]]:
        """Return the items to write now, in order, and the holes (first and last seq) that were given up.

        An item that comes after its hole was given up does not wait. With ``all``, no item waits.
        """
        held = self.held
        items: list[T] = []
        holes: list[tuple[int, int]] = []
        if len(held) == 1 and self.next_seq in held:  # nearly always
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
