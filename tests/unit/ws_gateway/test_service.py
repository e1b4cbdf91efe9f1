"""The wiring of the gateway."""

import gc
import json
import subprocess
import sys
import time
import weakref

import pytest

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.mqtt import replay
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.outbox import Outgoing
from neuroone.service.lifecycle import FAILED, Stop
from ws_gateway.service import GC_PERIOD_S, Service, collect_young
from ws_gateway.settings import Settings
from ws_gateway.site import CHECK_PERIOD_S


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


def test_students_are_told_that_a_recorder_records_nothing_although_it_seems_online(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its last state stays on the broker if it dies together with the broker."""
    (site,) = Service(Settings(), Stop()).sites
    told: list[bool] = []

    def tell() -> None:
        told.append(json.loads(site.hub.link_frame(("A", "Ana")))["recorder"])

    monkeypatch.setattr(site.hub, "send_link", tell)
    state = ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1, connection=1, run="r")
    delivery = Delivery(str(topics.service_state("local", "csv_recorder", "main")), encode(state), True, 0, 1)
    site.client.session.publications.on_delivery(delivery)
    site._on_delivery(delivery)
    assert told == [True]
    monkeypatch.setattr(replay, "SILENT_S", -1.0)
    site._replay.acked(("A", "Ana", "s"), 0, Outgoing("t", b"", 1, False))
    site.client.session.publications.tick(time.monotonic())
    for period_s, call in site.timers():
        if period_s == CHECK_PERIOD_S:
            call()
    assert told == [True, False]


def test_importing_the_gateway_loads_no_paho():
    program = "import sys, ws_gateway.__main__; sys.exit(any(name.startswith('paho') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)
