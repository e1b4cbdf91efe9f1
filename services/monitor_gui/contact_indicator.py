"""The contact indicator: a shape and a word, readable without seeing its colour."""

from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from monitor_gui import texts, themes
from monitor_gui.view import Signal
from neuroone.contract.messages import StreamStatus

EDGE_SHARE: Final = 0.15
PEN_SHARE: Final = 0.22
"""Free edge and width of lines, as parts of the shape's width."""


class Shape(QWidget):
    """A disc for good, a triangle for adjusting, a square for poor, a cross for off the skin, a ring for unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.signal = Signal.UNKNOWN
        self.setFixedSize(QSize(26, 26))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edge = self.width() * EDGE_SHARE
        draw_shape(painter, QRectF(self.rect()).adjusted(edge, edge, -edge, -edge), self.signal)
        painter.end()


def draw_shape(painter: QPainter, box: QRectF, signal: Signal) -> None:
    """Draw the shape of a contact in a box."""
    colour = QColor(themes.colours()[signal])
    is_line = signal in (Signal.UNKNOWN, Signal.OFF)
    painter.setPen(QPen(colour, box.width() * PEN_SHARE) if is_line else Qt.PenStyle.NoPen)
    painter.setBrush(Qt.BrushStyle.NoBrush if is_line else colour)
    match signal:
        case Signal.GOOD | Signal.UNKNOWN:
            painter.drawEllipse(box)
        case Signal.ADJUSTING:
            top = QPointF(box.center().x(), box.top())
            painter.drawPolygon(QPolygonF([top, box.bottomRight(), box.bottomLeft()]))
        case Signal.POOR:
            painter.drawRect(box)
        case Signal.OFF:
            painter.drawLine(box.topLeft(), box.bottomRight())
            painter.drawLine(box.topRight(), box.bottomLeft())


class ContactIndicator(QWidget):
    """The contact of a headset as shape and text, or the status of a stream that is not online."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = Shape()
        self.text = QLabel()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.shape)
        row.addWidget(self.text)

    def show_signal(self, signal: Signal, status: StreamStatus | None) -> None:
        """Show the contact if the stream is online, else its status; None while the broker is away."""
        is_online = status is StreamStatus.ONLINE
        self.shape.signal = signal if is_online else Signal.UNKNOWN
        self.shape.update()
        self.text.setText(texts.of(f"signal.{signal}") if is_online else texts.of_status(status))
        self.setAccessibleName(self.text.text())
