"""The JavaScript client against a real gateway."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.gateways import GatewayProgram, Peer
from tests.support.waiting import wait_for

CLIENTS = Path(__file__).parents[2] / "clients"
NODE_MIN = 20
"""The first Node with a WebSocket of its own, behind a flag; from 22 on without it."""


def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed on this machine")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    if int(version[1:].split(".")[0]) < NODE_MIN:
        pytest.skip(f"Node {version.strip()} is too old: the client needs {NODE_MIN}")
    return program


@pytest.fixture
def gateway(broker: Broker) -> Iterator[GatewayProgram]:
    peer = Peer(broker)
    program = GatewayProgram(broker)
    try:
        wait_for(lambda: peer.bus.is_connected, "connection", 10)
        program.start(peer)
        yield program
        program.finish()
    finally:
        peer.bus.close()


@pytest.mark.broker
def test_the_javascript_client(gateway):
    """It connects, sends, reconnects with its session, and loses nothing."""
    words = [node(), "--experimental-websocket", str(CLIENTS / "neuroone.test.mjs"), gateway.url]
    ended = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=40, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ok\n"), ended.stderr
