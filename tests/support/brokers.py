"""Real MQTT brokers for tests, each on a free port of this machine with a folder of its own."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from neuroone.up import brokers
from tests.support.waiting import wait_for

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
LOOPBACK = "127.0.0.1"


class Broker:
    """One broker that can be stopped, killed and started again on the same port and folder.

    ``kind`` is "mosquitto" (MQTT 5 and 3.1.1) or "nats" (3.1.1 only). ``lines`` are added to its configuration.
    """

    def __init__(self, kind: str, folder: Path, *lines: str) -> None:
        self.kind = kind
        self.port = free_port()
        self.url = f"mqtt://{LOOPBACK}:{self.port}"
        self.log_file = folder / f"{kind}.log"
        program = brokers.find(kind)
        assert program, f"no {kind} here: python3 run.py test makes an environment that has NATS"
        self._command = program.command(folder, LOOPBACK, self.port)
        with (folder / f"{kind}.conf").open("a", encoding="utf-8") as conf:
            conf.writelines(f"{line}\n" for line in lines)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def speaks_mqtt5(self) -> bool:
        """Whether this broker takes MQTT 5 connections."""
        return self.kind == brokers.MOSQUITTO

    def start(self) -> None:
        """Start it and wait until it answers an MQTT connection."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._process = process
        wait_for(
            lambda: process.poll() is not None or brokers.answers(LOOPBACK, self.port),
            f"answer of {self.kind}",
            START_TIMEOUT_S,
        )
        assert process.poll() is None, self.log_file.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End it in good order, if it runs."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        self._end(lambda process: process.kill())

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])
