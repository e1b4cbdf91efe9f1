"""One stream on the screen: contact, numbers, plots and counters."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from PySide6.QtCore import QLocale, Qt
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from monitor_gui import texts, themes
from monitor_gui.contact_indicator import ContactIndicator
from monitor_gui.exports import Shown
from monitor_gui.feed import StreamId, named
from monitor_gui.history import Floats, History
from monitor_gui.layouts import ElidedLabel, FlowLayout, Steady
from monitor_gui.moment import Moment, words_of
from monitor_gui.playing.playback import Source
from monitor_gui.plots import BandBars, BandsPlot, ESensePlot, Plot
from monitor_gui.signal_plots import Pulled, SignalPlots
from monitor_gui.view import (
    ESENSES,
    SPECTRA,
    SPECTROGRAM_S,
    Bars,
    View,
    bars_of,
    bars_top,
    esense_of,
    is_recorded,
    last_of,
    lines_of,
    status_at,
)
from neuroone.contract.messages import BANDS, GroupEvent, RecordedStream, StreamState, StreamStatus

NO_BREAK: Final = "\u00a0"
LINK_PERIOD_S: Final = 0.2
"""How often the age of the last reading is written: written only with a new reading it would always be 0."""
LINES_PERIOD_S: Final = 1.0
"""How often the plots of readings move: a headset sends one reading a second."""
PARTS: Final = ("bands", "esense", "last reading", "spectrum", "spectrogram")
"""What is drawn once a second, in this order, each in a frame of its own: together they would take too long for one.

All are drawn from the same readings; newer ones are taken when all are through.
"""
HEAD_SPACING_PX: Final = 16
DEVICE_MAX_CHARS: Final = 40
"""Shown characters of a port's name: its end tells ports apart."""
LOW_PX: Final = 300
"""Height of a panel that leaves one line for the stream's counters: more would lie over the plots."""
UNLIMITED_PX: Final = 2**24 - 1
"""The height of a widget that has no other limit (QWIDGETSIZE_MAX, which PySide6 does not have)."""
PLOT_MIN_PX: Final = (100, 40)
"""Two panels of four rows of plots fit beside and above each other in a window of 500 x 400."""


@dataclass(slots=True)
class Drawn:
    """What a panel shows: of which readings and when they were taken, and which PARTS are still to be drawn.

    ``shown`` are the view, whether the broker was there, the history, and whether the spectra were of all of it;
    ``readings`` are how many had arrived.
    """

    at_s: float
    shown: tuple[View, bool, History, bool]
    readings: int
    rows: Floats
    due: list[str]


class StreamPanel(QWidget):
    """The contact, the numbers, the plots and the counters of one stream."""

    def __init__(self, feed: Source, stream: StreamId) -> None:
        super().__init__()
        self.feed, self.stream = feed, stream
        self.title = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        self.title.setStyleSheet("font-weight: bold")
        self.contact = ContactIndicator()
        self.numbers = {name: QLabel(textFormat=Qt.TextFormat.RichText) for name in ESENSES}
        self.doubt = QLabel(textFormat=Qt.TextFormat.PlainText)
        self.recorded = QLabel()
        self.link = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self.link.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.link.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.bands, self.esense, self.bars = BandsPlot(), ESensePlot(), BandBars()
        self.signal = SignalPlots()
        self.events: list[GroupEvent] = []
        self._drawn: Drawn | None = None
        self._linked_s = float("-inf")
        self._lay_out()
        self.restyle()

    def _lay_out(self) -> None:
        head = FlowLayout(HEAD_SPACING_PX)
        for widget in (self.contact, *self.numbers.values(), self.doubt, self.recorded):
            head.addWidget(Steady(widget))
        plots, trace, row = QVBoxLayout(), QHBoxLayout(), QWidget()
        spectra = QHBoxLayout(row)
        spectra.setContentsMargins(0, 0, 0, 0)
        plots.setSpacing(4)
        plots.addWidget(self.bands, 4)
        plots.addWidget(self.esense, 3)
        plots.addLayout(trace, 4)
        plots.addWidget(row, 4)
        trace.addWidget(self.signal.raw, 7)
        trace.addWidget(self.bars, 4)
        spectra.addWidget(self.signal.spectrum, 1)
        spectra.addWidget(self.signal.spectrogram, 1)
        for plot in self._plots():
            plot.setMinimumSize(*PLOT_MIN_PX)
            plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addWidget(self.title)
        column.addLayout(head)
        column.addLayout(plots, 1)
        column.addWidget(Steady(self.link))

    def restyle(self) -> None:
        """Use the current theme and language at once."""
        for plot in self._plots():
            plot.colour()
        self._drawn = None

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        line_px = self.link.fontMetrics().lineSpacing()
        foot = self.link.parentWidget()
        if foot is not None:
            foot.setMaximumHeight(line_px if self.height() < LOW_PX else UNLIMITED_PX)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102 (Qt's name)
        self._drawn = None  # what was drawn is old
        super().showEvent(event)

    def _plots(self) -> tuple[Plot, ...]:
        return (self.bands, self.esense, self.bars, *self.signal.by_name.values())

    def shown(self, view: View, now_s: float) -> Shown:
        """Return the values behind the plots."""
        with self.feed.watched(self.stream) as watched:
            history = watched.history
            edge_s = view.edge_s(now_s) + history.offset_s
            raw = None if "raw" in view.hidden else history.raw(edge_s - view.raw_window_s, edge_s)
            return Shown(self.stream, history.readings(edge_s - view.window_s, edge_s), raw)

    def oldest_age_s(self, now_s: float) -> float:
        """Return how long before ``now_s`` the oldest kept reading is; 0 before the first."""
        with self.feed.watched(self.stream) as watched:
            return watched.history.oldest_age_s(now_s)

    @property
    def name(self) -> str:
        """Return the stream for people: its name first."""
        state, _ = self.feed.state(self.stream)
        return named(self.stream, None if state is None else state.name)

    @property
    def is_simulated(self) -> bool:
        """Return True if a simulator makes what is shown."""
        state, _ = self.feed.state(self.stream)
        return state is not None and state.simulated is True

    def moment(self, view: View, now_s: float) -> Moment:
        """Return the newest reading and the stream's status, or those of the moment of a pause."""
        edge_s = view.edge_s(now_s)
        with self.feed.watched(self.stream) as watched:
            history = watched.history
            edge_s += history.offset_s
            row = last_of(history.readings(edge_s - view.window_s - 5, edge_s))
            age_s = history.age_s(now_s)
        is_paused = view.paused_at_s is not None
        return Moment(row, status_at(row, edge_s) if is_paused else self.feed.status(self.stream, age_s))

    def draw(self, view: View, now_s: float, is_turn: bool = True) -> None:
        """Draw the newest data, or the moment of a pause: the raw trace as often as it moves, the rest once a second.

        Another view, or one that was hidden, is drawn as a whole at once. Otherwise a panel draws one thing in a frame,
        if it is its turn: one of PARTS, or the raw trace.
        """
        edge_s, drawn = view.edge_s(now_s), self._drawn
        with self.feed.watched(self.stream) as watched:
            history = watched.history
            edge_s += history.offset_s
            pulled = self.signal.pull(history, view, edge_s)
            shown = view, self.feed.is_connected, history, pulled.has_all
            is_other = drawn is None or drawn.shown != shown or now_s - drawn.at_s >= 2 * LINES_PERIOD_S
            reading, age_s, counters = history.latest, history.age_s(now_s), dict(history.counters)
            self.events = list(watched.events)
            receipt, receipt_age_s = watched.recorded, now_s - watched.recorded_at_s
            is_new = drawn is None or counters["readings"] != drawn.readings
            is_due = drawn is None or is_other or (not drawn.due and (is_new or now_s - drawn.at_s >= LINES_PERIOD_S))
            if drawn is None or is_due:
                longest_s = max(view.window_s, view.raw_window_s, SPECTROGRAM_S)
                rows = history.readings(edge_s - longest_s - 5, edge_s)
                due = [part for part in PARTS if part not in view.hidden]
                drawn = self._drawn = Drawn(now_s, shown, counters["readings"], rows, due)
        if is_other:
            self._show_plots(view)
        self.signal.follow(pulled)
        if is_other or (is_turn and not drawn.due):
            self.signal.draw_trace(pulled, drawn.rows, edge_s, view, self._events_in(view.raw_window_s, edge_s))
        state, _ = self.feed.state(self.stream)
        status = self.feed.status(self.stream, age_s)
        if view.paused_at_s is None and (is_due or now_s - self._linked_s >= LINK_PERIOD_S):
            self._linked_s = now_s
            self._show_link(state, status, age_s, counters)
        if is_due:
            self._show_recorded(view, is_recorded(reading, receipt, receipt_age_s), receipt)
        while drawn.due and (is_other or is_turn):
            self._draw_part(drawn.due.pop(0), drawn.rows, pulled, edge_s, view, status)
            is_turn = False

    def _show_plots(self, view: View) -> None:
        """Show the plots of a view; one without lines takes no room."""
        for name, plot in self.signal.by_name.items():
            plot.setVisible(name not in view.hidden)
        row = self.signal.spectrum.parentWidget()
        if row is not None:
            row.setVisible(not view.hidden.issuperset(SPECTRA))  # an empty row would take room
        self.bands.setVisible(not view.is_signal_only and not view.hidden.issuperset(BANDS))
        self.esense.setVisible(not view.is_signal_only and not view.hidden.issuperset(ESENSES))

    def _draw_part(
        self, part: str, rows: Floats, pulled: Pulled, edge_s: float, view: View, status: StreamStatus | None
    ) -> None:
        """Draw one of PARTS, if it is shown."""
        if part == "last reading":
            self._draw_last_reading(rows, edge_s, view, status)
        elif part == "spectrum":
            self.signal.draw_spectrum(pulled, rows, edge_s, view)
        elif part == "spectrogram":
            self.signal.draw_spectrogram(pulled, rows, edge_s, view)
        elif not view.is_signal_only:
            plot = self.bands if part == "bands" else self.esense
            plot.draw(lines_of(rows, edge_s), view.window_s, view.hidden, view.scale)
            plot.show_events(self._events_in(view.window_s, edge_s))

    def _draw_last_reading(self, rows: Floats, edge_s: float, view: View, status: StreamStatus | None) -> None:
        row = last_of(rows)
        if view.paused_at_s is not None:
            status = status_at(row, edge_s)
            moment = datetime.fromtimestamp(edge_s, UTC).astimezone()
            self.link.setText(texts.of("panel.moment").format(moment.strftime("%H:%M:%S")))
        shown = Moment(row, status)
        self._draw_numbers(shown)
        self._draw_bars(shown, view)

    def _show_recorded(self, view: View, is_recording: bool, receipt: RecordedStream | None) -> None:
        if view.paused_at_s is not None or not self.feed.is_live:
            self.recorded.setText("")
        elif receipt is not None and is_recording:
            self.recorded.setText(texts.of("panel.recording").format(QLocale().toString(receipt.rows)))
        else:
            self.recorded.setText(texts.of("panel.not_recorded"))

    def _events_in(self, window_s: float, edge_s: float) -> list[tuple[float, str]]:
        """Return the events of a window: seconds before its right edge, and the note."""
        placed = [(event.time.timestamp() - edge_s, event.text) for event in self.events]
        return [each for each in placed if -window_s <= each[0] <= 0]

    def _draw_numbers(self, moment: Moment) -> None:
        self.contact.show_signal(moment.signal, moment.status)
        colours = themes.colours()
        for name, label in self.numbers.items():
            value, is_valid = esense_of(moment.values, moment.doubt, name, moment.status)
            text = "--" if value is None else str(value)
            colour = colours[name if is_valid else "faint"]
            label.setText(f"{texts.of(f'line.{name}')} <b style='font-size:16pt;color:{colour}'>{text}</b>")
        words = words_of(moment)
        self.doubt.setText("" if words is None else f"⚠ {words.word}")
        self.doubt.setToolTip("" if words is None else words.sentence)

    def _draw_bars(self, moment: Moment, view: View) -> None:
        """Draw the bars of the last reading in the plots."""
        is_doubtful = moment.doubt is not None and moment.doubt.touches_bands
        heights = bars_of(None if moment.status is StreamStatus.OFFLINE else moment.row, view.bars)
        name = texts.of("axis.log_power" if view.bars is Bars.LOG else "axis.relative_power")
        is_faint = is_doubtful or moment.status is not StreamStatus.ONLINE
        self.bars.draw(heights, bars_top(heights, view.bars, view.scale), name, is_faint)

    def _show_link(
        self, state: StreamState | None, status: StreamStatus | None, age_s: float | None, counters: dict[str, int]
    ) -> None:
        self.title.setText(self.name)
        parts = [texts.of("panel.simulated")] if self.is_simulated else []
        parts.append(texts.of_status(status) if self.feed.is_live else texts.of("panel.played"))
        reported = {} if state is None else state.counters
        if state is not None and status is not None and self.feed.is_live:
            parts.append(
                texts.of(f"link.{state.link}") + (f" - {state.device[-DEVICE_MAX_CHARS:]}" if state.device else "")
            )
        age = "--" if age_s is None else QLocale().toString(age_s, "f", 1)
        parts.append(texts.of("panel.last_reading").format(age))
        parts.append(texts.of("panel.readings").format(counters["readings"]))
        parts.append(texts.of("panel.readings_lost").format(counters["readings_lost"]))
        if "frames" in reported:
            parts.append(texts.of("panel.frames").format(QLocale().toString(int(reported["frames"]))))
        if "checksum_failures" in reported:
            parts.append(texts.of("panel.checksum_failures").format(int(reported["checksum_failures"])))
        if counters["raw_lost"]:
            parts.append(texts.of("panel.raw_lost").format(counters["raw_lost"]))
        hint = None if state is None or status is None else texts.of_hint(state)
        line = "  ·  ".join(part.replace(" ", NO_BREAK) for part in parts)
        self.link.setText(line if hint is None else f"{hint}\n{line}")
        self.link.setToolTip(self.link.text())
