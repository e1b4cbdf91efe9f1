"""The plots. They draw what they are given, without the feed and without a clock."""

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGraphicsItem

from monitor_gui import texts, themes
from monitor_gui.history import Floats
from monitor_gui.layouts import ElidedLabel
from monitor_gui.view import ESENSES, Lines, Scale, bands_range, levels_between, moments_of
from neuroone.contract.messages import BANDS

DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine)
"""Low is solid, high is dashed, so that lines differ by more than colour."""
EVENTS_SHOWN_MAX = 40
"""Events in one plot; more labels cover each other."""
ESENSE_LEVELS = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
"""The bounds of the five eSense zones."""
AXIS_WIDTH_PX = 58
"""One width for all plots, so that equal times are below each other."""
BARS_AXIS_WIDTH_PX = 46
NAMES_MIN_PX = 90
"""Height of a plot that has room for the names of its axes."""
NOTE_PX = 17
TOP_PX = 6
"""Above a plot without a note, for the upper half of the number at its top."""
EDGE = 0.03
"""Part of a range added at its ends, as room for the outermost tick."""
NUMBER_PX = 13
"""Height of a number at an axis, with a little room."""
SHORT = ("δ", "θ", "α1", "α2", "β1", "β2", "γ1", "γ2")
"""The bands' Greek letters, the same in every language."""
SHORTER = ((0.0, "δ"), (1.0, "θ"), (2.5, "α"), (4.5, "β"), (6.5, "γ"))
"""Bars and letters in a narrow plot: one letter between low and high."""
SHORT_MIN_PX = 210
"""Width of a plot of bars that has room for all of SHORT beside each other."""


class Plot(pg.PlotWidget):  # type: ignore[misc] # pyqtgraph has no types
    """A plot that the mouse does not change."""

    def __init__(self, axis_width_px: int) -> None:
        super().__init__()
        self.setMouseEnabled(x=False, y=False)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.disableAutoRange()
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.scene().setItemIndexMethod(self.scene().ItemIndexMethod.NoIndex)
        for side in ("left", "bottom"):
            self.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.getAxis("left").setWidth(axis_width_px)
        self.getPlotItem().layout.setContentsMargins(1, TOP_PX, 1, 1)
        self._names: dict[str, str] = {}
        self._levels: list[float] = []
        self.getViewBox().sigResized.connect(self._show_levels)
        self.note = ElidedLabel(self, textFormat=Qt.TextFormat.PlainText)
        """What has to be said about the plot, above it."""
        self.note.hide()

    def make_room_for_note(self) -> None:
        """Leave a line above the plot for its note."""
        self.getPlotItem().layout.setContentsMargins(1, NOTE_PX, 1, 1)
        self.note.show()

    def name_levels(self, levels: list[float]) -> None:
        """Write numbers at evenly spaced levels of the left axis: at the ends, and between them where there is room."""
        self._levels = levels
        self._show_levels()

    def _show_levels(self) -> None:
        if len(self._levels) < 2:
            return
        low, high = self.viewRange()[1]
        steps = len(self._levels) - 1
        step_px = self.getViewBox().height() * (self._levels[1] - self._levels[0]) / (high - low)
        every = next((each for each in range(1, steps) if steps % each == 0 and each * step_px >= NUMBER_PX), steps)
        shown = self._levels[::every] if steps * step_px >= NUMBER_PX else self._levels[-1:]
        self.getAxis("left").setTicks([[(level, f"{level:g}") for level in shown]])

    def name_axes(self, **names: str) -> None:
        """Write the names of axes in their middle."""
        self._names = names
        for side, name in names.items():
            self.getAxis(side).setLabel(name)
        self._show_names()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        if event is not None:  # pyqtgraph calls it with None before the constructor is through
            self._show_names()
            left_px = int(self.getAxis("left").width())
            self.note.setGeometry(left_px, 0, self.width() - left_px, NOTE_PX)

    def _show_names(self) -> None:
        """Show the names of the axes where the plot is high enough for them and its values."""
        for side in self._names:
            axis = self.getAxis(side)
            axis.showLabel(self.height() >= NAMES_MIN_PX)
            axis.resizeEvent()  # pyqtgraph leaves a new name where the last one began

    def colour(self) -> None:
        """Use the colours of the theme."""
        colours = themes.colours()
        self.setBackground(colours["ground"])
        self.note.setStyleSheet(f"color: {colours['ink']}; background: transparent")
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(colours["faint"])
            self.getAxis(side).setTextPen(colours["ink"])


def draw_if_any(curve: Any, x: Floats, y: Floats, is_shown: bool = True) -> None:
    """Draw a curve, or hide one without a value: an empty one takes as long as another."""
    is_shown = is_shown and not bool(np.isnan(y).all())
    curve.setVisible(is_shown)
    if is_shown:
        curve.setData(x, y)


def add_curve(plot: Plot, z: int = 0, **options: Any) -> Any:
    """Add an empty curve of pyqtgraph; one with a lower ``z`` is drawn below the others."""
    curve = pg.PlotCurveItem(**options)
    curve.setZValue(z)
    plot.addItem(curve)
    return curve


class TimePlot(Plot):
    """A plot over the last seconds: fixed axes, a gap where values are missing, events as vertical lines.

    ``axes`` are the keys of the texts at the axes "left" and "bottom".
    """

    def __init__(self, names: tuple[str, ...], **axes: str) -> None:
        super().__init__(AXIS_WIDTH_PX)
        self.getAxis("left").enableAutoSIPrefix(False)
        self._axes = axes
        self._frame: tuple[str, float, float, float] | None = None
        self.grid = add_curve(self, -10, connect="pairs")
        self.shading = add_curve(self, -20, pen=None)
        self.curves = {name: add_curve(self, connect="finite") for name in names}
        self._events: list[Any] = []
        """The lines of events, made when the first ones are shown: they take most of the time that a plot takes."""

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        colours = themes.colours()
        self.grid.setPen(pg.mkPen(colours["grid"], width=1))
        self.shading.setBrush(pg.mkBrush(colours["shade"]))
        for number, (name, curve) in enumerate(self.curves.items()):
            curve.setPen(pg.mkPen(colours[name], width=1, style=DASHES[number % 2] if name in BANDS[2:] else DASHES[0]))
        for line in self._events:
            self._colour_event(line)

    def frame(self, window_s: float, low: float, high: float, levels: list[float]) -> None:
        """Set the axes, with ticks and a grid at round times and at ``levels``."""
        frame = (texts.language(), window_s, low, high)
        if self._frame == frame:
            return
        self._frame = frame
        self.name_axes(**{side: texts.of(key) for side, key in self._axes.items()})
        self.setAccessibleName(self.getAxis("left").labelText)
        self.setRange(xRange=(-window_s, EDGE / 2 * window_s), yRange=(low, high), padding=0)
        moments = moments_of(window_s)
        self.getAxis("bottom").setTicks([[(moment, f"{moment:g}") for moment in moments]])
        self.name_levels(levels)
        # The grid is one curve: drawn by the axes it would cost four times as much as the rest of a frame.
        across = [(end, level) for level in levels for end in (-window_s, 0.0)]
        upright = [(moment, end) for moment in moments for end in (low, high)]
        self.grid.setData(*np.array([*across, *upright], np.float64).T)

    def show_events(self, events: list[tuple[float, str]]) -> None:
        """Draw events, given as seconds before the right edge and note."""
        while len(self._events) < min(len(events), EVENTS_SHOWN_MAX):
            line = pg.InfiniteLine(angle=90, label="", labelOpts={"position": 0.96})
            self._colour_event(line)
            self.addItem(line, ignoreBounds=True)
            self._events.append(line)
        for line, event in zip(self._events, events[-EVENTS_SHOWN_MAX:], strict=False):
            line.setValue(event[0])
            line.label.setFormat(event[1].replace("{", "{{").replace("}", "}}"))
            line.show()
        for line in self._events[len(events) :]:
            line.hide()

    def _colour_event(self, line: Any) -> None:
        colours = themes.colours()
        line.setPen(pg.mkPen(colours["faint"], width=1))
        line.label.setColor(colours["ink"])

    def shade(self, x: Floats, where: Any, low: float, high: float) -> None:
        """Shade the second before each reading ``where`` it is doubtful, from ``low`` to ``high``."""
        self.shading.setVisible(bool(where.any()))
        if not where.any():
            return
        self.shading.setFillLevel(low)
        edges = np.concatenate([[x[0] - 1.0], x])
        self.shading.setData(edges, np.where(where, high, low), stepMode="center")


class BandsPlot(TimePlot):
    """The eight bands, as log10; grey and dotted while they are doubtful."""

    def __init__(self) -> None:
        super().__init__(BANDS, left="axis.log_power")
        self.doubtful = add_curve(self, connect="finite")
        """All bands one after the other: eight more curves would cost more than the rest of the plot."""

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        self.doubtful.setPen(doubtful_pen())

    def draw(self, lines: Lines, window_s: float, hidden: frozenset[str], scale: Scale) -> None:
        """Draw the readings of a window."""
        low, high = bands_range(lines, hidden, scale)
        levels = levels_between(low, high)
        low, high = low - EDGE * (high - low), high + EDGE * (high - low)
        self.frame(window_s, low, high, levels)
        self.shade(lines.x, lines.is_doubtful[0], low, high)
        shown = [np.append(lines.doubtful[band], np.nan) for band in self.curves if band not in hidden]
        draw_if_any(self.doubtful, np.tile(np.append(lines.x, 0.0), len(shown)), np.concatenate([[], *shown]))
        for band, curve in self.curves.items():
            curve.setVisible(band not in hidden)
            if band not in hidden:
                curve.setData(lines.x, lines.valid[band])


class ESensePlot(TimePlot):
    """Attention and meditation; grey and dotted while they are doubtful."""

    def __init__(self) -> None:
        super().__init__(ESENSES, left="axis.esense", bottom="axis.time")
        self.doubtful = {name: add_curve(self, connect="finite") for name in ESENSES}

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        for curve in self.doubtful.values():
            curve.setPen(doubtful_pen())

    def draw(self, lines: Lines, window_s: float, hidden: frozenset[str], scale: Scale) -> None:
        """Draw the readings of a window; eSense has the same scale always."""
        self.frame(window_s, -4.0, 104.0, ESENSE_LEVELS)
        self.shade(lines.x, lines.is_doubtful[1], -4.0, 104.0)
        for name in ESENSES:
            self.curves[name].setVisible(name not in hidden)
            if name not in hidden:
                self.curves[name].setData(lines.x, lines.valid[name])
            draw_if_any(self.doubtful[name], lines.x, lines.doubtful[name], name not in hidden)


class BandBars(Plot):
    """The bands of the latest reading."""

    def __init__(self) -> None:
        super().__init__(BARS_AXIS_WIDTH_PX)
        self.getAxis("bottom").setStyle(tickLength=0)
        self._frame: tuple[float, str] | None = None
        self._is_faint: bool | None = None
        self.bars = pg.BarGraphItem(x=np.arange(len(BANDS)), height=np.zeros(len(BANDS)), width=0.7)
        self.addItem(self.bars)

    def colour(self) -> None:
        """Use the colours of the theme."""
        super().colour()
        self._is_faint = None

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        if event is not None:
            self.getAxis("bottom").setTicks([SHORTER if self.width() < SHORT_MIN_PX else list(enumerate(SHORT))])

    def draw(self, heights: Floats, top: float, left: str, is_faint: bool) -> None:
        """Draw the bars on an axis from 0 to ``top`` with the name ``left``, faint ones for doubtful bands."""
        if self._frame != (top, left):
            self._frame = (top, left)
            self.name_axes(left=left)
            self.setRange(xRange=(-0.6, len(BANDS) - 0.4), yRange=(0, (1 + EDGE) * top), padding=0)
            step = next((step for step in (1, 10) if top / step <= 8), 20)
            self.name_levels([float(level) for level in np.arange(0, top + step / 10, step)])
        if self._is_faint != is_faint:
            self._is_faint = is_faint
            colours = themes.colours()
            pens = [colours["faint"] if is_faint else colours[band] for band in BANDS]
            self.bars.setOpts(brushes=pens, pens=pens)
        self.bars.setOpts(height=heights)


def doubtful_pen() -> Any:
    """Return the pen of doubtful values."""
    return pg.mkPen(themes.colours()["faint"], width=1, style=Qt.PenStyle.DotLine)
