"""Read what can still be read of a damaged inbox."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from csv_recorder.live.inbox import Inbox, session_from
from csv_recorder.live.inbox_shard import shard_in
from csv_recorder.live.lessons import Lesson
from csv_recorder.live.rows import Row, unpack
from csv_recorder.live.sessions import Session
from csv_recorder.offline.snapshot import LOG, beside, copy_inbox, problem_of

POINTS_MAX: Final = 2000
"""Numbers that are asked for one by one where a table cannot be read in order: more than a page has rows."""
TABLES: Final = {
    "sessions": "id, stream, session, seq, rows, duplicates, holes, lost, about, open",
    "files": "id, path, name, session, bytes",
    "batches": "id, rows",
    "owed": "id, output, rows",
    "places": "stream, name, file, active",
    "lessons": "id, group_id, name, began, ended",
    "filters": "filter",
    "events": "id, last_s",
    "running": "seconds",
}


@dataclass(slots=True)
class Salvaged:
    """What was read. ``rows`` waited in order; ``owed`` ones waited for files, by the key of the file.

    ``sizes`` are the synced bytes of files, by number; ``paths`` their paths. ``unreadable`` counts what is lost.
    """

    sessions: dict[int, Session] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    places: list[tuple[str, str, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    owed: dict[str, list[bytes]] = field(default_factory=dict)
    lessons: list[Lesson] = field(default_factory=list)
    filters: set[str] = field(default_factory=set)
    events: dict[str, float] = field(default_factory=dict)
    running_s: float = 0.0
    shard: str = ""
    unreadable: int = 0


def salvage(path: Path) -> Salvaged:
    """Read an inbox that may be damaged, or not be there. Raises OSError if it cannot be copied."""
    found = Salvaged()
    if not path.exists() or not path.stat().st_size:
        return found
    with TemporaryDirectory(prefix=".neuroone-") as place:
        copy = Path(place) / path.name
        with contextlib.suppress(sqlite3.Error):
            copy_inbox(path, copy)
        if problem_of(copy) is not None:
            # The log may be of another time, or be what is damaged.
            alone = Path(place) / "alone.sqlite"
            alone.write_bytes(path.read_bytes())
            if problem_of(alone) is None or not _is_readable(copy):
                copy = alone
        with contextlib.suppress(sqlite3.Error):  # one of an earlier version is brought to this one, if that can be
            inbox = Inbox(copy)
            inbox.open()
            inbox.close()
        db = sqlite3.connect(copy, isolation_level=None)
        try:
            db.execute("PRAGMA query_only=1")
            _read(db, found)
        except sqlite3.Error:
            found.unreadable += 1
        finally:
            db.close()
            beside(copy, LOG).unlink(missing_ok=True)
    return found


def _is_readable(path: Path) -> bool:
    try:
        db = sqlite3.connect(path)
        try:
            return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        finally:
            db.close()
    except sqlite3.Error:
        return False


def _read(db: sqlite3.Connection, found: Salvaged) -> None:
    tables = {table: [*_rows(db, table, columns, found)] for table, columns in TABLES.items()}
    for each in tables["sessions"]:
        try:
            found.sessions[each[0]] = session_from(each)
        except sqlite3.Error:
            found.unreadable += 1
    for id, path, name, _, size in tables["files"]:
        if isinstance(path, str) and isinstance(size, int):
            found.paths[id], found.sizes[id] = path, size
            if isinstance(name, str):
                found.names[path] = name
    for _, blob in tables["batches"]:
        found.rows += _unpacked(blob, found)
    for _, output, blob in tables["owed"]:
        found.owed.setdefault(str(output), []).extend(row.content for row in _unpacked(blob, found))
    found.places = [(stream, name, file) for stream, name, file, _ in tables["places"]]
    for _, *lesson in tables["lessons"]:
        if all(map(isinstance, lesson, (str, str, str, str | None))):
            found.lessons.append(Lesson(*lesson))
        else:
            found.unreadable += 1
    with contextlib.suppress(sqlite3.Error):
        found.shard = shard_in(db)
    found.filters = {filter for (filter,) in tables["filters"]}
    found.events = dict(tables["events"])
    found.running_s = max([0.0, *(seconds for (seconds,) in tables["running"] if isinstance(seconds, float))])


def _rows(db: sqlite3.Connection, table: str, columns: str, found: Salvaged) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table in order; where that fails, those from its end on, then those in between."""
    select = f"SELECT {columns} FROM {table}"  # noqa: S608 (both are ours)
    rows: list[tuple[Any, ...]] = []
    try:
        for row in db.execute(select):
            rows.append(row)
    except sqlite3.Error:
        found.unreadable += 1
        rows += reversed(_from_the_end(db, select, rows))
    yield from rows


def _from_the_end(db: sqlite3.Connection, select: str, first: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows behind those that were read first, the last one first, as far as they can be read."""
    last: list[tuple[Any, ...]] = []
    if not select.startswith("SELECT id, ") or "FROM events" in select:  # no number to go by
        return last
    known = first[-1][0] if first else 0
    with contextlib.suppress(sqlite3.Error):
        for row in db.execute(f"{select} WHERE id > ? ORDER BY id DESC", (known,)):
            last.append(row)
    end = last[-1][0] if last else known + POINTS_MAX
    for id in range(min(end - 1, known + POINTS_MAX), known, -1):
        with contextlib.suppress(sqlite3.Error):
            last += db.execute(f"{select} WHERE id = ?", (id,)).fetchall()
    return last


def _unpacked(blob: Any, found: Salvaged) -> Iterator[Row]:
    try:
        yield from unpack(blob)
    except (sqlite3.Error, TypeError):
        found.unreadable += 1
