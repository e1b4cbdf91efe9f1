"""Run a serial-bridge on this computer, as a program of its own: the monitor itself opens no port."""

import json
import shutil
import sys
from pathlib import Path
from typing import Final

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from neuroone.mqtt.address import BrokerAddress
from neuroone.service.lifecycle import STOP_ON_EOF

STOP_TIMEOUT_MS: Final = 5000
"""How long the bridge may take to publish its offline state and exit, before it is killed."""
LAST_LINE_MAX_CHARS: Final = 300
"""Shown characters of the last line of the bridge's log."""


def command(*arguments: str) -> list[str] | None:
    """Return the command line of serial-bridge with these arguments; None if it is not installed."""
    if not getattr(sys, "frozen", False):
        return [sys.executable, "-m", "serial_bridge", *arguments]
    found = shutil.which("serial-bridge")
    return None if found is None else [found, *arguments]


class LocalBridge(QObject):
    """One serial-bridge, and the ports that it lists with their descriptions. ``changed`` reports any change."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[str, str] = {}
        self.port: str | None = None
        self.last_line = ""
        self.exit_code: int | None = None
        self._run = QProcess(self)
        self._run.readyReadStandardError.connect(self._on_stderr)
        self._run.finished.connect(self._on_finished)
        self._run.errorOccurred.connect(self._on_error)
        self._list = QProcess(self)
        self._list.finished.connect(self._on_ports)

    @property
    def is_running(self) -> bool:
        """Return True while the bridge runs."""
        return self._run.state() != QProcess.ProcessState.NotRunning

    def list_ports(self) -> None:
        """Ask for the ports; `changed` reports the answer."""
        program = command("ports", "--json")
        if program is not None and self._list.state() == QProcess.ProcessState.NotRunning:
            self._list.start(program[0], program[1:])

    def start(
        self,
        port: str,
        broker: BrokerAddress,
        site: str,
        name: str = "",
        code: str = "",
        ca_file: Path | None = None,
    ) -> bool:
        """Start a bridge on a serial port, a capture file or "sim"; False if it is not installed."""
        program = command("run", "--port", port, "--site", site)
        if program is None or self.is_running:
            return False
        for flag, text in (("--name", name.strip()), ("--code", code.strip())):
            program += [f"{flag}={text}"] if text else []
        environment = QProcessEnvironment.systemEnvironment()
        # Not in the command line, which every user of the computer can read.
        environment.insert("NEUROONE_BROKER", broker.url)
        environment.insert(STOP_ON_EOF, "1")
        environment.insert("NEUROONE_BROKER_CA", "" if ca_file is None else str(ca_file))
        self._run.setProcessEnvironment(environment)
        self.port, self.last_line, self.exit_code = port, "", None
        self._run.start(program[0], program[1:])
        self.changed.emit()
        return True

    def stop(self) -> None:
        """Stop the bridge in order: it stops when its standard input ends."""
        self._run.closeWriteChannel()

    def close(self) -> None:
        """Stop the bridge and wait until it has exited."""
        for program in (self._run, self._list):
            if program.state() != QProcess.ProcessState.NotRunning:
                program.closeWriteChannel()
                if not program.waitForFinished(STOP_TIMEOUT_MS):
                    program.kill()
                    program.waitForFinished(STOP_TIMEOUT_MS)

    def _on_stderr(self) -> None:
        lines = bytes(self._run.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        if lines:
            self.last_line = (lines[-1].partition(": ")[2] or lines[-1])[:LAST_LINE_MAX_CHARS]
            self.changed.emit()

    def _on_finished(self, exit_code: int) -> None:
        self.exit_code = exit_code
        self.changed.emit()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self.exit_code, self.last_line = -1, self._run.errorString()
            self.changed.emit()

    def _on_ports(self) -> None:
        found = {}
        for line in bytes(self._list.readAllStandardOutput().data()).decode("utf-8", "replace").splitlines():
            try:
                row = json.loads(line)
                known = [row[key] for key in ("description", "vid_pid", "looks_like")]
                found[row["port"]] = ", ".join(text for text in known if text not in ("-", "n/a", ""))
            except (ValueError, KeyError, TypeError):
                continue
        self.ports = found
        self.changed.emit()
