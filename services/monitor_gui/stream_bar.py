"""The toolbar: which streams are shown, how many seconds of them, and the most used actions."""

from typing import Final

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QCompleter, QLabel, QLineEdit, QSizePolicy, QToolBar

from monitor_gui import texts
from monitor_gui.actions import WindowActions
from monitor_gui.feed import StreamId, named
from monitor_gui.texts import translated
from monitor_gui.view import WINDOWS_S, View
from neuroone.contract.files import search_key
from neuroone.contract.messages import StreamStatus

STREAM_MIN_CHARS: Final = 12
"""Width of a selector of streams in a narrow window; it takes what the toolbar has left."""
SEARCHED: Final = Qt.ItemDataRole.UserRole + 1
"""What the search looks at: the text, and the text without case and accents."""
ACTIONS: Final = ("pause", "record", "marker", "class", "connection", "monitor")


class StreamSelector(QComboBox):
    """A list of streams by name. Typing searches it, with or without accents."""

    def __init__(self) -> None:
        super().__init__()
        self._edit = QLineEdit()
        self.setLineEdit(self._edit)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(STREAM_MIN_CHARS)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        completer = QCompleter(self.model(), self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setCompletionRole(SEARCHED)
        self.setCompleter(completer)
        self._edit.editingFinished.connect(self._restore)

    @property
    def is_used(self) -> bool:
        """Return True while somebody chooses or searches: the list stays as it is."""
        return self.view().isVisible() or (self._edit.isModified() and self._edit.hasFocus())

    def list_entries(self, entries: list[tuple[str, StreamId | None]], chosen: StreamId | None) -> None:
        """Offer the streams and choose one."""
        if self.is_used:
            return
        if entries != [(self.itemText(n), self.itemData(n)) for n in range(self.count())]:
            self.clear()
            for row, (text, stream) in enumerate(entries):
                self.addItem(text, stream)
                self.setItemData(row, f"{text}\n{search_key(text)}", SEARCHED)
        self.setCurrentIndex(next((n for n, (_, stream) in enumerate(entries) if stream == chosen), -1))
        self._edit.setCursorPosition(0)  # of a text that is too long the name is seen

    def _restore(self) -> None:
        """Show the chosen stream again where what was typed is none."""
        self.setEditText(self.itemText(self.currentIndex()))


class StreamBar(QToolBar):
    """Which streams are shown, how many seconds of them, and the most used actions."""

    streams_chosen = Signal(list)
    window_chosen = Signal(int)

    def __init__(self, actions: WindowActions) -> None:
        super().__init__(movable=False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.streams, self.compared, self.window_s = StreamSelector(), StreamSelector(), QComboBox()
        for name, combo in (("stream", self.streams), ("compared", self.compared), ("window", self.window_s)):
            label = translated(QLabel(), text=f"toolbar.{name}")
            label.setBuddy(combo)
            label.setContentsMargins(8, 0, 4, 0)
            self.addWidget(label)
            self.addWidget(combo)
        for combo in (self.streams, self.compared):
            combo.activated.connect(self._choose_streams)
        for seconds in WINDOWS_S:
            self.window_s.addItem(f"{seconds} s", seconds)
        self.window_s.currentIndexChanged.connect(lambda: self.window_chosen.emit(self.window_s.currentData()))
        self.addSeparator()
        self.addActions([actions.by_name[name] for name in ACTIONS])

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
        self.streams.list_entries(entries, first)
        others = [each for each in entries if each[1] != first]
        self.compared.list_entries([(texts.of("toolbar.nothing"), None), *others], second)

    def list_recording(self, stream: StreamId, name: str) -> None:
        """Show which recording is played; streams of the broker cannot be chosen meanwhile."""
        self.streams.list_entries([(texts.of("toolbar.recording").format(name), stream)], stream)
        self.compared.list_entries([(texts.of("toolbar.nothing"), None)], None)
        for combo in (self.streams, self.compared):
            combo.setEnabled(False)

    def show_view(self, view: View) -> None:
        """Choose the view's window."""
        with QSignalBlocker(self.window_s):
            self.window_s.setCurrentIndex(WINDOWS_S.index(view.window_s))

    def _choose_streams(self) -> None:
        chosen = (self.streams.currentData(), self.compared.currentData())
        self.streams_chosen.emit(list(dict.fromkeys(StreamId(*each) for each in chosen if each is not None)))
