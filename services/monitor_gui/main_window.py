"""The window: its pages, what can be done in it, and what the person chose to see."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QLocale, QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeySequence
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMainWindow,
    QMenu,
    QSlider,
    QStackedWidget,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from monitor_gui import texts, themes
from monitor_gui.broker_page import ConnectionPage
from monitor_gui.exports import save_picture, save_tables
from monitor_gui.feed import Feed, StreamId
from monitor_gui.languages import Language
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.panel import StreamPanel
from monitor_gui.plots import name_of
from monitor_gui.preferences import Memory
from monitor_gui.settings import LANGUAGES, THEMES
from monitor_gui.shortcuts import ShortcutsPage
from monitor_gui.view import LINES, WINDOWS_S, Bars, Scale, View, status_of
from neuroone.contract.messages import NOTE_MAX_CHARS, StreamState, StreamStatus
from neuroone.service.settings import BrokerAddress

FRAME_PERIOD_MS: Final = 33
"""30 frames a second: enough for a trace that scrolls."""
LOOK_PERIOD_MS: Final = 500
"""How often the list of streams and the connection are looked at."""
SIZE_PX: Final = (1240, 720)
"""At the first start: fits a laptop's screen of 1366 x 768."""
SCROLL_STEP_S: Final = 5.0
WORDS_SHOWN_MS: Final = 8000
"""How long the status bar shows what was just done."""
CHECK_BOX: Final = (
    "QCheckBox {{ color: {0} }} QCheckBox::indicator:unchecked {{ border: 1px solid {0}; width: 11px; height: 11px }}"
)
"""An empty box in the line's own colour: the dark theme's own is too faint."""
PAGES: Final = ("monitor", "connection", "shortcuts")
KEYS: Final = {
    "monitor": "F5",
    "connection": "F6",
    "shortcuts": "? F1",
    "pause": "P",
    "back": "Ctrl+Left",
    "forth": "Ctrl+Right",
    "marker": "M",
    "scale": "A",
    "bars": "B",
    "picture": "Ctrl+S",
    "table": "Ctrl+E",
    "quit": "Ctrl+Q",
}
"""Space, arrows and letters with Alt stay with the widgets, for whoever works without a mouse."""


class MonitorWindow(QMainWindow):
    """The monitor's only window. ``wanted`` are the streams to show first, even before they are live."""

    def __init__(
        self, feed: Feed, bridge: LocalBridge, language: Language, memory: Memory, wanted: list[StreamId]
    ) -> None:
        super().__init__()
        self.feed, self.bridge, self.language, self.memory = feed, bridge, language, memory
        self.view = memory.view()
        self.panels: list[StreamPanel] = []
        self._wanted = wanted
        self.streams, self.compared, self.window_s = QComboBox(), QComboBox(), QComboBox()
        self.boxes = {line: QCheckBox() for line in LINES}
        self.back = QSlider(Qt.Orientation.Horizontal)
        self.behind, self.connection, self.notice = QLabel(), QLabel(), QLabel()
        self.empty = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._labels = {name: QLabel() for name in ("stream", "compared", "window")}
        self.actions_by_name: dict[str, QAction] = {}
        self.menus = {name: QMenu(self) for name in ("monitor", "view", "theme", "language", "help")}
        self.pages = QStackedWidget()
        self.monitor_page = QWidget()
        self.connection_page = ConnectionPage(bridge)
        self.shortcuts_page = ShortcutsPage()
        self._make_actions()
        self._fill_menus()
        self._lay_out()
        self._connect_widgets()
        self.retranslate()
        self.colour()
        self.frames = QTimer(self, interval=FRAME_PERIOD_MS)
        self.frames.timeout.connect(self.draw)
        self.looks = QTimer(self, interval=LOOK_PERIOD_MS)
        self.looks.timeout.connect(self.look)

    def start(self, page: str) -> None:
        """Begin to look and to draw, on that page."""
        self.resize(*SIZE_PX)
        self.restoreGeometry(self.memory.geometry())
        self.frames.start()
        self.looks.start()
        self.bridge.look_for_ports()
        self.connection_page.choose_port(self.memory.port())
        self.show_page(page)
        self.look()

    def show_page(self, page: str) -> None:
        """Show one of PAGES."""
        self.pages.setCurrentIndex(PAGES.index(page))
        self.look()
        self.draw()

    def connect_to(self, broker: BrokerAddress) -> None:
        """Connect to a broker, and remember it."""
        self.memory.keep_broker(broker)
        self.connection_page.show_broker(broker)
        self.feed.connect(broker)
        self.look()

    def change(self, view: View) -> None:
        """Show another view of the same streams."""
        self.view = view
        self._show_view()
        self.draw()

    def show_streams(self, *streams: StreamId) -> None:
        """Show these streams, side by side."""
        for panel in self.panels:
            self.shown.removeWidget(panel)
            panel.hide()
            panel.deleteLater()
        self.feed.watch(*streams)
        self.panels = [StreamPanel(self.feed, stream) for stream in streams]
        for panel in self.panels:
            self.shown.addWidget(panel, 1)
        self.empty.setVisible(not self.panels)
        self.look()
        self.draw()

    def draw(self) -> None:
        """Draw the newest. A window that no one sees costs nothing, and has everything when it is seen again."""
        if self.monitor_page.isVisible() and not self.isMinimized():
            now_s = self.feed.clock()
            for panel in self.panels:
                panel.draw(self.view, now_s)
            if self.view.paused_at_s is not None:
                behind = QLocale().toString(self.view.behind_s(now_s), "f", 0)
                self.behind.setText(self.tr("Paused, {0} s behind").format(behind))

    def look(self) -> None:
        """Look at the connection and at which streams there are; take the first live one if none is shown."""
        states = self.feed.states()
        status = {stream: status_of(*self.feed.state(stream), None) for stream in states}
        if not self.panels:
            live = [stream for stream in sorted(states) if status[stream] is not StreamStatus.OFFLINE]
            remembered = [stream for stream in self.memory.streams() if stream in live]
            first = self._wanted or remembered or live[:1]
            if first:
                self.show_streams(*first)
                return
        self._list(sorted(states, key=lambda stream: (status[stream] is StreamStatus.OFFLINE, stream)), status)
        self._say_connection(states, status)
        for name in ("marker", "table", "pause"):
            self.actions_by_name[name].setEnabled(bool(self.panels))

    def pause(self, is_paused: bool) -> None:
        """Hold the plots where they are, or let them run; what arrives meanwhile is kept."""
        self.change(self.view.paused(self.feed.clock() if is_paused else None))
        if is_paused:
            self.back.setFocus()

    def scroll_back(self, by_s: float) -> None:
        """Look further back (or forth, for less than 0) while the plots are paused."""
        self.change(self.view.scrolled(by_s, self._most_back_s()))

    def ask_for_marker(self) -> QInputDialog | None:
        """Ask for the note of a marker; its time is that of the key, not that of the note."""
        if not self.panels:
            return None
        moments = {panel.stream: self.feed.now(panel.stream) for panel in self.panels[:1]}
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Marker"))
        dialog.setLabelText(self.tr("Note (may be empty):"))
        dialog.setOkButtonText(self.tr("Mark"))
        dialog.setCancelButtonText(self.tr("Cancel"))

        def mark(note: str) -> None:
            sent = [self.feed.mark(stream, time, note[:NOTE_MAX_CHARS]) for stream, time in moments.items()]
            self.say(self.tr("Marked.") if all(sent) else self.tr("The marker could not be sent."))

        dialog.textValueSelected.connect(mark)
        dialog.open()
        return dialog

    def ask_for_picture(self) -> None:
        """Save a picture where the person says."""
        kinds = self.tr("Picture (*.png);;Drawing (*.svg)")
        file, kind = QFileDialog.getSaveFileName(self, self.tr("Save a picture"), "neuroone.png", kinds)
        if file:
            path = Path(file)
            if not path.suffix:
                path = path.with_suffix(".svg" if "svg" in kind else ".png")
            is_saved = self.save_picture(path)
            self.say((self.tr("Saved {0}.") if is_saved else self.tr("Cannot write {0}.")).format(path))

    def save_picture(self, path: Path) -> bool:
        """Save the window as an image, or the page that is shown as SVG, into which Qt draws no menus."""
        return save_picture(self.pages if path.suffix.lower() == ".svg" else self, path)

    def ask_for_table(self) -> None:
        """Save the values behind what is shown where the person says."""
        kinds = self.tr("Table (*.csv)")
        file, _ = QFileDialog.getSaveFileName(self, self.tr("Save a table"), "neuroone.csv", kinds)
        if file:
            self.save_table(Path(file))

    def save_table(self, path: Path) -> None:
        """Save the values behind what is shown."""
        shown = [panel.shown(self.view, self.feed.clock()) for panel in self.panels]
        try:
            files = save_tables(shown, self.view.hidden, path)
        except OSError:
            self.say(self.tr("Cannot write {0}.").format(path))
        else:
            self.say(self.tr("Saved {0}.").format(", ".join(str(file) for file in files)))

    def say(self, text: str) -> None:
        """Say in the status bar what was just done."""
        self.statusBar().showMessage(text, WORDS_SHOWN_MS)

    def choose_theme(self, theme: str) -> None:
        """Use and remember a theme."""
        themes.choose(theme)
        self.memory.keep("theme", theme)
        self.actions_by_name[f"theme {theme}"].setChecked(True)

    def choose_language(self, name: str) -> None:
        """Use and remember a language."""
        self.language.choose(name)
        self.memory.keep("language", name)
        self.actions_by_name[f"language {name}"].setChecked(True)

    def changeEvent(self, event: QEvent) -> None:  # noqa: D102 (Qt's name)
        if event.type() == QEvent.Type.LanguageChange:
            self.retranslate()
            self.look()
        elif event.type() == QEvent.Type.PaletteChange:
            self.colour()
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102 (Qt's name)
        self.frames.stop()
        self.looks.stop()
        self.memory.keep_view(self.view, [panel.stream for panel in self.panels], self.saveGeometry())
        super().closeEvent(event)

    def retranslate(self) -> None:
        """Write every word anew."""
        self.setWindowTitle(self.tr("NeuroOne monitor"))
        self._labels["stream"].setText(self.tr("Stream:"))
        self._labels["compared"].setText(self.tr("Compare with:"))
        self._labels["window"].setText(self.tr("Window:"))
        for number, window_s in enumerate(WINDOWS_S):
            self.window_s.setItemText(number, self.tr("{0} s").format(window_s))
        for line, box in self.boxes.items():
            box.setText(name_of(line))
        self.notice.setText(self.tr("Experimental indicator, not a diagnosis."))
        self.back.setAccessibleName(self.tr("Scroll back"))
        texts = self._action_texts()
        for name, action in self.actions_by_name.items():
            action.setText(texts[name])
        self.menus["monitor"].setTitle(self.tr("&Monitor"))
        self.menus["view"].setTitle(self.tr("&View"))
        self.menus["theme"].setTitle(self.tr("&Theme"))
        self.menus["language"].setTitle(self.tr("&Language"))
        self.menus["help"].setTitle(self.tr("&Help"))
        keyed = [self.actions_by_name[name] for name in KEYS]
        self.shortcuts_page.show_shortcuts(
            [
                (
                    action.text().replace("&", "").rstrip("."),
                    action.shortcut().toString(QKeySequence.SequenceFormat.NativeText),
                )
                for action in keyed
            ]
        )

    def colour(self) -> None:
        """Take the colours of the theme."""
        colours = themes.colours()
        for line, box in self.boxes.items():
            box.setStyleSheet(CHECK_BOX.format(colours[line]))

    def _action_texts(self) -> dict[str, str]:
        return {
            "monitor": self.tr("&Plots"),
            "connection": self.tr("&Connection"),
            "shortcuts": self.tr("&Shortcuts"),
            "pause": self.tr("&Pause"),
            "back": self.tr("Scroll &back"),
            "forth": self.tr("Scroll &forth"),
            "marker": self.tr("&Marker..."),
            "scale": self.tr("&Automatic scale"),
            "bars": self.tr("&Relative bars (%)"),
            "picture": self.tr("Save a p&icture..."),
            "table": self.tr("Save a &table (CSV)..."),
            "quit": self.tr("&Quit"),
            "theme system": self.tr("As the &system"),
            "theme light": self.tr("&Light"),
            "theme dark": self.tr("&Dark"),
            "language pt_BR": "&Português (Brasil)",
            "language en": "&English",
        }

    def _make_actions(self) -> None:
        calls: dict[str, Callable[[], object]] = {
            "monitor": lambda: self.show_page("monitor"),
            "connection": lambda: self.show_page("connection"),
            "shortcuts": lambda: self.show_page("shortcuts"),
            "back": lambda: self.scroll_back(SCROLL_STEP_S),
            "forth": lambda: self.scroll_back(-SCROLL_STEP_S),
            "marker": self.ask_for_marker,
            "picture": self.ask_for_picture,
            "table": self.ask_for_table,
            "quit": self.close,
        }
        switches: dict[str, Callable[[bool], object]] = {
            "pause": self.pause,
            "scale": lambda on: self.change(replace(self.view, scale=Scale.AUTO if on else Scale.FIXED)),
            "bars": lambda on: self.change(replace(self.view, bars=Bars.RELATIVE if on else Bars.LOG)),
        }
        for name, key in KEYS.items():
            action = self.actions_by_name[name] = QAction(self)
            action.setShortcuts([QKeySequence(each) for each in key.split()])
            if name in switches:
                action.setCheckable(True)
                action.triggered.connect(switches[name])
            else:
                action.triggered.connect(_without_argument(calls[name]))
        self._make_choice("theme", THEMES, self.choose_theme, self.memory.theme() or "system")
        self._make_choice("language", LANGUAGES, self.choose_language, self.language.name)

    def _make_choice(self, what: str, choices: tuple[str, ...], choose: Callable[[str], None], now: str) -> None:
        group = QActionGroup(self)
        for choice in choices:
            action = self.actions_by_name[f"{what} {choice}"] = QAction(self, checkable=True)
            action.setChecked(choice == now)
            action.triggered.connect(_with_argument(choose, choice))
            group.addAction(action)

    def _fill_menus(self) -> None:
        for name in ("monitor", "view", "help"):
            self.menuBar().addMenu(self.menus[name])
        in_menus = {
            "monitor": ("monitor", "connection", "marker", "picture", "table", "quit"),
            "view": ("pause", "back", "forth", "scale", "bars"),
            "theme": tuple(f"theme {theme}" for theme in THEMES),
            "language": tuple(f"language {name}" for name in LANGUAGES),
            "help": ("shortcuts",),
        }
        for menu, names in in_menus.items():
            self.menus[menu].addActions([self.actions_by_name[name] for name in names])
        self.menus["view"].addMenu(self.menus["theme"])
        self.menus["view"].addMenu(self.menus["language"])

    def _lay_out(self) -> None:
        bar = QToolBar(movable=False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.addToolBar(bar)
        for name, combo in (("stream", self.streams), ("compared", self.compared), ("window", self.window_s)):
            self._labels[name].setBuddy(combo)
            self._labels[name].setContentsMargins(8, 0, 4, 0)
            bar.addWidget(self._labels[name])
            bar.addWidget(combo)
        for combo in (self.streams, self.compared):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(22)
        for window_s in WINDOWS_S:
            self.window_s.addItem("", window_s)
        bar.addSeparator()
        bar.addActions([self.actions_by_name[name] for name in ("pause", "marker", "connection", "monitor")])
        choices = QHBoxLayout()
        for box in self.boxes.values():
            choices.addWidget(box)
        choices.addStretch(1)
        self.shown = QHBoxLayout()
        self.shown.addWidget(self.empty)
        paused = QHBoxLayout()
        paused.addWidget(self.behind)
        paused.addWidget(self.back, 1)
        column = QVBoxLayout(self.monitor_page)
        column.addLayout(choices)
        column.addLayout(self.shown, 1)
        column.addLayout(paused)
        for page in (self.monitor_page, self.connection_page, self.shortcuts_page):
            self.pages.addWidget(page)
        self.setCentralWidget(self.pages)
        self.statusBar().addWidget(self.connection, 1)
        self.statusBar().addPermanentWidget(self.notice)

    def _connect_widgets(self) -> None:
        self._show_view()
        self.window_s.currentIndexChanged.connect(
            lambda: self.change(replace(self.view, window_s=self.window_s.currentData()))
        )
        self.streams.activated.connect(self._choose_streams)
        self.compared.activated.connect(self._choose_streams)
        for line, box in self.boxes.items():
            box.clicked.connect(_with_argument(self._toggle, line))
        self.back.valueChanged.connect(lambda value: self.scroll_back(-value - self.view.back_s))
        self.connection_page.broker_chosen.connect(self.connect_to)
        self.connection_page.streams_chosen.connect(self._show_chosen)
        self.connection_page.port_chosen.connect(self._start_bridge)
        self.shortcuts_page.closed.connect(lambda: self.show_page("monitor"))

    def _show_view(self) -> None:
        """Let every control show what the view is."""
        view = self.view
        is_paused = view.paused_at_s is not None
        with QSignalBlocker(self.window_s), QSignalBlocker(self.back):
            self.window_s.setCurrentIndex(WINDOWS_S.index(view.window_s))
            self.back.setRange(-int(self._most_back_s()), 0)
            self.back.setPageStep(view.window_s)
            self.back.setValue(-round(view.back_s))
        for line, box in self.boxes.items():
            box.setChecked(line not in view.hidden)
        self.actions_by_name["pause"].setChecked(is_paused)
        self.actions_by_name["scale"].setChecked(view.scale is Scale.AUTO)
        self.actions_by_name["bars"].setChecked(view.bars is Bars.RELATIVE)
        for name in ("back", "forth"):
            self.actions_by_name[name].setEnabled(is_paused)
        self.back.setVisible(is_paused)
        self.behind.setVisible(is_paused)

    def _most_back_s(self) -> float:
        """How far back the oldest reading lies that is kept."""
        if self.view.paused_at_s is None:
            return 0.0
        oldest = [age for panel in self.panels if (age := panel.oldest_age_s(self.view.paused_at_s)) is not None]
        return max(oldest, default=0.0)

    def _toggle(self, line: str) -> None:
        self.change(self.view.toggled(line))

    def _choose_streams(self) -> None:
        chosen = [self.streams.currentData(), self.compared.currentData()]
        self.show_streams(*dict.fromkeys(StreamId(*stream) for stream in chosen if stream is not None))

    def _show_chosen(self, streams: list[StreamId]) -> None:
        self.show_streams(*streams)
        self.show_page("monitor")

    def _start_bridge(self, port: str, name: str, code: str) -> None:
        if self.feed.broker is None or not self.bridge.start(port, self.feed.broker, self.feed.site, name, code):
            self.say(self.tr("serial-bridge cannot be started: is it installed, and a broker chosen?"))
            return
        self.memory.keep("port", port)

    def _list(self, streams: list[StreamId], status: dict[StreamId, StreamStatus]) -> None:
        shown: list[StreamId | None] = [panel.stream for panel in self.panels]
        known = [*(stream for stream in shown if stream is not None and stream not in status), *streams]
        entries: list[tuple[str, StreamId | None]] = [
            (f"{stream} - {texts.of_status(status.get(stream, StreamStatus.OFFLINE))}", stream) for stream in known
        ]
        first, second = (*shown, None, None)[:2]
        _fill(self.streams, entries, first)
        _fill(self.compared, [(self.tr("nothing"), None), *(each for each in entries if each[1] != first)], second)

    def _say_connection(self, states: dict[StreamId, StreamState], status: dict[StreamId, StreamStatus]) -> None:
        is_connected = self.feed.is_connected
        if self.feed.fault is not None:
            text = self.tr("Another program has taken this monitor's place at the broker: choose Connect again.")
        elif is_connected:
            text = self.tr("Connected to {0}").format(self.feed.broker)
        elif self.feed.broker is not None:
            text = self.tr("No answer from a broker at {0}; trying again until it is there").format(self.feed.broker)
        else:
            text = self.tr("No broker chosen yet")
        self.connection.setText(text)
        self.connection_page.show_connection(text)
        if self.connection_page.isVisible():
            self.connection_page.show_streams(states, status, is_connected)
        self.empty.setText(
            self.tr("Connected. No stream is live yet: start a headset (F6), or a student's app.")
            if is_connected
            else self.tr("Not connected to a broker (F6).")
        )


def _fill(combo: QComboBox, entries: list[tuple[str, StreamId | None]], chosen: StreamId | None) -> None:
    """Fill a combo box and choose, unless it shows that already or a person is choosing just now."""
    if combo.view().isVisible():
        return
    if entries != [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count())]:
        combo.clear()
        for text, stream in entries:
            combo.addItem(text, stream)
    combo.setCurrentIndex(next((n for n, (_, stream) in enumerate(entries) if stream == chosen), -1))


def _without_argument(call: Callable[[], object]) -> Callable[[], None]:
    def slot() -> None:
        call()

    return slot


def _with_argument(call: Callable[[str], object], argument: str) -> Callable[[], None]:
    def slot() -> None:
        call(argument)

    return slot
