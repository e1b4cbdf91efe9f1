"""Widgets that let the window become small, and those that keep it still."""

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.gui


def test_a_new_text_lays_out_the_window_anew_only_if_it_needs_another_size(qtbot: "QtBot") -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

    from monitor_gui.layouts import Steady

    asked = []

    class Window(QWidget):
        def event(self, event: QEvent) -> bool:
            if event.type() == QEvent.Type.LayoutRequest:
                asked.append(event)
            return super().event(event)

    def say(label: QLabel, text: str) -> None:
        label.setText(text)
        QApplication.processEvents()
        QApplication.processEvents()  # what the first ones have posted

    window, text, wrapped = Window(), QLabel("11"), QLabel("1 s ago", wordWrap=True)
    qtbot.addWidget(window)
    column = QVBoxLayout(window)
    for label in (text, wrapped):
        column.addWidget(Steady(label))
    window.resize(200, 200)
    window.show()
    for label, texts in ((text, ("22", "33")), (wrapped, ("2 s ago", "3 s ago"))):
        say(label, texts[0])
        asked.clear()
        say(label, texts[1])
        assert not asked
    for label, longer in ((text, "1,000"), (wrapped, "3 s ago, and much more than one line can hold")):
        height_px = label.sizeHint().height()
        say(label, longer)
        assert asked
        assert label.width() >= label.sizeHint().width() or label.height() > height_px


def test_a_text_that_has_changed_while_it_was_not_shown_is_not_cut(qtbot: "QtBot") -> None:
    """As that of the contact is while another page is shown."""
    from PySide6.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

    from monitor_gui.layouts import FlowLayout, Steady

    window, page, label = QWidget(), QWidget(), QLabel("gone")
    qtbot.addWidget(window)
    QVBoxLayout(window).addWidget(page)
    row = FlowLayout(8)
    QVBoxLayout(page).addLayout(row)
    row.addWidget(Steady(label))
    window.resize(400, 100)
    window.show()
    QApplication.processEvents()
    page.hide()
    for text in ("Good signal", "Needs adjusting"):
        label.setText(text)
        page.show()
        QApplication.processEvents()
        QApplication.processEvents()  # what the first ones have posted
        assert label.width() >= label.sizeHint().width()
        page.hide()


def test_pyqtgraph_is_loaded_with_the_first_plot_not_at_the_start() -> None:
    """It takes a quarter of the start."""
    seen = "import sys, monitor_gui.service; sys.exit('pyqtgraph' in sys.modules)"
    subprocess.run([sys.executable, "-c", seen], check=True, timeout=60)
