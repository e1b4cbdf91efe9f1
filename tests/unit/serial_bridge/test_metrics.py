"""What the bridge shows to Prometheus."""

from pathlib import Path

from neuroone.service.lifecycle import Stop
from neuroone.service.metrics import CLIENT_COUNTERS, LOOP_LAG_BOUNDS_S, Histogram, Metrics
from neuroone.service.wearers import Owner
from serial_bridge import metrics
from serial_bridge.captures.record import Recording
from serial_bridge.ports.sources import open_source
from serial_bridge.service import Service
from serial_bridge.settings import RunSettings
from tests.support import lsl_streams
from tests.support.brokers import free_port
from tests.support.scrapes import checked


def test_everything_that_is_counted_has_a_help_text_and_the_page_follows_the_conventions(tmp_path: Path) -> None:
    """With all that can be switched on: Bluetooth LE, captures, programs made for ThinkGear Connector, LSL."""
    lsl_streams.library()
    sources = [open_source("sim", None, 1), open_source("ble", None, 1)]
    settings = RunSettings(record=tmp_path, tgc=free_port(), lsl=True)
    service = Service(settings, sources, [Owner(), Owner()], Stop())
    for source, source_id, owner in service._named:
        service._reader.add(service._new_headset(source, source_id, owner))
    report = service._health()
    of_captures = Recording(lambda: tmp_path / "x", "thinkgear", keeps_all=True).counters
    numbers = {**service._bus.gauges(), **report.counters, **report.gauges}
    assert {*numbers, *of_captures, *CLIENT_COUNTERS} == {*metrics.COUNTERS, *metrics.GAUGES}
    own = metrics.own_metrics(numbers, Histogram(LOOP_LAG_BOUNDS_S))
    page = Metrics(service._bus.identity, lambda: False, lambda: own).page().decode()
    names = {metric.name for metric in checked(page)}
    wanted = {"readings", "raw_samples_missing", "checksum_failures", "online", "event_loop_lag_seconds"}
    assert names >= {"neuroone_build_info", "neuroone_broker_connected", *(metrics.PREFIX + name for name in wanted)}
