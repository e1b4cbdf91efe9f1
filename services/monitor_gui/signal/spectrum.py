"""Spectra of raw samples by Welch's method, kept second by second."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from monitor_gui.history import COLUMNS, RAW_MAX, Flags, Floats, RawTail, Ring
from neuroone.contract.messages import MICROVOLTS_PER_COUNT, RAW_RATE_HZ

SEGMENT_S: Final = 2
"""Welch's segments: 0.5 Hz from line to line. Each begins a second after the one before."""
SHOWN_MAX_HZ: Final = 64
"""Highest frequency that is kept: mid gamma and the mains of 50 and 60 Hz."""
LINES_MAX: Final = SHOWN_MAX_HZ * SEGMENT_S + 1
SEGMENTS_MAX: Final = RAW_MAX // RAW_RATE_HZ
"""Kept spectra: as many seconds as raw samples, 0.3 MB."""
BORDERS_HZ: Final = (0.5, 3.5, 7.5, 10.0, 13.0, 18.0, 31.0, 41.0, 50.0)
"""Where delta to mid gamma begin, and where mid gamma ends (ThinkGear Serial Stream Guide, rounded up to a line)."""
ALPHA_HZ: Final = (7.0, 13.5)
"""Where the alpha peak of children and adults is looked for."""
BESIDE_ALPHA_HZ: Final = ((4.0, 6.5), (14.0, 20.0))
PEAK_MIN: Final = 2.0
"""A peak is at least twice (3 dB) above the line between the spectrum's parts beside alpha."""
GRAZE_S: Final = 0.05
"""A shorter overlap of two seconds is one of rounding."""
LEAST_DENSITY: Final = 1e-6
"""uV^2/Hz (-60 dB), far below a step of the ADC: the floor of logarithms."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Spectra of segments, newest last: densities in uV^2/Hz of shape (n, lines), NaN where a sample is lost.

    ``first`` is the number of the sample with which the first segment begins; the others begin a second later each.
    """

    hz: Floats
    densities: Floats
    first: int


class LiveSpectrum:
    """Follow the raw samples of a stream; compute each segment once, when its last sample is there."""

    def __init__(self) -> None:
        self._series, self._rate_hz = -1, 0.0
        self._first = 0
        """Number of the first segment in the ring: segment n begins n seconds after sample 0."""
        self._ring = Ring(SEGMENTS_MAX, LINES_MAX, np.float32)

    @property
    def needs(self) -> tuple[int, int]:
        """Return the series and the number of the first sample that is needed next."""
        return self._series, (self._first + self._ring.total) * self._step

    @property
    def _step(self) -> int:
        """Return the samples from segment to segment: a second."""
        return max(1, round(self._rate_hz))

    def follow(self, tail: RawTail) -> None:
        """Compute the segments that have become complete; begin anew with another series or sampling rate."""
        is_other = (tail.series, tail.rate_hz) != (self._series, self._rate_hz)
        if is_other or tail.first > self.needs[1]:
            self._series, self._rate_hz = tail.series, tail.rate_hz
            self._ring = Ring(SEGMENTS_MAX, LINES_MAX, np.float32)
            self._first = -(-tail.first // self._step)
        counts = tail.counts[self.needs[1] - tail.first :]
        if len(counts) < SEGMENT_S * self._step:
            return
        segments = sliding_window_view(counts, SEGMENT_S * self._step)[:: self._step]
        found = densities_of(segments * MICROVOLTS_PER_COUNT, self._rate_hz)[:, :LINES_MAX]
        rows = np.full((len(found), LINES_MAX), np.nan)
        rows[:, : found.shape[1]] = found
        self._ring.append(rows)

    def segments(self, first: int, stop: int) -> Segments:
        """Return the segments that lie between two samples, by their numbers."""
        from_segment = max(-(-first // self._step), self._first, self._first + self._ring.total - SEGMENTS_MAX)
        to_segment = max(from_segment, stop // self._step - SEGMENT_S + 1)
        lines = min(LINES_MAX, SEGMENT_S * self._step // 2 + 1)
        rows = self._ring.rows(from_segment - self._first, to_segment - self._first)[:, :lines].astype(np.float64)
        hz = np.arange(lines) * self._rate_hz / (SEGMENT_S * self._step)
        return Segments(hz, rows, from_segment * self._step)


def densities_of(segments: Floats, rate_hz: float) -> Floats:
    """Return the power density of each segment (Hann window, mean removed); NaN for one with a lost sample."""
    from scipy import signal

    found = np.full((len(segments), segments.shape[1] // 2 + 1), np.nan)
    is_whole = ~np.isnan(segments).any(axis=1)
    if is_whole.any():
        found[is_whole] = signal.welch(segments[is_whole], rate_hz, nperseg=segments.shape[1])[1]
    return found


def are_poor(rows: Floats, begin_s: Floats) -> Flags:
    """Return for segments, by their begins, whether a reading (shape (n, COLUMNS)) tells of poor contact in them.

    A reading is of the second before its time.
    """
    times = rows[rows[:, COLUMNS.index("poor_signal")] > 0, 0]
    begins = begin_s[:, np.newaxis]
    is_in = (times > begins + GRAZE_S) & (times - 1 < begins + SEGMENT_S - GRAZE_S)
    return np.asarray(is_in.any(axis=1))


def mean_density(segments: Segments, is_doubtful: Flags) -> tuple[Floats | None, int, bool]:
    """Return Welch's mean of the segments without doubt, their number, and False.

    If there are none: the mean of the doubtful ones, their number, and True. Lost samples count in neither.
    """
    is_whole = np.isfinite(segments.densities).all(axis=1)
    for where, is_grey in ((is_whole & ~is_doubtful, False), (is_whole, True)):
        if where.any():
            return segments.densities[where].mean(axis=0), int(where.sum()), is_grey
    return None, 0, False


def decibels(densities: Floats) -> Floats:
    """Return densities in dB of 1 uV^2/Hz."""
    return 10 * np.log10(np.maximum(densities, LEAST_DENSITY))


def alpha_peak_hz(hz: Floats, density: Floats) -> float | None:
    """Return the frequency of the alpha peak; None if nothing stands out between 7 and 13.5 Hz."""
    level = decibels(density)
    inside = np.flatnonzero((hz >= ALPHA_HZ[0]) & (hz <= ALPHA_HZ[1]))
    beside = [(hz >= low) & (hz <= high) for low, high in BESIDE_ALPHA_HZ]
    if len(inside) < 3 or not all(part.any() for part in beside):
        return None
    top = int(inside[np.argmax(level[inside])])
    if top in (inside[0], inside[-1]):
        return None  # the slope of another peak
    ends_hz = [float(np.log(hz[part]).mean()) for part in beside]
    ground = np.interp(np.log(hz[top]), ends_hz, [float(np.median(level[part])) for part in beside])
    if level[top] - ground < 10 * np.log10(PEAK_MIN):
        return None
    before, at, after = level[top - 1 : top + 2]
    bend = before - 2 * at + after
    shift = 0.0 if bend == 0 else 0.5 * (before - after) / bend
    return float(hz[top] + shift * (hz[1] - hz[0]))
