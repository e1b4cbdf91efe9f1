"""How far each session is recorded, and which sessions are recording now."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from csv_recorder.live.lessons import Part
from neuroone.contract.messages import MISSING_MAX, Missing, RecordedStream, StreamStatus

HOLES_MAX: Final = 1000
"""Holes of one session that may still be filled; the oldest ones beyond that stay. A sender keeps two minutes."""
SEQ_JUMP_MAX: Final = 1_000_000
"""Readings that may be missing before one that is accepted: eleven days at 1 Hz. A larger jump is no reading."""
SESSIONS_MAX: Final = 20_000
"""Sessions that are kept in memory, for speed; of more the closed ones are read from the inbox again. About 20 MB."""

Hole = tuple[int, int]
"""The first and the last seq of readings that are missing."""
Key = tuple[str, str]
"""Group and session: a session id is unique in its group, whichever source sends it after a restart of a gateway."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the sidecar says of a session.

    ``directory`` is null until its folder is made; ``parts`` has the number of the file that each kind of row goes to.
    So many readings stand ``elsewhere``: in the directory of the recorder that had the session before. What begins
    here with its next reading has neither ``kind`` nor ``start`` until then.
    """

    kind: str
    name: str | None
    code: str | None
    start: str
    class_: str | None = msgspec.field(default=None, name="class")
    lessons: tuple[Part, ...] = ()
    directory: str | None = None
    parts: dict[str, int] = {}
    simulated: bool = False
    elsewhere: int = 0


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Which readings of a session are recorded.

    ``holes`` may still be filled, in rising order; ``lost`` counts the missing readings that are no longer expected.
    """

    seq: int = -1
    rows: int = 0
    duplicates: int = 0
    holes: tuple[Hole, ...] = ()
    lost: int = 0

    @property
    def gaps(self) -> int:
        """Count the readings that never came."""
        return self.lost + sum(last - first + 1 for first, last in self.holes)

    def with_reading(self, seq: int) -> "Progress | None":
        """Return the progress with one more reading; None if it was recorded before."""
        if seq == self.seq + 1:
            return Progress(seq, self.rows + 1, self.duplicates, self.holes, self.lost)
        if seq > self.seq:
            holes, lost = (*self.holes, (self.seq + 1, seq - 1)), self.lost
            if len(holes) > HOLES_MAX:
                first, last = holes[0]
                holes, lost = holes[1:], lost + last - first + 1
            return Progress(seq, self.rows + 1, self.duplicates, holes, lost)
        for at, (first, last) in enumerate(self.holes):
            if first <= seq <= last:
                parts = [part for part in ((first, seq - 1), (seq + 1, last)) if part[0] <= part[1]]
                holes = (*self.holes[:at], *parts, *self.holes[at + 1 :])
                return Progress(self.seq, self.rows + 1, self.duplicates, holes, self.lost)
        return None

    def with_duplicate(self) -> "Progress":
        """Return the progress with one more duplicate."""
        return Progress(self.seq, self.rows, self.duplicates + 1, self.holes, self.lost)


NOTHING: Final = Progress()
"""The progress of a session that has no reading yet."""


@dataclass(slots=True)
class Session:
    """One session of one stream. ``stream`` is ``group/source``; ``active_s`` is the steady time of its last reading.

    A session without ``about`` has no reading yet. It ``has_ended`` when its source said so.
    """

    id: int
    stream: str
    session: str
    progress: Progress = NOTHING
    about: About | None = None
    open: bool = True
    status: StreamStatus = StreamStatus.ONLINE
    has_ended: bool = False
    active_s: float = 0.0

    @property
    def key(self) -> Key:
        """Return what finds this session."""
        return self.stream.partition("/")[0], self.session

    @property
    def is_recording(self) -> bool:
        """Return True if the session has begun and is not closed."""
        return self.open and self.about is not None

    def copy(self) -> "Session":
        """Return a copy that may be changed; what it refers to is never changed in place."""
        return dataclasses.replace(self)

    def receipt(self, group: str, source: str) -> RecordedStream:
        """Return how far the session is on the disk, for the stream that sends it."""
        progress = self.progress
        return RecordedStream(
            group=group,
            source=source,
            session=self.session,
            seq=progress.seq,
            rows=progress.rows,
            duplicates=progress.duplicates,
            gaps=progress.gaps,
            missing=tuple(Missing(first=first, last=last) for first, last in progress.holes[-MISSING_MAX:]),
        )


class Sessions:
    """The sessions in memory: every open one, and closed ones while there is room."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Session] = {}
        self._by_id: dict[int, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_id.values())

    @property
    def recording(self) -> int:
        """Count the sessions that have begun and are not closed."""
        return sum(session.is_recording for session in self)

    def by_key(self, key: Key) -> Session | None:
        """Return the session of a group with that id, if it is in memory."""
        return self._by_key.get(key)

    def by_id(self, id: int) -> Session | None:
        """Return the session with that number in the inbox, if it is in memory."""
        return self._by_id.get(id)

    def put(self, session: Session) -> None:
        """Keep a session, or the newer state of one."""
        self._by_id[session.id] = self._by_key[session.key] = session

    def advance(self, progress: Mapping[int, Progress], now_s: float) -> None:
        """Note how far sessions are, by number, and that they were active now."""
        for id, each in progress.items():
            session = self._by_id[id]
            session.progress, session.active_s = each, now_s

    def forget_closed(self) -> None:
        """Let go of closed sessions when there are too many; never within a batch, which may be ahead of the inbox."""
        if len(self._by_id) >= SESSIONS_MAX:
            self.replace([each for each in self if each.open])

    def replace(self, sessions: Iterable[Session]) -> None:
        """Keep these and no others."""
        kept = list(sessions)
        self._by_key = {each.key: each for each in kept}
        self._by_id = {each.id: each for each in kept}
