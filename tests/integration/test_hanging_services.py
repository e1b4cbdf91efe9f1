"""Services whose loop hangs end themselves: all of them at once, since each takes some seconds to be believed."""

import subprocess
import sys
from pathlib import Path

from neuroone.service.lifecycle import FAILED
from tests.support.brokers import Broker, free_port

LIMIT_S = 2
PROGRAM = """import sys, time
from {module} import {owner}
works, began_s = {owner}.{method}, time.monotonic()
def hangs(*arguments, **named):
    if time.monotonic() - began_s > 2 * {limit_s}:
        time.sleep(60)
    return works(*arguments, **named)
{owner}.{method} = hangs
from {program}.__main__ import main
sys.exit(main())
"""


def hanging(program: str, module: str, owner: str, method: str, *words: str) -> subprocess.Popen[str]:
    """Start a service that works for twice the limit and then hangs in a method."""
    code = PROGRAM.format(program=program, module=module, owner=owner, method=method, limit_s=LIMIT_S)
    command = [sys.executable, "-c", code, *words, "--watchdog-s", str(LIMIT_S)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_service_that_hangs_ends_and_says_where(broker: Broker, tmp_path: Path) -> None:
    """The gateway, the recorder and each loop of the bridge; before, while they worked, nothing ended them."""
    at = ("--broker", broker.url)
    sim = ("run", *at, "--port", "sim", "--instance")
    students = ("ws_gateway", "ws_gateway.students.students", "Students", "check_silence")
    recorder = ("csv_recorder", "csv_recorder.live.recorder", "Recorder", "write")
    headset = ("serial_bridge", "serial_bridge.headset", "Headset", "step")
    session = ("serial_bridge", "neuroone.mqtt.session", "Session", "pump")
    running = [
        ("event loop", hanging(*students, *at, "--ws-port", str(free_port()))),
        ("event loop", hanging(*recorder, "run", *at, "--dir", str(tmp_path))),
        ("headsets", hanging(*headset, *sim, "a")),
        ("connection to the broker", hanging(*session, *sim, "b")),
    ]
    try:
        for loop, service in running:
            line = service.communicate(timeout=40)[1].splitlines()[-1]
            assert f"its {loop} has not moved for 2 s, at <string>:6 hangs < " in line
            assert service.returncode == FAILED
    finally:
        for _, service in running:
            service.kill()
