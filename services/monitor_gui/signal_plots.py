"""The plots of raw samples: the trace, its spectrum, and the spectrogram."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLocale, QRectF

from monitor_gui import texts, themes
from monitor_gui.history import COLUMNS, RAW_TAIL_MAX, Flags, Floats, History, RawTail
from monitor_gui.plots import AXIS_WIDTH_PX, EDGE, Plot, TimePlot, add_curve, doubtful_pen
from monitor_gui.signal import scipy_loading
from monitor_gui.signal.filters import Filters
from monitor_gui.signal.spectrum import (
    BORDERS_HZ,
    SEGMENT_S,
    LiveSpectrum,
    Segments,
    alpha_peak_hz,
    are_poor,
    decibels,
    mean_density,
)
from monitor_gui.signal.trace import LiveTrace
from monitor_gui.view import SPECTROGRAM_S, Density, Scale, View, moments_of, power_range, raw_range, thinned

MOVE_MIN_PX: Final = 0.5
"""A trace that has moved less is left as it is: a minute in 400 pixels is drawn 13 times a second."""
BLINK_SHARE: Final = 0.12
"""Part of half the plot's height that the mark of a blink takes."""
SPECTRUM_HZ: Final = 64.0
SPECTROGRAM_HZ: Final = 50.0
"""Upper ends of the axes: the spectrum shows the mains too, the spectrogram ends with mid gamma."""
SIZED_HZ: Final = (1.0, 45.0)
"""What sets the scale: the slow drift below and the mains above would flatten the rest."""
COARSE_BANDS: Final = {"δ": (0.5, 3.5), "θ": (3.5, 7.5), "α": (7.5, 13.0), "β": (13.0, 31.0), "γ": (31.0, 50.0)}
LEVELS: Final = 256
"""Colours of the spectrogram."""


@dataclass(frozen=True, slots=True)
class Period:
    """Raw samples of a period, by their numbers; ``begin_s`` is the time of the first one before the right edge."""

    first: int
    stop: int
    begin_s: float


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a stream's history holds of raw samples for one frame. None: not shown, or not to be computed."""

    rate_hz: float | None
    filters: Filters
    trace: RawTail | None
    spectrum: RawTail | None
    period: Period
    minute: Period

    @property
    def has_all(self) -> bool:
        """Return True if the spectra can be computed, and of every sample that is there: long ones come in portions."""
        return self.spectrum is not None and len(self.spectrum.counts) < RAW_TAIL_MAX


class RawPlot(TimePlot):
    """The raw trace of the last seconds, with a mark at the bottom for each blink."""

    def __init__(self) -> None:
        super().__init__(("raw",), left="axis.raw", bottom="axis.time")
        self.blinks = add_curve(self, 10, connect="pairs")

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        self.blinks.setPen(pg.mkPen(themes.colours()["blink"], width=3))

    def draw(self, times: Floats, microvolts: Floats, first: int, blinks: Floats, view: View) -> float:
        """Draw samples; ``first`` is the number of the first one, ``times`` are before the right edge."""
        high = raw_range(microvolts, view.scale, view.gain_uv)
        self.frame(view.raw_window_s, -1.15 * high, 1.15 * high, [-high, -high / 2, 0.0, high / 2, high])
        self.curves["raw"].setData(*thinned(times, microvolts, first, 2 * self.width()))
        self.blinks.setVisible(len(blinks) > 0)
        ends = np.tile([-1.15 * high, (BLINK_SHARE - 1.15) * high], len(blinks))
        self.blinks.setData(np.repeat(blinks, 2), ends)
        return 1.15 * high


class SpectrumPlot(Plot):
    """The power density of the raw samples that the trace shows, with the borders of the bands."""

    def __init__(self) -> None:
        super().__init__(AXIS_WIDTH_PX)
        self.getAxis("left").enableAutoSIPrefix(False)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        self.borders = add_curve(self, -10, connect="pairs")
        self.curve = add_curve(self, connect="finite")
        self.peak = add_curve(self, 5, connect="pairs")
        self.bands = [pg.TextItem(letter, anchor=(0.5, 1.0)) for letter in COARSE_BANDS]
        for band in self.bands:
            self.addItem(band, ignoreBounds=True)
        self._frame: tuple[object, ...] | None = None

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        colours = themes.colours()
        self.borders.setPen(pg.mkPen(colours["grid"], width=1))
        self.peak.setPen(pg.mkPen(colours["low_alpha"], width=1))
        for band in self.bands:
            band.setColor(colours["faint"])

    def draw(self, hz: Floats, density: Floats | None, view: View, is_grey: bool, peak_hz: float | None) -> None:
        """Draw a spectrum and the alpha peak in it; None for an empty plot."""
        values = np.full(len(hz), np.nan) if density is None else density
        if view.density is Density.DECIBELS:
            values = np.where(np.isnan(values), np.nan, decibels(values))
        sized = values[(hz >= SIZED_HZ[0]) & (hz <= SIZED_HZ[1])]
        low, high = power_range(sized, view.scale) if view.density is Density.DECIBELS else (0.0, _round_up(sized))
        self._set_axes(low, high, view.density)
        self.curve.setPen(doubtful_pen() if is_grey else pg.mkPen(themes.colours()["spectrum"], width=1))
        self.curve.setData(hz[1:], values[1:])  # the mean is removed: there is no 0 Hz
        self.peak.setData([] if peak_hz is None else [peak_hz, peak_hz], [] if peak_hz is None else [low, high])

    def _set_axes(self, low: float, high: float, density: Density) -> None:
        frame = (texts.language(), low, high, density)
        if self._frame == frame:
            return
        self._frame = frame
        self.name_axes(left=texts.of(f"axis.{density}"), bottom=texts.of("axis.frequency"))
        self.setAccessibleName(texts.of("line.spectrum"))
        self.setRange(xRange=(0, SPECTRUM_HZ), yRange=(low, high + EDGE * (high - low)), padding=0)
        step = 10.0 if density is Density.DECIBELS else high / 2
        self.name_levels([float(level) for level in np.arange(np.ceil(low / step) * step, high + step / 2, step)])
        self.borders.setData(np.repeat(BORDERS_HZ, 2), np.tile([low, high], len(BORDERS_HZ)))
        for band, (begin_hz, end_hz) in zip(self.bands, COARSE_BANDS.values(), strict=True):
            band.setPos((begin_hz + end_hz) / 2, low)


class SpectrogramPlot(Plot):
    """A minute of spectra: seconds from left to right, frequencies upwards, power as colour."""

    def __init__(self) -> None:
        super().__init__(AXIS_WIDTH_PX)
        self.image = pg.ImageItem()
        self.addItem(self.image)
        self._frame: str | None = None
        colour = pg.colormap.get("viridis").getLookupTable(0.0, 1.0, LEVELS, alpha=True)
        grey = np.repeat(np.linspace(40, 230, LEVELS)[:, np.newaxis], 4, axis=1)
        grey[:, 3] = 255
        self._colours = np.stack([colour, grey]).astype(np.uint8)

    def draw(self, segments: Segments, begin_s: float, is_poor: Flags, scale: Scale) -> tuple[float, float]:
        """Draw spectra, the first of which begins at ``begin_s`` before the right edge; return the range of colours."""
        self._set_axes()
        shown = (segments.hz > 0) & (segments.hz <= SPECTROGRAM_HZ)
        levels = decibels(segments.densities[:, shown])
        sized = segments.hz[shown]
        good = levels[~is_poor][:, (sized >= SIZED_HZ[0]) & (sized <= SIZED_HZ[1])]
        low, high = power_range(good, scale)
        self.image.setVisible(levels.size > 0)
        if levels.size:
            steps = np.nan_to_num((levels - low) / (high - low) * (LEVELS - 1))
            pixels = self._colours[is_poor.astype(int)[:, np.newaxis], np.clip(steps, 0, LEVELS - 1).astype(int)]
            pixels[np.isnan(levels).any(axis=1), :, 3] = 0
            self.image.setImage(pixels, autoLevels=False)
            top_hz, line_hz = float(sized[-1]), float(segments.hz[1])
            # A segment is drawn as the second in its middle.
            place = QRectF(begin_s + (SEGMENT_S - 1) / 2, line_hz / 2, len(levels), top_hz)
            self.image.setRect(place)
        return low, high

    def clear_image(self) -> None:
        """Show the axes only."""
        self._set_axes()
        self.image.hide()

    def _set_axes(self) -> None:
        if self._frame == texts.language():
            return
        self._frame = texts.language()
        self.name_axes(left=texts.of("axis.frequency"), bottom=texts.of("axis.time"))
        self.setAccessibleName(texts.of("line.spectrogram"))
        self.setRange(xRange=(-SPECTROGRAM_S, EDGE / 2 * SPECTROGRAM_S), yRange=(0, SPECTROGRAM_HZ), padding=0)
        self.getAxis("bottom").setTicks([[(each, f"{each:g}") for each in moments_of(SPECTROGRAM_S)]])
        self.name_levels([float(level) for level in np.arange(0.0, SPECTROGRAM_HZ + 1, 10.0)])


class SignalPlots:
    """The three plots of one stream and what they are computed from. Only what is shown is computed."""

    def __init__(self) -> None:
        self.raw, self.spectrum, self.spectrogram = RawPlot(), SpectrumPlot(), SpectrogramPlot()
        for plot in (self.raw, self.spectrum, self.spectrogram):
            plot.make_room_for_note()
        self._trace, self._live = LiveTrace(), LiveSpectrum()
        self._traced: tuple[object, ...] = ()
        """The right edge with which the trace was drawn, in steps of MOVE_MIN_PX, and all else that it depends on."""

    @property
    def by_name(self) -> dict[str, Any]:
        """Return the plots by the names of their lines."""
        return {"raw": self.raw, "spectrum": self.spectrum, "spectrogram": self.spectrogram}

    def pull(self, history: History, view: View, edge_s: float) -> Pulled:
        """Copy what is new in a history; the caller holds its lock. The computing comes later, in the draw methods."""
        rate_hz = history.raw_rate_hz
        is_shown = {name: name not in view.hidden for name in self.by_name}
        needs_scipy = not view.filters.are_off or is_shown["spectrum"] or is_shown["spectrogram"]
        is_ready = rate_hz is not None and needs_scipy and scipy_loading.is_loaded()
        filters = view.filters if is_ready and rate_hz is not None and view.filters.fit(rate_hz) else Filters()
        wants_spectrum = is_ready and (is_shown["spectrum"] or is_shown["spectrogram"])

        def period(length_s: float) -> Period:
            first, stop, first_s = history.raw_numbers(edge_s - length_s, edge_s)
            return Period(first, stop, first_s - edge_s)

        return Pulled(
            rate_hz,
            filters,
            history.raw_tail(*self._trace.needs(filters)) if is_shown["raw"] else None,
            history.raw_tail(*self._live.needs) if wants_spectrum else None,
            period(view.raw_window_s),
            period(SPECTROGRAM_S),
        )

    def follow(self, pulled: Pulled) -> None:
        """Compute what comes of new samples."""
        if pulled.spectrum is not None:
            self._live.follow(pulled.spectrum)
        if pulled.trace is not None:
            self._trace.follow(pulled.trace, pulled.filters)

    def draw_trace(
        self, pulled: Pulled, rows: Floats, edge_s: float, view: View, events: list[tuple[float, str]]
    ) -> None:
        """Draw the raw trace, if it is shown and has moved. ``rows`` are readings, ``events`` are in its window."""
        tail, period = pulled.trace, pulled.period
        if tail is None:
            return
        step = edge_s * self.raw.width() // (view.raw_window_s * MOVE_MIN_PX)
        caught_up = 0 if view.paused_at_s is None else tail.first
        traced = (step, view, self.raw.width(), texts.language(), pulled.filters, tail.series, caught_up)
        if traced == self._traced:
            return
        self._traced = traced
        times = period.begin_s + np.arange(period.stop - period.first) / tail.rate_hz
        readings_s, are_poor_s = rows[:, 0] - edge_s, rows[:, COLUMNS.index("poor_signal")] > 0
        poor_s = readings_s[are_poor_s]
        marks = times[np.array(self._trace.blinks(period.first, period.stop), int) - period.first]
        blinks = np.array([mark for mark in marks if not ((poor_s > mark) & (poor_s < mark + 1)).any()])
        microvolts = self._trace.microvolts(period.first, period.stop)
        high = self.raw.draw(times, microvolts, period.first, blinks, view)
        self.raw.shade(readings_s, are_poor_s, -high, high)
        self.raw.note.setText(self._raw_note(pulled, view, len(blinks)))
        self.raw.show_events(events)

    def draw_spectrum(self, pulled: Pulled, rows: Floats, edge_s: float, view: View) -> None:
        """Draw the spectrum of the samples that the trace shows."""
        if pulled.spectrum is None or pulled.rate_hz is None:
            self.spectrum.draw(np.arange(2.0), None, view, is_grey=True, peak_hz=None)
            self.spectrum.note.setText(_missing_note(pulled))
            return
        segments, is_poor, _ = self._segments(pulled, pulled.period, rows, edge_s)
        density, seconds, is_grey = mean_density(segments, is_poor)
        peak_hz = None if density is None or is_grey else alpha_peak_hz(segments.hz, density)
        self.spectrum.draw(segments.hz, density, view, is_grey, peak_hz)
        if density is None:
            note = texts.of("plots.no_spectrum")
        elif is_grey:
            note = texts.of("plots.poor_contact")
        else:
            peak = "--" if peak_hz is None else f"{QLocale().toString(peak_hz, 'f', 1)} Hz"
            note = texts.of("plots.alpha_peak").format(peak, seconds + SEGMENT_S - 1, f"{pulled.rate_hz:g}")
        self.spectrum.note.setText(note)

    def draw_spectrogram(self, pulled: Pulled, rows: Floats, edge_s: float, view: View) -> None:
        """Draw the spectrogram of the last minute."""
        if pulled.spectrum is None or pulled.rate_hz is None:
            self.spectrogram.clear_image()
            self.spectrogram.note.setText(_missing_note(pulled))
            return
        segments, is_poor, begin_s = self._segments(pulled, pulled.minute, rows, edge_s)
        low, high = self.spectrogram.draw(segments, begin_s, is_poor, view.scale)
        notes = [texts.of("plots.grey_is_poor")] if is_poor.any() else []
        notes += [texts.of("plots.empty_is_lost")] if np.isnan(segments.densities).any() else []
        notes.append(texts.of("plots.colours").format(f"{low:g}", f"{high:g}"))
        self.spectrogram.note.setText("  ·  ".join(notes) if len(segments.densities) else texts.of("plots.no_spectrum"))

    def _segments(self, pulled: Pulled, period: Period, rows: Floats, edge_s: float) -> tuple[Segments, Flags, float]:
        """Return the segments of a period, where contact is poor, and when the first begins, before the right edge."""
        segments = self._live.segments(period.first, period.stop)
        begin_s = period.begin_s + (segments.first - period.first) / (pulled.rate_hz or 1.0)
        begins = edge_s + begin_s + np.arange(len(segments.densities), dtype=np.float64)
        return segments, are_poor(rows, begins), begin_s

    def _raw_note(self, pulled: Pulled, view: View, blinks: int) -> str:
        """Return what has to be said about the trace."""
        notes = []
        if pulled.filters != view.filters:
            is_unfit = pulled.rate_hz is not None and not view.filters.fit(pulled.rate_hz)
            notes.append(texts.of("plots.unfit_filter") if is_unfit else _missing_note(pulled, "plots.unfiltered"))
        if blinks:
            notes.append(texts.of("plots.blinks"))
        return "  ·  ".join(notes)


def _missing_note(pulled: Pulled, rate_key: str = "plots.rate_unknown") -> str:
    """Return why nothing is computed: the sampling rate is not known, or SciPy is still being loaded."""
    return texts.of(rate_key if pulled.rate_hz is None else "plots.loading")


def _round_up(values: Floats) -> float:
    """Return the next of 1, 2, 5, 10 ... above the highest value."""
    seen = values[np.isfinite(values)]
    if not len(seen) or seen.max() <= 0:
        return 1.0
    step = 10.0 ** np.floor(np.log10(seen.max()))
    return float(next(step * each for each in (1, 2, 5, 10) if step * each >= seen.max()))
