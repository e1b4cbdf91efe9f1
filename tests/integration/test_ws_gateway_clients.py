"""clients/neuroone.js against a simulated network, and through a bad one to a real gateway, broker and recorder."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.gateways import GatewayProgram, Peer
from tests.support.relay import Relay
from tests.support.waiting import wait_for

CLIENTS = Path(__file__).parents[2] / "clients"
NODE_MIN = 20
"""The first Node with a WebSocket of its own, behind a flag; from 22 on without it."""
SIMULATED_S = 6 * 60
DELAY_S = 0.05
"""Real time, in which the client's clock goes on a few seconds."""


def node() -> list[str]:
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed on this machine")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    if int(version[1:].split(".")[0]) < NODE_MIN:
        pytest.skip(f"Node {version.strip()} is too old: the client needs {NODE_MIN}")
    return [program, "--experimental-websocket"]


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


@dataclass
class Stack:
    """A gateway behind a bad network, a broker, and a recorder with its directory."""

    gateway: GatewayProgram
    relay: Relay
    folder: Path

    def recorded(self, name: str) -> list[int]:
        """Return the number `delta` of all readings in the session files of a student, in order."""
        deltas = []
        for file in self.folder.glob(f"sessions/*/*_{name}*/readings.csv"):
            with file.open(encoding="utf-8", newline="") as opened_file:
                deltas += [int(row["delta"]) for row in csv.DictReader(opened_file)]
        return sorted(deltas)

    def wait_for_rows(self, name: str, count: int) -> None:
        wait_for(lambda: len(self.recorded(name)) >= count, f"{count} readings of {name}")


@pytest.fixture
def stack(broker: Broker, tmp_path: Path) -> Iterator[Stack]:
    peer = Peer(broker)
    folder = tmp_path / "recordings"
    command = [sys.executable, "-m", "csv_recorder", "run", "--dir", str(folder), "--broker", broker.url]
    gateway = GatewayProgram(broker)
    recorder = subprocess.Popen([*command, "--instance", "test"])
    try:
        wait_for(lambda: peer.bus.is_connected, "connection", 10)
        gateway.start(peer)
        birth = topics.service_state("local", "csv_recorder", "test")
        wait_for(
            lambda: any(
                topic == birth and isinstance(state, ServiceState) and state.status is ServiceStatus.ONLINE
                for topic, state in peer.heard
            ),
            "birth of the recorder",
        )
        with Relay(gateway.port) as relay:
            yield Stack(gateway, relay, folder)
        gateway.finish()
    finally:
        recorder.terminate()
        recorder.wait(20)
        peer.bus.close()


@pytest.mark.broker
def test_the_javascript_client(gateway):
    """It connects, sends, reconnects with its session, and loses nothing."""
    words = [*node(), str(CLIENTS / "neuroone.test.mjs"), gateway.url]
    ended = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=40, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ok\n"), ended.stderr


@pytest.mark.timeout(120)
def test_the_javascript_client_in_a_simulated_network():
    """Three hours of a bad network, shared tablets, several tabs, and all close codes, with a simulated clock."""
    words = [*node(), "--test", "--test-reporter=spec", str(CLIENTS / "neuroone.simulated.test.mjs")]
    ended = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.broker
@pytest.mark.timeout(120)
@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
def test_the_javascript_client_loses_and_doubles_nothing_in_a_bad_network(stack):
    """Through a relay that goes silent, drops, delays and half-opens; every reading is recorded under its own name."""
    acts = {name: getattr(stack.relay, name) for name in ("freeze", "hold", "cut", "refuse", "deafen", "heal")} | {
        "delay": lambda: stack.relay.delay(DELAY_S)
    }
    url = f"ws://{LOOPBACK}:{stack.relay.port}"
    words = [*node(), str(CLIENTS / "neuroone.relay.test.mjs"), url, str(SIMULATED_S)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as client:
        assert client.stdin
        assert client.stdout
        assert client.stderr
        try:
            for line in client.stdout:
                if not line.startswith("relay "):
                    break
                acts[line.split()[1]]()
                client.stdin.write("\n")
                client.stdin.flush()
            assert line.startswith("ok"), client.stderr.read()
        finally:
            client.kill()
    expected = {
        "Rede": list(range(SIMULATED_S)),
        "Ana": list(range(10)),
        "Bruno": list(range(100, 110)),
        "Duas": list(range(40)),
        "Dez": list(range(20)),
        "Ruim": list(range(30, 40)),
    }
    for name, deltas in expected.items():
        stack.wait_for_rows(name, len(deltas))
        assert stack.recorded(name) == deltas
