"""Reads the readings of a recording as arrays, for figures over very many of them.

Rows as the recorder writes them are read in one pass without pandas, which takes 3 ms for each session. All others are
left to `dataframes`, which knows every case; both give the same values.
"""

import re
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter, methodcaller, ne
from typing import Final

import numpy as np

from neuroone.contract.files import CHECK_CHARS, COLUMNS, HEADERS, READINGS, checked_rows
from neuroone.data import doubts
from neuroone.data.doubts import NO_TIME, UNKNOWN, Codes, Flags, Integers
from neuroone.data.recordings import Recording, whole_file

_HEAD: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z,[^\",\x80-\xff]*,")
"""A row up to ``seq``: a time as the recorder writes it, and a session without special characters."""
_TIME: Final = "2026-11-22T18:20:31.123456"
_DIGITS_AT: Final = [at for at, sign in enumerate(_TIME) if sign.isdigit()]
_SIGNS_AT: Final = [at for at, sign in enumerate(_TIME) if not sign.isdigit()]
_COMMAS: Final = len(COLUMNS[READINGS]) - 1
_commas_in: Final = methodcaller("count", b",")
_NUMBERS: Final = len(COLUMNS[READINGS]) - 3
"""The columns from ``seq`` to the last band."""
_MAX: Final = np.array([2**62, 2**15 - 1, 1, *[2**31 - 1] * (_NUMBERS - 3)])
"""The greatest number of each of these columns. The types of `dataframes` hold no greater value; rows with one are left
to it."""
_TIME_MIN_US: Final = int(np.datetime64("0001-01-01", "us").astype(np.int64))


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings of a recording in the order of their time, and the number of lines left out.

    ``runs`` are places in ``sessions``, the ids in the column ``session``. ``valid`` is 1, 0 or `UNKNOWN`, and
    ``poor_signal`` may be `UNKNOWN`. ``doubts`` come from all readings of the recording, also where these are some.
    """

    times_us: Integers
    sessions: tuple[str, ...]
    runs: Integers
    seqs: Integers
    poor_signal: Integers
    valid: Integers
    esense: Integers
    """Attention and meditation, a row each."""
    bands: Integers
    """A row for each reading."""
    left_out: int
    doubts: Codes

    def __len__(self) -> int:
        return len(self.times_us)

    @property
    def has_time(self) -> bool:
        """Return True if the readings have times: all have one, or none."""
        return len(self) > 0 and int(self.times_us[0]) != NO_TIME

    def where(self, is_wanted: Flags) -> "Readings":
        """Return some of the readings."""
        return Readings(
            self.times_us[is_wanted],
            self.sessions,
            self.runs[is_wanted],
            self.seqs[is_wanted],
            self.poor_signal[is_wanted],
            self.valid[is_wanted],
            self.esense[:, is_wanted],
            self.bands[is_wanted],
            self.left_out,
            self.doubts[is_wanted],
        )


def read(recording: Recording) -> Readings:
    """Read the readings of a recording. Raises Unreadable."""
    found = None if recording.is_legacy else _in_one_pass(recording)
    return _with_pandas(recording) if found is None else found


def _in_one_pass(recording: Recording) -> Readings | None:
    """Read rows as the recorder writes them; None if there are others, or if a file cannot be read."""
    lines: list[bytes] = []
    left_out = 0
    for path in recording.files(READINGS):
        try:
            rows = checked_rows(whole_file(path))
        except OSError:
            return None
        if rows.header + b"\n" != HEADERS[READINGS]:
            return None
        lines += rows.lines
        left_out += len(rows.faulty) + bool(rows.torn_bytes)
    head = _HEAD.match(lines[0]) if lines else None
    times_us = None if head is None else _times_us(lines, head.end())
    numbers = None if head is None or times_us is None else _numbers(lines, head.end())
    if head is None or numbers is None or times_us is None:
        return None
    if (times_us[1:] < times_us[:-1]).any():
        order = np.argsort(times_us, kind="stable")
        numbers, times_us = numbers[:, order], times_us[order]
    valid, esense, bands = numbers[2], numbers[3:5], numbers[5:].T
    return Readings(
        times_us,
        (lines[0][len(_TIME) + 2 : head.end() - 1].decode(),),
        np.zeros(len(lines), np.int64),
        seqs=numbers[0],
        poor_signal=numbers[1],
        valid=valid,
        esense=esense,
        bands=bands,
        left_out=left_out,
        doubts=doubts.codes(times_us, valid, esense, bands),
    )


def _numbers(lines: list[bytes], begin: int) -> Integers | None:
    """Return an array with a row for each column from ``seq`` on; None unless all have plain digits.

    ``seq`` begins at a character of each line.
    """
    text = b",".join(map(itemgetter(slice(begin, -CHECK_CHARS - 1)), lines))
    if text.translate(None, b"0123456789,"):
        return None
    if b",,," in text:
        text = text.replace(b",,,", b",%d,%d," % (UNKNOWN, UNKNOWN))
    if b",," in text or text.startswith(b",") or text.endswith(b","):
        return None
    found = np.ascontiguousarray(np.fromstring(text, np.int64, sep=",").reshape(-1, _NUMBERS).T)
    low, high = found.min(axis=1), found.max(axis=1)
    is_usual = min(low[0], low[3:].min()) >= 0 and (high <= _MAX).all()
    return found if is_usual else None


def _times_us(lines: list[bytes], begin: int) -> Integers | None:
    """Return the times in microseconds since 1970; ``seq`` begins at a character in the first row.

    None unless each row has all columns, a time as the recorder writes it, and the same session.
    """
    content = b"".join(map(itemgetter(slice(begin)), lines))
    if len(content) != len(lines) * begin or any(map(ne, map(_commas_in, lines), repeat(_COMMAS))):
        return None
    heads = np.frombuffer(content, np.uint8).reshape(-1, begin)
    same_at = [*_SIGNS_AT, *range(len(_TIME), begin)]
    if (heads[:, same_at] != heads[0, same_at]).any() or (heads[:, _DIGITS_AT] - ord("0") > 9).any():
        return None
    try:
        times = heads[:, : len(_TIME)].copy().view(f"S{len(_TIME)}").ravel().astype("datetime64[us]")
    except ValueError:
        return None
    found = times.astype(np.int64)
    return found if found.min() >= _TIME_MIN_US else None


def _with_pandas(recording: Recording) -> Readings:
    import pandas as pd

    from neuroone.data import dataframes

    frame, left_out = dataframes.readings(recording)
    runs, sessions = pd.factorize(frame["session"])
    seqs, poor = (frame[each].fillna(UNKNOWN).to_numpy(dtype=np.int64) for each in ("seq", "poor_signal"))
    times_us, valid, esense, bands = dataframes.arrays(frame)
    found = doubts.codes(times_us, valid, esense, bands)
    return Readings(times_us, tuple(sessions), runs.astype(np.int64), seqs, poor, valid, esense, bands, left_out, found)
