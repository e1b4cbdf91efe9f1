"""Where a reading is safe before it is acknowledged: a SQLite database beside the files.

One transaction takes a whole batch, with one sync to the disk however many students there are. Rows wait here until
their files are synced too. After a crash, and after a sync that failed, every file is cut back to its last synced size
and what waits here is written again: so each row is in its file exactly once.
"""

import contextlib
import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from filelock import FileLock, Timeout

from csv_recorder.live import inbox_of_2, inbox_shard
from csv_recorder.live.lessons import RECENT_MAX, Lesson, Lessons
from csv_recorder.live.rows import Row, pack, unpack
from csv_recorder.live.sessions import About, Progress, Session
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INTERRUPTED, LOCK_FILE, SESSIONS

LOCKED_TIMEOUT_S: Final = 2.0
"""A recorder that is just ending has let go of the inbox by then."""
WAL_MAX_BYTES: Final = 16 * 2**20
"""What a burst made larger is made small again at the next checkpoint."""
LESSONS_MAX: Final = 100_000
"""Lessons that are listed; of more the oldest ones are forgotten. Those of a school's fifty years; 10 MB."""
SCHEMA_VERSION: Final = 4

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
_SINCE_4: Final = """
CREATE TABLE lessons (
    id INTEGER PRIMARY KEY, group_id TEXT NOT NULL, name TEXT NOT NULL, began TEXT NOT NULL, ended TEXT
);
CREATE INDEX running_lessons ON lessons (group_id) WHERE ended IS NULL;
INSERT INTO lessons (group_id, name, began) SELECT code, name, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') FROM classes;
DROP TABLE classes;
"""
_SESSION: Final = "id, stream, session, seq, rows, duplicates, holes, lost, about, open"
_LESSON: Final = "group_id, name, began, ended"
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


class WrongVersion(sqlite3.DatabaseError):
    """Another version of NeuroOne made the inbox."""


class Inbox:
    """The database. Used by one thread; every change is part of the transaction that `commit` ends.

    A recorder says its ``shard``, an empty text for all streams: an inbox of another one does not open for it.
    """

    def __init__(self, path: Path, shard: str | None = None) -> None:
        self.path = path
        self._shard = shard
        self._lock = FileLock(path.with_name(LOCK_FILE), LOCKED_TIMEOUT_S, thread_local=False)
        self._db: sqlite3.Connection | None = None

    # --- opening, transactions -------------------------------------------------------------------

    def open(self, *, is_in_doubt: bool = False) -> None:
        """Open or make the database, and keep other writers out of it. Others may copy it.

        It ``is_in_doubt`` after a transaction that failed. Raises sqlite3.Error, also when another program writes to
        it, and OSError.
        """
        if self.path.exists() and not self.path.stat().st_size and (self.path.parent / SESSIONS).exists():
            raise sqlite3.DatabaseError("it is empty")  # SQLite takes it for a new one, and forgets what is recorded
        try:
            self._lock.acquire()
        except Timeout:
            raise sqlite3.OperationalError("database is locked") from None
        try:
            self._open(is_in_doubt)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, is_in_doubt: bool) -> None:
        db = sqlite3.connect(self.path, timeout=LOCKED_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA journal_size_limit={WAL_MAX_BYTES}")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version and not inbox_of_2.VERSION <= version <= SCHEMA_VERSION:
                raise WrongVersion(f"it was made by another version (schema {version})")
            if version == 0:
                _execute_all(db, _SCHEMA)
            if version <= inbox_of_2.VERSION:
                _execute_all(db, _SINCE_3)
                inbox_of_2.convert(db)
            if version != SCHEMA_VERSION:
                _execute_all(db, _SINCE_4)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            inbox_shard.claim(db, self.path.parent, self._shard)
            db.execute("COMMIT")
            is_busy = _sync_what_is_read(db)
            if is_busy and is_in_doubt:
                raise sqlite3.OperationalError("another program reads the inbox")
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
        return next((each for each in map(session_from, found) if each.key == (group, session)), None)

    def add_session(self, stream: str, session: str) -> Session:
        """Store a new session."""
        insert = "INSERT INTO sessions (stream, session, seq, rows, duplicates, holes, lost, about, open, last_s)"
        made = self._run(f"{insert} VALUES (?, ?, -1, 0, 0, '[]', 0, '{{}}', 1, 0)", (stream, session))
        return Session(made.lastrowid or 0, stream, session)

    def sessions(self) -> list[Session]:
        """Return every session that is not forgotten."""
        return [*map(session_from, self._run(f"SELECT {_SESSION} FROM sessions"))]  # noqa: S608

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are not closed."""
        return [*map(session_from, self._run(f"SELECT {_SESSION} FROM sessions WHERE open = 1"))]  # noqa: S608

    def describe(self, sessions: Iterable[Session]) -> None:
        """Store what the sidecars of sessions say of them, and whether they are open."""
        self.db.executemany(
            "UPDATE sessions SET about = ?, open = ? WHERE id = ?",
            [(_about_text(each.about), each.open, each.id) for each in sessions],
        )

    def save_progress(self, progress: Iterable[tuple[int, Progress]], running_s: float) -> None:
        """Store how far sessions are, by number, at ``running_s`` of all the time that a recorder has run here."""
        self.db.executemany(
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
        """Forget closed sessions with their files, and events, that are older than what a broker may send again."""
        old = "SELECT id FROM sessions WHERE open = 0 AND last_s < ?"
        self._run(f"DELETE FROM files WHERE session IN ({old})", (before_s,))  # noqa: S608
        self._run("DELETE FROM sessions WHERE open = 0 AND last_s < ?", (before_s,))
        self._run("DELETE FROM events WHERE last_s < ?", (before_s,))

    # --- lessons, events, subscriptions ----------------------------------------------------------

    def all_lessons(self) -> list[Lesson]:
        """Return the lessons in the order in which they began."""
        return [Lesson(*each) for each in self._run(f"SELECT {_LESSON} FROM lessons ORDER BY id")]  # noqa: S608

    def lessons(self) -> Lessons:
        """Return the lessons that run, and the last ones that have ended."""
        ended = f"SELECT {_LESSON} FROM lessons WHERE ended IS NOT NULL ORDER BY id DESC LIMIT ?"  # noqa: S608
        running = f"SELECT {_LESSON} FROM lessons WHERE ended IS NULL ORDER BY id"  # noqa: S608
        found = [*reversed(self._run(ended, (RECENT_MAX,)).fetchall()), *self._run(running)]
        return Lessons(Lesson(*each) for each in found)

    def note_lesson(self, lesson: Lesson) -> None:
        """Store a lesson that has begun, or that one has ended."""
        if lesson.ended is not None:
            end = "UPDATE lessons SET ended = ? WHERE group_id = ? AND began = ? AND ended IS NULL"
            if self._run(end, (lesson.ended, *lesson.key)).rowcount:
                return
        values = (lesson.group, lesson.name, lesson.began, lesson.ended)
        added = self._run(f"INSERT INTO lessons ({_LESSON}) VALUES (?, ?, ?, ?)", values)  # noqa: S608
        oldest = (added.lastrowid or 0) - LESSONS_MAX
        self._run("DELETE FROM lessons WHERE id <= ? AND ended IS NOT NULL", (oldest,))

    def is_new_event(self, id: str, running_s: float) -> bool:
        """Store an event's id; return True if it was not recorded before."""
        return self._run("INSERT OR IGNORE INTO events VALUES (?, ?)", (id, running_s)).rowcount == 1

    def filters(self) -> set[str]:
        """Return the filters that the broker's session of this recorder may have."""
        return {filter for (filter,) in self._run("SELECT filter FROM filters")}

    def note_filters(self, filters: Iterable[str]) -> None:
        """Store that the broker's session may have these from now on, besides what it had."""
        self.db.executemany("INSERT OR IGNORE INTO filters VALUES (?)", [(filter,) for filter in filters])

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
        """Return the files that are written to: of open sessions, of students, of groups."""
        of_open = "session IS NULL OR session IN (SELECT id FROM sessions WHERE open = 1)"
        return [File(*each) for each in self._run(f"SELECT {_FILE} FROM files WHERE {of_open}")]  # noqa: S608

    def all_files(self) -> list[File]:
        """Return every file, also those of closed sessions."""
        return [File(*each) for each in self._run(f"SELECT {_FILE} FROM files")]  # noqa: S608

    def note_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Store the sizes, by file, up to which files are ours and synced."""
        self.db.executemany("UPDATE files SET bytes = ? WHERE id = ?", [(size, file) for file, size in sizes])

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

    @property
    def db(self) -> sqlite3.Connection:
        """Return the connection, for the commands on recorded files. Raises sqlite3.ProgrammingError while closed."""
        if self._db is None:
            raise sqlite3.ProgrammingError("the inbox is not open")
        return self._db

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self.db.execute(statement, values)


def output_of_session(session: int, kind: str) -> str:
    """Return the key of what is written of a session: its rows of one kind, in however many files."""
    return f"session/{session}/{kind}"


def output_of_file(file: int) -> str:
    """Return the key of a file that is no session's."""
    return f"file/{file}"


def _sync_what_is_read(db: sqlite3.Connection) -> bool:
    """Bring everything that is read into the database, and onto the disk; return True if a reader keeps it from that.

    After a sync that failed, Linux holds the pages for written: SQLite finds transactions in the WAL that are not on
    the disk. A power cut would end the WAL there, and every later transaction would be lost.
    """
    return bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])


def _execute_all(db: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):
        db.execute(statement)


def check_whole(directory: Path, markers: Iterable[str] = INTERRUPTED) -> None:
    """Raise SettingsError if a command was interrupted in a directory."""
    for marker in markers:
        if (directory / marker).exists():
            command = INTERRUPTED[marker]
            way = "run it again" if command == "rebuild" else "empty the directory and restore again"
            fault = f"--dir: {directory} is not whole: csv-recorder {command} was interrupted there; {way}"
            raise SettingsError([fault])


def words_of_refusal(path: Path, error: sqlite3.Error) -> str:
    """Say why the inbox cannot be opened."""
    if not isinstance(error, sqlite3.OperationalError):
        return words_of_damage(path, error)
    if "locked" in str(error):
        return f"another recorder uses {path.parent}"
    return f"{path.parent} is not writable ({error})"


def words_of_damage(path: Path, error: sqlite3.Error) -> str:
    """Say that the inbox cannot be used, and what to do about it."""
    if isinstance(error, inbox_shard.WrongShard):
        return str(error)
    if isinstance(error, WrongVersion):
        return f"{path}: {error}: use that version, or bring back a backup of this one with csv-recorder restore"
    return (
        f"{path} is damaged: {error}. csv-recorder rebuild --dir {path.parent} makes a new one from the recorded files "
        "and from what can be read of this one; csv-recorder restore brings back a backup"
    )


def session_from(found: tuple[Any, ...]) -> Session:
    """Return the session of a row of the table. Raises sqlite3.DatabaseError if it is damaged."""
    id, stream, session, seq, rows, duplicates, holes, lost, about, is_open = found
    try:
        progress = Progress(seq, rows, duplicates, tuple((first, last) for first, last in json.loads(holes)), lost)
        described = None if about == "{}" else msgspec.json.decode(about, type=About)
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise sqlite3.DatabaseError(f"session {id} cannot be read ({error})") from None
    return Session(id, stream, session, progress, described, bool(is_open))


def _about_text(about: About | None) -> str:
    return "{}" if about is None else msgspec.json.encode(about).decode()
