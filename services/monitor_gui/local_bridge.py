"""A serial-bridge on this computer, as a program of its own: the monitor itself opens no port."""

import json
import shutil
import sys
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from neuroone.mqtt.address import BrokerAddress
from neuroone.service.lifecycle import STOP_ON_EOF

STOP_TIMEOUT_MS: Final = 5000
"""For the bridge to say offline and leave; then it is killed."""
LAST_WORDS_MAX: Final = 300
"""Characters of the bridge's last line that are shown."""


@dataclass(frozen=True, slots=True)
class LocalPort:
    """A serial port of this computer, and what it looks like."""

    port: str
    words: str


def command(*words: str) -> list[str] | None:
    """How to start serial-bridge with those words; None where it is not installed."""
    if not getattr(sys, "frozen", False):
        return [sys.executable, "-m", "serial_bridge", *words]
    found = shutil.which("serial-bridge")
    return None if found is None else [found, *words]


class LocalBridge(QObject):
    """Starts, watches and stops one serial-bridge, and asks it for the ports. ``changed`` says that it is otherwise."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[LocalPort] = []
        self.port: str | None = None
        self.last_words = ""
        self.exit_code: int | None = None
        self._run = QProcess(self)
        self._run.readyReadStandardError.connect(self._on_stderr)
        self._run.finished.connect(self._on_finished)
        self._run.errorOccurred.connect(self._on_error)
        self._list = QProcess(self)
        self._list.finished.connect(self._on_ports)

    @property
    def is_running(self) -> bool:
        """Whether the bridge runs."""
        return self._run.state() != QProcess.ProcessState.NotRunning

    def list_ports(self) -> None:
        """Ask for the ports; `changed` tells when they are known."""
        words = command("ports", "--json")
        if words is not None and self._list.state() == QProcess.ProcessState.NotRunning:
            self._list.start(words[0], words[1:])

    def start(self, port: str, broker: BrokerAddress, site: str, name: str = "", code: str = "") -> bool:
        """Start a bridge on a serial port, a capture file or "sim"; False where it is not installed."""
        words = command("run", "--port", port, "--site", site)
        if words is None or self.is_running:
            return False
        for flag, text in (("--name", name.strip()), ("--code", code.strip())):
            words += [f"{flag}={text}"] if text else []
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("NEUROONE_BROKER", broker.url)  # not in the command line, which everybody can read
        environment.insert(STOP_ON_EOF, "1")
        self._run.setProcessEnvironment(environment)
        self.port, self.last_words, self.exit_code = port, "", None
        self._run.start(words[0], words[1:])
        self.changed.emit()
        return True

    def stop(self) -> None:
        """Let the bridge leave in order: it stops when its standard input ends."""
        self._run.closeWriteChannel()

    def close(self) -> None:
        """Stop the bridge and wait until it is gone."""
        for program in (self._run, self._list):
            if program.state() != QProcess.ProcessState.NotRunning:
                program.closeWriteChannel()
                if not program.waitForFinished(STOP_TIMEOUT_MS):
                    program.kill()
                    program.waitForFinished(STOP_TIMEOUT_MS)

    def _on_stderr(self) -> None:
        lines = bytes(self._run.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        if lines:
            self.last_words = lines[-1].partition(": ")[2][:LAST_WORDS_MAX] or lines[-1][:LAST_WORDS_MAX]
            self.changed.emit()

    def _on_finished(self, exit_code: int) -> None:
        self.exit_code = exit_code
        self.changed.emit()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self.exit_code, self.last_words = -1, self._run.errorString()
            self.changed.emit()

    def _on_ports(self) -> None:
        found = []
        for line in bytes(self._list.readAllStandardOutput().data()).decode("utf-8", "replace").splitlines():
            try:
                row = json.loads(line)
                known = [row[key] for key in ("description", "vid_pid", "looks_like")]
                words = ", ".join(text for text in known if text not in ("-", "n/a", ""))
                found.append(LocalPort(row["port"], words))
            except (ValueError, KeyError, TypeError):
                continue
        self.ports = found
        self.changed.emit()
