"""The services under systemd, whose part a socket plays here; tests/system has a real one."""

import contextlib
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from neuroone.service.systemd import CONNECTED, SOCKET
from tests.support.brokers import LOOPBACK, Broker, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux servers")


def wait_for_word(systemd: socket.socket, word: str) -> list[str]:
    """Return the lines of the first message that has a word among them."""
    while word not in (lines := systemd.recv(4096).decode().splitlines()):
        pass
    return lines


def test_services_say_when_they_serve_live_and_stop(mosquitto: Broker, tmp_path: Path) -> None:
    """At READY=1 the broker is there and the gateway lets students in, at once."""
    port = free_port()
    programs = [
        ("ws_gateway", "--ws-port", str(port)),
        ("csv_recorder", "run", "--dir", f"{tmp_path}/data"),
        ("serial_bridge", "run", "--port", "sim"),
    ]
    with contextlib.ExitStack() as stack:
        running = []
        for program, *words in programs:
            systemd = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            systemd.bind(f"{tmp_path}/{program}")
            systemd.settimeout(20)
            command = [sys.executable, "-m", program, *words, "--broker", mosquitto.url]
            own = os.environ | {SOCKET: f"{tmp_path}/{program}"}
            service = subprocess.Popen(command, env=own, stderr=subprocess.DEVNULL)
            stack.callback(service.kill)
            running.append((systemd, service))
        for systemd, _ in running:
            assert f"STATUS={CONNECTED}" in wait_for_word(systemd, "READY=1")
        with connect(f"ws://{LOOPBACK}:{port}/") as student:
            assert student.ping().wait(20)
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=20) as answer:
            assert answer.status == 200
        for systemd, service in running:
            assert wait_for_word(systemd, "WATCHDOG=1") == ["WATCHDOG=1"]
            service.terminate()
        for systemd, service in running:
            wait_for_word(systemd, "STOPPING=1")
            assert service.wait(20) == 0
