"""A program that the window runs beside itself, and ends in order: the window itself opens no port and no broker."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from neuroone.service import programs
from neuroone.service.lifecycle import STOP_ON_EOF

STOP_TIMEOUT_MS: Final = 5000
"""How long the program may take to publish its offline state and exit, before it is killed."""
LAST_LINE_MAX_CHARS: Final = 300
LINES_MAX: Final = 200
"""What is kept of what the program says: some screens."""
SAID_MAX_BYTES: Final = 64 * 1024
"""A line without an end is cut here."""


def command_of(package: str, *arguments: str) -> list[str] | None:
    """Return the command line of a program of NeuroOne with these arguments; None if it is not installed."""
    command = programs.command(package, *arguments)
    return command if Path(command[0]).exists() else None


class ChildProgram(QObject):
    """One program of NeuroOne, and what it says. ``changed`` reports any change.

    It stops when its standard input ends, also when the window is killed.
    """

    changed = Signal()

    def __init__(self, stop_timeout_ms: int = STOP_TIMEOUT_MS) -> None:
        super().__init__()
        self.last_line = ""
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.exit_code: int | None = None
        self._stop_timeout_ms = stop_timeout_ms
        self._said = b""
        self._run = QProcess(self)
        self._run.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._run.readyRead.connect(self._on_said)
        self._run.finished.connect(self._on_finished)
        self._run.errorOccurred.connect(self._on_error)

    @property
    def is_running(self) -> bool:
        """Return True while the program runs."""
        return self._run.state() != QProcess.ProcessState.NotRunning

    def run(self, program: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start the program with these variables in its environment: every user can read a command line."""
        environment = QProcessEnvironment.systemEnvironment()
        for name, value in ({STOP_ON_EOF: "1", "PYTHONUTF8": "1"} | dict(variables)).items():
            environment.insert(name, value)
        self._run.setProcessEnvironment(environment)
        self.last_line, self.exit_code, self._said = "", None, b""
        self.lines.clear()
        self._run.start(program[0], list(program[1:]))
        self.changed.emit()

    def tell(self, line: str) -> None:
        """Write a line to the program's standard input."""
        self._run.write(line.encode() + os.linesep.encode())

    def stop(self) -> None:
        """Stop the program in order: it stops when its standard input ends."""
        self._run.closeWriteChannel()

    def close(self) -> None:
        """Stop the program and wait until it has exited."""
        if self.is_running:
            self._run.closeWriteChannel()
            if not self._run.waitForFinished(self._stop_timeout_ms):
                self._run.kill()
                self._run.waitForFinished(self._stop_timeout_ms)

    def _on_said(self) -> None:
        *lines, self._said = (self._said + self._run.readAll().data()).split(b"\n")
        self._said = self._said[-SAID_MAX_BYTES:]
        self._keep(lines)

    def _keep(self, lines: list[bytes]) -> None:
        words = [line.decode("utf-8", "replace").rstrip() for line in lines]
        self.lines.extend(words)
        if said := [each for each in words if each]:
            self.last_line = (said[-1].partition(": ")[2] or said[-1])[:LAST_LINE_MAX_CHARS]
            self.changed.emit()

    def _on_finished(self, exit_code: int) -> None:
        self._on_said()
        self._keep([self._said])
        self.exit_code, self._said = exit_code, b""
        self.changed.emit()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self.exit_code, self.last_line = -1, self._run.errorString()
            self.changed.emit()
