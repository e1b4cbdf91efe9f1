"""The part of the connection page that starts everything on this computer, and shows what it says."""

from pathlib import Path
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QGroupBox, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout

from monitor_gui import texts
from monitor_gui.child_program import LINES_MAX
from monitor_gui.layouts import ElidedLabel
from monitor_gui.local_system import LocalSystem
from monitor_gui.texts import translated

SAID_HEIGHT_PX: Final = 110


class SystemBox(QGroupBox):
    """A button that starts and stops broker, gateway and recorder, and the folder of their files."""

    chosen = Signal()
    """Start everything."""
    stopped = Signal()
    folder_chosen = Signal(Path)

    def __init__(self, system: LocalSystem) -> None:
        super().__init__()
        translated(self, title="system.title")
        self.system = system
        self.folder = Path()
        self.start_button = QPushButton()
        self.folder_button = translated(QPushButton(), text="system.choose_folder")
        self.folder_label = ElidedLabel(textFormat=Qt.TextFormat.PlainText)
        self.state = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self.said = translated(QPlainTextEdit(readOnly=True, maximumBlockCount=LINES_MAX), accessibleName="system.says")
        self.said.setFixedHeight(SAID_HEIGHT_PX)
        self.said.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.folder_label, 1)
        row.addWidget(self.folder_button)
        column.addWidget(self.start_button)
        column.addLayout(row)
        column.addWidget(self.state)
        column.addWidget(self.said)
        self.start_button.clicked.connect(self._start_or_stop)
        self.folder_button.clicked.connect(self._choose_folder)
        system.changed.connect(self.show_system)
        self.show_system()

    def show_folder(self, folder: Path) -> None:
        """Show where recordings are written."""
        self.folder = folder
        self.folder_label.setText(str(folder))

    def show_fault(self, key: str, word: object) -> None:
        """Tell why nothing can be started."""
        self.state.setText(texts.of(key).format(word))

    def show_system(self) -> None:
        """Show the state of the programs and what they say."""
        system = self.system
        self.start_button.setText(texts.of("system.stop" if system.is_running else "system.start"))
        self.folder_button.setEnabled(not system.is_running)
        if system.is_running:
            self.state.setText(texts.of("system.ready" if system.is_ready else "system.starting"))
        elif system.exit_code is None:
            self.state.setText(texts.of("system.not_started"))
        elif system.exit_code == 0:
            self.state.setText(texts.of("system.ended"))
        else:
            self.state.setText(texts.of("system.failed").format(system.last_line))
        self.said.setVisible(bool(system.lines))
        text = "\n".join(system.lines)
        if text != self.said.toPlainText():
            self.said.setPlainText(text)
            self.said.verticalScrollBar().setValue(self.said.verticalScrollBar().maximum())

    def _choose_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, texts.of("system.choose_folder"), str(self.folder)):
            self.folder_chosen.emit(Path(folder))

    def _start_or_stop(self) -> None:
        (self.stopped if self.system.is_running else self.chosen).emit()
