"""Makes continuous runs of a session's raw samples: each sample at its time, holes filled, and annotations.

A hole of the recording is filled with zeros and annotated "BAD_ACQ_SKIP", which MNE leaves out by itself; after a long
hole, and where the clock was set, another run begins. A hole is what the source counted or, where it did not, what the
time shows. Times of poor signal are annotated "BAD_poor_signal", a marker with its text.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from neuroone.contract.files import RAW
from neuroone.contract.messages import RAW_RATE_HZ
from neuroone.data import clock, dataframes
from neuroone.data.recordings import Recording

SKIP: Final = "BAD_ACQ_SKIP"
POOR: Final = "BAD_poor_signal"
MARKED: Final = ("marker", "session_start", "session_stop")
"""Events that a person sets."""
CHANNEL: Final = "Fp1"
HOLE_MAX_S: Final = 600.0
"""A longer hole is not filled, nor one that a clock made which was set ahead: ten minutes of zeros are 0.6 MB."""
HOLE_MAX_SAMPLES: Final = int(HOLE_MAX_S * RAW_RATE_HZ)
"""The same of any rate: apps of students say themselves how many samples a second they count."""
ZEROS_MAX_SAMPLES: Final = 24 * 3600 * RAW_RATE_HZ
"""A file has no more zeros than a day of them, 88 MB; then another one begins."""
LATE_MAX_S: Final = 5.0
"""A line that stalls catches up within this time; the bridge waits no longer for it, either."""
HOLE_MIN_S: Final = 0.2
"""Samples that stay so much behind the time, all together, have a hole before them that nobody counted. The delays of
Bluetooth are shorter; a headset's clock that is 100 ppm slow takes half an hour for it."""
STEP_MIN_S: Final = 0.1
"""Blocks are stamped in their order: if one has an earlier time than the last one, the last was late, or the clock was
set back. Smaller steps leave samples within 0.3 s of their times."""
USUAL_BLOCKS: Final = 16
"""The least delay of so many blocks is the usual one: 2 s of a headset's."""
RECORD_S: Final = 1.0
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A text at a time: seconds since the first sample, duration in seconds (None: a moment)."""

    onset_s: float
    duration_s: float | None
    text: str


@dataclass(slots=True)
class Run:
    """Samples without a break: ``counts`` of the ADC, a whole number of seconds. ``start`` is in UTC."""

    start: datetime
    rate_hz: int
    counts: "np.ndarray[Any, np.dtype[np.int16]]"
    annotations: list[Annotation] = field(default_factory=list)
    has_holes: bool = False
    is_simulated: bool = False

    @property
    def duration_s(self) -> float:
        """Return the duration."""
        return len(self.counts) / self.rate_hz


def runs(recording: Recording) -> Iterator[Run]:
    """Yield the raw samples of a session as runs. Raises Unreadable."""
    if not recording.files(RAW):
        return
    blocks = dataframes.raw(recording)
    blocks = blocks[blocks["samples"].map(len) > 0]
    if blocks.empty:
        return
    readings, _ = dataframes.readings(recording)
    events = dataframes.events(recording)
    blocks = blocks.assign(set_back=_is_set_back(blocks).cumsum())
    set_back = clock.times_set_back(*dataframes.ordered(readings))
    is_told = len(set_back) > 0 and set_back.max() == blocks["set_back"].max()  # else the readings do not show them all
    for of_run in _split(blocks):
        run = _filled(of_run)
        run.is_simulated = recording.is_simulated
        is_of_run = set_back == of_run["set_back"].iloc[0] if is_told else np.ones(len(readings), np.bool_)
        _annotate(run, readings[is_of_run], events)
        yield run


def _is_set_back(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """Return the blocks before which the clock was set back; the times of others follow each other, late or not."""
    times_us = blocks["time"].astype("int64")
    periods_us = blocks["samples"].map(len) / blocks["rate_hz"] * 1e6
    is_same = blocks["session"] == blocks["session"].shift()
    is_set_back: pd.Series[bool] = clock.is_set_back(times_us.diff(), periods_us)
    return is_same & is_set_back


def _is_set_back_a_little(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """Return the blocks with an earlier time than the last one, unless only the last one was late."""
    times_s = (blocks["time"] - blocks["time"].iloc[0]).dt.total_seconds()
    delays_s = times_s - (blocks["first_sample"] + blocks["samples"].map(len)) / blocks["rate_hz"]
    usual_s = delays_s.rolling(USUAL_BLOCKS, min_periods=1).min().shift()
    is_back: pd.Series[bool] = (times_s.diff() < -STEP_MIN_S) & (delays_s < usual_s - STEP_MIN_S)
    return is_back


def _split(blocks: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the blocks between long holes, with the samples ``skipped`` before each and how ``late_s`` it came."""
    first, length, rate_hz = blocks["first_sample"], blocks["samples"].map(len), blocks["rate_hz"]
    skipped = first - (first + length).shift()
    is_new = (blocks["session"] != blocks["session"].shift()) | (rate_hz != rate_hz.shift())
    is_new |= (blocks["set_back"].diff() > 0) | _is_set_back_a_little(blocks)
    is_new |= (skipped < 0) | (skipped > np.minimum(HOLE_MAX_S * rate_hz, HOLE_MAX_SAMPLES))
    blocks = blocks.assign(skipped=skipped.where(~is_new, 0).astype("int64"))
    for _, steady in blocks.groupby(is_new.cumsum(), sort=True):
        timed = _with_uncounted(steady)
        is_apart = timed["is_early"] | (timed["skipped"] > HOLE_MAX_S * timed["rate_hz"])
        zeros = timed["skipped"].where(~is_apart, 0).cumsum()
        is_apart |= (zeros // ZEROS_MAX_SAMPLES).diff() > 0
        timed.loc[is_apart, "skipped"] = 0
        for _, of_run in timed.groupby(is_apart.cumsum(), sort=True):
            yield of_run


def _with_uncounted(blocks: pd.DataFrame) -> pd.DataFrame:
    """Add to ``skipped`` what only the time shows, summed over blocks: short holes add up.

    A block is late by the least delay of those that follow it within LATE_MAX_S: what a stalled line held back has
    caught up by then. Holes that the source counts later than the time showed them are not there twice. Another run
    begins at a block that ``is_early``: a fast headset, or a line that stalled for longer, has put samples too late.
    """
    rate_hz = int(blocks["rate_hz"].iloc[0])
    lengths = blocks["samples"].map(len)
    end_s = (blocks["first_sample"] + lengths) / rate_hz
    delay_s = (blocks["time"] - blocks["time"].iloc[0]).dt.total_seconds() - end_s
    ahead = math.ceil(LATE_MAX_S * rate_hz / lengths.mean())
    least_s = delay_s[::-1].rolling(ahead, min_periods=1).min()[::-1]
    is_steady = (least_s.diff(-1) < STEP_MIN_S).to_list()
    skipped = blocks["skipped"].to_numpy(copy=True)
    counted_soon = blocks["skipped"][::-1].rolling(ahead, min_periods=1).sum()[::-1].astype("int64").to_list()
    is_early = np.zeros(len(blocks), np.bool_)
    usual_s, uncounted, twice, early_s = least_s.iloc[0], 0, 0, 0.0
    for n, each_s in enumerate(least_s.tolist()):
        late_s = each_s - usual_s
        if late_s > HOLE_MIN_S:
            late = round(late_s * rate_hz)
            skipped[n] += late
            uncounted += late
            usual_s = each_s
        elif late_s < 0:  # the source counts, within LATE_MAX_S, what the time showed before
            told = min(round(-late_s * rate_hz), uncounted, max(0, counted_soon[n] - twice))
            twice += told
            uncounted -= told
            early_s += -late_s - told / rate_hz
            usual_s = each_s
        if early_s > HOLE_MIN_S and is_steady[n]:
            is_early[n], early_s = True, 0.0
        counted = min(twice, int(skipped[n]))
        skipped[n] -= counted
        twice -= counted
    return blocks.assign(skipped=skipped, late_s=delay_s - least_s, is_early=is_early)


def _filled(blocks: pd.DataFrame) -> Run:
    first = blocks.iloc[0]
    rate_hz = int(first["rate_hz"])
    parts: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    annotations = []
    at = 0
    for samples, skipped in zip(blocks["samples"], blocks["skipped"], strict=True):
        if skipped:
            annotations.append(Annotation(at / rate_hz, skipped / rate_hz, SKIP))
            parts.append(np.zeros(skipped, dtype=np.int16))
        parts.append(samples)
        at += skipped + len(samples)
    has_holes = bool(annotations)
    if padding := -at % round(RECORD_S * rate_hz):
        annotations.append(Annotation(at / rate_hz, padding / rate_hz, SKIP))
        parts.append(np.zeros(padding, dtype=np.int16))
    before_s = (len(first["samples"]) - 1) / rate_hz + first["late_s"]
    # pandas' own difference lacks the year 9999; nothing begins before the year 1
    start = EARLIEST + max(timedelta(0), first["time"].to_pydatetime() - EARLIEST - timedelta(seconds=before_s))
    return Run(start, rate_hz, np.concatenate(parts), annotations, has_holes)


def _annotate(run: Run, readings: pd.DataFrame, events: pd.DataFrame) -> None:
    start, end_s = pd.Timestamp(run.start), run.duration_s
    at_s = (readings["time"] - start).dt.total_seconds().to_numpy()
    is_poor = (readings["valid"] == 0).fillna(False).to_numpy(dtype=bool) & (at_s > 0) & (at_s < end_s + 1)
    for first, last in _stretches(is_poor):
        onset_s = max(0.0, at_s[first] - 1)  # a reading describes the second before it
        run.annotations.append(Annotation(onset_s, min(end_s, at_s[last]) - onset_s, POOR))
    onsets_s = (events["time"] - start).dt.total_seconds()
    for onset_s, event, text in zip(onsets_s, events["event"], events["text"], strict=True):
        if event in MARKED and 0 <= onset_s <= end_s:
            run.annotations.append(Annotation(onset_s, None, text or event))
    run.annotations.sort(key=lambda each: each.onset_s)


def _stretches(flags: "np.ndarray[Any, np.dtype[np.bool_]]") -> Iterator[tuple[int, int]]:
    """Yield the first and last index of each stretch of True."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    yield from zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
