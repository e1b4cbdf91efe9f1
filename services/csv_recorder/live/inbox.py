"""A SQLite database beside the files, which makes readings safe before they are acknowledged.

One transaction stores a whole batch, with one sync to the disk for all students. Rows wait here until their files are
synced too. After a crash, what a file holds beyond its last synced size can only be a part of the rows that wait here,
so every row is written exactly once.
"""

import json
import sqlite3
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from csv_recorder.live.sessions import Session

SCHEMA_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, session TEXT NOT NULL,
    seq INTEGER NOT NULL, rows INTEGER NOT NULL, duplicates INTEGER NOT NULL, holes TEXT NOT NULL,
    lost INTEGER NOT NULL, about TEXT NOT NULL, open INTEGER NOT NULL, last_s REAL NOT NULL,
    UNIQUE (stream, session)
);
CREATE INDEX open_sessions ON sessions (open);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, path TEXT NOT NULL, name TEXT,
    session INTEGER, bytes INTEGER NOT NULL
);
CREATE INDEX files_of_session ON files (session);
CREATE TABLE places (
    stream TEXT NOT NULL, name TEXT NOT NULL, file INTEGER NOT NULL, active INTEGER NOT NULL,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID;
CREATE INDEX active_places ON places (active);
CREATE TABLE filters (filter TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE events (id TEXT PRIMARY KEY, last_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);
"""
_ROW: Final = struct.Struct("<IIqI")
_ABOUT: Final = "id, stream, session, seq, rows, duplicates, holes, lost, about, open, last_s"


class Row(NamedTuple):
    """One row of one file. ``session`` is the session's id here, or 0; ``seq`` orders its rows, -1 for an event."""

    file: int
    session: int
    seq: int
    content: bytes


@dataclass(slots=True)
class File:
    """One file: its path in the directory, its owner, its synced size, and its size now.

    A ``{Nome}.csv`` has the student's ``name``; the file of a session has the session's id, and recording continues in
    a new file once it ``is_full``.
    """

    id: int
    path: str
    name: str | None
    session: int | None
    synced_bytes: int
    size_bytes: int = 0
    is_full: bool = False


class Inbox:
    """The database. One thread uses it; every change belongs to a `transaction`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or create the database. Raises sqlite3.Error, also when another program uses it."""
        db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"it was made by another version (schema {version})")
            db.execute("COMMIT")
        except sqlite3.Error:
            db.close()
            raise
        self._db = db

    @property
    def is_open(self) -> bool:
        """Return True between `open` and `close`."""
        return self._db is not None

    def close(self) -> None:
        """Close the database. Idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all changes made inside, which are on the disk at the end, or none of them if something fails."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._commit()
        except BaseException:
            if self._db is not None and self._db.in_transaction:
                self._run("ROLLBACK")
            raise

    def session(self, stream: str, session: str) -> Session | None:
        """Return the session, or None if it is new."""
        found = self._run(f"SELECT {_ABOUT} FROM sessions WHERE stream = ? AND session = ?", (stream, session))  # noqa: S608
        return next(map(_session, found), None)

    def add_session(self, stream: str, session: str) -> Session:
        """Add a new session."""
        insert = "INSERT INTO sessions (stream, session, seq, rows, duplicates, holes, lost, about, open, last_s)"
        made = self._run(f"{insert} VALUES (?, ?, -1, 0, 0, '[]', 0, '{{}}', 1, 0)", (stream, session))
        return Session(made.lastrowid or 0, stream, session)

    def open_sessions(self) -> list[Session]:
        """Return the sessions that were not closed."""
        return [*map(_session, self._run(f"SELECT {_ABOUT} FROM sessions WHERE open = 1"))]  # noqa: S608

    def save(self, sessions: Iterable[Session]) -> None:
        """Store how far sessions are recorded."""
        self._db_of().executemany(
            "UPDATE sessions SET seq=?, rows=?, duplicates=?, holes=?, lost=?, open=?, last_s=? WHERE id=?",
            [
                (s.seq, s.rows, s.duplicates, json.dumps(s.holes) if s.holes else "[]", s.lost, s.open, s.last_s, s.id)
                for s in sessions
            ],
        )

    def describe(self, sessions: Iterable[Session]) -> None:
        """Store what the sidecars of sessions need."""
        self._db_of().executemany(
            "UPDATE sessions SET about = ? WHERE id = ?", [(json.dumps(each.about), each.id) for each in sessions]
        )

    def file_of(self, stream: str, name: str) -> int | None:
        """Return the id of the file that a stream used last under a name."""
        found = self._run("SELECT file FROM places WHERE stream = ? AND name = ?", (stream, name)).fetchone()
        return None if found is None else int(found[0])

    def hold(self, stream: str, name: str, file: int) -> None:
        """Store which file a stream uses now under a name."""
        self._run("INSERT OR REPLACE INTO places VALUES (?, ?, ?, 1)", (stream, name, file))

    def release(self, stream: str) -> None:
        """Let other students use the files of a stream that has ended."""
        self._run("UPDATE places SET active = 0 WHERE stream = ? AND active = 1", (stream,))

    def holders(self) -> list[tuple[int, str, str]]:
        """Return the files in use, each with its stream and name."""
        return self._run("SELECT file, stream, name FROM places WHERE active = 1").fetchall()

    def file_by_key(self, key: str) -> File | None:
        """Return the file with this key (`files.file_key`)."""
        found = self._run("SELECT id, path, name, session, bytes FROM files WHERE key = ?", (key,))
        return next((File(*each) for each in found), None)

    def add_file(self, key: str, path: str, name: str | None, session: int | None, size_bytes: int) -> File:
        """Add a file with its present size."""
        insert = "INSERT INTO files (key, path, name, session, bytes) VALUES (?, ?, ?, ?, ?)"
        made = self._run(insert, (key, path, name, session, size_bytes))
        return File(made.lastrowid or 0, path, name, session, size_bytes, size_bytes)

    def files(self) -> dict[int, File]:
        """Return every file that may still grow, by its id."""
        return {each[0]: File(*each) for each in self._run("SELECT id, path, name, session, bytes FROM files")}

    def forget_files(self, session: int) -> None:
        """Remove the files of a session, which no longer grow."""
        self._run("DELETE FROM files WHERE session = ?", (session,))

    def is_new_event(self, id: str, now_s: float) -> bool:
        """Add an event; return False if it was recorded before."""
        return self._run("INSERT OR IGNORE INTO events VALUES (?, ?)", (id, now_s)).rowcount == 1

    def add_filters(self, filters: Collection[str]) -> set[str]:
        """Add filters that the broker's session may have from now on; return the others that it may have."""
        old = {filter for (filter,) in self._run("SELECT filter FROM filters")}
        self._db_of().executemany("INSERT OR IGNORE INTO filters VALUES (?)", [(filter,) for filter in filters])
        return old.difference(filters)

    def prune(self, before_s: float) -> None:
        """Remove closed sessions and events that no broker sends again."""
        self._run("DELETE FROM sessions WHERE open = 0 AND last_s < ?", (before_s,))
        self._run("DELETE FROM events WHERE last_s < ?", (before_s,))

    def put(self, rows: Sequence[Row]) -> int:
        """Store rows that wait for their files, as a batch with a rising number; return its size in bytes."""
        packed = _pack(rows)
        self._run("INSERT INTO batches (rows) VALUES (?)", (packed,))
        return len(packed)

    def waiting(self) -> dict[int, list[Row]]:
        """Return the rows that wait, by session, in the order in which they came; 0 is for rows without a session."""
        found: dict[int, list[Row]] = {}
        for (blob,) in self._run("SELECT rows FROM batches ORDER BY id"):
            for row in _unpack(blob):
                found.setdefault(row.session, []).append(row)
        return found

    def last_batch(self) -> int:
        """Return the number of the newest batch; 0 if none waits."""
        return int(self._run("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])

    def settle(self, up_to: int, held: Sequence[Row], sizes: Iterable[tuple[int, int]]) -> None:
        """Remove the rows up to a batch, except those held back: their files, by id, are synced to these sizes."""
        self._db_of().executemany("UPDATE files SET bytes = ? WHERE id = ?", [(size, file) for file, size in sizes])
        # The newest number stays taken, so that later batches have higher ones.
        self._run("DELETE FROM batches WHERE id < ?", (up_to,))
        self._run("UPDATE batches SET rows = ? WHERE id = ?", (_pack(held), up_to))

    def writers(self) -> dict[str, set[str]]:
        """Return the streams that have written to each ``{Nome}.csv``, by its path."""
        found: dict[str, set[str]] = {}
        for path, stream in self._run("SELECT path, stream FROM places JOIN files ON files.id = places.file"):
            found.setdefault(path, set()).add(stream)
        return found

    def forget(self, is_of: Callable[[str, str | None], bool], paths: Collection[str], *, dry: bool = False) -> int:
        """Remove a student, also from the database's free pages; return the number of entries.

        ``is_of`` tells if a stream and a name are the student's; ``paths`` are its files; ``dry`` only counts.
        """
        sessions = {
            id
            for id, stream, about in self._run("SELECT id, stream, about FROM sessions").fetchall()
            if is_of(stream, json.loads(about).get("name"))
        }
        places = [each for each in self._run("SELECT stream, name FROM places").fetchall() if is_of(*each)]
        files = {
            id
            for id, path, session in self._run("SELECT id, path, session FROM files").fetchall()
            if path in paths or session in sessions
        }
        if not dry:
            with self.transaction():
                for number, blob in self._run("SELECT id, rows FROM batches").fetchall():
                    kept = [row for row in _unpack(blob) if row.session not in sessions and row.file not in files]
                    self._run("UPDATE batches SET rows = ? WHERE id = ?", (_pack(kept), number))
                delete = self._db_of().executemany
                delete("DELETE FROM sessions WHERE id = ?", [(id,) for id in sessions])
                delete("DELETE FROM files WHERE id = ?", [(id,) for id in files])
                delete("DELETE FROM places WHERE stream = ? AND name = ?", places)
            self._run("VACUUM")
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(sessions) + len(places) + len(files)

    def _commit(self) -> None:
        self._run("COMMIT")

    def _db_of(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the inbox is not open")
        return self._db

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db_of().execute(statement, values)


def _session(found: tuple[Any, ...]) -> Session:
    id, stream, session, seq, rows, duplicates, holes, lost, about, is_open, last_s = found
    return Session(
        id, stream, session, seq, rows, duplicates, json.loads(holes), lost, json.loads(about), bool(is_open), last_s
    )


def _pack(rows: Iterable[Row]) -> bytes:
    return b"".join([part for row in rows for part in (_ROW.pack(row[0], row[1], row[2], len(row[3])), row[3])])


def _unpack(blob: bytes) -> Iterator[Row]:
    at = 0
    while at < len(blob):
        file, session, seq, length = _ROW.unpack_from(blob, at)
        at += _ROW.size + length
        yield Row(file, session, seq, blob[at - length : at])
