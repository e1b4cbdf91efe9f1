"""The contact guide: a drawing of how the headset sits, what to do, and the contact at this moment."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtSvgWidgets import QSvgWidget
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from monitor_gui import themes
from monitor_gui.contact_indicator import ContactIndicator, Shape
from monitor_gui.layouts import FlowLayout, ScrolledColumn
from monitor_gui.texts import translated
from monitor_gui.view import Signal, View

if TYPE_CHECKING:
    from monitor_gui.panel import StreamPanel

DRAWING: Final = Path(__file__).parent / "contact_guide.svg"
DRAWING_MIN_PX: Final = (140, 160)
STEPS: Final = ("hair", "sensor", "clip", "still", "wait", "help")
SHAPES_SPACING_PX: Final = 14


class ContactGuide(QWidget):
    """A drawing beside the steps to good contact; the contact of the shown headset is above them."""

    def __init__(self) -> None:
        super().__init__()
        self.drawing = translated(QSvgWidget(), accessibleName="contact.drawing")
        self.contact = ContactIndicator()
        self.name = QLabel(textFormat=Qt.TextFormat.PlainText, wordWrap=True)
        self.drawing.setMinimumSize(*DRAWING_MIN_PX)
        steps = QWidget()
        column = QVBoxLayout(steps)
        column.addWidget(translated(QLabel(wordWrap=True), text="contact.title"))
        column.addWidget(self.name)
        column.addWidget(self.contact, alignment=Qt.AlignmentFlag.AlignLeft)
        for step in STEPS:
            column.addWidget(translated(QLabel(wordWrap=True), text=f"contact.{step}"))
        shapes = FlowLayout(SHAPES_SPACING_PX)
        for signal in Signal:
            shapes.addWidget(_legend(signal))
        column.addLayout(shapes)
        column.addStretch(1)
        row = QHBoxLayout(self)
        row.addWidget(self.drawing, 2)
        row.addWidget(ScrolledColumn(steps), 3)
        self.restyle()

    def draw(self, panels: list["StreamPanel"], view: View, now_s: float) -> None:
        """Show the contact of the first shown headset."""
        self.contact.setVisible(bool(panels))
        self.name.setVisible(bool(panels))
        if panels:
            moment = panels[0].moment(view, now_s)
            self.name.setText(panels[0].name)
            self.contact.show_signal(moment.signal, moment.status)

    def restyle(self) -> None:
        """Draw in the colours of the current theme."""
        drawing = DRAWING.read_text(encoding="utf-8")
        for role in ("ink", "faint", "ground", "good", "attention"):
            drawing = drawing.replace(f"var(--{role})", themes.colours()[role])
        self.drawing.load(QByteArray(drawing.encode()))
        self.drawing.renderer().setAspectRatioMode(Qt.AspectRatioMode.KeepAspectRatio)


def _legend(signal: Signal) -> QWidget:
    """Return a shape with its word."""
    legend, shape = QWidget(), Shape()
    shape.signal = signal
    row = QHBoxLayout(legend)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(shape)
    row.addWidget(translated(QLabel(), text=f"signal.{signal}"))
    return legend
