"""What keeps the recorder from its work: faults of the inbox, which hold up all, of files, each its own, and space."""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Final

FREE_LOW_BYTES: Final = 2**30
"""Free space below which the log warns: 1000 students fill it in 90 minutes."""

log = logging.getLogger(__name__)


class Faults:
    """The present faults in words. Only what is new and what is over is logged. ``of_inbox`` counts since the start."""

    def __init__(self) -> None:
        self._of_inbox: dict[str, str] = {}
        self._of_files: dict[str, None] = {}
        self.of_inbox = 0
        self._free_bytes: int | None = None

    def __contains__(self, what: str) -> bool:
        return what in self._of_inbox

    @property
    def hold_up_all(self) -> bool:
        """Return True while the inbox cannot be used."""
        return bool(self._of_inbox)

    @property
    def files(self) -> int:
        """Count the files and sidecars that cannot be written."""
        return len(self._of_files)

    @property
    def free_bytes(self) -> int:
        """Return the free space as it was seen last; -1: it is not known."""
        return -1 if self._free_bytes is None else self._free_bytes

    @property
    def words(self) -> str | None:
        """Return the first fault, and how many there are more; None if there is none."""
        faults = [*self._of_inbox.values(), *self._of_files]
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        return f"{faults[0]}{more}" if faults else None

    @contextlib.contextmanager
    def noting(self, what: str) -> Iterator[Callable[[], bool]]:
        """Note it if ``what`` is done cannot be done; yield what says afterwards whether that is news."""
        is_news = True
        try:
            yield lambda: is_news
        except (OSError, sqlite3.Error) as error:
            self.of_inbox += 1
            words = f"cannot {what}: {_words(error)}"
            if what not in self._of_inbox:
                log.error("%s; nothing is lost, but nothing is recorded until this is solved", words)
            self._of_inbox[what] = words
        else:
            is_news = self._of_inbox.pop(what, None) is not None
            if is_news:
                log.info("can %s again", what)

    def note_files(self, faults: Iterable[str]) -> None:
        """Note the faults of files, each in words that name it by a number."""
        files = dict.fromkeys(faults)
        for fault in files.keys() - self._of_files.keys():
            log.error("%s; it is tried again, and the others are recorded", fault)
        for fault in self._of_files.keys() - files.keys():
            log.info("over: %s", fault)
        self._of_files = files

    def note_space(self, free_bytes: int) -> None:
        """Note how much space is free on the disk."""
        was_low = self._free_bytes is not None and self._free_bytes < FREE_LOW_BYTES
        if free_bytes < FREE_LOW_BYTES and not was_low:
            log.warning("only %d MB are free on the disk of the recordings", free_bytes // 2**20)
        self._free_bytes = free_bytes


def _words(error: OSError | sqlite3.Error) -> str:
    """Return the error text without its path, which may name a child; of a damaged inbox with the way out."""
    if isinstance(error, OSError):
        return error.strerror or "the disk refuses"
    if type(error) is sqlite3.DatabaseError:  # not one of its kinds, which are for locks, disks and statements
        return f"the inbox is damaged: {error}; stop the recorder, then run csv-recorder rebuild"
    return str(error)
