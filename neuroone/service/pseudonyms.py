"""Pseudonyms in place of students' names: only one file, the teacher's, says who A01 is.

The file is a table for a spreadsheet program, ``name;pseudonym`` a line. A student may have several lines, for a name
that is typed in several ways. Programs only read it, and read it again when it changes.
"""

import csv
import io
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.contract.messages import NAME_MAX_CHARS
from neuroone.contract.students import name_key
from neuroone.contract.topics import is_id
from neuroone.service import private_files

PSEUDONYMS: Final = (
    "CSV file of name;pseudonym, outside of the recordings: students are called so everywhere, and a name that it "
    "lacks is refused. Default: none."
)
"""What ``--pseudonyms`` is."""
HEADER: Final = ("name", "pseudonym")
LINES_MAX: Final = 10_000
"""More than a school has students."""
FILE_MAX_BYTES: Final = LINES_MAX * 4 * NAME_MAX_CHARS
"""10 MB: each name as long as it may be, in the longest letters."""
LOOK_PERIOD_S: Final = 1.0
"""Time between two looks whether the file has changed."""

log = logging.getLogger(__name__)


class NotListed(NeuroOneError):
    """The file does not have this name."""


class Pseudonyms:
    """The pseudonyms in a file. Used by one thread; ``clock`` is a steady clock."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._by_name: dict[str, str] = {}
        self._all: frozenset[str] = frozenset()
        self._stamp: object = None
        self._looked_s = float("-inf")

    def open(self) -> None:
        """Read the file. Raises SettingsError with a sentence, which names nobody."""
        self._stamp, self._looked_s = private_files.stamp(self._file), self._clock()
        try:
            self._by_name = _table(private_files.read(self._file, FILE_MAX_BYTES + 1))
        except (OSError, ValueError, csv.Error) as error:
            words = getattr(error, "strerror", None) or error
            raise SettingsError([f"--pseudonyms: {self._file}: {words}"]) from None
        self._all = frozenset(self._by_name.values())

    def of(self, name: str | None) -> str | None:
        """Return the pseudonym of whoever has a name; a pseudonym stands for itself. Raises NotListed."""
        if name is None:
            return None
        if self._clock() - self._looked_s >= LOOK_PERIOD_S:
            self._look()
        key = name_key(name)
        found = self._by_name.get(key)
        if found is None and key not in self._all:
            raise NotListed
        return found or key

    def _look(self) -> None:
        """Read the file again if it has changed; one that cannot be read leaves what was read before."""
        self._looked_s = self._clock()
        if private_files.stamp(self._file) == self._stamp:
            return
        try:
            self.open()
        except SettingsError as error:
            log.error("%s; what was read before still holds", error)
        else:
            log.info("the pseudonyms were read again: %d names", len(self._by_name))


def _table(content: bytes) -> dict[str, str]:
    """Parse the file. Raises ValueError with a sentence, and csv.Error."""
    if len(content) > FILE_MAX_BYTES:
        raise ValueError(f"it has more than {FILE_MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")  # as Excel saves CSV where nobody asks for UTF-8
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") >= first.count(",") else ","
    found: dict[str, str] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1):
        cells = [each.strip() for each in row]
        if not any(cells) or (number == 1 and tuple(map(str.casefold, cells[:2])) == HEADER):
            continue
        if len(cells) < 2 or not cells[0]:
            raise ValueError(f"line {number} must be a name and a pseudonym: name;pseudonym")
        if not is_id(cells[1]):
            raise ValueError(f"line {number}: a pseudonym has 1 to 64 of the characters A-Z a-z 0-9 _ -, like A01")
        if found.setdefault(name_key(cells[0]), cells[1]) != cells[1]:
            raise ValueError(f"line {number}: this name has another pseudonym above")
        if len(found) > LINES_MAX:
            raise ValueError(f"it has more than {LINES_MAX} names")
    return found
