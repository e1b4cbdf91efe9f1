"""The window: its pages and toolbar, and what its actions do."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QFileDialog, QInputDialog, QMainWindow

from monitor_gui import texts, themes
from monitor_gui.actions import WindowActions
from monitor_gui.connection import key_of
from monitor_gui.exports import save_picture, save_tables
from monitor_gui.feed import Feed, StreamId, place_of
from monitor_gui.layouts import ElidedLabel, fit_screen
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.local_system import LocalSystem
from monitor_gui.pages import Pages
from monitor_gui.playing.player_bar import PlayerBar
from monitor_gui.preferences import Preferences
from monitor_gui.record_bar import RecordBar
from monitor_gui.settings import SIGNAL
from monitor_gui.stream_bar import StreamBar
from monitor_gui.texts import retranslate, translated
from monitor_gui.view import Bars, Scale, View
from neuroone.contract.messages import NOTE_MAX_CHARS, StreamState, StreamStatus
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.wearers import AUTO

FRAME_PERIOD_MS: Final = 33
"""30 frames a second: enough for a trace that scrolls."""
REFRESH_PERIOD_MS: Final = 500
"""How often the list of streams and the state of the connection are updated."""
SIZE_PX: Final = (1240, 720)
"""Size at the first start: fits a laptop's screen of 1366 x 768."""
SCROLL_STEP_S: Final = 5.0
MESSAGE_SHOWN_MS: Final = 8000
"""How long the status bar shows the result of an action."""


class MonitorWindow(QMainWindow):
    """The monitor's only window. ``wanted`` are the streams to show first, even before they are live."""

    def __init__(
        self,
        feed: Feed,
        bridge: LocalBridge,
        preferences: Preferences,
        wanted: list[StreamId],
        system: LocalSystem | None = None,
    ) -> None:
        super().__init__()
        self.feed, self.bridge, self.preferences = feed, bridge, preferences
        self.view = preferences.view()
        self._wanted = wanted
        self.window_actions = self._make_actions()
        self.toolbar = StreamBar(self.window_actions)
        self.pages = Pages(feed, bridge, system or LocalSystem())
        self.plots_page, self.broker_page = self.pages.plots, self.pages.broker
        self.shortcuts_page = self.pages.shortcuts
        self.player = PlayerBar()
        self.record_bar = RecordBar(bridge, feed)
        for bar in (self.player, self.record_bar):
            self.plots_page.column.insertWidget(0, bar)
        self.connection = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        self.timers = QTimer(self, interval=FRAME_PERIOD_MS), QTimer(self, interval=REFRESH_PERIOD_MS)
        self.addToolBar(self.toolbar)
        self.setCentralWidget(self.pages)
        self.statusBar().addWidget(self.connection, 1)
        self.statusBar().addPermanentWidget(translated(ElidedLabel(), text="window.notice"))
        self._connect_widgets()
        self.shortcuts_page.show_shortcuts(self.window_actions.shortcuts())
        self.shortcuts_page.show_marks(preferences.marks())
        self.window_actions.show_marks(preferences.marks())
        self.show_view(self.view)
        translated(self, windowTitle="window.title")

    def start(self, page: str) -> None:
        """Show a page and begin to draw."""
        self.resize(*SIZE_PX)
        self.restoreGeometry(self.preferences.geometry())
        fit_screen(self)
        for timer in self.timers:
            timer.start()
        self.broker_page.headset.remember_port(self.preferences.port())
        self.broker_page.system.show_folder(self.preferences.folder())
        self.bridge.list_ports()
        if page == SIGNAL:
            self.show_view(self.view.signal_only(True))
        self.show_page("monitor" if page == SIGNAL else page)

    def show_page(self, page: str) -> None:
        """Show one of PAGES; that of big numbers on the full screen."""
        is_full = page == "full_screen"
        if is_full and self.pages.name != page:
            self.pages.before = self.pages.name
        if is_full != self.isFullScreen():
            self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        for bar in (self.menuBar(), self.toolbar, self.statusBar()):
            bar.setVisible(not is_full)
        self.window_actions.by_name["full_screen"].setChecked(is_full)
        if page == "class":
            self.feed.watch_class()
        self.pages.open(page)
        self.refresh()
        self.draw()

    def connect_to(self, broker: BrokerAddress, site: str | None = None, ca_file: Path | None = None) -> None:
        """Connect to a broker, and remember it. Without a ``site`` it stays the same."""
        self.feed.connect(broker, site, ca_file)
        self.preferences.keep_broker(broker, self.feed.site, ca_file)
        self.broker_page.broker.show_address(broker, self.feed.site, ca_file)
        self.refresh()

    def show_view(self, view: View) -> None:
        """Show another view of the same streams."""
        self.view = view
        for part in (self.window_actions, self.toolbar, self.plots_page):
            part.show_view(view)
        self._show_playing()
        self.draw()
        self._draw_numbers()

    def show_streams(self, *streams: StreamId) -> None:
        """Show these streams beside each other."""
        self.player.close_recording()
        self.plots_page.show_streams(*streams)
        self.refresh()
        self.draw()

    def draw(self) -> None:
        """Draw the plots. While nobody sees them this costs nothing."""
        if self.plots_page.isVisible() and not self.isMinimized():
            self.plots_page.draw(self.view)

    def _draw_numbers(self) -> None:
        """Draw the pages without plots, which change once a second."""
        now_s, panels = self.plots_page.feed.clock(), self.plots_page.panels
        match self.pages.name:
            case "class":
                self.pages.classroom.show_tiles(self.feed.tiles(), is_connected=self.feed.is_connected)
            case "contact":
                self.pages.contact.draw(panels, self.view, now_s)
            case "full_screen":
                behind_s = f"{self.view.behind_s(now_s):.0f}"
                is_paused = self.view.paused_at_s is not None
                state = texts.of("plots.paused").format(behind_s) if is_paused else self.connection.text()
                self.pages.numbers.draw(panels, self.view, now_s, state)

    def refresh(self) -> None:
        """Update the connection and the list of streams; show the first live one if none is shown."""
        states = self.feed.states()
        status = {
            stream: self.feed.status(stream, None)
            for stream in sorted(states, key=lambda each: place_of(each, states[each].name))
        }
        live = [stream for stream, each in status.items() if each not in (StreamStatus.OFFLINE, None)]
        status = {stream: status[stream] for stream in live} | status  # the live ones first
        if not self.plots_page.panels:
            remembered = [stream for stream in self.preferences.streams() if stream in live]
            if first := self._wanted or remembered or live[:1]:
                self.show_streams(*first)
                return
        names = {stream: state.name for stream, state in states.items()}
        if (playback := self.player.playback) is not None:
            self.toolbar.list_recording(playback.stream, playback.recording.about.name)
        else:
            self.toolbar.list_streams(status, names, [panel.stream for panel in self.plots_page.panels])
        self._show_connection(states, status)
        self._draw_numbers()
        for name in ("marker", "table", "pause"):
            is_meant = name != "marker" or self.player.playback is None
            self.window_actions.by_name[name].setEnabled(bool(self.plots_page.panels) and is_meant)
        record = self.window_actions.by_name["record"]
        record.setChecked(self.record_bar.is_recording)
        record.setEnabled(self.record_bar.is_recording or self.player.playback is None)

    def pause(self, is_paused: bool) -> None:
        """Hold every page, or let them run; what arrives meanwhile is kept. A recording stands still."""
        if self.player.playback is not None:
            self.player.run(not is_paused)
            return
        self.pages.classroom.pause(self.feed.tiles() if is_paused else None, datetime.now().astimezone())
        self.show_view(self.view.paused(self.feed.clock() if is_paused else None))
        if is_paused and self.plots_page.isVisible():
            self.plots_page.back.setFocus()

    def scroll_back(self, by_s: float) -> None:
        """Scroll the paused plots, or jump in a recording: back, or forth for less than 0."""
        if self.player.playback is not None:
            self.player.step(-by_s)
            return
        self.show_view(self.view.scrolled(by_s, self.plots_page.oldest_age_s(self.view)))

    def ask_for_marker(self) -> QInputDialog | None:
        """Ask for the note of a marker; the marker's time is that of the key."""
        if not self.plots_page.panels or self.player.playback is not None:
            return None
        stream = self.plots_page.panels[0].stream
        time = self.feed.now(stream)
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(texts.of("marker.title"))
        dialog.setLabelText(texts.of("marker.note"))
        dialog.setOkButtonText(texts.of("marker.mark"))
        dialog.setCancelButtonText(texts.of("marker.cancel"))

        dialog.textValueSelected.connect(lambda note: self._publish_marker(stream, time, note))
        dialog.open()
        return dialog

    def mark(self, key: str) -> None:
        """Mark this moment at once, with the note of a key from 1 to 9."""
        if not self.plots_page.panels or self.player.playback is not None:
            self.show_message(texts.of("marker.no_stream"))
            return
        stream = self.plots_page.panels[0].stream
        self._publish_marker(stream, self.feed.now(stream), self.preferences.marks()[key])

    def _publish_marker(self, stream: StreamId, time: datetime, note: str) -> None:
        is_sent = self.feed.publish_marker(stream, time, note[:NOTE_MAX_CHARS])
        self.show_message(texts.of("marker.sent" if is_sent else "marker.not_sent").format(note))

    def keep_mark(self, key: str, note: str) -> None:
        """Use and remember the note of a key from 1 to 9."""
        self.preferences.keep_mark(key, note)
        self.window_actions.show_marks(self.preferences.marks())

    def ask_for_picture(self) -> None:
        """Ask for a file and save a picture to it."""
        title, kinds = texts.of("save.picture"), texts.of("save.picture_kinds")
        file, kind = QFileDialog.getSaveFileName(self, title, "neuroone.png", kinds)
        if file:
            path = Path(file)
            if not path.suffix:
                path = path.with_suffix(".svg" if "svg" in kind else ".png")
            is_saved = self.save_picture(path)
            self.show_message(texts.of("save.saved" if is_saved else "save.failed").format(path))

    def save_picture(self, path: Path) -> bool:
        """Save the window as an image, or the current page as SVG, into which Qt draws no menus."""
        return save_picture(self.pages if path.suffix.lower() == ".svg" else self, path)

    def ask_for_table(self) -> None:
        """Ask for a file and save the shown values to it."""
        title, kinds = texts.of("save.table"), texts.of("save.table_kinds")
        file, _ = QFileDialog.getSaveFileName(self, title, "neuroone.csv", kinds)
        if file:
            self.save_table(Path(file))

    def save_table(self, path: Path) -> None:
        """Save the shown values."""
        shown = [panel.shown(self.view, self.plots_page.feed.clock()) for panel in self.plots_page.panels]
        try:
            files = save_tables(shown, self.view.hidden, path)
        except OSError:
            self.show_message(texts.of("save.failed").format(path))
        else:
            self.show_message(texts.of("save.saved").format(", ".join(str(file) for file in files)))

    def record(self, is_on: bool) -> None:
        """Begin or end a recording of what is shown."""
        folder, stream = self.preferences.folder(), next((panel.stream for panel in self.plots_page.panels), None)
        if not is_on:
            self.record_bar.end()
        elif (fault := self.record_bar.begin(folder, stream)) is not None:
            self.show_message(texts.of(fault).format(folder))
            self.window_actions.by_name["record"].setChecked(False)

    def ask_for_recording(self, *, is_folder: bool) -> None:
        """Ask for a recording, a file or a session's folder, and play it."""
        if is_folder:
            chosen = QFileDialog.getExistingDirectory(self, texts.of("play.choose_folder"))
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, texts.of("play.choose"), "", texts.of("play.kinds"))
        if chosen:
            self.show_page("monitor")
            self.player.open(Path(chosen))

    def show_message(self, text: str) -> None:
        """Show the result of an action in the status bar."""
        self.statusBar().showMessage(text, MESSAGE_SHOWN_MS)

    def choose_theme(self, theme: str) -> None:
        """Use and remember a theme."""
        themes.choose(theme)
        self.preferences.keep("theme", theme)

    def choose_language(self, name: str) -> None:
        """Use and remember a language: write every text again."""
        texts.choose(name)
        self.preferences.keep("language", name)
        retranslate(self)
        self.shortcuts_page.show_shortcuts(self.window_actions.shortcuts())
        self.broker_page.headset.show_bridge()
        self.broker_page.system.show_system()
        self.record_bar.show_recording()
        self.plots_page.restyle()
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:  # noqa: D102 (Qt's name)
        if event.type() == QEvent.Type.PaletteChange:
            self.plots_page.restyle()
            self.pages.contact.restyle()
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102 (Qt's name)
        for timer in self.timers:
            timer.stop()
        self.record_bar.end()
        self.player.close_recording()
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowFullScreen)  # for the geometry
        self.preferences.keep_view(self.view, [panel.stream for panel in self.plots_page.panels], self.saveGeometry())
        super().closeEvent(event)

    def _make_actions(self) -> WindowActions:
        actions = WindowActions(
            self,
            {
                "monitor": lambda _: self.show_page("monitor"),
                "connection": lambda _: self.show_page("connection"),
                "class": lambda _: self.show_page("class"),
                "contact": lambda _: self.show_page("contact"),
                "full_screen": lambda on: self.show_page("full_screen" if on else self.pages.before),
                "shortcuts": lambda _: self.show_page("shortcuts"),
                "open": lambda _: self.ask_for_recording(is_folder=False),
                "open_folder": lambda _: self.ask_for_recording(is_folder=True),
                "mark": self.mark,
                "pause": self.pause,
                "record": self.record,
                "back": lambda _: self.scroll_back(SCROLL_STEP_S),
                "forth": lambda _: self.scroll_back(-SCROLL_STEP_S),
                "marker": lambda _: self.ask_for_marker(),
                "scale": lambda on: self.show_view(replace(self.view, scale=Scale.AUTO if on else Scale.FIXED)),
                "bars": lambda on: self.show_view(replace(self.view, bars=Bars.RELATIVE if on else Bars.LOG)),
                "signal": lambda on: self.show_view(self.view.signal_only(on)),
                "picture": lambda _: self.ask_for_picture(),
                "table": lambda _: self.ask_for_table(),
                "quit": lambda _: self.close(),
                "theme": self.choose_theme,
                "language": self.choose_language,
            },
        )
        actions.by_name[f"theme {self.preferences.theme() or 'system'}"].setChecked(True)
        actions.by_name[f"language {texts.language()}"].setChecked(True)
        return actions

    def _connect_widgets(self) -> None:
        self.timers[0].timeout.connect(self.draw)
        self.timers[1].timeout.connect(self.refresh)
        self.toolbar.window_chosen.connect(lambda seconds: self.show_view(replace(self.view, window_s=seconds)))
        self.toolbar.streams_chosen.connect(self._show_beside)
        self.plots_page.line_toggled.connect(lambda line: self.show_view(self.view.toggled(line)))
        self.plots_page.signal_bar.chosen.connect(lambda change: self.show_view(replace(self.view, **change)))
        self.plots_page.scrolled_to.connect(lambda back_s: self.scroll_back(back_s - self.view.back_s))
        self.record_bar.changed.connect(self.refresh)
        self.player.opened.connect(self._play)
        self.player.closed.connect(self._end_playing)
        self.player.changed.connect(self._show_playing)
        self.broker_page.broker.chosen.connect(self.connect_to)
        self.broker_page.streams.chosen.connect(self._show_chosen)
        self.broker_page.headset.chosen.connect(self._start_bridge)
        self.broker_page.system.chosen.connect(self.start_system)
        for stop in (self.bridge.close, self.broker_page.system.system.stop):
            self.broker_page.system.stopped.connect(stop)
        self.broker_page.system.folder_chosen.connect(self._keep_folder)
        self.broker_page.system.system.ready.connect(self._use_system)
        self.shortcuts_page.closed.connect(lambda: self.show_page("monitor"))
        self.shortcuts_page.mark_changed.connect(self.keep_mark)
        self.pages.classroom.chosen.connect(self._show_chosen)
        self.pages.numbers.closed.connect(lambda: self.show_page(self.pages.before))

    def _show_beside(self, streams: list[StreamId]) -> None:
        self.show_streams(*streams)
        self.pages.open(self.pages.name)

    def _play(self) -> None:
        """Show the recording that was opened in place of the live streams."""
        if (playback := self.player.playback) is None:
            return
        if self.plots_page.feed.is_live:
            self.player.shown_before = [panel.stream for panel in self.plots_page.panels]
        self.plots_page.feed = playback
        self.plots_page.show_streams(playback.stream)
        self.show_view(self.view.paused(None))
        self.refresh()

    def _end_playing(self) -> None:
        """Show the live streams again."""
        self.plots_page.feed = self.feed
        self.plots_page.show_streams(*self.player.shown_before)
        self.show_view(self.view)
        self.refresh()

    def _show_playing(self) -> None:
        """Let the actions show whether a recording runs."""
        if (playback := self.player.playback) is not None:
            self.window_actions.by_name["pause"].setChecked(not playback.is_running)
            for name in ("back", "forth"):
                self.window_actions.by_name[name].setEnabled(True)

    def _show_chosen(self, streams: list[StreamId]) -> None:
        self.show_streams(*streams)
        self.show_page("monitor")

    def start_system(self) -> None:
        """Start broker, gateway and recorder on this computer; the window connects to them when they run."""
        box = self.broker_page.system
        if (fault := box.system.start(box.folder, self.feed.site)) is not None:
            box.show_fault(*fault)

    def _use_system(self) -> None:
        """Connect to the system of this computer, and read a headset for it: the chosen one, or any."""
        headset, broker = self.broker_page.headset, self.broker_page.system.system.broker
        if broker is not None:
            self.bridge.close()
            self.connect_to(broker)
            self._start_bridge(headset.wanted_port or AUTO, headset.recorded_name, headset.code.text())

    def _keep_folder(self, folder: Path) -> None:
        self.preferences.keep("folder", str(folder))
        self.broker_page.system.show_folder(folder)

    def _start_bridge(self, port: str, name: str, code: str) -> None:
        broker, site, ca_file = self.feed.broker, self.feed.site, self.preferences.broker_ca()
        if broker is None or not self.bridge.start(port, broker, site, name, code, ca_file):
            self.show_message(texts.of("headset.cannot_start"))
            return
        self.preferences.keep("port", port)

    def _show_connection(
        self, states: dict[StreamId, StreamState], status: dict[StreamId, StreamStatus | None]
    ) -> None:
        is_connected = self.feed.is_connected
        if self.feed.fault is not None:
            key = "connection.replaced"
        elif is_connected:
            key = "connection.connected"
        else:
            key = "connection.no_broker" if self.feed.broker is None else key_of(self.feed.connection_fault)
        feed, ca_file = self.feed, self.preferences.broker_ca()
        text = texts.of(key).format(feed.broker, feed.connection_fault, feed.site, ca_file)
        is_played = self.player.playback is not None
        self.connection.setText(texts.of("play.nothing_published") if is_played else text)
        self.broker_page.broker.show_connection(text)
        self.plots_page.show_connection(is_connected)
        if self.broker_page.isVisible():
            self.broker_page.streams.show_streams(states, status, is_connected)
