"""What is known of every student of the class, and the tiles that show it. No Qt, no clock, no thread.

The rules are those of the teacher's page: doubt (`neuroone.contract.doubt`), contact, and how old a reading may be.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import floor
from typing import Final, NamedTuple

from monitor_gui.view import Signal, signal_of
from neuroone.contract.doubt import Doubt, Doubts
from neuroone.contract.files import search_key
from neuroone.contract.messages import Reading, StreamState, StreamStatus

CURVE_S: Final = 60.0
"""What the curve of a tile shows."""
POINTS_MAX: Final = 64
"""Kept readings of a student: a minute at one a second, and a few that came late."""
GAP_S: Final = 3.0
"""Readings so far apart are not joined by a line."""
TILE_MIN_PX: Final = (150, 84)
"""Room for a name, two numbers and a small curve."""
TILE_MAX_PX: Final = (340, 190)
TILE_SHAPE: Final = 1.75
"""Width to height of a tile that is easily read."""


class Point(NamedTuple):
    """One reading in the curve of a tile; None for a value that means nothing."""

    time_s: float
    attention: int | None
    meditation: int | None


@dataclass(slots=True)
class Classmate:
    """The last minute of one student."""

    reading: Reading | None = None
    doubt: Doubt | None = None
    arrived_s: float | None = None
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))
    doubts: Doubts = field(default_factory=Doubts)

    def copy(self) -> "Classmate":
        """Return a copy that another thread may read."""
        return Classmate(self.reading, self.doubt, self.arrived_s, self.points.copy())

    def add(self, reading: Reading, arrived_s: float) -> None:
        """Keep a reading that arrived at ``arrived_s``; a repeated one counts once."""
        last = self.reading
        if last is not None and last.session == reading.session and reading.seq <= last.seq:
            return
        self.reading, self.arrived_s, self.doubt = reading, arrived_s, self.doubts.add(reading)
        is_sure = self.doubt is None or not self.doubt.touches_esense
        values = (reading.attention or None, reading.meditation or None) if is_sure else (None, None)
        self.points.append(Point(reading.time.timestamp(), *values))
        if self.doubt is Doubt.FROZEN:  # the equal readings before it are frozen too
            for back in range(1, min(self.doubts.same, len(self.points)) + 1):
                self.points[-back] = Point(self.points[-back].time_s, None, None)


@dataclass(frozen=True, slots=True)
class Tile:
    """What the class view shows of a student. ``status`` is None while the broker is away."""

    group: str
    source: str
    name: str | None
    code: str | None
    status: StreamStatus | None
    signal: Signal
    doubt: Doubt | None
    age_s: int | None
    """Whole seconds since the last reading; 0 while the student is online, None before the first."""
    attention: int | None
    meditation: int | None
    points: tuple[Point, ...]
    is_simulated: bool = False
    is_apart: bool = False
    """Another student has the same name: the code tells them apart."""

    @property
    def is_valid(self) -> bool:
        """Return True if attention and meditation mean something."""
        is_doubtful = self.doubt is not None and self.doubt.touches_esense
        return self.status is StreamStatus.ONLINE and self.age_s is not None and not is_doubtful

    @property
    def has_contact(self) -> bool:
        """Return True if the headset sits well; where it does not say so, if its numbers are in order."""
        return self.is_valid and self.signal in (Signal.GOOD, Signal.UNKNOWN)

    @property
    def is_loose(self) -> bool:
        """Return True if the headset says that it does not sit well."""
        return self.signal not in (Signal.GOOD, Signal.UNKNOWN)

    def fits(self, words: list[str]) -> bool:
        """Return True if every searched word is in the name, the code or the ids."""
        return not words or all(word in self._searched for word in words)

    @property
    def _searched(self) -> str:
        return search_key(f"{self.name or ''} {self.code or ''} {self.group} {self.source}")


def tile_of(
    stream: tuple[str, str],
    state: StreamState,
    mate: Classmate | None,
    status: StreamStatus | None,
    age_s: float | None,
) -> Tile:
    """Return the tile of a student."""
    mate = mate or Classmate()
    reading = mate.reading
    return Tile(
        *stream,
        name=state.name,
        code=state.code,
        status=status,
        signal=signal_of(None if reading is None else reading.poor_signal),
        doubt=mate.doubt,
        age_s=None if age_s is None else floor(age_s) if status is not StreamStatus.ONLINE else 0,
        attention=None if reading is None else reading.attention or None,
        meditation=None if reading is None else reading.meditation or None,
        points=tuple(mate.points),
        is_simulated=state.simulated is True,
    )


def arranged(tiles: Iterable[Tile], group: str | None, search: str, *, help_first: bool) -> list[Tile]:
    """Return the tiles of a class, or of all for None, by name; never by attention, which cannot be compared.

    A student who is offline and here again under another code is left out.
    """
    shown = [each for each in tiles if group is None or each.group == group]
    here = {each.name for each in shown if each.name is not None and each.status is not StreamStatus.OFFLINE}
    shown = [each for each in shown if each.status is not StreamStatus.OFFLINE or each.name not in here]
    names = Counter(each.name for each in shown)
    shown = [replace(each, is_apart=True) if each.name and names[each.name] > 1 else each for each in shown]
    words = search_key(search).split()
    return sorted(
        (each for each in shown if each.fits(words)),
        key=lambda each: (help_first and each.is_valid, each.name is None, search_key(each.name or ""), each.source),
    )


def tile_size(count: int, width_px: int, height_px: int) -> tuple[int, int]:
    """Return the largest size of tiles with which all are in view; the smallest where they are scrolled."""
    best, best_scale = None, 0.0
    for columns in range(1, count + 1):
        wide = min(TILE_MAX_PX[0], width_px // columns)
        high = min(TILE_MAX_PX[1], height_px // -(-count // columns))
        scale = min(wide / TILE_SHAPE, high)
        if wide >= TILE_MIN_PX[0] and high >= TILE_MIN_PX[1] and scale > best_scale:
            best, best_scale = (wide, high), scale
    columns = max(1, floor(width_px / TILE_MIN_PX[0]))
    return best or (max(1, min(TILE_MAX_PX[0], width_px // columns)), TILE_MIN_PX[1])
