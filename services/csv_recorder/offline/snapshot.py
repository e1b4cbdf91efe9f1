"""Copy the inbox as it is at one moment, also while a recorder writes to it.

The copy takes no lock: a reader of SQLite that is halted keeps the log from being emptied, and no command may hold up a
recorder. It needs no right to write either. It is right because SQLite changes the database only by copying pages out
of the write-ahead log: as long as the log did not begin anew, the database and the log, copied in this order, are
together the state of a moment.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from csv_recorder.live.inbox import Inbox, WrongVersion, check_whole, words_of_damage
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE, INTERRUPTED, RESTORING, SESSIONS

TRIES_MAX: Final = 200
"""Copies that the log may begin anew under: it does so after 4 MB, and a copy takes some milliseconds."""
LOG: Final = "-wal"
LOG_HEADER_BYTES: Final = 32
"""The header of the log has salts that change whenever the log begins anew (SQLite's file format, section 4.1)."""
BESIDE: Final = (LOG, "-shm", "-journal")
"""What SQLite keeps beside a database; it belongs to that database alone."""

State = tuple[object, ...]


@contextmanager
def snapshot(path: Path, folder: Path | None = None) -> Iterator[Inbox]:
    """Yield the opened copy of an inbox, brought to this version. The copy is in ``folder``, or in a temporary one.

    Raises sqlite3.Error for an inbox that cannot be used, OSError for one that cannot be read.
    """
    with TemporaryDirectory(prefix=".neuroone-", dir=folder) as place:
        copy = Path(place) / path.name
        copy_inbox(path, copy)
        inbox = Inbox(copy)
        inbox.open()
        try:
            yield inbox
        finally:
            inbox.close()


def copy_inbox(path: Path, copy: Path) -> None:
    """Copy a database with its log, as both are at one moment.

    Raises OSError, and sqlite3.DatabaseError for an empty one, which SQLite would take for new.
    """
    if not path.stat().st_size and (path.parent / SESSIONS).exists():
        raise sqlite3.DatabaseError("it is empty")
    log, copied_log = beside(path, LOG), beside(copy, LOG)
    for _ in range(TRIES_MAX):
        before = _generation(path, log)
        shutil.copyfile(path, copy)
        copied_log.unlink(missing_ok=True)
        try:
            shutil.copyfile(log, copied_log)
        except FileNotFoundError:
            pass
        if _generation(path, log) == before:
            return
    raise OSError(None, "it changes too fast to be copied")


def state_of(path: Path) -> State:
    """Return what changes whenever the inbox does."""
    return tuple(_state_of_file(each) for each in (path, beside(path, LOG)))


def beside(path: Path, ending: str) -> Path:
    """Return the file that SQLite keeps beside a database under an ending."""
    return path.with_name(f"{path.name}{ending}")


def _generation(path: Path, log: Path) -> State:
    """Return what stays the same while the log only grows; without a log, while the database does not change."""
    try:
        with log.open("rb") as stream:
            header = stream.read(LOG_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    return (path.stat().st_ino, header) if header else (_state_of_file(path), header)


def _state_of_file(path: Path) -> State | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (a missing file is usual)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def problem_of(path: Path) -> str | None:
    """Return what is wrong with the structure of a database; None if nothing is. Brings its log into it."""
    try:
        db = sqlite3.connect(path, isolation_level=None)
        try:
            (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            db.close()
    except sqlite3.Error as error:
        return str(error)
    return None if found == "ok" else str(found)


def is_in_order(directory: Path) -> bool:
    """Return True if a directory has an inbox that a recorder can use.

    Raises SettingsError where a restore was interrupted, and for an inbox of another version.
    """
    check_whole(directory, [RESTORING])
    path = directory / INBOX_FILE
    if any((directory / name).exists() for name in INTERRUPTED) or not path.exists():
        return False
    try:
        with snapshot(path) as inbox:
            for _ in inbox.waiting():
                pass  # it can be read
            inbox.sessions()
            (found,) = inbox.db.execute("PRAGMA integrity_check(1)").fetchone()
    except WrongVersion as error:
        raise SettingsError([words_of_damage(path, error)]) from None
    except sqlite3.Error:
        return False
    return bool(found == "ok")
