"""The page of big numbers, for the full screen: contact, attention and meditation, readable from the last row."""

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from monitor_gui import texts, themes
from monitor_gui.contact_indicator import ContactIndicator
from monitor_gui.layouts import ElidedLabel
from monitor_gui.moment import words_of
from monitor_gui.texts import translated
from monitor_gui.view import ESENSES, View, esense_of

if TYPE_CHECKING:
    from monitor_gui.panel import StreamPanel

NUMBER_SHARE: Final = (0.34, 0.22)
"""Height of a number, as a part of the height and of the width of its stream."""
WORDS_SHARE: Final = 0.25
"""Height of names and words, as a part of a number's."""
WORDS_MIN_PX: Final = 12


class BigStream(QWidget):
    """Name, contact and numbers of one stream."""

    def __init__(self, panel: "StreamPanel") -> None:
        super().__init__()
        self.panel = panel
        self.name = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        self.contact = ContactIndicator()
        self.numbers = {name: QLabel() for name in ESENSES}
        self.words = {name: translated(QLabel(), text=f"line.{name}") for name in ESENSES}
        self.doubt = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        centre = Qt.AlignmentFlag.AlignCenter
        column, grid = QVBoxLayout(self), QGridLayout()
        for place, name in enumerate(ESENSES):
            self.numbers[name].setAlignment(centre)
            self.words[name].setAlignment(centre)
            self.numbers[name].setMinimumSize(1, 1)
            self.words[name].setMinimumSize(1, 1)
            grid.addWidget(self.words[name], 0, place)
            grid.addWidget(self.numbers[name], 1, place)
            grid.setColumnStretch(place, 1)
        grid.setRowStretch(1, 1)
        column.addWidget(self.name)
        column.addWidget(self.contact, alignment=Qt.AlignmentFlag.AlignLeft)
        column.addLayout(grid, 1)
        column.addWidget(self.doubt)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        number_px = min(NUMBER_SHARE[0] * self.height(), NUMBER_SHARE[1] * self.width())
        words_px = max(WORDS_MIN_PX, number_px * WORDS_SHARE)
        for label in (self.name, self.contact.text, self.doubt, *self.words.values()):
            _size(label, words_px)
        for label in self.numbers.values():
            _size(label, max(WORDS_MIN_PX, number_px))
        self.contact.shape.setFixedSize(int(words_px * 1.4), int(words_px * 1.4))

    def draw(self, view: View, now_s: float) -> None:
        """Show the newest reading, or the one at the moment of a pause."""
        moment = self.panel.moment(view, now_s)
        simulated = f"{texts.of('panel.simulated')}  ·  " if self.panel.is_simulated else ""
        self.name.setText(simulated + self.panel.name)
        self.contact.show_signal(moment.signal, moment.status)
        words = words_of(moment)
        self.doubt.setText("" if words is None else f"⚠ {words.sentence}")
        for name, label in self.numbers.items():
            value, is_valid = esense_of(moment.values, moment.doubt, name, moment.status)
            label.setText("--" if value is None else str(value))
            label.setStyleSheet(f"color: {themes.colours()[name if is_valid else 'faint']}; font-weight: bold")
            label.setAccessibleName(f"{texts.of(f'line.{name}')} {label.text()}")


class BigNumbers(QWidget):
    """The shown streams beside each other."""

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[BigStream] = []
        self.state = QLabel(textFormat=Qt.TextFormat.PlainText)
        self.leave = translated(QPushButton(), text="big.leave")
        self.leave.clicked.connect(self.closed)
        self._row, foot, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        foot.addWidget(self.state, 1)
        foot.addWidget(self.leave)
        column.addLayout(self._row, 1)
        column.addLayout(foot)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102 (Qt's name)
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        super().keyPressEvent(event)

    def draw(self, panels: list["StreamPanel"], view: View, now_s: float, state: str) -> None:
        """Show the streams of these panels, and the state of the pause or the connection."""
        if [each.panel for each in self.streams] != panels:
            for stream in self.streams:
                stream.hide()
                stream.deleteLater()
            self.streams = [BigStream(panel) for panel in panels]
            for stream in self.streams:
                self._row.addWidget(stream, 1)
        for stream in self.streams:
            stream.draw(view, now_s)
        self.state.setText(state)


def _size(label: QLabel, height_px: float) -> None:
    font = label.font()
    font.setPixelSize(int(height_px))
    label.setFont(font)
