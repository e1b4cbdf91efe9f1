"""Tests of `neuroone doctor` as a command."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from neuroone.contract.messages import Reading, ServiceState
from neuroone.doctor import command as doctor
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import listening


@pytest.mark.broker
def test_the_command_finds_no_problem_until_a_service_ends(
    start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """Then it names the service, in both languages."""
    broker, port = start_broker("nats"), free_port()
    common = ["--broker", broker.url, "--instance", "test", "--log-level", "error"]
    commands = (
        ["csv_recorder", "run", "--dir", str(tmp_path / "recordings")],
        ["ws_gateway", "--host", LOOPBACK, "--ws-port", str(port)],
        ["serial_bridge", "run", "--port", "sim"],
    )
    doctor_command = ["-m", "neuroone", "doctor", "--broker", broker.url, "--ws-url", f"ws://{LOOPBACK}:{port}/"]
    with contextlib.ExitStack() as running:

        def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
            program = subprocess.Popen([sys.executable, "-m", *words, *common])
            running.callback(program.wait, 20)
            running.callback(program.terminate)
            return program

        def examine(*words: str) -> str:
            command = [sys.executable, *doctor_command, *words]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=40)
            assert done.stderr == ""
            assert (done.returncode == 1) == ('"problem"' in done.stdout or "PROBLEM" in done.stdout)
            return done.stdout

        def problems() -> dict[str, str]:
            found = [json.loads(line) for line in examine("--json", "--seconds", "15").splitlines()]
            return {each["code"]: each["facts"].get("service", "") for each in found if each["status"] == "problem"}

        with listening(broker.url) as listener:
            _, gateway, _ = [start(command) for command in commands]
            listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder")
            listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "ws_gateway")
            listener.wait_for(Reading)
        # The machine that tests may be small, and its own containers ill: that is not what is tested here.
        of_the_machine = {"memory_low", "unit_restarts", "unit_failed", "unit_out_of_memory", "network_closed"}
        of_the_machine |= {"window_libraries", "memory_killed"}
        assert set(problems()) <= of_the_machine
        gateway.terminate()
        gateway.wait(20)
        found = problems()
        assert found["service_offline"] == "ws_gateway"
        assert "ws_refused" in found
        shown = examine("--language", "pt-BR", "--seconds", "1")
        assert "PROBLEMA websocket: Nada escuta em ws://127.0.0.1" in shown
        assert "O que fazer: Inicie o gateway" in shown


@pytest.mark.parametrize("given", ["http://x", "ws://", "x"])
def test_a_faulty_websocket_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match="must be like ws://"):
        doctor.websocket_url(given)
