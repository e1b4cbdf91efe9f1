"""Pictures of the window."""

import logging
from pathlib import Path

from PySide6.QtCore import QPoint, QSize
from PySide6.QtGui import QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

log = logging.getLogger(__name__)


def save_picture(widget: QWidget, path: Path) -> bool:
    """Save what the widget shows to a ``.svg`` file, or to an image of the kind that the suffix names."""
    if path.suffix.lower() == ".svg":
        is_saved = _save_svg(widget, path)
    else:
        is_saved = widget.grab().save(str(path))
    if not is_saved:
        log.error("cannot write a picture to %s", path)
    return is_saved


def _save_svg(widget: QWidget, path: Path) -> bool:
    drawing = QSvgGenerator()
    drawing.setFileName(str(path))
    drawing.setSize(QSize(widget.width(), widget.height()))
    drawing.setViewBox(widget.rect())
    painter = QPainter()
    if not painter.begin(drawing):
        return False
    widget.render(painter, QPoint())
    return painter.end()
