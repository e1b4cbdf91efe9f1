"""Computes the figures of students and classes from valid samples.

eSense (attention, meditation) is valid while the signal is good and the value is not 0, which means "not computed". If
a source does not report its signal, values above 0 count, and the report marks the quality as unknown. Band powers have
no unit: they are given as shares of the sum of all eight, and as decimal logarithms.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from csv_recorder.offline import dataframes
from csv_recorder.offline.dataframes import Unreadable
from csv_recorder.offline.recordings import Recording
from neuroone.contract.messages import BANDS

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.float64]]
ESENSE: Final = ("attention", "meditation")
BAND_MAX: Final = 16_700_000
"""Band powers have 24 bits; values near 2^24 are small negative ones that wrapped, so such a row is left out."""
TREND_MIN_S: Final = 60.0
"""A slope per minute needs at least one minute."""
BIN_S: Final = 10
"""The plots show means over this time."""
CLASS: Final = ("group", "class", "date")
ALL: Final = "all"
"""The session in the row of a student with several sessions."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to report: times from ``since`` to before ``until``; ``groups`` by id or code, or all if it is empty.

    A day begins in ``zone``; None means this computer's.
    """

    since: datetime | None = None
    until: datetime | None = None
    groups: frozenset[str] = frozenset()
    zone: tzinfo | None = None

    def includes(self, recording: Recording) -> bool:
        """Return True if the recording belongs to one of the groups."""
        return not self.groups or not self.groups.isdisjoint({recording.group, str(recording.about.get("code") or "")})

    def cut(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Return the readings within the times; a limit leaves out readings without a time."""
        if self.since is not None:
            readings = readings[readings["time"] >= self.since]
        if self.until is not None:
            readings = readings[readings["time"] < self.until]
        return readings


@dataclass(frozen=True, slots=True)
class Curve:
    """Means of valid samples over time: ``bins`` count `BIN_S` since 1970, with gaps."""

    bins: Integers
    values: dict[str, Numbers]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures: a row per session, and one of `ALL` for a student with several; a row per class and day.

    ``curves`` and ``class_curves`` have the row numbers of these tables as keys. ``faults`` are sentences.
    """

    sessions: pd.DataFrame
    classes: pd.DataFrame
    curves: dict[int, Curve] = field(default_factory=dict)
    class_curves: dict[int, Curve] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def make(recordings: Iterable[Recording], selection: Selection = Selection()) -> Report:
    """Report on the recordings, one student after the other, so that only one student's readings are in memory."""
    rows: list[dict[str, Any]] = []
    curves: dict[int, Curve] = {}
    faults: list[str] = []
    chosen = sorted(filter(selection.includes, recordings), key=lambda each: (*_student(each), each.label))
    for _, of_student in groupby(chosen, _student):
        read = list(_read(of_student, selection, faults))
        for recording, readings, left_out in read:
            curves[len(rows)] = curve(readings)
            rows.append(_about(recording) | figures(readings) | {"left_out": left_out})
        if len(read) > 1:
            rows.append(_all_of(rows[-len(read) :], pd.concat([each[1] for each in read], ignore_index=True)))
    sessions = pd.DataFrame(rows)
    classes, class_curves = _classes(sessions, curves, selection.zone) if rows else (pd.DataFrame(), {})
    return Report(sessions, classes, curves, class_curves, tuple(faults))


def figures(readings: pd.DataFrame) -> dict[str, Any]:
    """Compute the figures of some readings, as docs/reports.md describes them."""
    is_known = readings["valid"].notna().to_numpy()
    is_good = _is_good(readings)
    times_s = _seconds(readings["time"])
    steps_s = np.diff(times_s)
    found: dict[str, Any] = {
        "start": readings["time"].min(),
        "end": readings["time"].max(),
        "duration_s": _or_none(times_s[-1] - times_s[0]) if len(times_s) else 0.0,
        "rows": len(readings),
        "missing": _missing(readings),
        "longest_step_s": _or_none(steps_s.max()) if len(steps_s) else None,
        "signal": "known" if is_known.all() else "partly known" if is_known.any() else "unknown",
        "valid_share": float(is_good[is_known].mean()) if is_known.any() else None,
    }
    for name in ESENSE:
        values = readings[name].to_numpy()
        is_valid = is_good & (values > 0)
        found |= {f"{name}_{key}": value for key, value in _statistics(values[is_valid], times_s[is_valid]).items()}
    return found | _band_figures(readings[list(BANDS)].to_numpy(dtype=np.float64)[is_good])


def curve(readings: pd.DataFrame) -> Curve:
    """Compute the means of attention and meditation over valid samples with a time, every `BIN_S`."""
    has_time = readings["time"].notna().to_numpy()
    bins, place = np.unique((_seconds(readings["time"])[has_time] // BIN_S).astype(np.int64), return_inverse=True)
    is_good = _is_good(readings)[has_time]
    means = {}
    for name in ESENSE:
        values = readings[name].to_numpy(dtype=np.float64)[has_time]
        is_valid = is_good & (values > 0)
        means[name] = _means(values[is_valid], place[is_valid], len(bins))
    return Curve(bins, means)


def _read(
    recordings: Iterable[Recording], selection: Selection, faults: list[str]
) -> Iterator[tuple[Recording, pd.DataFrame, int]]:
    for recording in recordings:
        try:
            readings, left_out = dataframes.readings(recording)
        except Unreadable as error:
            faults.append(str(error))
            continue
        readings = selection.cut(readings)
        if len(readings):
            yield recording, readings, left_out


def _about(recording: Recording) -> dict[str, Any]:
    return {
        "group": recording.group,
        "code": recording.about.get("code") or "",
        "class": recording.about.get("class") or "",
        "source": recording.source,
        "name": recording.name,
        "session": recording.label,
    }


def _all_of(rows: Sequence[dict[str, Any]], readings: pd.DataFrame) -> dict[str, Any]:
    """Combine one student's sessions. Durations and holes add up; there is no trend over several days."""
    together = rows[-1] | figures(readings) | {"session": ALL, "class": "", "longest_step_s": None}
    for sum_of in ("duration_s", "missing", "left_out"):
        known = [row[sum_of] for row in rows if row[sum_of] is not None]
        together[sum_of] = sum(known) if known else None
    return together | {f"{name}_trend_per_min": None for name in ESENSE}


def _statistics(values: Numbers, times_s: Numbers) -> dict[str, Any]:
    n = len(values)
    return {
        "n": n,
        "mean": float(values.mean()) if n else None,
        "median": float(np.median(values)) if n else None,
        "sd": float(values.std(ddof=1)) if n > 1 else None,
        "trend_per_min": _trend_per_min(values, times_s),
    }


def _trend_per_min(values: Numbers, times_s: Numbers) -> float | None:
    """Return the slope of the least-squares line; None for less than `TREND_MIN_S`, or without times."""
    if len(values) < 2 or not times_s[-1] - times_s[0] >= TREND_MIN_S:
        return None
    minutes = (times_s - times_s.mean()) / 60
    return float((minutes * (values - values.mean())).sum() / (minutes * minutes).sum())


def _band_figures(powers: Numbers) -> dict[str, Any]:
    total = powers.sum(axis=1)
    is_usable = (total > 0) & (powers < BAND_MAX).all(axis=1)
    powers, total = powers[is_usable], total[is_usable]
    n = len(powers)
    shares = (powers / total[:, None]).mean(axis=0) if n else [None] * len(BANDS)
    logs = np.log10(1 + powers).mean(axis=0) if n else [None] * len(BANDS)
    return {
        "bands_n": n,
        **{f"{band}_share": _or_none(value) for band, value in zip(BANDS, shares, strict=True)},
        **{f"{band}_log10": _or_none(value) for band, value in zip(BANDS, logs, strict=True)},
    }


def _classes(
    sessions: pd.DataFrame, curves: dict[int, Curve], zone: tzinfo | None
) -> tuple[pd.DataFrame, dict[int, Curve]]:
    """Compute the figures of classes per day; every student counts once."""
    of_day = sessions[sessions["session"] != ALL]
    days = ["" if pd.isna(start) else f"{start.to_pydatetime().astimezone(zone):%Y-%m-%d}" for start in of_day["start"]]
    of_day = of_day.assign(date=days)
    rows: list[dict[str, Any]] = []
    class_curves = {}
    for key, members in of_day.groupby(list(CLASS), sort=True):
        row: dict[str, Any] = dict(zip(CLASS, key, strict=True))
        row |= {
            "students": members["source"].nunique(),
            "sessions": len(members),
            "start": members["start"].min(),
            "end": members["end"].max(),
            "rows": int(members["rows"].sum()),
            "missing": int(members["missing"].fillna(0).sum()),
            "valid_share": _or_none(members["valid_share"].astype(float).mean()),
            "signal": members["signal"].iloc[0] if members["signal"].nunique() == 1 else "partly known",
        }
        for name in ESENSE:
            counted = members[f"{name}_n"]
            sums = (members[f"{name}_mean"].astype(float) * counted).groupby(members["source"]).sum()
            by_student = (sums / counted.groupby(members["source"]).sum()).dropna()
            row |= {
                f"{name}_students": len(by_student),
                f"{name}_mean": _or_none(by_student.mean()),
                f"{name}_median": _or_none(by_student.median()),
                f"{name}_sd": _or_none(by_student.std()),
            }
        class_curves[len(rows)] = _mean_curve([curves[each] for each in members.index])
        rows.append(row)
    return pd.DataFrame(rows), class_curves


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average the students that have a value at the time."""
    bins, place = np.unique(np.concatenate([each.bins for each in curves]), return_inverse=True)
    means = {}
    for name in ESENSE:
        values = np.concatenate([each.values[name] for each in curves])
        is_there = ~np.isnan(values)
        means[name] = _means(values[is_there], place[is_there], len(bins))
    return Curve(bins, means)


def _means(values: Numbers, place: Integers, size: int) -> Numbers:
    """Return the mean of the values at each place, NaN for none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(place, values, minlength=size) / np.bincount(place, minlength=size)


def _is_good(readings: pd.DataFrame) -> Flags:
    """Return where the signal was good or unknown."""
    return (readings["valid"].fillna(1) == 1).to_numpy(dtype=bool)


def _missing(readings: pd.DataFrame) -> int | None:
    """Count the readings missing between the first and the last, by seq; None for a file without seq."""
    if readings["time"].isna().all():
        return None
    seqs = readings.groupby("session")["seq"]
    return int((seqs.max() - seqs.min() + 1 - seqs.nunique()).sum())


def _seconds(times: "pd.Series[Any]") -> Numbers:
    """Convert to seconds since 1970; NaN for no time."""
    numbers = times.astype("int64").to_numpy() / 1e6
    return np.where(times.isna().to_numpy(), np.nan, numbers)


def _or_none(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _student(recording: Recording) -> tuple[str, ...]:
    return (recording.group, recording.name.casefold(), recording.name, recording.source)
