"""Every command of the READMEs is run as it stands; a command without a test fails."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroone.contract.messages import Reading, ServiceState
from tests.support.brokers import Broker, free_port
from tests.support.bus_listener import listening
from tests.support.documents import ROOT, TIMEOUT_S, blocks, running, wait_for_line
from tests.support.recordings import reading_rows, write_session

READMES = ("README.md", "README.pt-BR.md")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),  # whole programs start, some of them through run.py
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]


EXAMPLE = "services/serial_bridge/captures/example.bytes"
COMMANDS = [line for block in blocks(READMES[0], "sh") for line in block.splitlines()]
RUN_ELSEWHERE = {
    "docker compose up -d": "tests/system/test_compose.py",
    "docker compose run --rm secrets --show": "tests/system/test_compose.py",
    "python3 run.py up --port sim": "test_up below",
    "python3 run.py test": "test_test below",
    "python3 run.py update": "tests/integration/test_update.py",
    f"python3 run.py exec serial-bridge decode {EXAMPLE} --summary": "test_decode below",
    "python3 run.py exec csv-recorder report --html recordings/report.html": "test_recorded_files below",
    "python3 run.py exec csv-recorder verify": "test_recorded_files below",
    "mosquitto_sub -t 'neuroone/v1/#' -v": "test_third_parties below",
}
SERVICES = [line for line in COMMANDS if line.startswith("python3 run.py exec") and line not in RUN_ELSEWHERE]


def test_both_readmes_have_the_same_commands() -> None:
    """In the same order, and each of them is run by a test."""
    assert [blocks(readme, "sh") for readme in READMES] == [blocks(READMES[0], "sh")] * 2
    assert [blocks(readme, "python") for readme in READMES] == [blocks(READMES[0], "python")] * 2
    assert set(COMMANDS) == set(RUN_ELSEWHERE) | set(SERVICES)


def test_up(tmp_path: Path) -> None:
    """The first command, in a directory and on ports of its own."""
    with running(
        "python3 run.py up --port sim",
        NEUROONE_DATA=str(tmp_path),
        NEUROONE_WS_PORT=str(free_port()),
        NEUROONE_MQTT_PORT=str(free_port()),
    ) as up:
        wait_for_line(up, "Ctrl+C")
    assert up.returncode == 0


def test_test() -> None:
    """The second command finds the tests; running them here would not end."""
    done = subprocess.run(
        shlex.split("python3 run.py test"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={**os.environ, "PYTEST_ADDOPTS": "--collect-only -q"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_decode() -> None:
    """The shipped capture decodes without a fault."""
    command = next(line for line in COMMANDS if "decode" in line)
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert '"checksum_failures": 0' in done.stdout.replace('":0', '": 0')


def test_recorded_files(tmp_path: Path) -> None:
    """What was recorded is reported, as a page too, and in order."""
    write_session(tmp_path, readings=reading_rows(70))
    for name, words in (("report", "Joao_Silva"), ("verify", "all in order")):
        command = next(line for line in COMMANDS if f"csv-recorder {name}" in line)
        command = command.replace("recordings/report.html", shlex.quote(str(tmp_path / "report.html")))
        environ = {**os.environ, "NEUROONE_DIR": str(tmp_path), "NEUROONE_LANGUAGE": "en"}
        done = subprocess.run(
            shlex.split(command),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            env=environ,
            check=True,
        )
        assert words in done.stdout
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", SERVICES)
def test_one_service_at_a_time(command: str, start_broker: Callable[[str], Broker], tmp_path: Path) -> None:
    """Each service, run alone, says on the broker that it is there, and leaves in order."""
    broker = start_broker("nats")
    service = shlex.split(command)[3].replace("-", "_")
    if service == "monitor_gui":
        pytest.importorskip("PySide6.QtWidgets", reason="Qt cannot be loaded here", exc_type=ImportError)
    with (
        listening(broker.url) as listener,
        running(
            command,
            NEUROONE_BROKER=broker.url,
            NEUROONE_WS_PORT=str(free_port()),
            NEUROONE_DIR=str(tmp_path),
            NEUROONE_INSTANCE="readme",
            QT_QPA_PLATFORM="offscreen",
        ) as popen,
    ):
        listener.wait_for(ServiceState, lambda topic, state: topic["service"] == service, TIMEOUT_S)
        if service == "serial_bridge":
            listener.wait_for(Reading)
        if "replay" in command:
            assert popen.wait(TIMEOUT_S) == 0
    assert popen.returncode == 0


def test_third_parties(start_broker: Callable[[str], Broker]) -> None:
    """mosquitto_sub and the lines of Python print the readings of a simulated headset."""
    broker = start_broker("nats")
    program = blocks(READMES[0], "python")[0].replace("localhost:1883", f"localhost:{broker.port}")
    subscribers = {" sim ": [sys.executable, "-u", "-c", program]}
    if shutil.which("mosquitto_sub"):
        command = next(line for line in COMMANDS if line.startswith("mosquitto_sub"))
        subscribers["/sim/raw"] = [*shlex.split(command), "-p", str(broker.port)]
    sim = f"{shlex.quote(sys.executable)} -m serial_bridge run --port sim --broker {broker.url}"
    with running(sim):
        for text, words in subscribers.items():
            subscriber = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            try:
                wait_for_line(subscriber, text)
            finally:
                subscriber.kill()
                subscriber.communicate()
    if "/sim/raw" not in subscribers:
        pytest.skip("mosquitto_sub is not installed on this machine; the Python lines ran")


def test_the_recordings_of_the_readme_are_ignored_by_git() -> None:
    """Children's data does not get into a commit by accident."""
    asked = subprocess.run(["git", "check-ignore", "recordings/x.csv"], cwd=ROOT, check=False)
    assert asked.returncode == 0
