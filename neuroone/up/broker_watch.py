"""``python -m neuroone.up.broker_watch CONFIG``: end a server's Mosquitto that runs and answers nobody.

systemd and supervisor start a broker again that has ended, and leave one alone that hangs. This program tries the
broker out as `neuroone up` does. It runs as the broker's user and touches only the broker that was started with CONFIG.
"""

import os
import re
import signal
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from neuroone.contract.errors import SettingsError
from neuroone.mqtt import packets
from neuroone.service.lifecycle import OK, Command, Stop
from neuroone.service.lifecycle import main as run_program
from neuroone.service.local_address import LOOPBACK
from neuroone.service.settings import setting
from neuroone.up.broker_check import CONNECT_TIMEOUT_S, KEEP_ALIVE_S, SILENT, BrokerCheck
from neuroone.up.brokers import MOSQUITTO
from neuroone.up.children import Child

PROGRAM: Final = "neuroone-broker-watch"
STEP_S: Final = 1.0
PROCESSES: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """Options of the watch."""

    READS_ENVIRONMENT: ClassVar = False
    config: Path = setting(..., Path, "Mosquitto's configuration, as in its own command line.", positional=True)


class RunningBroker(Child):
    """The Mosquitto that somebody else starts, found by its command line."""

    def __init__(self, config: Path) -> None:
        super().__init__(MOSQUITTO, ())
        self._argument = os.fsencode(config)
        self._pid: int | None = None

    def find(self, now_s: float) -> None:
        """Note which process it is now. One that is new counts as started at this moment."""
        if self._pid is not None and self._is_ours(self._pid):
            return
        pids = (int(process.name) for process in PROCESSES.glob("[0-9]*"))
        self._pid = next(filter(self._is_ours, pids), None)
        self._started_s = now_s

    def poll(self) -> int | None:
        """Return None while it runs."""
        return OK if self._pid is None else None

    def terminate(self) -> None:
        """Ask it to end; what started it starts it again."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self._pid is not None and self._is_ours(self._pid):
            os.kill(self._pid, number)

    def _is_ours(self, pid: int) -> bool:
        try:
            program, *arguments = (PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            return False
        return program.endswith(MOSQUITTO.encode()) and self._argument in arguments


def fault(port: int) -> str | None:
    """Return what the broker does not do; None if it answers a client, which it refuses for want of a login."""
    connect = packets.Connect(client_id=PROGRAM, keep_alive_s=KEEP_ALIVE_S)
    try:
        with socket.create_connection((LOOPBACK, port), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.sendall(connect.encode(v5=False))
            return None if connection.recv(1) else SILENT
    except OSError:
        return SILENT


def run(given: WatchSettings, stop: Stop) -> int:
    """Watch until the program is stopped. Raises SettingsError."""
    try:
        found = re.findall(r"^(\w+) (\S+)", given.config.read_text(encoding="utf-8"), re.MULTILINE)
        settings = dict(reversed(found))  # the first listener is that of programs, the next one that of browsers
        port, folder = int(settings["listener"]), Path(settings["persistence_location"])
    except (OSError, LookupError, ValueError) as error:
        raise SettingsError([f"config: {given.config} is no configuration of a server's Mosquitto ({error})"]) from None
    broker = RunningBroker(given.config)
    check = BrokerCheck(broker, folder, partial(fault, port))
    check.start()
    while not stop.wait(STEP_S):
        now_s = time.monotonic()
        broker.find(now_s)
        check.step(now_s)
    check.close()
    return OK


def main() -> int:
    """Run the program."""
    return run_program(PROGRAM, {"run": Command(WatchSettings, run, "End a server's Mosquitto that hangs.")})


if __name__ == "__main__":
    sys.exit(main())
