"""The wiring of the gateway."""

import subprocess
import sys

from neuroone.service.lifecycle import FAILED, Stop
from ws_gateway.service import Service
from ws_gateway.settings import Settings


def fail() -> None:
    raise ZeroDivisionError


async def test_a_fault_in_a_periodic_task_ends_the_gateway(caplog):
    stop = Stop()
    await Service(Settings(), stop)._every(0.001, fail)
    assert (stop.is_set(), stop.exit_code) == (True, FAILED)
    assert "ZeroDivisionError" in caplog.text


def test_importing_the_gateway_loads_no_paho():
    program = "import sys, ws_gateway.__main__; sys.exit(any(name.startswith('paho') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)
