"""The page with the keyboard shortcuts."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget


class ShortcutsPage(QWidget):
    """A list of the actions and their keys."""

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = QLabel()
        self.notes = QLabel(wordWrap=True)
        self.back = QPushButton()
        self.back.clicked.connect(self.closed)
        self.rows = QFormLayout()
        self.rows.setHorizontalSpacing(32)
        column = QVBoxLayout(self)
        column.setContentsMargins(32, 24, 32, 24)
        column.setSpacing(16)
        column.addWidget(self.title)
        column.addLayout(self.rows)
        column.addWidget(self.notes)
        column.addWidget(self.back, alignment=Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        self.retranslate()

    def show_shortcuts(self, shortcuts: list[tuple[str, str]]) -> None:
        """Show the actions, given as (words, key)."""
        while self.rows.rowCount():
            self.rows.removeRow(0)
        for words, key in shortcuts:
            self.rows.addRow(QLabel(f"<b>{key}</b>"), QLabel(words))

    def retranslate(self) -> None:
        """Write every text in the current language."""
        title = self.tr("Keyboard shortcuts")
        self.title.setText(f"<h2>{title}</h2>")
        self.notes.setText(
            self.tr(
                "Tab and Shift+Tab go from control to control, Space switches a line on and off, Alt opens the menus. "
                "While the plots are paused, the arrow keys move the slider that scrolls back."
            )
        )
        self.back.setText(self.tr("Back to the &plots"))
