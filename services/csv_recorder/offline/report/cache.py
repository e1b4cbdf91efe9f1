"""Keeps the figures of closed sessions in a hidden file beside their `sessions` folder: a report reads each once.

An entry is used only for files that are the same: names, sizes, and times of change of the content and of the file
itself. The cache holds no name: its keys are hashes of paths. A damaged one is deleted. Without permission to write
there, a report does without it.
"""

import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import MsgspecError, msgpack

from csv_recorder.live.lessons import Part
from csv_recorder.offline.report.attendance import Piece
from csv_recorder.offline.report.session_figures import SessionFigures
from neuroone import __version__
from neuroone.contract.files import READINGS, REPORT_CACHE_FILE
from neuroone.data.recordings import delete_figures, root_of

VERSION: Final = 4
"""Rises when figures are computed or stored in another way."""
SETTLED_S: Final = 3.0
"""A file that changed just now may change again without another time: FAT counts in steps of 2 s."""
ENTRIES_MAX: Final = 500_000
"""A cache with more is deleted: entries of removed sessions stay in it. 25,000 lessons take 70 MB."""
LOCKED_MAX_S: Final = 1.0
"""How long to wait for another report that writes to the cache."""
COMMIT_EVERY: Final = 1000
"""New entries between two commits, so that a report that is stopped has not worked for nothing."""

Stored: TypeAlias = tuple[SessionFigures, bytes]
"""The figures of a session, and its packed curve."""

_Place: TypeAlias = tuple[Path, bytes, bytes]
"""The directory of a cache, the key of a session in it, and the state of its files."""


class FigureCache:
    """The caches of all directories that a report reads. Must be closed."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._files: dict[Path, sqlite3.Connection | None] = {}
        self._asked: dict[tuple[Path, Part | None], _Place] = {}
        self._new = 0
        self.hits = 0

    def get(self, piece: Piece) -> Stored | None:
        """Return the stored figures of a piece of a session whose files are the same; None if there are none."""
        place = self._place(piece)
        if place is None:
            return None
        root, key, state = place
        select = "SELECT figures, curve, crc FROM figures WHERE key = ? AND state = ?"
        found = self._try(root, lambda file: file.execute(select, (key, state)).fetchone())
        with suppress(MsgspecError, TypeError):
            figures, curve, crc = found
            if zlib.crc32(curve, zlib.crc32(figures)) == crc:
                decoded = msgpack.decode(figures, type=SessionFigures)
                if decoded.is_whole():
                    self.hits += 1
                    return decoded, curve
        self._asked[piece.recording.path, piece.lesson] = place
        return None

    def put(self, piece: Piece, made: Stored) -> None:
        """Store the figures of a piece that was asked for before its session's files were read."""
        place = self._asked.pop((piece.recording.path, piece.lesson), None)
        if place is None:
            return
        root, key, state = place
        figures, curve = msgpack.encode(made[0]), made[1]
        row = (key, state, figures, curve, zlib.crc32(curve, zlib.crc32(figures)))
        self._try(root, lambda file: file.execute("INSERT OR REPLACE INTO figures VALUES (?, ?, ?, ?, ?)", row))
        self._new += 1
        if self._new % COMMIT_EVERY == 0:
            self._try(root, sqlite3.Connection.commit)

    def close(self) -> None:
        """Store what is new, and close the files."""
        for root in list(self._files):
            self._try(root, sqlite3.Connection.commit)
            if (file := self._files.pop(root, None)) is not None:
                file.close()

    def _place(self, piece: Piece) -> _Place | None:
        """Return where figures are stored; None if they are not, because the session's files may still change."""
        recording, lesson = piece.recording, piece.lesson
        root = root_of(recording) if recording.is_closed else None
        if root is None:
            return None
        told = [f"{VERSION} {__version__}", *map(repr, piece.parts)]
        changed_ns = 0
        try:
            for path in recording.files(READINGS):
                stat = path.stat()
                told.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
                changed_ns = max(changed_ns, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            return None
        if changed_ns / 1e9 > self._now_s() - SETTLED_S:
            return None
        name = f"{recording.path.parent.name}/{recording.path.name}"
        name = name if lesson is None else f"{name} {lesson.group} {lesson.began}"
        key, state = (each.encode("utf-8", "surrogateescape") for each in (name, "\n".join(told)))
        return root, blake2b(key, digest_size=16).digest(), blake2b(state, digest_size=16).digest()

    def _try(self, root: Path, use: Callable[[sqlite3.Connection], Any]) -> Any:
        """Use the cache of a directory. After a fault it is used no more; a damaged one is deleted and begun anew."""
        try:
            if root not in self._files:
                self._files[root] = _open(root / REPORT_CACHE_FILE)
            file = self._files[root]
            return None if file is None else use(file)
        except sqlite3.OperationalError:  # locked, read-only, full
            self._give_up(root)
        except sqlite3.Error:
            self._give_up(root)
            with suppress(OSError):
                delete_figures(root)
                del self._files[root]
        return None

    def _give_up(self, root: Path) -> None:
        file = self._files.get(root)
        self._files[root] = None
        if file is not None:
            with suppress(sqlite3.Error):
                file.close()


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=LOCKED_MAX_S)
    file.text_factory = bytes  # damaged bytes need not be text
    try:
        file.execute("PRAGMA synchronous = OFF")  # what a crash damages is deleted
        layout = "key BLOB PRIMARY KEY, state BLOB, figures BLOB, curve BLOB, crc INTEGER"
        file.execute(f"CREATE TABLE IF NOT EXISTS figures ({layout})")
        found = [f"{name.decode()} {kind.decode()}" for _, name, kind, *_ in file.execute("PRAGMA table_info(figures)")]
        if found != layout.replace(" PRIMARY KEY", "").split(", "):
            raise sqlite3.DatabaseError("it has another layout")
        (entries,) = file.execute("SELECT count(*) FROM figures").fetchone()
        if entries > ENTRIES_MAX:
            file.execute("DELETE FROM figures")
    except sqlite3.Error:
        file.close()
        raise
    return file
