"""Run the whole system on this computer: ``neuroone up``, as a program of its own that ends with the window."""

import socket
from pathlib import Path
from typing import Final

from PySide6.QtCore import Signal

from monitor_gui.child_program import ChildProgram, command_of
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.local_address import LOOPBACK, free_port

WS_PORT: Final = 8080
"""The port that phones, dashboards and games know."""
MQTT_PORT: Final = 1883
STOP_TIMEOUT_MS: Final = 30_000
"""`neuroone up` gives each of its programs 15 s; most need one."""
READY: Final = "MQTT: "
"""Begins the line of the banner that `neuroone up` prints when everything runs."""


class LocalSystem(ChildProgram):
    """Broker, gateway and recorder on this computer. ``ready`` reports that all of them run, ``broker`` is theirs."""

    ready = Signal()

    def __init__(self, ws_port: int = WS_PORT, mqtt_port: int = MQTT_PORT) -> None:
        super().__init__(STOP_TIMEOUT_MS)
        self.broker: BrokerAddress | None = None
        self.is_ready = False
        self._ws_port, self._mqtt_port = ws_port, mqtt_port
        self.changed.connect(self._find_banner)

    def start(self, data: Path, site: str) -> tuple[str, object] | None:
        """Start everything; return the key of a text, and a word for it, that tell why that is not possible."""
        program = command_of("neuroone", "up", f"--data={data}", f"--site={site}")
        if program is None:
            return "system.not_installed", ""
        if self.is_running:
            return None
        if not _is_free("", self._ws_port):
            return "system.port_in_use", self._ws_port
        # Many systems start a broker of their own with the computer: ours takes another port then.
        mqtt_port = self._mqtt_port if _is_free(LOOPBACK, self._mqtt_port) else free_port()
        self.is_ready, self.broker = False, BrokerAddress(LOOPBACK, mqtt_port)
        self.run([*program, f"--ws-port={self._ws_port}", f"--mqtt-port={mqtt_port}"], {})
        return None

    def _find_banner(self) -> None:
        if not self.is_running:
            self.is_ready = False
        elif not self.is_ready and any(line.startswith(READY) for line in self.lines):
            self.is_ready = True
            self.ready.emit()


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would let two programs listen
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
