"""The rows of all files, and what a row of each kind is called in its header.

``{Nome}.csv`` has, to the byte, the rows of the server that went before. The files of a recorded session have a row
check as their last column: the CRC-32 of the row's bytes before it, as eight hexadecimal digits.
"""

import re
import zlib
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Final

from neuroone.contract.messages import BANDS, RawBlock, Reading

VALUES: Final = ("attention", "meditation", *BANDS)
HEADER: Final = b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
"""Of ``{Nome}.csv``."""
READINGS_COLUMNS: Final = ("time", "session", "seq", "poor_signal", "valid", *VALUES, "check")
RAW_COLUMNS: Final = ("time", "session", "seq", "first_sample", "rate_hz", "samples", "check")
EVENTS_COLUMNS: Final = ("time", "event", "first_seq", "last_seq", "text", "check")
CELL_MAX_CHARS: Final = 1000
"""Of free text in one cell: a marker's note."""

_values_of: Final = attrgetter(*VALUES)
_TEN: Final = ",".join(["%d"] * len(VALUES))
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
"""What would end a row, or cannot be seen in it."""


def header(columns: tuple[str, ...]) -> bytes:
    """The first line of a file."""
    return (",".join(columns) + "\n").encode()


def row(reading: Reading) -> bytes:
    """One reading in ``{Nome}.csv``, with its end of line."""
    return (_TEN % _values_of(reading) + "\n").encode()


def reading_row(reading: Reading) -> bytes:
    """One reading in ``readings.csv``. ``valid``: 1 in good contact, 0 in poor, empty where the source does not say."""
    poor = reading.poor_signal
    contact = "," if poor is None else f"{poor},{int(poor == 0)}"
    return _checked(
        f"{time_text(reading.time)},{cell(reading.session)},{reading.seq},{contact},{_TEN % _values_of(reading)},"
    )


def raw_row(block: RawBlock) -> bytes:
    """One block in ``raw.csv``; the samples are one cell, parted by spaces."""
    samples = " ".join(map(str, block.samples))
    head = f"{time_text(block.time)},{cell(block.session)},{block.seq},{block.first_sample},{block.rate_hz}"
    return _checked(f"{head},{samples},")


def event_row(time: datetime, event: str, seqs: tuple[int, int] | None = None, text: str = "") -> bytes:
    """One event in ``events.csv``; ``seqs`` are the first and last reading that it is about."""
    first, last = ("", "") if seqs is None else seqs
    return _checked(f"{time_text(time)},{event},{first},{last},{cell(text)},")


def time_text(time: datetime) -> str:
    """A UTC time as the contract writes it."""
    return time.isoformat(timespec="microseconds")[:-6] + "Z"


@lru_cache(maxsize=1024)
def cell(text: str) -> str:
    """Free text as one cell of one line: quoted where CSV asks for it, without what would end the row."""
    text = _UNSEEN.sub(" ", text[:CELL_MAX_CHARS])
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"') else text


def _checked(cells: str) -> bytes:
    content = cells.encode()
    return b"%s%08x\n" % (content, zlib.crc32(content))
