"""The page with the plots: which lines are drawn, the streams beside each other, and the slider of a paused view."""

import logging
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QLocale, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from monitor_gui import texts, themes
from monitor_gui.feed import StreamId
from monitor_gui.layouts import FlowLayout
from monitor_gui.playing.playback import Source
from monitor_gui.signal_bar import SignalBar
from monitor_gui.texts import translated
from monitor_gui.view import LINES, View

if TYPE_CHECKING:
    from monitor_gui.panel import StreamPanel

CHECK_BOX: Final = (
    "QCheckBox {{ color: {0} }} QCheckBox::indicator:unchecked {{ border: 1px solid {0}; width: 11px; height: 11px }}"
)
"""An empty box in the colour of its line: the dark theme's own box is too faint."""


LINES_SPACING_PX: Final = 8

log = logging.getLogger(__name__)


class PlotsPage(QWidget):
    """Check boxes for the lines, a panel for each stream, and a slider while the view is paused."""

    line_toggled = Signal(str)
    scrolled_to = Signal(float)
    """Seconds before the moment of the pause."""

    def __init__(self, feed: Source) -> None:
        super().__init__()
        self.feed = feed
        self.panels: list[StreamPanel] = []
        self.boxes = {line: translated(QCheckBox(), text=f"line.{line}") for line in LINES}
        self.signal_bar = SignalBar()
        self._turn = 0
        self.back = translated(QSlider(Qt.Orientation.Horizontal), accessibleName="plots.scroll_back")
        self.behind = QLabel()
        self.empty = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._panels_row = QHBoxLayout()
        self._panels_row.addWidget(self.empty)
        choices, paused = FlowLayout(LINES_SPACING_PX), QHBoxLayout()
        for line, box in self.boxes.items():
            choices.addWidget(box)
            box.clicked.connect(lambda _, line=line: self.line_toggled.emit(line))
        paused.addWidget(self.behind)
        paused.addWidget(self.back, 1)
        self.back.valueChanged.connect(lambda value: self.scrolled_to.emit(-value))
        self.column = column = QVBoxLayout(self)
        column.addLayout(choices)
        column.addWidget(self.signal_bar)
        column.addLayout(self._panels_row, 1)
        column.addLayout(paused)
        self.restyle()

    def show_streams(self, *streams: StreamId) -> None:
        """Show these streams beside each other."""
        from monitor_gui.panel import StreamPanel  # with pyqtgraph, a quarter of the start: without a stream, no plots

        for panel in self.panels:
            self._panels_row.removeWidget(panel)
            panel.hide()
            panel.deleteLater()
        self.feed.watch(*streams)
        self.panels = [StreamPanel(self.feed, stream) for stream in streams]
        for panel in self.panels:
            self._panels_row.addWidget(panel, 1)
        self.empty.setVisible(not self.panels)
        log.info("showing %s", ", ".join(map(str, streams)) or "no stream")

    def show_view(self, view: View) -> None:
        """Let the check boxes and the slider show the view."""
        is_paused = view.paused_at_s is not None
        for line, box in self.boxes.items():
            box.setChecked(line not in view.hidden)
        self.signal_bar.show_view(view)
        with QSignalBlocker(self.back):
            self.back.setRange(-int(self.oldest_age_s(view)), 0)
            self.back.setPageStep(view.window_s)
            self.back.setValue(-round(view.back_s))
        self.back.setVisible(is_paused)
        self.behind.setVisible(is_paused)

    def show_connection(self, is_connected: bool) -> None:
        """Explain an empty page."""
        self.empty.setText(texts.of("plots.none_live" if is_connected else "plots.not_connected"))

    def draw(self, view: View) -> None:
        """Draw the newest data, or the moment at which the view is paused."""
        now_s = self.feed.clock()
        self._turn += 1
        for number, panel in enumerate(self.panels):
            panel.draw(view, now_s, is_turn=self._turn % len(self.panels) == number)
        if view.paused_at_s is not None:
            behind = QLocale().toString(view.behind_s(now_s), "f", 0)
            self.behind.setText(texts.of("plots.paused").format(behind))

    def oldest_age_s(self, view: View) -> float:
        """Return how far the oldest reading lies before the moment of the pause; 0 for a view that runs."""
        if view.paused_at_s is None:
            return 0.0
        return max((panel.oldest_age_s(view.paused_at_s) for panel in self.panels), default=0.0)

    def restyle(self) -> None:
        """Use the current theme and language at once."""
        colours = themes.colours()
        for line, box in self.boxes.items():
            box.setStyleSheet(CHECK_BOX.format(colours[line]))
        self.signal_bar.retranslate()
        for panel in self.panels:
            panel.restyle()
