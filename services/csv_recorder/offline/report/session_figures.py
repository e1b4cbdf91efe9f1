"""Computes the figures of one session, in a form that can be stored and added up.

eSense (attention, meditation) is valid while no doubt touches it and the value is not 0, which means "not computed". If
a source does not report its signal, its values count, and the report marks the quality as unknown. Band powers, too,
are those that no doubt touches. They have no unit: they are given as shares of the sum of all eight, and as decimal
logarithms.

Values are kept with their counts, because medians cannot be added up.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Final

import numpy as np
from msgspec import Struct, msgpack

from neuroone.contract.doubt import DOUBTS, Doubt
from neuroone.contract.files import ESENSE
from neuroone.contract.messages import BANDS, ESENSE_MAX
from neuroone.data import clock
from neuroone.data.doubts import TOUCHES_BANDS, TOUCHES_ESENSE, UNKNOWN, Integers
from neuroone.data.readings import Readings

Numbers = np.ndarray[Any, np.dtype[np.float64]]
BAND_MAX: Final = 16_700_000
"""Band powers have 24 bits; values near 2^24 are small negative ones that wrapped, so such a row is left out."""
DOUBTFUL: Final = ("doubtful", *(f"doubt_{each}" for each in Doubt))
"""Columns of a report: the rows that are in no figure, and the rows with each doubt."""
TREND_MIN_S: Final = 60.0
"""A slope per minute needs at least one minute."""
LOW_BELOW: Final = 40
HIGH_FROM: Final = 70
"""A value is low below 40, medium from 40 to 69, and high from 70 on, as in the reports that schools are used to."""
LEVELS: Final = ("low", "medium", "high")
SPREAD: Final = ("min", "q1", "q3", "max", *LEVELS)
"""Figures of how values are spread; those of the levels are shares of one."""
BIN_S: Final = 10
"""The plots show means over this time."""


class Counted(Struct, array_like=True, frozen=True):
    """The valid values of attention or meditation: each value, how often it is there, and figures of all of them."""

    values: list[int]
    counts: list[int]
    n: int
    mean: float | None
    median: float | None
    sd: float | None
    trend_per_min: float | None


class SessionFigures(Struct, array_like=True, frozen=True):
    """The figures of one session. ``known`` rows report their signal; ``good`` ones of these have a good one.

    ``shares`` and ``logs`` are means over ``bands_n`` rows, in the order of `BANDS`. ``doubts`` counts the
    rows of each of the contract's `DOUBTS`. ``clock_steps`` says how often the source's clock was set in the session;
    ``duration_s``, ``longest_step_s`` and trends leave these steps out.
    """

    start_us: int | None
    end_us: int | None
    duration_s: float | None
    rows: int
    left_out: int
    missing: int | None
    longest_step_s: float | None
    known: int
    good: int
    esense: list[Counted]
    bands_n: int
    shares: list[float]
    logs: list[float]
    doubts: list[int]
    clock_steps: int

    def is_whole(self) -> bool:
        """Return True if the lists are as long as they must be: stored figures may be damaged."""
        lists = [len(each.values) == len(each.counts) for each in self.esense]
        bands = (len(BANDS) if self.bands_n else 0,) * 2
        is_counted = len(self.doubts) == len(DOUBTS) and all(lists) and len(lists) == len(ESENSE)
        return is_counted and (len(self.shares), len(self.logs)) == bands


class StoredCurve(Struct, array_like=True, frozen=True):
    """Attention and meditation every `BIN_S`: bins since 1970; the count and sum of valid values in each."""

    bins: list[int]
    counts: list[list[int]]
    sums: list[list[int]]


@dataclass(frozen=True, slots=True)
class Curve:
    """Means of valid samples over time: ``bins`` count `BIN_S` since 1970, with gaps."""

    bins: Integers
    values: dict[str, Numbers]


def compute(readings: Readings) -> SessionFigures:
    """Compute the figures of some readings, as docs/reports.md describes them."""
    is_known = readings.valid != UNKNOWN
    known = int(np.count_nonzero(is_known))
    is_believed = ~TOUCHES_ESENSE[readings.doubts]
    has_time = readings.has_time
    start_us, end_us = (int(readings.times_us[0]), int(readings.times_us[-1])) if has_time else (None, None)
    steady_us, clock_steps = clock.steady_us(readings.times_us, readings.runs, readings.seqs)
    times_s = (steady_us - steady_us[:1]) / 1e6
    esense = []
    for values in readings.esense:
        is_valid = is_believed & (values > 0)
        trend = _trend_per_min(values[is_valid], times_s[is_valid]) if has_time else None
        esense.append(_counted(values[is_valid], None, trend))
    return SessionFigures(
        start_us,
        end_us,
        float(times_s.max() - times_s.min()) if has_time else None,
        len(readings),
        readings.left_out,
        _missing(readings) if has_time else None,
        float(np.diff(np.sort(times_s)).max()) if has_time and len(readings) > 1 else None,
        known,
        int(np.count_nonzero(readings.valid == 1)),
        esense,
        *_band_figures(readings.bands[~TOUCHES_BANDS[readings.doubts]]),
        np.bincount(readings.doubts, minlength=len(DOUBTS)).tolist(),
        clock_steps,
    )


def curve(readings: Readings) -> bytes:
    """Compute the means of attention and meditation over valid samples with a time, packed for `unpacked`."""
    if not readings.has_time:
        return msgpack.encode(StoredCurve([], [[], []], [[], []]))
    at = readings.times_us // (BIN_S * 1_000_000)
    starts = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))  # the readings are in the order of their time
    valid = np.where(TOUCHES_ESENSE[readings.doubts], 0, np.maximum(readings.esense, 0))
    counts, sums = (np.add.reduceat(each, starts, axis=1).tolist() for each in ((valid > 0).astype(np.int64), valid))
    return msgpack.encode(StoredCurve(at[starts].tolist(), counts, sums))


def unpacked(packed: bytes) -> Curve:
    """Return the curve that `curve` packed."""
    stored = msgpack.decode(packed, type=StoredCurve)
    means = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, counts, sums in zip(ESENSE, stored.counts, stored.sums, strict=True):
            means[name] = np.array(sums, np.float64) / np.array(counts, np.float64)
    return Curve(np.array(stored.bins, np.int64), means)


def joined(packed: Sequence[bytes]) -> bytes:
    """Join the packed curves of one student's sessions in one lesson."""
    stored = [msgpack.decode(each, type=StoredCurve) for each in packed]
    bins, place = np.unique(
        np.fromiter(chain.from_iterable(each.bins for each in stored), np.int64), return_inverse=True
    )
    added = []
    for lists in ([each.counts for each in stored], [each.sums for each in stored]):
        rows = [list(chain.from_iterable(each[at] for each in lists)) for at in range(len(ESENSE))]
        added.append([np.bincount(place, row, len(bins)).astype(np.int64).tolist() for row in rows])
    return msgpack.encode(StoredCurve(bins.tolist(), *added))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average the curves that have a value at the time."""
    bins, place = np.unique(np.concatenate([each.bins for each in curves]), return_inverse=True)
    means = {}
    for name in ESENSE:
        values = np.concatenate([each.values[name] for each in curves])
        is_there = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            means[name] = np.bincount(place[is_there], values[is_there], minlength=len(bins)) / np.bincount(
                place[is_there], minlength=len(bins)
            )
    return Curve(bins, means)


def together(sessions: Sequence[SessionFigures]) -> SessionFigures:
    """Add up the sessions of one student. Durations and holes add up; there is no trend over several days."""
    starts = [each.start_us for each in sessions if each.start_us is not None]
    ends = [each.end_us for each in sessions if each.end_us is not None]
    durations = [each.duration_s for each in sessions if each.duration_s is not None]
    holes = [each.missing for each in sessions if each.missing is not None]
    with_bands = [each for each in sessions if each.bands_n]
    bands_n = sum(each.bands_n for each in with_bands)
    return SessionFigures(
        min(starts, default=None),
        max(ends, default=None),
        sum(durations) if durations else None,
        sum(each.rows for each in sessions),
        sum(each.left_out for each in sessions),
        sum(holes) if holes else None,
        None,
        sum(each.known for each in sessions),
        sum(each.good for each in sessions),
        [_added(each) for each in zip(*(session.esense for session in sessions), strict=True)],
        bands_n,
        _weighted([(each.bands_n, each.shares) for each in with_bands]),
        _weighted([(each.bands_n, each.logs) for each in with_bands]),
        [sum(counts) for counts in zip(*(each.doubts for each in sessions), strict=True)],
        sum(each.clock_steps for each in sessions),
    )


def row(figures: SessionFigures) -> dict[str, Any]:
    """Return the figures by the names of a report's columns, without times."""
    found: dict[str, Any] = {
        "duration_s": figures.duration_s,
        "rows": figures.rows,
        "missing": figures.missing,
        "longest_step_s": figures.longest_step_s,
        "signal": "known" if figures.known == figures.rows else "partly known" if figures.known else "unknown",
        "valid_share": figures.good / figures.known if figures.known else None,
    }
    for name, counted in zip(ESENSE, figures.esense, strict=True):
        found |= {f"{name}_{key}": getattr(counted, key) for key in ("n", "mean", "median", "sd", "trend_per_min")}
        found |= {f"{name}_{key}": value for key, value in zip(SPREAD, _spread(counted), strict=True)}
    found["bands_n"] = figures.bands_n
    for kind, means in (("share", figures.shares), ("log10", figures.logs)):
        found |= {f"{band}_{kind}": means[at] if means else None for at, band in enumerate(BANDS)}
    found |= {"left_out": figures.left_out, "clock_steps": figures.clock_steps}
    doubtful = int(np.array(figures.doubts) @ TOUCHES_ESENSE)
    return found | dict(zip(DOUBTFUL, (doubtful, *figures.doubts[1:]), strict=True))


def _spread(counted: Counted) -> list[float | None]:
    """Return the figures of `SPREAD`: quartiles are interpolated between the values beside them."""
    values, n = counted.values, counted.n
    if not n:
        return [None] * len(SPREAD)
    ends = [*accumulate(counted.counts)]
    quartiles = []
    for place in ((n - 1) * 0.25, (n - 1) * 0.75):
        lower, upper = (values[bisect_right(ends, at)] for at in (math.floor(place), math.ceil(place)))
        quartiles.append(lower + place % 1 * (upper - lower))
    places = [bisect_left(values, limit) for limit in (LOW_BELOW, HIGH_FROM)]
    low, up_to_medium = (ends[at - 1] if at else 0 for at in places)
    return [values[0], *quartiles, values[-1], low / n, (up_to_medium - low) / n, 1 - up_to_medium / n]


def _counted(values: Integers, counts: Integers | None, trend_per_min: float | None) -> Counted:
    """Count each value, or add up its ``counts``, and compute the figures of all."""
    if len(values) and values.max() <= ESENSE_MAX:
        sums = np.bincount(values, counts).astype(np.int64)
        values = np.flatnonzero(sums)
        counts = sums[values]
    else:  # files from elsewhere
        values, place = np.unique(values, return_inverse=True)
        counts = np.bincount(place, counts, minlength=len(values)).astype(np.int64)
    n = int(counts.sum())
    if not n:
        return Counted([], [], 0, None, None, None, None)
    mean = float(values @ counts / n)
    sd = math.sqrt((values - mean) ** 2 @ counts / (n - 1)) if n > 1 else None
    middle = values[np.searchsorted(counts.cumsum(), [(n - 1) // 2, n // 2], side="right")]
    return Counted(values.tolist(), counts.tolist(), n, mean, float(middle.sum() / 2), sd, trend_per_min)


def _added(of_sessions: Sequence[Counted]) -> Counted:
    values, counts = (
        np.fromiter(chain.from_iterable(lists), np.int64)
        for lists in ([each.values for each in of_sessions], [each.counts for each in of_sessions])
    )
    return _counted(values, counts, None)


def _weighted(means: Sequence[tuple[int, Sequence[float]]]) -> list[float]:
    """Return the means of rows from the means of sessions with these numbers of rows."""
    n = sum(count for count, _ in means)
    return [sum(count * each[at] for count, each in means) / n for at in range(len(BANDS))] if n else []


def _trend_per_min(values: Integers, times_s: Numbers) -> float | None:
    """Return the slope of the least-squares line; None for less than `TREND_MIN_S`."""
    if len(values) < 2 or np.ptp(times_s) < TREND_MIN_S:
        return None
    minutes = (times_s - times_s[0]) / 60
    minutes -= minutes.sum() / len(minutes)
    return float(minutes @ (values - values.sum() / len(values)) / (minutes @ minutes))


def _missing(readings: Readings) -> int:
    """Count the readings missing between the first and the last, by seq, in each run of the source."""
    if not readings.runs.any() and (readings.seqs[1:] > readings.seqs[:-1]).all():
        return int(readings.seqs[-1] - readings.seqs[0]) + 1 - len(readings)
    runs = [readings.seqs[readings.runs == run] for run in np.unique(readings.runs)]
    return sum(int(seqs.max()) - int(seqs.min()) + 1 - len(np.unique(seqs)) for seqs in runs)


def _band_figures(powers: Integers) -> tuple[int, list[float], list[float]]:
    total = powers.sum(axis=1)
    is_usable = (total > 0) & ((powers >= 0) & (powers < BAND_MAX)).all(axis=1)
    powers, total = powers[is_usable], total[is_usable]
    n = len(powers)
    if not n:
        return 0, [], []
    shares, logs = powers / total[:, None], np.log10(1 + powers)
    return n, (shares.sum(axis=0) / n).tolist(), (logs.sum(axis=0) / n).tolist()
