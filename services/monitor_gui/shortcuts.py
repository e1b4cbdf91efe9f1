"""The page with the keyboard shortcuts, and the notes of the keys 1 to 9."""

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from monitor_gui.actions import MARKS
from monitor_gui.layouts import ScrolledColumn
from monitor_gui.texts import translated
from neuroone.contract.messages import NOTE_MAX_CHARS

MARK_MAX_PX: Final = 480


class ShortcutsPage(QWidget):
    """A list of the actions and their keys, and what the keys 1 to 9 mark."""

    closed = Signal()
    mark_changed = Signal(str, str)
    """A key from 1 to 9, and its note."""

    def __init__(self) -> None:
        super().__init__()
        back = translated(QPushButton(), text="shortcuts.back")
        back.clicked.connect(self.closed)
        self.rows = QFormLayout()
        self.marks = {mark: translated(QLineEdit(), accessibleName="shortcuts.mark") for mark in MARKS}
        self.rows.setHorizontalSpacing(32)
        shown = QWidget()
        column = QVBoxLayout(shown)
        column.setContentsMargins(32, 24, 32, 24)
        column.setSpacing(16)
        column.addWidget(translated(QLabel(), text="shortcuts.title"))
        column.addLayout(self.rows)
        column.addWidget(translated(QLabel(wordWrap=True), text="shortcuts.notes"))
        column.addWidget(translated(QLabel(wordWrap=True), text="shortcuts.marks"))
        column.addLayout(self._lay_out_marks())
        column.addWidget(back, alignment=Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(ScrolledColumn(shown))

    def _lay_out_marks(self) -> QFormLayout:
        form = QFormLayout()
        form.setHorizontalSpacing(32)
        for mark, edit in self.marks.items():
            edit.setMaxLength(NOTE_MAX_CHARS)
            edit.setPlaceholderText(mark)
            edit.setMaximumWidth(MARK_MAX_PX)
            label = QLabel(f"<b>&{mark}</b>")
            label.setBuddy(edit)
            form.addRow(label, edit)
            edit.textEdited.connect(lambda note, mark=mark: self.mark_changed.emit(mark, note))
        return form

    def show_marks(self, notes: Mapping[str, str]) -> None:
        """Show the notes of the keys 1 to 9; a note that is its key was not given."""
        for mark, edit in self.marks.items():
            edit.setText("" if notes[mark] == mark else notes[mark])

    def show_shortcuts(self, shortcuts: list[tuple[str, str]]) -> None:
        """Show the actions, given as (words, key)."""
        while self.rows.rowCount():
            self.rows.removeRow(0)
        for words, key in shortcuts:
            self.rows.addRow(QLabel(f"<b>{key}</b>"), QLabel(words))
