"""The bar above the plots while something is recorded: a capture of the window's own bridge, a lesson, or both."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from PySide6.QtCore import QLocale, Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from monitor_gui import texts
from monitor_gui.feed import Feed, StreamId
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.texts import translated
from neuroone.contract.messages import EventType

PERIOD_MS: Final = 500
CAPTURES: Final = "captures"
"""Folder of the captures, beside the sessions that the recorder writes."""
APPEARS_S: Final = 3.0
"""A capture is there when the headset's next bytes are: a second at most, and what a busy computer takes."""
COLOURS: Final = "RecordBar { background: #b3261e } RecordBar QLabel { color: #ffffff; background: transparent }"
"""Red in both themes; white on it has 6:1."""


class RecordBar(QFrame):
    """Record what can be recorded, and show file, time and size. ``changed`` reports the beginning and the end."""

    changed = Signal()

    def __init__(self, bridge: LocalBridge, feed: Feed) -> None:
        super().__init__()
        self.bridge, self.feed = bridge, feed
        self.is_recording = False
        self.said = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self.stop_button = translated(QPushButton(), text="record.stop")
        self._began_s = 0.0
        self._stream: StreamId | None = None
        self._lesson: tuple[str, str] | None = None
        """Group and name of the lesson that was started here."""
        self._running: str | None = None
        """The name of the lesson that goes on without us, or of ours; None without a recorder."""
        self._captures: Path | None = None
        self._before: set[Path] = set()
        self._rows_before: tuple[str, int] = ("", 0)
        self._timer = QTimer(self, interval=PERIOD_MS)
        self.setStyleSheet(COLOURS)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 4)
        row.addWidget(self.said, 1)
        row.addWidget(self.stop_button)
        self._timer.timeout.connect(self.show_recording)
        self.stop_button.clicked.connect(self.end)
        self.hide()

    def begin(self, folder: Path, stream: StreamId | None) -> str | None:
        """Record a capture if the bridge is ours, and a lesson of this stream's group if a recorder is there.

        Return the key of a text that tells why nothing can be recorded; None if it can.
        """
        has_recorder = stream is not None and self.feed.is_connected and self.feed.has_service("csv_recorder")
        if not self.bridge.is_running and not has_recorder:
            return "record.nothing"
        self._captures, self._lesson, self._running, self._stream = None, None, None, stream
        if self.bridge.is_running:
            captures = (folder / CAPTURES).absolute()
            try:
                captures.mkdir(parents=True, exist_ok=True)
                self._before = set(captures.iterdir())
            except OSError:
                return "record.no_folder"
            self._captures = captures
            self.bridge.tell(f"record {captures}")
        if stream is not None and has_recorder:
            self._begin_lesson(stream)
        self._began_s, self.is_recording = time.monotonic(), True
        self._timer.start()
        self.show_recording()
        self.changed.emit()
        return None

    def end(self) -> None:
        """End the capture, and the lesson if it was started here."""
        if not self.is_recording:
            return
        self.is_recording = False
        self._timer.stop()
        if self._captures is not None and self.bridge.is_running:
            self.bridge.tell("record")
        if self._lesson is not None:
            group, name = self._lesson
            self.feed.publish_event(group, EventType.SESSION_STOP, datetime.now(UTC), name)
        self.hide()
        self.changed.emit()

    def show_recording(self) -> None:
        """Show time, file and size, the lesson and its rows, and what is not recorded."""
        elapsed_s = int(time.monotonic() - self._began_s)
        words = [texts.of("record.time").format(f"{elapsed_s // 60}:{elapsed_s % 60:02}")]
        words.append(self._capture_words(elapsed_s))
        if self._running is None:
            words.append(texts.of("record.no_lesson"))
        else:
            words.append(texts.of("record.lesson").format(self._running, QLocale().toString(self._rows())))
        self.said.setText("  ·  ".join(words))
        self.setVisible(self.is_recording)

    def files(self) -> list[Path]:
        """Return the captures of this recording."""
        try:
            return [] if self._captures is None else sorted(set(self._captures.glob("*.capture")) - self._before)
        except OSError:
            return []

    def _capture_words(self, elapsed_s: float) -> str:
        if self._captures is None:
            return texts.of("record.no_capture")
        files = self.files()
        try:
            size_bytes = sum(file.stat().st_size for file in files)
        except OSError:
            size_bytes = 0
        self.said.setToolTip("\n".join(map(str, files)))
        if not files:
            return texts.of("record.waits").format(self.bridge.last_line if elapsed_s > APPEARS_S else self._captures)
        words = texts.of("record.capture").format(
            ", ".join(file.name for file in files), QLocale().formattedDataSize(size_bytes)
        )
        return words if self.bridge.is_running else texts.of("record.bridge_ended").format(words)

    def _begin_lesson(self, stream: StreamId) -> None:
        """Start a lesson, unless one runs: a second start would end that of another teacher."""
        self._rows_before = self._receipt()
        running = self.feed.lesson(stream.group)
        if running is not None:
            self._running = running
            return
        name = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
        if self.feed.publish_event(stream.group, EventType.SESSION_START, datetime.now(UTC), name):
            self._lesson, self._running = (stream.group, name), name

    def _rows(self) -> int:
        session, rows = self._receipt()
        return rows - self._rows_before[1] if session == self._rows_before[0] else rows

    def _receipt(self) -> tuple[str, int]:
        """Return the session of the stream, and its rows on disk; none while another stream is shown."""
        receipt = None if self._stream is None else self.feed.receipt(self._stream)
        return ("", 0) if receipt is None else (receipt.session, receipt.rows)
