"""Run a serial-bridge on this computer, as a program of its own: the monitor itself opens no port."""

import json
from pathlib import Path

from PySide6.QtCore import QProcess

from monitor_gui.child_program import STOP_TIMEOUT_MS, ChildProgram, command_of
from neuroone.mqtt.address import BrokerAddress


def command(*arguments: str) -> list[str] | None:
    """Return the command line of serial-bridge with these arguments; None if it is not installed."""
    return command_of("serial_bridge", *arguments)


class LocalBridge(ChildProgram):
    """One serial-bridge, and the ports that it lists with their descriptions. ``changed`` reports any change."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[str, str] = {}
        self.port: str | None = None
        self._list = QProcess(self)
        self._list.finished.connect(self._on_ports)

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
        self.port = port
        self.run(program, {"NEUROONE_BROKER": broker.url, "NEUROONE_BROKER_CA": str(ca_file or "")})
        return True

    def close(self) -> None:
        """Stop the bridge and wait until it has exited."""
        super().close()
        if self._list.state() != QProcess.ProcessState.NotRunning:
            self._list.kill()
            self._list.waitForFinished(STOP_TIMEOUT_MS)

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
