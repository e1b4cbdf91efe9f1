"""The chosen view and the arithmetic of what is drawn in it. No Qt, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from monitor_gui.history import COLUMNS, Flags, Floats
from monitor_gui.signal.filters import PASSBANDS_HZ, Filters
from neuroone.contract.doubt import DOUBTS, Doubt
from neuroone.contract.messages import (
    BANDS,
    OFF_SKIN,
    Reading,
    RecordedStream,
    StreamStatus,
)
from neuroone.service.stream_states import status_after

WINDOWS_S: Final = (10, 30, 50, 120)
RAW_WINDOWS_S: Final = (5, 10, 30, 60)
GAINS_UV: Final = (0, 25, 50, 100, 200, 500, 1000)
"""Half the height of the raw trace; 0: by the samples themselves."""
SPECTROGRAM_S: Final = 60
ESENSES: Final = ("attention", "meditation")
SPECTRA: Final = ("spectrum", "spectrogram")
LINES: Final = (*BANDS, *ESENSES, "raw", *SPECTRA)
ADJUSTING_MAX: Final = 50
"""Up to here a contact needs adjusting; above, the signal is poor."""
ARTEFACT_MIN: Final = 16_700_000
"""Band powers just below 2**24 are small negative numbers that lost their sign in the headset."""
BANDS_FIXED: Final = (1.0, 7.5)
"""log10 of the powers that headsets send: 2**24 is 7.2."""
RAW_FIXED_UV: Final = 500.0
"""A ThinkGear chip uses -2048 to 2047 counts: 450 uV."""
RAW_STEPS_UV: Final = (25.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 8000.0)
"""Ranges of an automatic scale; 16 bits of counts are 7200 uV."""
RAW_USUAL_QUANTILE: Final = 0.75
"""Blinks fill up to a quarter of ten seconds; the other samples set the scale, and blinks reach beyond the plot."""
RAW_USUAL_SHARE: Final = 3.0
"""Three times the upper quartile is 3.5 standard deviations of noise, and 2.8 times the peak of a sine."""
DECIBELS_FIXED: Final = (-20.0, 40.0)
"""From the noise of a headset to slow waves of a blink, in dB of 1 uV^2/Hz."""
DECIBELS_SHOWN: Final = (0.05, 1.0)
"""The weakest twentieth, the filter's end or the mean that is removed, does not set the scale."""
DECIBELS_MAX: Final = 80.0
TOUCHES_ESENSE: Final = np.array([each is not None and each.touches_esense for each in DOUBTS])
TOUCHES_BANDS: Final = np.array([each is not None and each.touches_bands for each in DOUBTS])
"""What a doubt touches, by its place in `DOUBTS`."""
RECORDED_LATE_S: Final = 5.0
"""A recorder publishes a receipt once a second; an older one means that it is late or gone."""


class Signal(StrEnum):
    """The contact of a headset, from its poor signal."""

    UNKNOWN = "unknown"
    GOOD = "good"
    ADJUSTING = "adjusting"
    POOR = "poor"
    OFF = "off"


class Scale(StrEnum):
    """The scale of the vertical axes."""

    AUTO = "auto"
    FIXED = "fixed"


class Bars(StrEnum):
    """The unit of the bars."""

    LOG = "log"
    RELATIVE = "relative"


class Density(StrEnum):
    """The unit of the spectrum."""

    DECIBELS = "decibels"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a stream. ``paused_at_s`` is on this computer's monotonic clock."""

    window_s: int = 50
    hidden: frozenset[str] = frozenset(SPECTRA)
    scale: Scale = Scale.AUTO
    bars: Bars = Bars.RELATIVE
    raw_window_s: int = 10
    gain_uv: int = 0
    mains_hz: int = 0
    passband_hz: tuple[float, float] = PASSBANDS_HZ[0]
    density: Density = Density.DECIBELS
    is_signal_only: bool = False
    paused_at_s: float | None = None
    back_s: float = 0.0

    @property
    def filters(self) -> Filters:
        """Return the filters of the raw trace."""
        return Filters(self.mains_hz, self.passband_hz)

    def edge_s(self, now_s: float) -> float:
        """Return the time at the right edge of the plots."""
        return (now_s if self.paused_at_s is None else self.paused_at_s) - self.back_s

    def behind_s(self, now_s: float) -> float:
        """Return how far the plots are behind now; 0 while they run."""
        return now_s - self.edge_s(now_s)

    def toggled(self, line: str) -> "View":
        """Return this view with one line shown or hidden."""
        return replace(self, hidden=self.hidden ^ {line})

    def signal_only(self, is_on: bool) -> "View":
        """Return this view with only the plots of raw samples, all of them, or with the other plots too."""
        hidden = self.hidden.difference(("raw", *SPECTRA)) if is_on else self.hidden
        return replace(self, hidden=hidden, is_signal_only=is_on)

    def paused(self, now_s: float | None) -> "View":
        """Return this view held at ``now_s``, or running again for None."""
        return replace(self, paused_at_s=now_s, back_s=0.0)

    def scrolled(self, by_s: float, most_s: float) -> "View":
        """Return this view ``by_s`` seconds further back, at most ``most_s``; unchanged while it is not paused."""
        if self.paused_at_s is None:
            return self
        return replace(self, back_s=float(min(max(0.0, self.back_s + by_s), max(0.0, most_s))))


def signal_of(poor_signal: float | None) -> Signal:
    """Return the contact of a headset."""
    if poor_signal is None or np.isnan(poor_signal):
        return Signal.UNKNOWN
    if poor_signal == 0:
        return Signal.GOOD
    if poor_signal <= ADJUSTING_MAX:
        return Signal.ADJUSTING
    return Signal.POOR if poor_signal < OFF_SKIN else Signal.OFF


def last_of(rows: Floats) -> Floats | None:
    """Return the newest reading of rows, which may end with a gap; None if there is none."""
    read = rows[~np.isnan(rows[:, COLUMNS.index("doubt")])]
    return read[-1] if len(read) else None


def status_at(row: Floats | None, edge_s: float) -> StreamStatus:
    """Return a stream's status at a moment of the past, from the newest reading before it."""
    return StreamStatus.OFFLINE if row is None else status_after(max(0.0, edge_s - float(row[0])))


def esense_of(
    values: Mapping[str, float] | None, doubt: Doubt | None, name: str, status: StreamStatus | None
) -> tuple[int | None, bool]:
    """Return attention or meditation of a reading, None if it is not known, and whether it is valid."""
    if values is None or status is StreamStatus.OFFLINE:
        return None, False
    value = int(values[name])
    is_doubtful = doubt is not None and doubt.touches_esense
    return value or None, value > 0 and not is_doubtful and status is StreamStatus.ONLINE


def is_recorded(reading: Reading | None, receipt: RecordedStream | None, receipt_age_s: float) -> bool:
    """Return True if a recorder keeps up: its receipt is of this session, and recent or complete."""
    if reading is None or receipt is None or receipt.session != reading.session:
        return False
    return receipt_age_s < RECORDED_LATE_S or receipt.seq >= reading.seq


@dataclass(frozen=True, slots=True)
class Lines:
    """Readings to draw, with NaN for values that are not drawn.

    ``x`` are seconds before the right edge. By name of the line: ``valid`` are values without doubt, bands as log10 of
    their powers; ``doubtful`` are the others. ``is_doubtful`` says where the bands are, and where eSense is.
    """

    x: Floats
    valid: dict[str, Floats]
    doubtful: dict[str, Floats]
    is_doubtful: tuple[Flags, Flags]


def lines_of(rows: Floats, edge_s: float) -> Lines:
    """Make lines of rows (shape (n, COLUMNS)); ``edge_s`` is the time at the right edge."""
    columns = dict(zip(COLUMNS, rows.T, strict=True))
    is_off = np.nan_to_num(columns["poor_signal"]) >= OFF_SKIN
    codes = np.nan_to_num(columns["doubt"]).astype(np.uint8)
    bands_doubtful, esense_doubtful = TOUCHES_BANDS[codes], TOUCHES_ESENSE[codes]
    lines = {band: np.where(is_off, np.nan, log_power(columns[band])) for band in BANDS}
    lines |= {name: np.where(columns[name] > 0, columns[name], np.nan) for name in ESENSES}
    where = dict.fromkeys(BANDS, bands_doubtful) | dict.fromkeys(ESENSES, esense_doubtful)
    return Lines(
        columns["time_s"] - edge_s,
        {name: np.where(where[name], np.nan, values) for name, values in lines.items()},
        {name: np.where(where[name], values, np.nan) for name, values in lines.items()},
        (bands_doubtful, esense_doubtful),
    )


def log_power(power: Floats) -> Floats:
    """Return log10 of band powers; NaN for 0 (not sent) and for artefacts."""
    seen = (power > 0) & (power < ARTEFACT_MIN)
    return np.log10(np.where(seen, power, np.nan))


def bars_of(row: Floats | None, bars: Bars) -> Floats:
    """Return the heights of the eight bars, log10 or percent of the sum; ``row`` has `COLUMNS`.

    Clipped bands have no percentages: they would all be equal.
    """
    values = dict.fromkeys(COLUMNS, 0.0) if row is None else dict(zip(COLUMNS, row, strict=True))
    power = np.nan_to_num([values[band] for band in BANDS])
    is_clipped = values["doubt"] == DOUBTS.index(Doubt.CLIPPED)
    if signal_of(values["poor_signal"]) is Signal.OFF or (is_clipped and bars is Bars.RELATIVE):
        power[:] = 0
    if bars is Bars.LOG:
        return np.nan_to_num(log_power(power))
    power = np.where(power < ARTEFACT_MIN, power, 0.0)
    total = power.sum()
    return 100 * power / total if total else power


def bands_range(lines: Lines, hidden: frozenset[str], scale: Scale) -> tuple[float, float]:
    """Return the vertical range of the bands; an automatic one has steps of 0.5, so that it seldom moves."""
    names = [band for band in BANDS if band not in hidden]
    shown = [each[band] for band in names for each in (lines.valid, lines.doubtful)]
    seen = np.concatenate(shown) if shown else np.array([])
    seen = seen[np.isfinite(seen)]
    if scale is Scale.FIXED or not len(seen):
        return BANDS_FIXED
    low, high = np.floor(seen.min() * 2 - 0.2) / 2, np.ceil(seen.max() * 2 + 0.2) / 2
    return float(low), float(high)


def bars_top(heights: Floats, bars: Bars, scale: Scale) -> float:
    """Return the upper end of the bars' axis, which begins at 0."""
    if bars is Bars.LOG:
        return BANDS_FIXED[1]
    return 100.0 if scale is Scale.FIXED else max(20.0, 10 * float(np.ceil(heights.max() / 10)))


def moments_of(window_s: float) -> list[float]:
    """Return round times for the ticks of a window, in seconds before its right edge."""
    step = next(step for step in (2, 5, 10, 20) if window_s / step <= 6)
    return [float(-moment) for moment in range(0, int(window_s) + 1, step)]


def levels_between(low: float, high: float) -> list[float]:
    """Return round levels for the ticks of a range: whole and half ones, or whole ones in a long range."""
    step = 0.5 if high - low <= 3 else 1.0
    return [float(level) for level in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def raw_range(microvolts: Floats, scale: Scale, gain_uv: int) -> float:
    """Return half the vertical range of the raw trace."""
    seen = microvolts[np.isfinite(microvolts)]
    if gain_uv:
        return float(gain_uv)
    if scale is Scale.FIXED or not len(seen):
        return RAW_FIXED_UV
    size = np.abs(seen)
    usual = RAW_USUAL_SHARE * float(np.quantile(size, RAW_USUAL_QUANTILE))
    wanted = min(float(size.max()), max(usual, RAW_STEPS_UV[0]))
    return next((step for step in RAW_STEPS_UV if step >= wanted), RAW_STEPS_UV[-1])


def thinned(times: Floats, values: Floats, first: int, most: int) -> tuple[Floats, Floats]:
    """Return a trace in about ``most`` points: the lowest and the highest of each group of samples.

    A group with a lost sample is a gap. A screen of ``most`` / 2 columns shows the same picture. Groups begin at round
    numbers (``first`` is the number of the first sample), so that a moving trace does not flicker.
    """
    if len(values) <= most:
        return times, values
    size = 2 * -(-len(values) // most)
    cut = -first % size
    groups = -(-(len(values) - cut) // size)
    missing = cut + groups * size - len(values)
    parts = np.pad(values[cut:], (0, missing), mode="edge").reshape(groups, size)
    ends = np.stack([parts.min(axis=1), parts.max(axis=1)], axis=1).ravel()
    begins = times[cut::size]
    half = (times[1] - times[0]) * size / 2
    return np.stack([begins, begins + half], axis=1).ravel(), ends


def power_range(densities: Floats, scale: Scale) -> tuple[float, float]:
    """Return the range of densities in dB; an automatic one has steps of 10, so that it seldom moves."""
    seen = densities[np.isfinite(densities)]
    if scale is Scale.FIXED or not len(seen):
        return DECIBELS_FIXED
    low, high = np.quantile(seen, DECIBELS_SHOWN)
    low = max(float(np.floor(low / 10) * 10), float(high) - DECIBELS_MAX)
    return low, max(low + 10, float(np.ceil(high / 10) * 10))
