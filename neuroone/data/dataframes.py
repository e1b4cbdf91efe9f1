"""Reads recorded files as pandas tables, without rows that do not match their check."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from neuroone.contract.doubt import DOUBTS
from neuroone.contract.files import COLUMNS, EVENTS, HEADERS, RAW, READINGS, VALUES, checked_rows, student_rows
from neuroone.contract.messages import BANDS, RAW_RATE_HZ
from neuroone.data import clock, doubts
from neuroone.data.doubts import UNKNOWN, Integers
from neuroone.data.recordings import Recording, Unreadable

RATE_MAX_HZ: Final = 65535
"""The contract's limit for a raw block."""
UNMEASURED_MAX_S: Final = 10
"""A headset's sampling rate is measured within 4 s; until then its blocks say 512 Hz. Later such blocks mean it."""
_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("time", "session", "event", "text", "samples", "check"), "str"),
    **dict.fromkeys(("seq", "first_sample", "rate_hz"), "int64"),
    **dict.fromkeys(("first_seq", "last_seq"), "Int64"),
    **dict.fromkeys(VALUES, "int32"),
    "poor_signal": "Int16",
    "valid": "Int8",
}


def readings(recording: Recording) -> tuple[pd.DataFrame, int]:
    """Return the readings of a recording in the order of their time, and the number of lines left out.

    The columns are those of readings.csv without the check. ``poor_signal`` and ``valid`` are NA where the source does
    not say; a ``{Nome}.csv`` has neither these nor ``time``, which is NaT. Raises Unreadable.
    """
    if not recording.is_legacy:
        frame, left_out = _table(recording, READINGS)
        return frame.sort_values("time", kind="stable", ignore_index=True), left_out
    rows = student_rows(_content(recording.path))
    frame = _parsed(rows.lines, VALUES, recording.path)
    frame.insert(0, "time", pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]"))
    frame.insert(1, "session", "")
    frame.insert(2, "seq", np.arange(len(frame), dtype=np.int64))
    frame.insert(3, "poor_signal", pd.Series(pd.NA, index=frame.index, dtype="Int16"))
    frame.insert(4, "valid", pd.Series(pd.NA, index=frame.index, dtype="Int8"))
    return frame, len(rows.faulty) + bool(rows.torn_bytes)


def arrays(frame: pd.DataFrame) -> tuple[Integers, Integers, Integers, Integers]:
    """Return times in microseconds, validity, eSense (a row each) and bands (a row for each reading) of readings."""
    return (
        np.array(frame["time"].to_numpy(dtype="datetime64[us]"), dtype=np.int64),
        frame["valid"].fillna(UNKNOWN).to_numpy(dtype=np.int64),
        frame[["attention", "meditation"]].to_numpy(dtype=np.int64).T,
        frame[list(BANDS)].to_numpy(dtype=np.int64),
    )


def ordered(frame: pd.DataFrame) -> tuple[Integers, Integers, Integers]:
    """Return what `clock` needs of readings: times in microseconds, the number of each one's session, and its seq."""
    times_us = frame["time"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    runs, _ = pd.factorize(frame["session"])
    return times_us, runs.astype(np.int64), frame["seq"].to_numpy(dtype=np.int64)


def elapsed_s(frame: pd.DataFrame) -> "pd.Series[float]":
    """Return the seconds since the first reading, as a clock that nobody sets counts them; NA without times."""
    if frame["time"].isna().any():
        return pd.Series(np.nan, index=frame.index)
    steady_us, _ = clock.steady_us(*ordered(frame))
    return pd.Series((steady_us - min(steady_us, default=0)) / 1e6, index=frame.index)


def with_doubts(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column with the doubt of each reading, as docs/doubts.md lists them; NA for none."""
    names = [pd.NA if each is None else str(each) for each in DOUBTS]
    found = pd.Series([names[code] for code in doubts.codes(*arrays(frame))], index=frame.index, dtype="str")
    return frame.assign(doubt=found)


def events(recording: Recording) -> pd.DataFrame:
    """Return the events of a session: time, event, first_seq, last_seq, text. Raises Unreadable.

    A ``{Nome}.csv`` has none.
    """
    return _table(recording, EVENTS)[0]


def raw(recording: Recording) -> pd.DataFrame:
    """Return the raw blocks of a session in their order, ``samples`` as arrays of counts. Raises Unreadable."""
    frame = _in_order(_table(recording, RAW)[0])
    try:
        blocks = [np.array(cell.split(), dtype=np.int16) for cell in frame["samples"]]
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"{recording.path}: raw samples: {error}") from None
    if not frame["rate_hz"].between(1, RATE_MAX_HZ).all():
        raise Unreadable(f"{recording.path}: rate_hz is not from 1 to {RATE_MAX_HZ}")
    return _with_settled_rate(frame.assign(samples=pd.Series(blocks, index=frame.index, dtype=object)))


def samples(recording: Recording) -> pd.DataFrame:
    """Return the raw samples of a session: time, session, sample (its number) and counts. Raises Unreadable."""
    blocks = raw(recording) if recording.files(RAW) else pd.DataFrame()
    if blocks.empty:
        columns = {"session": "str", "sample": "int64", "counts": "int16"}
        empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})
        empty.insert(0, "time", pd.Series(dtype="datetime64[us, UTC]"))
        return empty
    lengths = blocks["samples"].map(len).to_numpy()
    within = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    block = blocks.loc[blocks.index.repeat(lengths), ["time", "session", "first_sample", "rate_hz"]].reset_index(
        drop=True
    )
    after_s = (np.repeat(lengths, lengths) - 1 - within) / block["rate_hz"]
    return pd.DataFrame(
        {
            "time": block["time"] - pd.to_timedelta(after_s, unit="s").dt.round("us").dt.as_unit("us"),
            "session": block["session"],
            "sample": block["first_sample"] + within,
            "counts": np.concatenate(blocks["samples"].to_list()),
        }
    )


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out blocks that came twice, and put those that came late before later ones.

    A count that restarts, and a clock that was set back, begin another part: they change one of count and time only,
    or more than a delay of the network does.
    """
    frame = frame.drop_duplicates(["session", "seq", "time", "first_sample"], ignore_index=True)
    steps_us = frame["time"].astype("int64").diff()
    is_back = frame["first_sample"].diff() < 0
    is_late = is_back & (steps_us < 0) & ~clock.is_set_back(steps_us)
    if not is_late.any():
        return frame
    part = ((frame["session"] != frame["session"].shift()) | (is_back & ~is_late)).cumsum()
    return frame.iloc[np.lexsort((frame["first_sample"], part))].reset_index(drop=True)


def _with_settled_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the first blocks of each session, which came before the rate was measured, the rate that was measured.

    Blocks that come at the pace of 512 Hz mean it: the rate has changed. The first half may have waited for the reader.
    """
    rates = frame["rate_hz"].to_numpy(copy=True)
    times_s, firsts = frame["time"].to_numpy(np.int64) / 1e6, frame["first_sample"].to_numpy()
    for rows in frame.groupby("session", sort=False).indices.values():
        changed = np.flatnonzero(rates[rows] != RAW_RATE_HZ)
        if len(changed) and changed[0]:
            before, after_hz = rows[: changed[0]], rates[rows[changed[0]]]
            middle, last = before[len(before) // 2], before[-1]
            lasting_s = times_s[last] - times_s[middle]
            pace_hz = (firsts[last] - firsts[middle]) / lasting_s if lasting_s > 0 else after_hz
            is_unmeasured = abs(pace_hz - after_hz) <= abs(pace_hz - RAW_RATE_HZ)
            if is_unmeasured and frame["samples"].iloc[before].map(len).sum() <= UNMEASURED_MAX_S * RAW_RATE_HZ:
                rates[before] = after_hz
    return frame.assign(rate_hz=rates)


def _table(recording: Recording, kind: str) -> tuple[pd.DataFrame, int]:
    files = recording.files(kind)
    wanted = HEADERS[kind].rstrip(b"\n")
    lines: list[bytes] = []
    left_out = 0
    for path in files:
        rows = checked_rows(_content(path))
        if rows.header != wanted and (rows.header or rows.lines):
            raise Unreadable(f"{path}: the header is not that of {kind}.csv")
        lines += rows.lines
        left_out += len(rows.faulty) + bool(rows.torn_bytes)
    frame = _parsed(lines, COLUMNS[kind], recording.path)
    with _unreadable(recording.path):
        frame["time"] = pd.to_datetime(frame["time"], format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    if frame["time"].isna().any():
        raise Unreadable(f"{recording.path}: a row of {kind}.csv has no valid time")
    return frame.drop(columns="check"), left_out


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None


def _parsed(lines: list[bytes], columns: tuple[str, ...], path: Path) -> pd.DataFrame:
    with _unreadable(path):
        return pd.read_csv(
            io.BytesIO(b"\n".join(lines)),
            names=columns,
            header=None,
            dtype={column: _TYPES[column] for column in columns},
            encoding="utf-8",
            keep_default_na=False,
            na_values={column: [""] for column in ("poor_signal", "valid", "first_seq", "last_seq")},
        )


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OverflowError, pd.errors.ParserError) as error:
        raise Unreadable(f"{path}: {error}") from None
