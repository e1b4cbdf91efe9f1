"""Keeps recorders out of a directory while a command changes its files."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from csv_recorder.live.inbox import LOCKED_TIMEOUT_S, Inbox, words_of_damage
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE, LOCK_FILE

IN_USE: Final = "{}: a recorder writes there: stop it first"


def directory_of(path: Path) -> Path | None:
    """Return the directory that holds a path and a recorder's inbox; None if no recorder ever wrote there."""
    resolved = path.resolve()
    return next((each for each in (resolved, *resolved.parents) if (each / INBOX_FILE).exists()), None)


def directories_in(path: Path) -> list[Path]:
    """Return the recorders' directories at a path: itself, or those of shards in it."""
    if (path / INBOX_FILE).exists() or not path.is_dir():
        return [path] if path.is_dir() else []
    return sorted(each for each in path.iterdir() if (each / INBOX_FILE).exists())


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep every recorder out of a directory, whatever its inbox is like. Raises SettingsError while one uses it."""
    lock = FileLock(directory / LOCK_FILE, LOCKED_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise SettingsError([IN_USE.format(directory)]) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def without_recorder(directory: Path | None) -> Iterator[Inbox | None]:
    """Hold the directory's inbox, or None if there is none. Raises SettingsError while a recorder uses it."""
    if directory is None or not (directory / INBOX_FILE).exists():
        yield None
        return
    inbox = Inbox(directory / INBOX_FILE)
    try:
        inbox.open()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise SettingsError([IN_USE.format(directory)]) from None
        raise SettingsError([f"{directory}: the inbox cannot be opened ({error})"]) from None
    except sqlite3.DatabaseError as error:
        raise SettingsError([words_of_damage(directory / INBOX_FILE, error)]) from None
    try:
        yield inbox
    finally:
        inbox.close()
