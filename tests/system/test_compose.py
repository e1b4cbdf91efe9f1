"""The stack of compose.yaml in a real Docker engine, used as its users use it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.brokers import free_port
from tests.system.test_capture import ATTENTION, BAND_SUMS, CAPTURE, MEDITATION, READINGS
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
BUILD_AND_START_S = 600
WAIT_S = 30.0

pytestmark = [pytest.mark.compose, pytest.mark.timeout(BUILD_AND_START_S)]

STUDENT_FRAME = (
    '{"Codigo":"ABC123","Nome":"Joao_Silva","Att":85,"Med":72,"Delta":123456,"Theta":234567,'
    '"LowAlpha":345678,"HighAlpha":456789,"LowBeta":567890,"HighBeta":678901,"LowGamma":789012,'
    '"MiddleGamma":890123}'
)
STUDENT_CSV = (
    "Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
    "85,72,123456,234567,345678,456789,567890,678901,789012,890123\n"
)


@dataclass(frozen=True)
class Stack:
    """One compose project of its own, on free ports of this machine."""

    project: str
    ws_port: int
    mqtt_port: int

    def compose(self, *words: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run a docker compose command on this stack; returns what it printed."""
        settings = {
            "NEUROONE_WS_PORT": str(self.ws_port),
            "NEUROONE_MQTT_PORT": str(self.mqtt_port),
        }
        done = subprocess.run(
            ["docker", "compose", "-p", self.project, "--profile", "sim", *words],
            cwd=ROOT,
            env=os.environ | settings,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, *services: str) -> None:
        """Build and start services (and what they need); wait until all are healthy."""
        try:
            self.compose("up", "-d", "--build", "--wait", *services, timeout_s=BUILD_AND_START_S)
        except AssertionError:
            print(self.compose("logs", "--tail", "50", check=False))
            raise

    def connect(self) -> ClientConnection:
        """A WebSocket connection to the gateway."""
        return connect(f"ws://127.0.0.1:{self.ws_port}")

    def topics(self, filter: str, seconds: int = 3) -> list[tuple[str, dict[str, object]]]:
        """What mosquitto_sub shows of a topic filter in some seconds: topics and their payloads."""
        subscribe = ("mosquitto_sub", "-t", filter, "-v", "-W", str(seconds))
        shown = self.compose("exec", "-T", "mosquitto", *subscribe, check=False)
        return [
            (topic, json.loads(payload)) for topic, _, payload in (line.partition(" ") for line in shown.splitlines())
        ]

    def recorded(self, name: str) -> str:
        """A file in the recorder's volume; empty if there is none yet."""
        cat = ("exec", "-T", "csv_recorder", "cat", f"/data/{name}")
        return self.compose(*cat, check=False)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The default stack, built and healthy; nothing of it is left afterwards."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers on this machine")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("this machine's Docker has no compose plugin")
    stack = Stack(f"neuroone-test-{os.getpid()}", free_port(), free_port())
    try:
        stack.up("ws_gateway", "csv_recorder")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", check=False, timeout_s=120)


def test_old_student_reaches_dashboard_file_and_topics(stack: Stack) -> None:
    """An old student's frame comes out at a dashboard, in {Nome}.csv and on the topics."""
    with stack.connect() as dashboard, stack.connect() as student:
        dashboard.send("dash")
        assert dashboard.ping().wait(WAIT_S)
        student.send(STUDENT_FRAME)

        seen = json.loads(dashboard.recv(timeout=WAIT_S))
        assert seen == {"ID": 1, "Nome": "Joao_Silva", "Codigo": "ABC123", "Att": 85, "Med": 72}
        assert wait_for(lambda: stack.recorded("Joao_Silva.csv"), "CSV file", WAIT_S) == STUDENT_CSV
        shown = dict(stack.topics("neuroone/v1/local/#"))
        assert shown["neuroone/v1/local/services/ws_gateway/compose/state"]["status"] == "online"
        assert shown["neuroone/v1/local/services/csv_recorder/compose/state"]["status"] == "online"
        stream = shown["neuroone/v1/local/streams/ABC123/Joao_Silva/state"]
        assert stream["name"] == "Joao_Silva"
        assert stream["status"] in ("online", "stale")  # its one reading may be seconds old by now


@pytest.mark.skipif(not CAPTURE.exists(), reason="the real capture is test input beside the project, and is not here")
def test_a_bench_computer_plays_a_capture_into_the_stack(stack: Stack) -> None:
    """A bridge outside of the stack: the recorded file has the capture's sums."""
    broker = f"mqtt://127.0.0.1:{stack.mqtt_port}"
    replay = [sys.executable, "-m", "serial_bridge", "replay", str(CAPTURE), "--speed", "100", "--broker", broker]
    assert subprocess.run(replay, check=False, timeout=120).returncode == 0

    def recorded() -> list[str]:
        rows = stack.recorded("akloster_baseline.csv").splitlines()
        return rows if len(rows) == READINGS + 1 else []

    _, *rows = wait_for(recorded, "all rows", WAIT_S)
    columns = [sum(map(int, column)) for column in zip(*(row.split(",") for row in rows), strict=True)]
    assert columns == [ATTENTION, MEDITATION, *BAND_SUMS]


def test_broker_is_for_this_machine_only(stack: Stack) -> None:
    """The broker's port is published on the loopback address and nowhere else."""
    assert stack.compose("port", "mosquitto", "1883").strip() == f"127.0.0.1:{stack.mqtt_port}"
    assert stack.compose("port", "ws_gateway", "8080").strip() == f"0.0.0.0:{stack.ws_port}"


def test_simulated_headset_reaches_silent_listeners(stack: Stack) -> None:
    """With profile sim, a client that says nothing gets ten-key frames; its readings are on the topics."""
    stack.up("simulated_headset")
    with stack.connect() as game:
        frame = json.loads(game.recv(timeout=WAIT_S))
    assert list(frame) == [
        *("Att", "Med", "Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta"),
        *("LowGamma", "MiddleGamma"),
    ]
    kinds = {topic.rsplit("/", 1)[1] for topic, _ in stack.topics("neuroone/v1/local/streams/#")}
    assert {"reading", "raw", "state"} <= kinds


def test_services_run_without_privileges(stack: Stack) -> None:
    """A service is not root, cannot write outside its places, and its image holds no installer."""
    look = "id -u; touch /app/x 2>/dev/null || echo closed; ls /app/bin | grep -cE '^(uv|pip)' || true"
    shown = stack.compose("exec", "-T", "csv_recorder", "sh", "-c", look)
    assert shown.split() == ["10001", "closed", "0"]


def test_stop_is_clean(stack: Stack) -> None:
    """Stopped services exit with 0 and leave retained states that say offline."""
    services = ["ws_gateway", "csv_recorder", "simulated_headset"]
    stack.compose("stop", *services, timeout_s=90)

    ended = stack.compose("ps", "--all", "--format", "json", *services)
    codes = {each["Service"]: each["ExitCode"] for each in map(json.loads, ended.splitlines())}
    assert codes.get("ws_gateway") == codes.get("csv_recorder") == 0
    assert set(codes.values()) == {0}
    states = stack.topics("neuroone/v1/local/services/+/+/state")
    assert states
    assert {(topic, state["status"]) for topic, state in states} == {(topic, "offline") for topic, _ in states}
    assert all(state["status"] == "offline" for _, state in stack.topics("neuroone/v1/local/streams/+/+/state"))
