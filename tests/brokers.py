"""Real MQTT brokers for tests, each on a free port of this machine with a folder of its own."""

import os
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tests.waiting import wait_for

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
MOSQUITTO_FOLDERS = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
"""Where packages put Mosquitto although few users have it in their PATH."""


class Broker:
    """One broker that can be stopped, killed and started again on the same port and folder.

    ``kind`` is "mosquitto" (MQTT 5 and 3.1.1) or "nats" (3.1.1 only).
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.log_file = folder / f"{kind}.log"
        self._command = COMMANDS[kind](folder, self.port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def speaks_mqtt5(self) -> bool:
        """Whether this broker takes MQTT 5 connections."""
        return self.kind == "mosquitto"

    def start(self) -> None:
        """Start it and wait until it answers an MQTT connection."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._process = process
        wait_for(
            lambda: process.poll() is not None or answers_mqtt(self.port),
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


def find_mosquitto() -> str | None:
    """The path of Mosquitto's server, if it is installed."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + MOSQUITTO_FOLDERS)


def find_nats() -> str:
    """The path of the NATS server that the extra `up` brings."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    assert found, "no nats-server in this environment: python3 run.py test makes one that has it"
    return found


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers_mqtt(port: int) -> bool:
    """Whether an MQTT 3.1.1 connection to this port is accepted."""
    connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05ready"
    accepted = b"\x20\x02\x00\x00"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(connect)
            return connection.recv(4) == accepted
    except OSError:
        return False


def _mosquitto(folder: Path, port: int) -> list[str]:
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\n"
        "allow_anonymous true\n"
        "persistence true\n"
        f"persistence_location {folder}/\n"
        "autosave_on_changes true\n"
        "autosave_interval 1\n"
        "max_queued_messages 0\n",
        encoding="utf-8",
    )
    return [str(find_mosquitto()), "-c", str(config)]


def _nats(folder: Path, port: int) -> list[str]:
    config = folder / "nats.conf"
    config.write_text(
        'server_name: "neuroone-test"\n'
        'host: "127.0.0.1"\n'
        "port: -1\n"  # its own protocol, unused: any free port
        f'jetstream {{ store_dir: "{(folder / "jetstream").as_posix()}" }}\n'
        f'mqtt {{ host: "127.0.0.1", port: {port} }}\n',
        encoding="utf-8",
    )
    return [find_nats(), "-c", str(config)]


COMMANDS = {"mosquitto": _mosquitto, "nats": _nats}
