"""Where a reading is safe before it is acknowledged: a SQLite database beside the files.

One transaction takes a whole batch, with one sync to the disk however many students there are. Rows wait here until
their files are synced too. After a crash, and after a sync that failed, every file is cut back to its last synced size
and what waits here is written again: so each row is in its file exactly once.
"""

import contextlib
import json
import sqlite3
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from filelock import FileLock, Timeout

from csv_recorder.live import inbox_of_2
from csv_recorder.live.rows import Kind, Row, pack, unpack
from csv_recorder.live.sessions import About, Progress, Session

LOCK_FILE: Final = ".inbox.lock"
"""Whoever holds its lock is the only one who writes."""
LOCKED_TIMEOUT_S: Final = 2.0
"""A recorder that is just ending has let go of the inbox by then."""
WAL_MAX_BYTES: Final = 16 * 2**20
"""What a burst made larger is made small again at the next checkpoint."""
SCHEMA_VERSION: Final = 3

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
_SINCE_3: Final = """
CREATE INDEX sessions_by_id ON sessions (session);
CREATE TABLE classes (code TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE owed (id INTEGER PRIMARY KEY, output TEXT NOT NULL, rows BLOB NOT NULL);
CREATE INDEX owed_by_output ON owed (output);
CREATE TABLE running (seconds REAL NOT NULL);
INSERT INTO running VALUES (0);
"""
_SESSION: Final = "id, stream, session, seq, rows, duplicates, holes, lost, about, open"
_FILE: Final = "id, path, name, session, bytes"


@dataclass(slots=True)
class File:
    """One file: its path in the directory, whose it is, and the size in bytes up to which it is synced.

    ``name`` is the student's, of a file ``{Nome}.csv``; ``session`` is the number of a session. ``synced_bytes`` is
    -1 until the file is in our care.
    """

    id: int
    path: str
    name: str | None
    session: int | None
    synced_bytes: int


class Inbox:
    """The database. Used by one thread; every change is part of the transaction that `commit` ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(LOCK_FILE), LOCKED_TIMEOUT_S, thread_local=False)
        self._db: sqlite3.Connection | None = None

    # --- opening, transactions -------------------------------------------------------------------

    def open(self) -> None:
        """Open or make the database, and keep other writers out of it. Others may read it, by `open_to_read`.

        Raises sqlite3.Error, also when another program writes to it, and OSError.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise sqlite3.OperationalError("database is locked") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def open_to_read(self) -> None:
        """Open the database to read what is stored, also while a recorder writes. Raises sqlite3.Error."""
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        self._db = sqlite3.connect(address, uri=True, timeout=LOCKED_TIMEOUT_S, isolation_level=None)
        self._db.execute("PRAGMA query_only=1")

    def _open(self) -> None:
        db = sqlite3.connect(self._path, timeout=LOCKED_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA journal_size_limit={WAL_MAX_BYTES}")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, inbox_of_2.VERSION, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(f"it was made by another version (schema {version})")
            if version == 0:
                _execute_all(db, _SCHEMA)
            if version != SCHEMA_VERSION:
                _execute_all(db, _SINCE_3)
                inbox_of_2.convert(db)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("COMMIT")
        except (ValueError, KeyError, TypeError, struct.error) as error:
            db.close()
            raise sqlite3.DatabaseError(f"what it holds cannot be read ({error})") from None
        except BaseException:
            db.close()
            raise
        self._db = db

    @property
    def is_open(self) -> bool:
        """Return True if the database is open."""
        return self._db is not None

    def close(self) -> None:
        """Close the database. Idempotent."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # what is committed stays; the rest was not promised
                self._db.close()
            self._db = None
            self._lock.release()

    def begin(self) -> None:
        """Begin a transaction."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction: all of it is on the disk when this returns."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        if self._db is not None and self._db.in_transaction:
            self._run("ROLLBACK")

    # --- sessions --------------------------------------------------------------------------------

    def session(self, group: str, session: str) -> Session | None:
        """Return a session of a group as it is stored; None for a new one."""
        found = self._run(f"SELECT {_SESSION} FROM sessions WHERE session = ? ORDER BY id", (session,))  # noqa: S608
        return next((each for each in map(_session, found) if each.key == (group, session)), None)

    def add_session(self, stream: str, session: str) -> Session:
        """Store a new session."""
        insert = "INSERT INTO sessions (stream, session, seq, rows, duplicates, holes, lost, about, open, last_s)"
        made = self._run(f"{insert} VALUES (?, ?, -1, 0, 0, '[]', 0, '{{}}', 1, 0)", (stream, session))
        return Session(made.lastrowid or 0, stream, session)

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are not closed."""
        return [*map(_session, self._run(f"SELECT {_SESSION} FROM sessions WHERE open = 1"))]  # noqa: S608

    def describe(self, sessions: Iterable[Session]) -> None:
        """Store what the sidecars of sessions say of them, and whether they are open."""
        self._db_of().executemany(
            "UPDATE sessions SET about = ?, open = ? WHERE id = ?",
            [(_about_text(each.about), each.open, each.id) for each in sessions],
        )

    def save_progress(self, progress: Iterable[tuple[int, Progress]], running_s: float) -> None:
        """Store how far sessions are, by number, at ``running_s`` of all the time that a recorder has run here."""
        self._db_of().executemany(
            "UPDATE sessions SET seq=?, rows=?, duplicates=?, holes=?, lost=?, last_s=? WHERE id=?",
            [
                (p.seq, p.rows, p.duplicates, json.dumps(p.holes) if p.holes else "[]", p.lost, running_s, id)
                for id, p in progress
            ],
        )
        self._run("UPDATE running SET seconds = ?", (running_s,))

    def running_s(self) -> float:
        """Return how long recorders have run here, by steady clocks."""
        return float(self._run("SELECT seconds FROM running").fetchone()[0])

    def prune(self, before_s: float) -> None:
        """Forget closed sessions and events that are older than what a broker may send again."""
        self._run("DELETE FROM sessions WHERE open = 0 AND last_s < ?", (before_s,))
        self._run("DELETE FROM events WHERE last_s < ?", (before_s,))

    # --- classes, events, subscriptions ----------------------------------------------------------

    def classes(self) -> dict[str, str]:
        """Return the names of the classes that are running, by group."""
        return dict(self._run("SELECT code, name FROM classes"))

    def note_class(self, group: str, name: str | None) -> None:
        """Store that a class of a group has begun; with None that it has ended."""
        self._run("DELETE FROM classes WHERE code = ?", (group,))
        if name is not None:
            self._run("INSERT INTO classes VALUES (?, ?)", (group, name))

    def is_new_event(self, id: str, running_s: float) -> bool:
        """Store an event's id; return True if it was not recorded before."""
        return self._run("INSERT OR IGNORE INTO events VALUES (?, ?)", (id, running_s)).rowcount == 1

    def filters(self) -> set[str]:
        """Return the filters that the broker's session of this recorder may have."""
        return {filter for (filter,) in self._run("SELECT filter FROM filters")}

    def note_filters(self, filters: Iterable[str]) -> None:
        """Store that the broker's session may have these from now on, besides what it had."""
        self._db_of().executemany("INSERT OR IGNORE INTO filters VALUES (?)", [(filter,) for filter in filters])

    # --- files -----------------------------------------------------------------------------------

    def place_of(self, stream: str, name: str) -> int | None:
        """Return the file that a stream under a name had last."""
        found = self._run("SELECT file FROM places WHERE stream = ? AND name = ?", (stream, name)).fetchone()
        return None if found is None else int(found[0])

    def hold(self, stream: str, name: str, file: int) -> None:
        """Store which file a stream under a name has now."""
        self._run("INSERT OR REPLACE INTO places VALUES (?, ?, ?, 1)", (stream, name, file))

    def release(self, stream: str) -> None:
        """Store that an ended stream holds no file any more."""
        self._run("UPDATE places SET active = 0 WHERE stream = ? AND active = 1", (stream,))

    def holders(self) -> list[tuple[int, str, str]]:
        """Return which files are held, by which streams, under which names."""
        return self._run("SELECT file, stream, name FROM places WHERE active = 1").fetchall()

    def file_by_key(self, key: str) -> File | None:
        """Return the file with that key (`neuroone.contract.files.file_key`)."""
        found = self._run(f"SELECT {_FILE} FROM files WHERE key = ?", (key,))  # noqa: S608
        return next((File(*each) for each in found), None)

    def add_file(self, key: str, path: str, name: str | None, session: int | None, synced_bytes: int) -> File:
        """Store a file."""
        insert = "INSERT INTO files (key, path, name, session, bytes) VALUES (?, ?, ?, ?, ?)"
        made = self._run(insert, (key, path, name, session, synced_bytes))
        return File(made.lastrowid or 0, path, name, session, synced_bytes)

    def file(self, id: int) -> File | None:
        """Return the file with that number."""
        found = self._run(f"SELECT {_FILE} FROM files WHERE id = ?", (id,))  # noqa: S608
        return next((File(*each) for each in found), None)

    def files(self) -> list[File]:
        """Return every file that may still be written to."""
        return [File(*each) for each in self._run(f"SELECT {_FILE} FROM files")]  # noqa: S608

    def note_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Store the sizes, by file, up to which files are ours and synced."""
        self._db_of().executemany("UPDATE files SET bytes = ? WHERE id = ?", [(size, file) for file, size in sizes])

    def forget_files(self, session: int) -> None:
        """Forget the files of a closed session: nothing is written to them."""
        self._run("DELETE FROM files WHERE session = ?", (session,))

    # --- rows ------------------------------------------------------------------------------------

    def put(self, rows: Iterable[Row]) -> tuple[int, int]:
        """Store rows that wait for their files; return the number of this batch, which rises, and its size in bytes."""
        packed = pack(rows)
        return self._run("INSERT INTO batches (rows) VALUES (?)", (packed,)).lastrowid or 0, len(packed)

    def waiting(self) -> Iterator[Row]:
        """Yield the rows that wait, in the order in which they came."""
        for (blob,) in self._run("SELECT rows FROM batches ORDER BY id"):
            yield from unpack(blob)

    def last_batch(self) -> int:
        """Return the number of the newest batch; 0 if there is none."""
        return int(self._run("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])

    def settle(self, up_to: int, held: Iterable[Row]) -> None:
        """Forget every row up to that batch but those still held: they are in synced files, or owed."""
        # The newest number stays taken, so that later batches have higher ones.
        self._run("DELETE FROM batches WHERE id < ?", (up_to,))
        self._run("UPDATE batches SET rows = ? WHERE id = ?", (pack(held), up_to))

    def owe(self, output: str, contents: Sequence[bytes]) -> None:
        """Store rows of a file that cannot be written now, behind those that it is owed already."""
        packed = pack(Row(0, 0, -1, content) for content in contents)
        self._run("INSERT INTO owed (output, rows) VALUES (?, ?)", (output, packed))

    def owed(self, output: str) -> list[bytes]:
        """Return the rows that a file is owed, in order."""
        found = self._run("SELECT rows FROM owed WHERE output = ? ORDER BY id", (output,))
        return [row.content for (blob,) in found for row in unpack(blob)]

    def owing(self) -> set[str]:
        """Return the files that are owed rows."""
        return {output for (output,) in self._run("SELECT DISTINCT output FROM owed")}

    def pay(self, output: str) -> None:
        """Forget what a file was owed: it is synced now."""
        self._run("DELETE FROM owed WHERE output = ?", (output,))

    # --- for the commands on recorded files ------------------------------------------------------

    def writers(self) -> dict[str, set[str]]:
        """Return which streams have written to each ``{Nome}.csv``, by its path."""
        found: dict[str, set[str]] = {}
        for path, stream in self._run("SELECT path, stream FROM places JOIN files ON files.id = places.file"):
            found.setdefault(path, set()).add(stream)
        return found

    def forget(self, is_of: Callable[[str, str | None], bool], paths: Collection[str], *, dry: bool = False) -> int:
        """Remove a student's entries, without a trace in the database's pages; return how many they are.

        ``is_of`` decides for a stream and a name, ``paths`` are the student's files. ``dry`` only counts.
        """
        sessions = {
            id
            for id, stream, about in self._run("SELECT id, stream, about FROM sessions").fetchall()
            if is_of(stream, json.loads(about).get("name"))
        }
        places = [each for each in self._run("SELECT stream, name FROM places").fetchall() if is_of(*each)]
        files = {each.id for each in self.files() if each.path in paths or each.session in sessions}
        owed = [output for output in self.owing() if _owner_of(output) in sessions or _file_of(output) in files]
        if not dry:
            self.begin()
            for number, blob in self._run("SELECT id, rows FROM batches").fetchall():
                kept = [
                    row
                    for row in unpack(blob)
                    if row.owner not in (files if row.kind == Kind.GROUP_EVENT else sessions) or row.kind == Kind.LETTER
                ]
                self._run("UPDATE batches SET rows = ? WHERE id = ?", (pack(kept), number))
            delete = self._db_of().executemany
            delete("DELETE FROM sessions WHERE id = ?", [(id,) for id in sessions])
            delete("DELETE FROM files WHERE id = ?", [(id,) for id in files])
            delete("DELETE FROM places WHERE stream = ? AND name = ?", places)
            delete("DELETE FROM owed WHERE output = ?", [(output,) for output in owed])
            self.commit()
            self._run("VACUUM")
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(sessions) + len(places) + len(files)

    def _db_of(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the inbox is not open")
        return self._db

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db_of().execute(statement, values)


def output_of_session(session: int, kind: str) -> str:
    """Return the key of what is written of a session: its rows of one kind, in however many files."""
    return f"session/{session}/{kind}"


def output_of_file(file: int) -> str:
    """Return the key of a file that is no session's."""
    return f"file/{file}"


def _owner_of(output: str) -> int | None:
    room, _, rest = output.partition("/")
    return int(rest.partition("/")[0]) if room == "session" else None


def _file_of(output: str) -> int | None:
    room, _, rest = output.partition("/")
    return int(rest) if room == "file" else None


def _execute_all(db: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):
        db.execute(statement)


def _session(found: tuple[Any, ...]) -> Session:
    id, stream, session, seq, rows, duplicates, holes, lost, about, is_open = found
    try:
        progress = Progress(seq, rows, duplicates, tuple((first, last) for first, last in json.loads(holes)), lost)
        described = None if about == "{}" else msgspec.json.decode(about, type=About)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"session {id} cannot be read ({error})") from None
    return Session(id, stream, session, progress, described, bool(is_open))


def _about_text(about: About | None) -> str:
    return "{}" if about is None else msgspec.json.encode(about).decode()
