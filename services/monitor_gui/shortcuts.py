"""The page with the keyboard shortcuts."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from monitor_gui.layouts import ScrolledColumn
from monitor_gui.texts import translated


class ShortcutsPage(QWidget):
    """A list of the actions and their keys."""

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        back = translated(QPushButton(), text="shortcuts.back")
        back.clicked.connect(self.closed)
        self.rows = QFormLayout()
        self.rows.setHorizontalSpacing(32)
        shown = QWidget()
        column = QVBoxLayout(shown)
        column.setContentsMargins(32, 24, 32, 24)
        column.setSpacing(16)
        column.addWidget(translated(QLabel(), text="shortcuts.title"))
        column.addLayout(self.rows)
        column.addWidget(translated(QLabel(wordWrap=True), text="shortcuts.notes"))
        column.addWidget(back, alignment=Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(ScrolledColumn(shown))

    def show_shortcuts(self, shortcuts: list[tuple[str, str]]) -> None:
        """Show the actions, given as (words, key)."""
        while self.rows.rowCount():
            self.rows.removeRow(0)
        for words, key in shortcuts:
            self.rows.addRow(QLabel(f"<b>{key}</b>"), QLabel(words))
