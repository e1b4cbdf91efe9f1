"""The toolbar: which streams are shown, how many seconds of them, and the most used actions."""

from typing import Final

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QLabel, QSizePolicy, QToolBar

from monitor_gui import texts
from monitor_gui.actions import WindowActions
from monitor_gui.feed import StreamId, named
from monitor_gui.texts import translated
from monitor_gui.view import WINDOWS_S, View
from neuroone.contract.messages import StreamStatus

STREAM_MIN_CHARS: Final = 12
"""Width of a selector of streams in a narrow window; it takes what the toolbar has left."""


class StreamBar(QToolBar):
    """Which streams are shown, how many seconds of them, and the most used actions."""

    streams_chosen = Signal(list)
    window_chosen = Signal(int)

    def __init__(self, actions: WindowActions) -> None:
        super().__init__(movable=False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.streams, self.compared, self.window_s = QComboBox(), QComboBox(), QComboBox()
        for name, combo in (("stream", self.streams), ("compared", self.compared), ("window", self.window_s)):
            label = translated(QLabel(), text=f"toolbar.{name}")
            label.setBuddy(combo)
            label.setContentsMargins(8, 0, 4, 0)
            self.addWidget(label)
            self.addWidget(combo)
        for combo in (self.streams, self.compared):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(STREAM_MIN_CHARS)
            combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            combo.activated.connect(self._choose_streams)
        for seconds in WINDOWS_S:
            self.window_s.addItem(f"{seconds} s", seconds)
        self.window_s.currentIndexChanged.connect(lambda: self.window_chosen.emit(self.window_s.currentData()))
        self.addSeparator()
        self.addActions([actions.by_name[name] for name in ("pause", "marker", "connection", "monitor")])

    def list_streams(
        self, status: dict[StreamId, StreamStatus | None], names: dict[StreamId, str | None], shown: list[StreamId]
    ) -> None:
        """Offer the streams, in this order and by their names, and choose the shown ones."""
        status = {stream: status.get(stream, StreamStatus.OFFLINE) for stream in shown if stream not in status} | status
        entries: list[tuple[str, StreamId | None]] = [
            (f"{named(stream, names.get(stream))} - {texts.of_status(each)}", stream) for stream, each in status.items()
        ]
        first, second = (*shown, None, None)[:2]
        for combo in (self.streams, self.compared):
            combo.setEnabled(True)
        _fill(self.streams, entries, first)
        others = [each for each in entries if each[1] != first]
        _fill(self.compared, [(texts.of("toolbar.nothing"), None), *others], second)

    def list_recording(self, stream: StreamId, name: str) -> None:
        """Show which recording is played; streams of the broker cannot be chosen meanwhile."""
        _fill(self.streams, [(texts.of("toolbar.recording").format(name), stream)], stream)
        _fill(self.compared, [(texts.of("toolbar.nothing"), None)], None)
        for combo in (self.streams, self.compared):
            combo.setEnabled(False)

    def show_view(self, view: View) -> None:
        """Choose the view's window."""
        with QSignalBlocker(self.window_s):
            self.window_s.setCurrentIndex(WINDOWS_S.index(view.window_s))

    def _choose_streams(self) -> None:
        chosen = (self.streams.currentData(), self.compared.currentData())
        self.streams_chosen.emit(list(dict.fromkeys(StreamId(*each) for each in chosen if each is not None)))


def _fill(combo: QComboBox, entries: list[tuple[str, StreamId | None]], chosen: StreamId | None) -> None:
    """Fill a combo box and choose an entry. Leave it alone while it shows that already or its list is open."""
    if combo.view().isVisible():
        return
    if entries != [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count())]:
        combo.clear()
        for text, stream in entries:
            combo.addItem(text, stream)
    combo.setCurrentIndex(next((n for n, (_, stream) in enumerate(entries) if stream == chosen), -1))
