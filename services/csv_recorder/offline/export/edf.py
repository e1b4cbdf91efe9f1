"""Writes raw samples as EDF+, the format of EEG programs: one channel in microvolts, and annotations.

A hole of the recording is filled with zeros and annotated "BAD_ACQ_SKIP", which MNE leaves out by itself; after a long
hole another file begins. A hole is what the source counted or, where it did not, what the time shows. Times of poor
signal are annotated "BAD_poor_signal", a marker with its text.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from csv_recorder.offline import dataframes
from csv_recorder.offline.recordings import Recording, Unreadable
from neuroone.contract.files import RAW
from neuroone.contract.messages import MICROVOLTS_PER_COUNT, RAW_BLOCK_SAMPLES, RAW_RATE_HZ

SKIP: Final = "BAD_ACQ_SKIP"
POOR: Final = "BAD_poor_signal"
MARKED: Final = ("marker", "session_start", "session_stop")
"""Events that a person sets."""
CHANNEL: Final = "Fp1"
HOLE_MAX_S: Final = 600.0
"""A longer hole is not filled: ten minutes of zeros are 0.6 MB."""
HOLE_MAX_SAMPLES: Final = int(HOLE_MAX_S * RAW_RATE_HZ)
"""The same of any rate: apps of students say themselves how many samples a second they count."""
ZEROS_MAX_SAMPLES: Final = 24 * 3600 * RAW_RATE_HZ
"""A file has no more zeros than a day of them, 88 MB; then another one begins."""
YEARS: Final = (1985, 2084)
"""What EDF can say, with two digits."""
LATE_MAX_S: Final = 5.0
"""A line that stalls catches up within this time; the bridge waits no longer for it, either."""
HOLE_MIN_S: Final = 0.2
"""Samples that stay so much behind the time, all together, have a hole before them that nobody counted. The delays of
Bluetooth are shorter; a headset's clock that is 100 ppm slow takes half an hour for it."""
DIGITAL_RANGE: Final = (-32768, 32767)
PHYSICAL_RANGE: Final = (
    DIGITAL_RANGE[0] * MICROVOLTS_PER_COUNT,
    round(DIGITAL_RANGE[1] * MICROVOLTS_PER_COUNT, 2),  # EDF allows eight characters
)
RECORD_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Annotation:
    """A text at a time: seconds since the first sample, duration in seconds (None: a moment)."""

    onset_s: float
    duration_s: float | None
    text: str


@dataclass(slots=True)
class Run:
    """Samples of one file: ``counts`` of the ADC, a whole number of seconds."""

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
    _check_years(recording, blocks["time"].dt.year)
    readings, _ = dataframes.readings(recording)
    events = dataframes.events(recording)
    for of_run in _split(blocks):
        run = _filled(of_run)
        _check_years(recording, pd.Series([run.start.year]))
        run.is_simulated = recording.is_simulated
        _annotate(run, readings, events)
        yield run


def _check_years(recording: Recording, years: "pd.Series[int]") -> None:
    """Raise Unreadable if EDF has no such year: the clock of a phone may show any."""
    if not years.between(*YEARS).all():
        shown = f"{years.min()} to {years.max()}, and EDF knows {YEARS[0]} to {YEARS[1]} only"
        raise Unreadable(f"{recording.path}: raw samples are of the years {shown}")


def write(run: Run, file: Path, code: str) -> None:
    """Write a run as EDF+. ``code`` identifies the student in ASCII without blanks; no name is written."""
    from edfio import Edf, EdfAnnotation, EdfSignal, Patient
    from edfio import Recording as EdfRecording

    signal = EdfSignal.from_digital(
        run.counts,
        run.rate_hz,
        label=CHANNEL,
        physical_dimension="uV",
        physical_range=PHYSICAL_RANGE,
        digital_range=DIGITAL_RANGE,
        transducer_type="simulated" if run.is_simulated else "dry electrode",
        prefiltering="n/a",
    )
    edf = Edf(
        [signal],
        patient=Patient(code=code),
        recording=EdfRecording(
            startdate=run.start.date(), equipment_code="simulated" if run.is_simulated else "ThinkGear"
        ),
        starttime=run.start.time(),
        data_record_duration=RECORD_S,
        annotations=[EdfAnnotation(each.onset_s, each.duration_s, each.text) for each in run.annotations],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    edf.write(file)


def _split(blocks: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the blocks between long holes, with the samples ``skipped`` before each and how ``late_s`` it came."""
    first, length, rate_hz = blocks["first_sample"], blocks["samples"].map(len), blocks["rate_hz"]
    skipped = first - (first + length).shift()
    is_new = (blocks["session"] != blocks["session"].shift()) | (rate_hz != rate_hz.shift())
    is_new |= (skipped < 0) | (skipped > np.minimum(HOLE_MAX_S * rate_hz, HOLE_MAX_SAMPLES))
    blocks = blocks.assign(skipped=skipped.where(~is_new, 0).astype("int64"))
    for _, steady in blocks.groupby(is_new.cumsum(), sort=True):
        timed = _with_uncounted(steady)
        is_apart = timed["skipped"] > HOLE_MAX_S * timed["rate_hz"]
        zeros = timed["skipped"].where(~is_apart, 0).cumsum()
        is_apart |= (zeros // ZEROS_MAX_SAMPLES).diff() > 0
        timed.loc[is_apart, "skipped"] = 0
        for _, of_run in timed.groupby(is_apart.cumsum(), sort=True):
            yield of_run


def _with_uncounted(blocks: pd.DataFrame) -> pd.DataFrame:
    """Add to ``skipped`` what only the time shows, summed over blocks: short holes add up.

    A block is late by the least delay of those that follow it within LATE_MAX_S: what a stalled line held back has
    caught up by then. Holes that the source counts later than the time showed them are not there twice.
    """
    rate_hz = int(blocks["rate_hz"].iloc[0])
    end_s = (blocks["first_sample"] + blocks["samples"].map(len)) / rate_hz
    delay_s = (blocks["time"] - blocks["time"].iloc[0]).dt.total_seconds() - end_s
    ahead = math.ceil(LATE_MAX_S * rate_hz / RAW_BLOCK_SAMPLES)
    least_s = delay_s[::-1].rolling(ahead, min_periods=1).min()[::-1]
    skipped = blocks["skipped"].to_numpy(copy=True)
    usual_s, uncounted, twice = least_s.iloc[0], 0, 0
    for n, each_s in enumerate(least_s.tolist()):
        late = round((each_s - usual_s) * rate_hz)
        if late > HOLE_MIN_S * rate_hz:
            skipped[n] += late
            uncounted += late
            usual_s = each_s
        elif late < 0:  # the source counts, within LATE_MAX_S, what the time showed before
            twice += min(-late, uncounted)
            uncounted -= min(-late, uncounted)
            usual_s = each_s
        counted = min(twice, int(skipped[n]))
        skipped[n] -= counted
        twice -= counted
    return blocks.assign(skipped=skipped, late_s=delay_s - least_s)


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
    start = first["time"] - pd.Timedelta((len(first["samples"]) - 1) / rate_hz + first["late_s"], unit="s")
    return Run(start.floor("us").to_pydatetime(), rate_hz, np.concatenate(parts), annotations, has_holes)


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
