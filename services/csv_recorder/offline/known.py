"""What the inbox of a directory knows of its recordings at one moment, also while a recorder writes."""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from csv_recorder.live.inbox import Inbox, output_of_session, words_of_damage
from csv_recorder.live.rows import Kind
from csv_recorder.live.sessions import Session
from csv_recorder.offline.snapshot import State, snapshot, state_of
from neuroone.contract.files import COLUMNS, INBOX_FILE, READINGS, part_name, seq_of


@dataclass(slots=True)
class KnownSession:
    """A session in the inbox.

    ``sizes`` has the bytes of its files that are synced, by name. ``waiting`` readings may not be in the files yet;
    ``rows_wait`` if any row of it waits.
    """

    session: Session
    sizes: dict[str, int] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    rows_wait: bool = False

    @property
    def growing(self) -> set[str]:
        """Return the names of the files that may grow."""
        about = self.session.about
        if not self.session.open or about is None:
            return set()
        return {part_name(kind, number) for kind, number in about.parts.items()}

    def difference(self, found: Collection[int]) -> tuple[int, int, int | None]:
        """Compare the readings in the files with those that the inbox has accepted.

        Return how many are not there, how many are there that it does not know, and the first one that is not there, as
        far as that is known.
        """
        progress = self.session.progress
        accounted = sorted(self.waiting.union(found))
        known = bisect_right(accounted, progress.seq)
        in_holes = sum(bisect_right(accounted, last) - bisect_left(accounted, first) for first, last in progress.holes)
        surplus = len(accounted) - known + in_holes
        gone = progress.rows - (known - in_holes)
        if gone < 0:
            return 0, surplus - gone, None
        return gone, surplus, self._first_missing(accounted) if gone and not progress.lost else None

    def _first_missing(self, accounted: list[int]) -> int | None:
        progress, expected = self.session.progress, 0
        holes = dict(progress.holes)
        for seq in [*accounted, progress.seq + 1]:
            while expected < seq and expected in holes:
                expected = holes[expected] + 1
            if expected < seq:
                return expected
            expected = max(expected, seq + 1)
        return None


@dataclass(slots=True)
class Known:
    """The inbox of a directory. ``sessions`` are by folder; ``sizes`` are synced bytes by path, of other files.

    Without an inbox, and with one that has a ``fault``, nothing is known.
    """

    directory: Path
    state: State
    sessions: dict[str, KnownSession] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    is_there: bool = False
    fault: str | None = None

    def is_current(self) -> bool:
        """Return True if the inbox is still as it was read: no recorder has written since."""
        return self.is_there and self.fault is None and self.state == state_of(self.directory / INBOX_FILE)

    def session_in(self, folder: Path) -> KnownSession | None:
        """Return the session whose files are in a folder."""
        return self.sessions.get(self.path_of(folder))

    def path_of(self, path: Path) -> str:
        """Return a path as the inbox has it."""
        try:
            return path.resolve().relative_to(self.directory).as_posix()
        except ValueError:
            return str(path)


def read_known(directory: Path) -> Known:
    """Read the inbox of a directory, if it has one."""
    directory = directory.resolve()
    path = directory / INBOX_FILE
    known = Known(directory, state_of(path), is_there=path.exists())
    if not known.is_there:
        return known
    try:
        with snapshot(path) as inbox:
            _read(inbox, known)
    except sqlite3.Error as error:
        return Known(directory, known.state, is_there=True, fault=words_of_damage(path, error))
    except OSError as error:
        return Known(directory, known.state, is_there=True, fault=f"{path} cannot be read ({error.strerror or error})")
    return known


def _read(inbox: Inbox, known: Known) -> None:
    (problem,) = inbox.db.execute("PRAGMA quick_check(1)").fetchone()
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    by_id = {session.id: KnownSession(session) for session in inbox.sessions()}
    for row in inbox.waiting():
        known.waiting += 1
        found = None if row.kind in (Kind.GROUP_EVENT, Kind.LETTER) else by_id.get(row.owner)
        if found is None:
            continue
        found.rows_wait = True
        if row.kind in (Kind.READING, Kind.READING_ALONE):
            found.waiting.add(row.seq)
            found.session.progress = found.session.progress.with_reading(row.seq) or found.session.progress
    for session in by_id.values():
        for kind in COLUMNS:
            owed = inbox.owed(output_of_session(session.session.id, kind)) if session.session.open else []
            known.waiting += len(owed)
            session.rows_wait |= bool(owed)
            if kind == READINGS:
                session.waiting.update(map(_seq_of, owed))
    for file in inbox.all_files():
        owner = None if file.session is None else by_id.get(file.session)
        if file.session is None:
            known.sizes[file.path] = file.synced_bytes
        elif owner is not None:
            owner.sizes[file.path.rpartition("/")[2]] = file.synced_bytes
    known.sessions = {
        each.session.about.directory: each
        for each in by_id.values()
        if each.session.about is not None and each.session.about.directory is not None
    }


def _seq_of(row: bytes) -> int:
    try:
        return seq_of(row)
    except ValueError:
        raise sqlite3.DatabaseError("rows cannot be read") from None
