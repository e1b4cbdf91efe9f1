"""Real MQTT brokers, each on a free port of this machine with its own folder."""

import itertools
import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from neuroone.mqtt.address import BrokerAddress
from neuroone.up import brokers
from tests.support.waiting import wait_for

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
LOOPBACK = "127.0.0.1"
TEST_PORTS = range(16_000, 32_000)
"""Below the ports that systems give to outgoing connections (Linux from 32768, others from 49152): a test's port is not
taken between its choice and its use."""
WORKERS_MAX = 16


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
        """Return True if this broker accepts MQTT 5 connections."""
        return self.kind == brokers.MOSQUITTO

    @property
    def pid(self) -> int:
        """Return the process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers an MQTT connection."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._process = process
        wait_for(
            lambda: process.poll() is not None or brokers.answers(BrokerAddress(LOOPBACK, self.port)),
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

    def wait(self) -> None:
        """Wait until it has ended by itself, or somebody else has ended it."""
        self._end(lambda process: None)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None


def free_port() -> int:
    """Return a TCP port that nothing listens on, and that no other test is given."""
    return next(port for port in _ports if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _ports_of_this_worker() -> Iterator[int]:
    """Go round the ports of this process of pytest-xdist, from a random one: another run may be under way."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = TEST_PORTS[worker % WORKERS_MAX :: WORKERS_MAX]
    start = random.randrange(len(ports))
    return itertools.cycle([*ports[start:], *ports[:start]])


_ports = _ports_of_this_worker()
