"""Keep the last readings and raw samples of one stream, in rings of fixed size. No Qt, no clock, no thread."""

import itertools
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroone.contract.doubt import DOUBTS, Doubt, Doubts
from neuroone.contract.messages import BANDS, RAW_RATE_HZ, RawBlock, Reading
from neuroone.service.stream_states import STALE_AFTER_S

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

READINGS_MAX: Final = 3600
"""Kept rows: an hour of a headset, 340 kB."""
RAW_MAX: Final = RAW_RATE_HZ * 600
"""Kept raw samples: ten minutes to scroll back, 1.2 MB."""
COLUMNS: Final = ("time_s", "poor_signal", "attention", "meditation", *BANDS, "doubt")
"""The columns of a row: times are seconds since 1970, a doubt is its place in `DOUBTS`, unknown values are NaN."""
CLOCK_JUMP_S: Final = 2.0
"""A larger step of a sender's clock means that somebody has set it."""
RAW_TAIL_MAX: Final = RAW_RATE_HZ * 120
"""Samples that are given at once to be computed, about 10 ms of work: older ones come first, a frame later the next."""
RATE_STEP: Final = 0.01
"""A sampling rate that differs more is another receiver's: samples of both on one time axis would be out of place."""
RAW_CLOCK_GAIN: Final = 0.05
"""How fast the sample clock follows the times of the blocks, which jitter with the network."""

SERIES: Final = itertools.count()
"""Numbers for series of raw samples: no two histories share one, so that nobody goes on with another's samples."""


class Ring:
    """The last ``capacity`` rows of ``width`` numbers."""

    def __init__(self, capacity: int, width: int, dtype: type[np.floating] = np.float64) -> None:
        self.total = 0
        self._rows = np.full((capacity, width), np.nan, dtype)

    def append(self, rows: NDArray[np.floating]) -> None:
        """Add rows of shape (n, width); drop the oldest ones."""
        capacity = len(self._rows)
        rows = rows[-capacity:]
        at = (self.total + np.arange(len(rows))) % capacity
        self._rows[at] = rows
        self.total += len(rows)

    def replace_last(self, rows: NDArray[np.floating]) -> None:
        """Write other rows in the place of the last ones."""
        self.total -= len(rows)
        self.append(rows)

    def rows(self, first: int, stop: int) -> NDArray[np.floating]:
        """Return a copy of the rows from number ``first`` up to ``stop`` that are still here."""
        first = max(first, self.total - len(self._rows), 0)
        return self._rows[np.arange(first, min(stop, self.total)) % len(self._rows)]

    def last(self, count: int) -> NDArray[np.floating]:
        """Return a copy of the last rows, at most ``count``."""
        return self.rows(self.total - count, self.total)


@dataclass(frozen=True, slots=True)
class RawSpan:
    """Raw samples of a period: ``time_s`` and ``counts``, NaN where a sample is lost."""

    time_s: Floats
    counts: Floats


@dataclass(frozen=True, slots=True)
class RawTail:
    """Consecutive raw samples, NaN where one is lost, and where they belong.

    Samples are numbered from 0 in each ``series``; another series has another sampling rate.
    """

    series: int
    rate_hz: float
    first: int
    counts: Floats


class History:
    """One stream's readings and raw samples.

    ``offset_s`` leads from this computer's clock (``arrived_s``, monotonic) to the sender's time of day, so that a
    plot can scroll by this computer's clock whatever the sender's is set to.
    """

    def __init__(self) -> None:
        self.latest: Reading | None = None
        self.doubt: Doubt | None = None
        """The doubt of the latest reading."""
        self.arrived_s: float | None = None
        self.offset_s = 0.0
        self.counters = dict.fromkeys(("readings", "readings_lost", "readings_twice", "raw_lost"), 0)
        self._readings = Ring(READINGS_MAX, len(COLUMNS))
        self._doubts = Doubts()
        self._raw = Ring(RAW_MAX, 1, np.float32)
        self._raw_series = next(SERIES)
        self._raw_session = ""
        self._raw_next = 0
        self._raw_end_s = 0.0
        self._raw_rate_hz = float(RAW_RATE_HZ)
        self._is_raw_rate_known = False
        self._known_rate_hz: float | None = None

    def add_reading(self, reading: Reading, arrived_s: float) -> None:
        """Keep a reading that arrived at ``arrived_s``. A repeated one is dropped and counted."""
        last = self.latest
        time_s = reading.time.timestamp()
        if last is not None and last.session == reading.session:
            if reading.seq <= last.seq:
                self.counters["readings_twice"] += 1
                return
            self.counters["readings_lost"] += reading.seq - last.seq - 1
        self._set_clock(time_s - arrived_s)
        if last is not None and (last.session != reading.session or time_s - last.time.timestamp() > STALE_AFTER_S):
            gap = np.full((1, len(COLUMNS)), np.nan)
            gap[0, 0] = time_s
            self._readings.append(gap)
        poor = np.nan if reading.poor_signal is None else reading.poor_signal
        bands = (getattr(reading, band) for band in BANDS)
        doubt = self._doubts.add(reading)
        row = [time_s, poor, reading.attention, reading.meditation, *bands, DOUBTS.index(doubt)]
        self._readings.append(np.array([row], np.float64))
        if doubt is Doubt.FROZEN and self.doubt is not Doubt.FROZEN:
            self._mark_frozen(self._doubts.same)
        self.doubt = doubt
        self.counters["readings"] += 1
        self.latest, self.arrived_s = reading, arrived_s

    def add_raw(self, block: RawBlock, arrived_s: float) -> None:
        """Keep a raw block that arrived at ``arrived_s``; lost samples leave a gap."""
        end_s = block.time.timestamp()
        count = len(block.samples)
        rate_hz = self._rate_of(block)
        if block.session == self._raw_session:
            lost = block.first_sample - self._raw_next
            if lost < 0:
                return
            self.counters["raw_lost"] += lost
        elif self._raw_session:
            lost = max(1, round((end_s - self._raw_end_s) * rate_hz) - count)
        else:
            lost = 0
        if self.arrived_s is None:
            self._set_clock(end_s - arrived_s)
        hole = np.full((min(lost, RAW_MAX), 1), np.nan)
        self._raw.append(np.concatenate([hole, np.array(block.samples, np.float64)[:, np.newaxis]]))
        counted_s = self._raw_end_s + (lost + count) / rate_hz
        is_steady = block.session == self._raw_session and abs(end_s - counted_s) < CLOCK_JUMP_S
        self._raw_end_s = counted_s + RAW_CLOCK_GAIN * (end_s - counted_s) if is_steady else end_s
        self._raw_session, self._raw_rate_hz = block.session, rate_hz
        self._is_raw_rate_known = block.measured_hz is not None
        self._raw_next = block.first_sample + count

    def age_s(self, now_s: float) -> float | None:
        """Return the seconds since the last reading arrived; None before the first."""
        return None if self.arrived_s is None else max(0.0, now_s - self.arrived_s)

    def readings(self, from_s: float, to_s: float) -> Floats:
        """Return the rows of a period, shape (n, columns)."""
        rows = self._readings.last(READINGS_MAX)
        return rows[(rows[:, 0] >= from_s) & (rows[:, 0] <= to_s)].astype(np.float64)

    def raw(self, from_s: float, to_s: float) -> RawSpan:
        """Return the samples of a period."""
        first, stop, first_s = self.raw_numbers(from_s, to_s)
        counts = self._raw.rows(first, stop)[:, 0].astype(np.float64)
        return RawSpan(first_s + np.arange(len(counts)) / self._raw_rate_hz, counts)

    def raw_tail(self, series: int, first: int) -> RawTail:
        """Return the samples from number ``first`` on of this series; of the current one if it has ended."""
        first = max(first if series == self._raw_series else 0, self._raw.total - RAW_MAX)
        counts = self._raw.rows(first, first + RAW_TAIL_MAX)[:, 0].astype(np.float64)
        return RawTail(self._raw_series, self._raw_rate_hz, first, counts)

    @property
    def raw_rate_hz(self) -> float | None:
        """Return the headset's sampling rate; None while it is still being measured."""
        return self._raw_rate_hz if self._is_raw_rate_known else None

    def raw_numbers(self, from_s: float, to_s: float) -> tuple[int, int, float]:
        """Return the first and the stop number of the samples of a period, and the time of the first one."""
        rate_hz, total = self._raw_rate_hz, self._raw.total
        first = total - 1 - int((self._raw_end_s - from_s) * rate_hz)
        stop = total - int((self._raw_end_s - to_s) * rate_hz)
        first = max(first, total - RAW_MAX, 0)
        return first, max(first, min(stop, total)), self._raw_end_s - (total - 1 - first) / rate_hz

    def oldest_age_s(self, now_s: float) -> float:
        """Return the seconds from the oldest kept reading to ``now_s`` on this computer's clock; 0 before the first."""
        rows = self._readings.last(READINGS_MAX)
        return now_s + self.offset_s - float(rows[0, 0]) if len(rows) else 0.0

    def _rate_of(self, block: RawBlock) -> float:
        """Return the sampling rate by which to place a block; begin another series if it is another receiver's.

        While a rate is measured anew, the last known one is the best guess.
        """
        if block.measured_hz is None:
            return self._known_rate_hz or float(block.rate_hz)
        if self._known_rate_hz is not None and abs(block.rate_hz / self._known_rate_hz - 1) > RATE_STEP:
            self._raw = Ring(RAW_MAX, 1, np.float32)
            self._raw_series = next(SERIES)
            self._raw_session = ""
        self._known_rate_hz = float(block.rate_hz)
        return self._known_rate_hz

    def _mark_frozen(self, count: int) -> None:
        """Doubt the last ``count`` readings, which are the same; there may be gaps between them."""
        rows = self._readings.last(2 * count)
        same = np.flatnonzero(~np.isnan(rows[:, -1]))[-count:]
        is_told = rows[same, -1] == DOUBTS.index(Doubt.POOR_CONTACT)
        rows[same[~is_told], -1] = DOUBTS.index(Doubt.FROZEN)
        self._readings.replace_last(rows)

    def _set_clock(self, offset_s: float) -> None:
        # The largest offset is that of the message which travelled fastest.
        is_jump = self.arrived_s is None or abs(offset_s - self.offset_s) > CLOCK_JUMP_S
        self.offset_s = offset_s if is_jump else max(self.offset_s, offset_s)
