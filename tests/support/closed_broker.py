"""A Mosquitto with the configuration of deploy/mosquitto and the logins of `neuroone secrets`."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neuroone.logins import make
from neuroone.mqtt.address import BrokerAddress
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, free_port
from tests.support.waiting import wait_for

CONFIGURATION = Path(__file__).parents[2] / "deploy/mosquitto/mosquitto.conf"


@contextmanager
def closed_broker(folder: Path, ws_port: int = 0) -> Iterator[tuple[Path, BrokerAddress]]:
    """Run it on a free port, for web pages on ``ws_port``.

    Yield the directory of its secrets, and its address without a login.
    """
    program = brokers.find(brokers.MOSQUITTO)
    if program is None:
        pytest.skip("Mosquitto is not installed on this machine")
    address = BrokerAddress(LOOPBACK, free_port())
    secrets = folder / "secrets"
    make(secrets, address, {})
    text = CONFIGURATION.read_text(encoding="utf-8").replace("listener 1883", f"listener {address.port} {LOOPBACK}")
    text = text.replace("listener 9001", f"listener {ws_port or free_port()} {LOOPBACK}")
    text = text.replace("/secrets/", f"{secrets}/").replace("/mosquitto/data/", f"{folder}/")
    user = "user root\n" if os.geteuid() == 0 else ""  # may read what this test writes
    (folder / "mosquitto.conf").write_text(user + text, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program.path, "-c", folder / "mosquitto.conf"], stderr=log)
    try:
        wait_for(lambda: _listens(address.port), "listening broker")
        yield secrets, address
    finally:
        process.terminate()
        process.wait(10)
    assert "Future versions" not in (folder / "log").read_text(encoding="utf-8")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
