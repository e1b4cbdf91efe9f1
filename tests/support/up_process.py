"""`neuroone up` as its user runs it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from websockets.sync.client import ClientConnection, connect

from tests.support.brokers import free_port

STOP_S = 30.0


@dataclass
class Up:
    """A running `neuroone up`."""

    popen: subprocess.Popen[str]
    ws_port: int
    mqtt_url: str
    data: Path
    banner: list[str]

    def connect(self, query: str = "") -> contextlib.AbstractContextManager[ClientConnection]:
        """Connect a WebSocket client."""
        return connect(f"ws://127.0.0.1:{self.ws_port}/{query}", proxy=None)

    @property
    def dashboard_query(self) -> str:
        """Return what follows the last slash of the printed dashboard address."""
        line = next(line for line in self.banner if line.startswith("Dashboard: http://"))
        return line[line.rindex("/") + 1 :]

    def read_until(self, begin: str) -> list[str]:
        """Read what it shows below its banner, until a line that begins so."""
        lines: list[str] = []
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(begin):
                return lines
        raise AssertionError(lines)

    def family(self) -> list[psutil.Process]:
        """List every program that it started."""
        return psutil.Process(self.popen.pid).children(recursive=True)


@contextlib.contextmanager
def running_up(data: Path, *words: str, mqtt_url: str = "", language: str = "C.UTF-8") -> Iterator[Up]:
    """Start it on free ports, wait for its banner; at the end, stop it and wait until it has ended."""
    ws_port, mqtt_port = free_port(), free_port()
    command = [sys.executable, "-m", "neuroone", "up", "--data", str(data), "--ws-port", str(ws_port), *words]
    command += ["--broker", mqtt_url] if mqtt_url else ["--mqtt-port", str(mqtt_port)]
    environ = {**os.environ, "LC_ALL": language}
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=environ) as popen:
        assert popen.stdout is not None
        try:
            banner: list[str] = []
            for line in popen.stdout:
                banner.append(line.rstrip("\n"))
                if "Ctrl+C" in line:
                    break
            assert popen.poll() is None
            yield Up(popen, ws_port, mqtt_url or f"mqtt://127.0.0.1:{mqtt_port}", data, banner)
        finally:
            if popen.poll() is None:
                popen.send_signal(signal.SIGTERM)
            popen.wait(STOP_S)
