"""The window: which streams are shown, and what the person chose to see of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from monitor_gui import themes, words
from monitor_gui.feed import Feed, StreamId
from monitor_gui.panel import StreamPanel
from monitor_gui.plots import name_of
from monitor_gui.view import LINES, WINDOWS_S, View, status_of
from neuroone.contract.messages import StreamStatus

FRAME_PERIOD_MS: Final = 33
"""30 frames a second: enough for a trace that scrolls."""
LOOK_PERIOD_MS: Final = 500
"""How often the list of streams and the connection are looked at."""


class MonitorWindow(QMainWindow):
    """The monitor's only window."""

    def __init__(self, feed: Feed, wanted: StreamId | None = None) -> None:
        super().__init__()
        self.feed = feed
        self.view = View()
        self.panels: list[StreamPanel] = []
        self._wanted = wanted
        self.streams = QComboBox()
        self.window_s = QComboBox()
        self.boxes = {line: QCheckBox() for line in LINES}
        self.connection = QLabel()
        self.notice = QLabel()
        self.empty = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._stream_label = QLabel()
        self._window_label = QLabel()
        self._lay_out()
        self._connect_widgets()
        self.retranslate()
        self.colour()
        self.frames = QTimer(self, interval=FRAME_PERIOD_MS)
        self.frames.timeout.connect(self.draw)
        self.looks = QTimer(self, interval=LOOK_PERIOD_MS)
        self.looks.timeout.connect(self.look)

    def start(self) -> None:
        """Begin to look and to draw."""
        self.frames.start()
        self.looks.start()
        self.look()

    def _lay_out(self) -> None:
        bar = QToolBar(movable=False)
        self.addToolBar(bar)
        for widget in (self._stream_label, self.streams, self._window_label, self.window_s):
            bar.addWidget(widget)
        self.streams.setMinimumContentsLength(28)
        for window_s in WINDOWS_S:
            self.window_s.addItem("", window_s)
        choices = QHBoxLayout()
        for box in self.boxes.values():
            box.setChecked(True)
            choices.addWidget(box)
        choices.addStretch(1)
        self.shown = QHBoxLayout()
        self.shown.addWidget(self.empty)
        column = QVBoxLayout()
        column.addLayout(choices)
        column.addLayout(self.shown, 1)
        centre = QWidget()
        centre.setLayout(column)
        self.setCentralWidget(centre)
        self.statusBar().addWidget(self.connection, 1)
        self.statusBar().addPermanentWidget(self.notice)
        self.resize(1200, 820)

    def _connect_widgets(self) -> None:
        self.window_s.setCurrentIndex(WINDOWS_S.index(self.view.window_s))
        self.window_s.currentIndexChanged.connect(
            lambda: self.change(replace(self.view, window_s=self.window_s.currentData()))
        )
        self.streams.activated.connect(lambda: self.show_streams(self.streams.currentData()))
        for line, box in self.boxes.items():
            box.toggled.connect(self._toggle(line))

    def _toggle(self, line: str) -> Callable[[bool], None]:
        def toggle(is_shown: bool) -> None:
            self.change(replace(self.view, hidden=self.view.hidden - {line} if is_shown else self.view.hidden | {line}))

        return toggle

    def change(self, view: View) -> None:
        """Show another view of the same streams."""
        self.view = view
        self.draw()

    def show_streams(self, *streams: StreamId) -> None:
        """Show these streams, side by side."""
        for panel in self.panels:
            self.shown.removeWidget(panel)
            panel.deleteLater()
        self.feed.watch(*streams)
        self.panels = [StreamPanel(self.feed, stream) for stream in streams]
        for panel in self.panels:
            self.shown.addWidget(panel, 1)
        self.empty.setVisible(not self.panels)
        self.draw()

    def draw(self) -> None:
        """Draw the newest. A window that no one sees costs nothing, and has everything when it is seen again."""
        if self.isVisible() and not self.isMinimized():
            now_s = self.feed.clock()
            for panel in self.panels:
                panel.draw(self.view, now_s)

    def look(self) -> None:
        """Look at the connection and at which streams there are; take the first live one if none is shown."""
        states = self.feed.states()
        status = {stream: status_of(*self.feed.state(stream), None) for stream in states}
        self._list(sorted(states, key=lambda stream: (status[stream] is StreamStatus.OFFLINE, stream)), status)
        if not self.panels:
            live = [stream for stream in sorted(states) if status[stream] is not StreamStatus.OFFLINE]
            first = self._wanted or next(iter(live), None)
            if first is not None:
                self.show_streams(first)
                self.look()
        self._say_connection()

    def _list(self, streams: list[StreamId], status: dict[StreamId, StreamStatus]) -> None:
        shown = self.panels[0].stream if self.panels else None
        entries = [(f"{stream} - {words.of_status(status[stream])}", stream) for stream in streams]
        if shown is not None and shown not in status:
            entries.insert(0, (str(shown), shown))
        if entries != [(self.streams.itemText(n), self.streams.itemData(n)) for n in range(self.streams.count())]:
            self.streams.clear()
            for text, stream in entries:
                self.streams.addItem(text, stream)
        self.streams.setCurrentIndex(next((n for n, (_, stream) in enumerate(entries) if stream == shown), -1))

    def _say_connection(self) -> None:
        if self.feed.fault is not None:
            self.connection.setText(str(self.feed.fault))
        elif self.feed.is_connected:
            self.connection.setText(self.tr("Connected to {0}").format(self.feed.broker))
        else:
            self.connection.setText(
                self.tr("No broker at {0}; trying again until it is there").format(self.feed.broker)
            )
        self.empty.setText(
            self.tr("Connected. No stream is live yet: start a headset, or a student's app.")
            if self.feed.is_connected
            else self.tr("Not connected to a broker yet.")
        )

    def retranslate(self) -> None:
        """Write every word anew."""
        self.setWindowTitle(self.tr("NeuroOne monitor"))
        self._stream_label.setText(self.tr("Stream:"))
        self._window_label.setText(self.tr("Window:"))
        for number, window_s in enumerate(WINDOWS_S):
            self.window_s.setItemText(number, self.tr("{0} s").format(window_s))
        for line, box in self.boxes.items():
            box.setText(name_of(line))
        self.notice.setText(self.tr("Experimental indicator, not a diagnosis."))

    def colour(self) -> None:
        """Take the colours of the theme."""
        colours = themes.colours()
        for line, box in self.boxes.items():
            box.setStyleSheet(f"color: {colours[line]}")

    def changeEvent(self, event: QEvent) -> None:  # noqa: D102 (Qt's name)
        if event.type() == QEvent.Type.LanguageChange:
            self.retranslate()
            self.look()
        elif event.type() == QEvent.Type.PaletteChange:
            self.colour()
        super().changeEvent(event)
