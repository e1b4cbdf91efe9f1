"""How far each session is recorded."""

from dataclasses import dataclass, field
from typing import Any, Final

from neuroone.contract.messages import MISSING_MAX, Missing, RecordedStream

SEQ_JUMP_MAX: Final = 1_000_000
"""Readings that may be missing before one that is accepted: eleven days at 1 Hz. A larger jump is no reading."""
HOLES_MAX: Final = 1000
"""Holes of one session that may still be filled; the oldest ones beyond that stay. A sender keeps two minutes."""


@dataclass(slots=True)
class Session:
    """How far one session of one stream is recorded.

    ``stream`` is ``group/source``. ``holes`` are the first and last seq of readings that may still come, in rising
    order; ``lost`` counts those that are no longer expected. ``about`` is what the sidecar needs, and ``last_s`` is the
    time of the last reading.
    """

    id: int
    stream: str
    session: str
    seq: int = -1
    rows: int = 0
    duplicates: int = 0
    holes: list[list[int]] = field(default_factory=list)
    lost: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    open: bool = True
    last_s: float = 0.0

    @property
    def gaps(self) -> int:
        """Count the readings that never came."""
        return self.lost + sum(last - first + 1 for first, last in self.holes)

    @property
    def is_recording(self) -> bool:
        """Return True if the session has begun and is not closed."""
        return self.open and bool(self.about)

    def accept(self, seq: int) -> bool:
        """Count a reading; return False if it was recorded before."""
        if seq == self.seq + 1:
            self.seq = seq
        elif seq > self.seq:
            self.holes.append([self.seq + 1, seq - 1])
            if len(self.holes) > HOLES_MAX:
                first, last = self.holes.pop(0)
                self.lost += last - first + 1
            self.seq = seq
        elif not self._fill(seq):
            self.duplicates += 1
            return False
        self.rows += 1
        return True

    def receipt(self) -> RecordedStream:
        """Return how far the session is on the disk."""
        group, _, source = self.stream.partition("/")
        return RecordedStream(
            group=group,
            source=source,
            session=self.session,
            seq=self.seq,
            rows=self.rows,
            duplicates=self.duplicates,
            gaps=self.gaps,
            missing=tuple(Missing(first=first, last=last) for first, last in self.holes[-MISSING_MAX:]),
        )

    def _fill(self, seq: int) -> bool:
        for at, (first, last) in enumerate(self.holes):
            if first <= seq <= last:
                self.holes[at : at + 1] = [each for each in ([first, seq - 1], [seq + 1, last]) if each[0] <= each[1]]
                return True
        return False
