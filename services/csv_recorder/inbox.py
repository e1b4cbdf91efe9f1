"""Where a reading is safe before it is acknowledged: a SQLite database beside the files.

One transaction takes a whole batch, with one sync to the disk however many students there are. Rows wait
here until their files are synced too; what a crash left in a file beyond the last synced size is known to be
a part of what waits here, so every row is written exactly once.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCHEMA_VERSION: Final = 1
GAP_MAX_READINGS: Final = 10_000
"""Missing readings of one jump that may still come and be taken: three hours. A longer jump is a gap for good."""

_SCHEMA: Final = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, session TEXT NOT NULL,
    seq INTEGER NOT NULL, rows INTEGER NOT NULL, duplicates INTEGER NOT NULL, gaps INTEGER NOT NULL,
    UNIQUE (stream, session)
);
CREATE TABLE missing (session INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (session, seq)) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, file TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE places (
    stream TEXT NOT NULL, name TEXT NOT NULL, file INTEGER NOT NULL, last_s REAL NOT NULL,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID;
CREATE INDEX places_of_file ON places (file, last_s);
CREATE TABLE waiting (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, row BLOB NOT NULL);
"""


@dataclass(slots=True)
class Session:
    """How far one session of one stream is recorded. ``stream`` is ``group/source``."""

    id: int
    stream: str
    session: str
    seq: int = -1
    rows: int = 0
    duplicates: int = 0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """One file: its place in the database, its name in the directory, whose it is, its synced size in bytes."""

    id: int
    file: str
    name: str
    size_bytes: int


class Inbox:
    """The database. Used by one thread; every change is part of the transaction that `commit` ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or make the database. Raises sqlite3.Error, also when another program has it."""
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

    def close(self) -> None:
        """Close the database; nothing for one that is closed."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def begin(self) -> None:
        """Begin a transaction."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction: all of it is on the disk when this returns."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Take the transaction back, if there is one."""
        if self._db is not None and self._db.in_transaction:
            self._run("ROLLBACK")

    def session(self, stream: str, session: str) -> Session:
        """The session, as far as it is recorded; made when it is new."""
        columns = "id, stream, session, seq, rows, duplicates, gaps"
        find = f"SELECT {columns} FROM sessions WHERE stream = ? AND session = ?"  # noqa: S608 (no input in it)
        found = self._run(find, (stream, session)).fetchone()
        if found is None:
            made = self._run(
                "INSERT INTO sessions (stream, session, seq, rows, duplicates, gaps) VALUES (?, ?, -1, 0, 0, 0)",
                (stream, session),
            )
            return Session(made.lastrowid or 0, stream, session)
        return Session(*found)

    def take(self, session: Session, seq: int) -> bool:
        """Count a reading of a session; False when it was recorded before."""
        if seq > session.seq:
            missing = range(session.seq + 1, seq)
            session.gaps += len(missing)
            if 0 < len(missing) <= GAP_MAX_READINGS:
                rows = [(session.id, each) for each in missing]
                self._db_of().executemany("INSERT INTO missing VALUES (?, ?)", rows)
            session.seq = seq
        elif (
            session.gaps and self._run("DELETE FROM missing WHERE session = ? AND seq = ?", (session.id, seq)).rowcount
        ):
            session.gaps -= 1
        else:
            session.duplicates += 1
            return False
        session.rows += 1
        return True

    def save(self, session: Session) -> None:
        """Write down how far a session is."""
        self._run(
            "UPDATE sessions SET seq = ?, rows = ?, duplicates = ?, gaps = ? WHERE id = ?",
            (session.seq, session.rows, session.duplicates, session.gaps, session.id),
        )

    def place_of(self, stream: str, name: str) -> int | None:
        """The file that a stream under a name had last."""
        found = self._run("SELECT file FROM places WHERE stream = ? AND name = ?", (stream, name)).fetchone()
        return None if found is None else int(found[0])

    def is_held(self, file: int, stream: str, since_s: float) -> bool:
        """Whether a stream other than ``stream`` has written to the file since then."""
        find = "SELECT 1 FROM places WHERE file = ? AND stream != ? AND last_s >= ? LIMIT 1"
        return self._run(find, (file, stream, since_s)).fetchone() is not None

    def hold(self, stream: str, name: str, file: int, now_s: float) -> None:
        """Note which file a stream under a name has, and when it wrote there last."""
        self._run("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (stream, name, file, now_s))

    def file_by_key(self, key: str) -> File | None:
        """The file with that key (`names.file_key`)."""
        found = self._run("SELECT id, file, name, bytes FROM files WHERE key = ?", (key,)).fetchone()
        return None if found is None else File(*found)

    def add_file(self, key: str, file: str, name: str, size_bytes: int) -> File:
        """Note a file, as large as it is now."""
        statement = "INSERT INTO files (key, file, name, bytes) VALUES (?, ?, ?, ?)"
        made = self._run(statement, (key, file, name, size_bytes))
        return File(made.lastrowid or 0, file, name, size_bytes)

    def files(self) -> dict[int, File]:
        """Every file, by its place in the database."""
        return {found[0]: File(*found) for found in self._run("SELECT id, file, name, bytes FROM files")}

    def release(self, stream: str) -> None:
        """The stream has ended: it holds no file any more."""
        self._run("UPDATE places SET last_s = 0 WHERE stream = ?", (stream,))

    def last_row(self) -> int:
        """The number of the newest row that waits; 0 when none does."""
        return int(self._run("SELECT coalesce(max(id), 0) FROM waiting").fetchone()[0])

    def put(self, file: int, row: bytes) -> int:
        """A row that waits for its file; returns its number, which rises."""
        return self._run("INSERT INTO waiting (file, row) VALUES (?, ?)", (file, row)).lastrowid or 0

    def waiting(self) -> list[tuple[int, bytes]]:
        """What waits: for each file all its rows, in their order."""
        found: dict[int, list[bytes]] = {}
        for file, row in self._run("SELECT file, row FROM waiting ORDER BY id"):
            found.setdefault(file, []).append(row)
        return [(file, b"".join(rows)) for file, rows in found.items()]

    def settle(self, up_to: int, sizes: Iterable[tuple[int, int]]) -> None:
        """The files are synced to these sizes in bytes, by file, with every row up to that number."""
        self._db_of().executemany("UPDATE files SET bytes = ? WHERE id = ?", [(size, file) for file, size in sizes])
        self._run("DELETE FROM waiting WHERE id <= ?", (up_to,))

    def _db_of(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the inbox is not open")
        return self._db

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db_of().execute(statement, values)
