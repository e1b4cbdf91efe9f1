"""The bar above the plots while a recording is played: where it is, how fast, and that nothing of it is live."""

import time
from pathlib import Path
from typing import Final

from PySide6.QtCore import QLocale, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout

from monitor_gui import texts
from monitor_gui.feed import StreamId
from monitor_gui.layouts import ElidedLabel
from monitor_gui.playing.opening import Opening
from monitor_gui.playing.playback import SPEEDS, Playback
from monitor_gui.playing.recording import Unplayable
from monitor_gui.texts import translated

PERIOD_MS: Final = 100
STEPS_PER_S: Final = 10
"""Positions of the slider in a second."""
COLOURS: Final = "PlayerBar { background: #ffd666 } PlayerBar QLabel { color: #1b1b1b; background: transparent }"
"""Amber in both themes: nobody takes a recording for live data."""


class PlayerBar(QFrame):
    """Open a recording and play it. A fault of the file stays here as a sentence until the bar is closed.

    ``opened`` reports a new `playback`, ``closed`` that there is none any more, ``changed`` that it runs or stands.
    """

    opened = Signal()
    closed = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.playback: Playback | None = None
        self.shown_before: list[StreamId] = []
        self._opening: Opening | None = None
        self.title = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        self.fault = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self.run_button = translated(QPushButton(), text="play.run")
        self.slider = translated(QSlider(Qt.Orientation.Horizontal), accessibleName="play.position")
        self.position = QLabel()
        self.speed = translated(QComboBox(), accessibleName="play.speed", toolTip="play.speed")
        self.loop = translated(QPushButton(), text="play.loop")
        self.close_button = translated(QPushButton(), text="play.close")
        self._timer = QTimer(self, interval=PERIOD_MS)
        self.loop.setCheckable(True)
        self.setStyleSheet(COLOURS)
        for speed in SPEEDS:
            self.speed.addItem(f"{speed:g}×", speed)
        self.speed.setCurrentIndex(SPEEDS.index(1))
        self.slider.setSingleStep(STEPS_PER_S)
        self.slider.setPageStep(10 * STEPS_PER_S)
        head, row, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        head.addWidget(self.title, 1)
        head.addWidget(self.close_button)
        row.addWidget(self.run_button)
        row.addWidget(self.slider, 1)
        for widget in (self.position, self.speed, self.loop):
            row.addWidget(widget)
        column.setContentsMargins(8, 4, 8, 4)
        column.addLayout(head)
        column.addLayout(row)
        column.addWidget(self.fault)
        self._timer.timeout.connect(self.show_position)
        self.run_button.clicked.connect(lambda: self.run(self.playback is not None and not self.playback.is_running))
        self.slider.valueChanged.connect(lambda value: self.seek(value / STEPS_PER_S))
        self.speed.currentIndexChanged.connect(self._set_options)
        self.loop.toggled.connect(self._set_options)
        self.close_button.clicked.connect(self.close_recording)
        self.hide()

    def open(self, path: Path) -> None:
        """Open a recording in place of the one that is played; until it is there, this one goes on."""
        if self._opening is not None:
            self._opening.close()
        self._opening = Opening(path)
        self._opening.start()
        self._timer.start()

    def run(self, is_running: bool) -> None:
        """Play on, or stand still."""
        if self.playback is not None:
            self.playback.run(is_running)
            self.show_position()
            self.changed.emit()

    def seek(self, position_s: float) -> None:
        """Jump to a position."""
        if self.playback is not None:
            self.playback.seek(position_s)
            self.show_position()

    def step(self, by_s: float) -> None:
        """Jump forth, or back for less than 0."""
        if self.playback is not None:
            self.seek(self.playback.clock() + by_s)

    def close_recording(self) -> None:
        """Forget the recording, and hide the bar."""
        if self._opening is not None:
            self._opening.close()
        self._opening = None
        self._timer.stop()
        self.hide()
        if self.playback is not None:
            self.playback = None
            self.closed.emit()

    def show_position(self) -> None:
        """Show the position, and what is known of the file by now."""
        recording = None if self._opening is None else self._opening.recording
        if recording is not None and len(recording) and (self.playback is None or self.playback.recording != recording):
            self.playback = Playback(recording, time.monotonic)
            self._set_options()
            self.opened.emit()
        if self.playback is None and (recording is None or recording.fault is None):
            return
        self._show_words(None if recording is None else recording.fault)
        if self.playback is None:
            return
        was_running, position_s = self.playback.is_running, self.playback.clock()
        duration_s = self.playback.recording.duration_s
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, round(duration_s * STEPS_PER_S))
            if not self.slider.isSliderDown():
                self.slider.setValue(round(position_s * STEPS_PER_S))
        self.position.setText(f"{_clock_text(position_s)} / {_clock_text(duration_s)}")
        self.run_button.setText(texts.of("play.pause" if self.playback.is_running else "play.run"))
        if was_running != self.playback.is_running:
            self.changed.emit()

    def _show_words(self, fault: Unplayable | None) -> None:
        is_playing = self.playback is not None
        for widget in (self.run_button, self.slider, self.position, self.speed, self.loop):
            widget.setVisible(is_playing)
        about = None if self.playback is None else self.playback.recording.about
        self.title.setText("" if about is None else texts.of("play.title").format(about.name, about.path))
        self.fault.setVisible(fault is not None)
        if fault is not None:
            words = [QLocale().toString(each) if isinstance(each, int) else str(each) for each in fault.words]
            self.fault.setText(texts.of(fault.key).format(*words))
        self.show()

    def _set_options(self) -> None:
        if self.playback is not None:
            self.playback.set_speed(self.speed.currentData())
            self.playback.is_looped = self.loop.isChecked()


def _clock_text(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
