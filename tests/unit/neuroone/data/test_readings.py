"""Rows are read in one pass or with pandas, with the same values; only rows as the recorder writes them in one pass."""

import random
from datetime import timedelta

import numpy as np
import pytest

from neuroone.data import dataframes, readings
from neuroone.data.recordings import Unreadable, find
from tests.support.recordings import NOON, checked, reading_rows, time_text, write_session

FIELDS = ("times_us", "runs", "seqs", "valid", "esense", "bands", "left_out", "doubts")
VALUES = (1, 2, 3, 4, 5, 6, 7, 8)


def row(time=None, session="5e55", seq=0, poor=0, valid=1, attention=40, meditation=50, bands=VALUES):
    return checked([time or time_text(NOON), session, seq, poor, valid, attention, meditation, *bands])


def both(folder):
    """Read a session in both ways; None instead of the first if its rows are left to pandas."""
    recording = find([folder])[0]
    return readings._in_one_pass(recording), readings._with_pandas(recording)


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_read_the_same(tmp_path, seed):
    """Gaps, late rows, unknown quality, several parts, damaged rows and a torn one."""
    chance = random.Random(seed)
    signals: list[int | str] = chance.choices(["", 0, 0, 26, 200], k=200)
    rows = reading_rows(200, seed=seed, poor=lambda n: signals[n], lost=range(50, 60))
    chance.shuffle(rows)
    folder = write_session(tmp_path, readings=rows, parts=3, is_open=True)
    path = folder / "readings-2.csv"
    path.write_bytes(path.read_bytes().replace(b",50,", b",51,", 1) + b"2026-11-22T18:2")
    fast, slow = both(folder)
    assert fast is not None
    assert len(fast) == len(rows) - 1
    assert fast.left_out == 2
    for name in FIELDS:
        assert np.array_equal(getattr(fast, name), getattr(slow, name)), name


def answer(read):
    """Return the values, or the sentence about why there are none."""
    try:
        return read().tolist()
    except Unreadable as error:
        return str(error)


ODD = {
    "a comma in the session": row(session="a,b"),
    "another session": row(session="other"),
    "a time without microseconds": row(time="2026-11-22T18:20:31Z"),
    "a time with another zone": row(time="2026-11-22T18:20:31.12-0300"),
    "a long date": row(time=time_text(NOON + timedelta(days=1)).replace("T", " ")),
    "a value with a sign": row(attention=-1),
    "a value with a point": row(attention="4.0"),
    "no value": row(attention="", meditation=""),
    "a great value": row(attention=2**31),
    "a great seq": row(seq=2**63),
    "a great signal": row(poor=2**15),
    "unknown contact with a signal": row(poor=0, valid=""),
    "a column too few": checked([time_text(NOON), "5e55", 0, 0, 1, *VALUES, 9]),
    "a column too many": row(bands=(*VALUES, 9)),
    "a day that there is not": row(time="2026-02-30T18:20:31.123456Z"),
    "the year 0": row(time="0000-02-20T18:20:31.123456Z"),
    "blanks": row(attention=" 4"),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("place", ["first", "last"])
def test_odd_rows_are_left_to_pandas(tmp_path, what, place):
    """The answer is pandas' own, or the session cannot be read."""
    rows = reading_rows(5)
    rows.insert(0 if place == "first" else 5, ODD[what])
    recording = find([write_session(tmp_path, is_open=True)])[0]
    path = recording.path / "readings.csv"
    path.write_bytes(path.read_bytes() + b"".join(rows))
    assert readings._in_one_pass(recording) is None
    assert answer(lambda: readings.read(recording).esense[0]) == answer(
        lambda: dataframes.readings(recording)[0]["attention"]
    )


def test_a_row_too_short_beside_one_too_long(tmp_path):
    """Together they have as many commas as two rows."""
    short = checked([time_text(NOON), "5e55", 0, 0, 1, 40, 50, *VALUES[:-1]])
    long = row(seq=1, bands=(*VALUES, 9))
    recording = find([write_session(tmp_path, is_open=True)])[0]
    path = recording.path / "readings.csv"
    for rows in ([short, long], [long, short]):
        path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n" + b"".join(rows))
        assert readings._in_one_pass(recording) is None
