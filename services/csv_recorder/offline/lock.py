"""Keeps recorders out of a directory while a command changes its files."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csv_recorder.live.inbox import Inbox
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE


def directory_of(path: Path) -> Path | None:
    """Return the directory that holds a path and a recorder's inbox; None if no recorder ever wrote there."""
    resolved = path.resolve()
    return next((each for each in (resolved, *resolved.parents) if (each / INBOX_FILE).exists()), None)


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
            raise SettingsError([f"{directory}: a recorder writes there: stop it first"]) from None
        raise SettingsError([f"{directory}: the inbox cannot be opened ({error})"]) from None
    except sqlite3.DatabaseError as error:
        raise SettingsError([f"{directory / INBOX_FILE} is damaged: {error}"]) from None
    try:
        yield inbox
    finally:
        inbox.close()
