"""Put a session's readings back into order before they go to the student's file.

Brokers send again what was not acknowledged after what is newer: NATS always, Mosquitto at times. That file has no
seq, so a reading that comes before its predecessor waits for it a little. The session's file does not wait.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ORDER_S: Final = 10.0
"""NATS sends again after 5 s (see `neuroone.up.brokers`), and Mosquitto at the next connect."""
HELD_MAX: Final = 1000
"""Readings of one session that wait at most: 16 minutes at 1 Hz, 400 kB. With more the hole is given up."""

Hole = tuple[int, int]


@dataclass(slots=True)
class ReorderBuffer(Generic[T]):
    """Rows of one session by seq; ``next_seq`` is the one whose turn it is."""

    next_seq: int
    held: dict[int, T] = field(default_factory=dict)
    _since_s: float | None = None

    def pop(self, now_s: float, *, all: bool = False) -> tuple[list[T], list[Hole]]:
        """Return the rows whose turn it is, in order, and the holes that are given up; with ``all`` nothing waits.

        A row whose hole was given up before is late, and waits for nothing.
        """
        held = self.held
        rows: list[T] = []
        holes: list[Hole] = []
        while self.next_seq in held:  # nearly always the whole of it
            rows.append(held.pop(self.next_seq))
            self.next_seq += 1
            self._since_s = None
        if not held:
            return rows, holes
        rows += [held.pop(seq) for seq in sorted(each for each in held if each < self.next_seq)]
        for seq in sorted(held):
            if seq > self.next_seq:
                if self._since_s is None:
                    self._since_s = now_s
                if not all and now_s - self._since_s < ORDER_S and len(held) <= HELD_MAX:
                    break
                holes.append((self.next_seq, seq - 1))
            rows.append(held.pop(seq))
            self.next_seq = seq + 1
            self._since_s = None
        return rows, holes
