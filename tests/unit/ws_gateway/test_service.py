"""The wiring of the gateway."""

import gc
import subprocess
import sys
import weakref

from neuroone.service.lifecycle import FAILED, Stop
from ws_gateway.service import GC_PERIOD_S, Service, collect_young
from ws_gateway.settings import Settings


class Cycle:
    itself: "Cycle"


def fail() -> None:
    raise ZeroDivisionError


async def test_a_fault_in_a_periodic_task_ends_the_gateway(caplog):
    stop = Stop()
    await Service(Settings(), stop)._every(0.001, [fail])
    assert (stop.is_set(), stop.exit_code) == (True, FAILED)
    assert "ZeroDivisionError" in caplog.text


def test_the_collector_frees_cycles_in_any_case():
    """Every minute, however few new objects there are."""
    assert GC_PERIOD_S <= 60
    gc.disable()
    try:
        cycle = Cycle()
        cycle.itself = cycle
        gone = weakref.ref(cycle)
        del cycle
        assert gone() is not None
        collect_young()
        assert gone() is None
    finally:
        gc.enable()


def test_importing_the_gateway_loads_no_paho():
    program = "import sys, ws_gateway.__main__; sys.exit(any(name.startswith('paho') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)
