"""The bridge's own metrics, which it shows to Prometheus beside those of every service."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.metrics import (
    CLIENT_COUNTERS,
    CLIENT_GAUGES,
    LOOP_LAG_BOUNDS_S,
    Histogram,
    Metrics,
    counters,
    gauges,
    loop_lag_metric,
)
from neuroone.service.metrics_server import MetricsServer

log = logging.getLogger(__name__)
PREFIX: Final = "neuroone_bridge_"
COUNTERS: Final = {
    **CLIENT_COUNTERS,
    "bytes": "Bytes that arrived from headsets.",
    "opened": "Times that a port was opened.",
    "frames": "Frames of headsets with a right checksum.",
    "checksum_failures": "Frames with a wrong checksum; they are left out.",
    "oversize_headers": "Headers of frames that are longer than a headset's.",
    "skipped_bytes": "Bytes that belong to no frame.",
    "truncated_rows": "Rows that go beyond the end of their frame.",
    "unknown_rows": "Rows of a kind that is not known; they are left out.",
    "implausible_values": "Values that no headset can measure.",
    "readings": "Readings of headsets, about one a second of each.",
    "implausible_readings": "Readings that were left out: a value in them is out of range.",
    "withheld_readings": "Readings that were left out: the line changed bytes, so they may be wrong.",
    "readings_dropped": "Readings that the broker never got: too many waited.",
    "raw_samples": "Raw samples of headsets, about 512 a second of each.",
    "raw_samples_missing": "Raw samples that did not arrive.",
    "raw_blocks": "Blocks of raw samples that were made.",
    "raw_blocks_dropped": "Blocks of raw samples that the broker never got.",
    "blinks_estimated": "Blinks of eyes that were estimated from raw samples.",
    "ble_bytes_dropped": "Bytes over Bluetooth LE that were dropped: they came faster than they were read.",
    "recorded_bytes": "Bytes of headsets that were written into captures.",
    "recordings_failed": "Captures that could not be written to their end.",
    "kept_overflowed": "Readings no longer kept for a recorder that is away or too slow.",
    "lsl_messages": "Readings and raw blocks that went to the Lab Streaming Layer; only with --lsl.",
    "lsl_failed": "Outlets of the Lab Streaming Layer that could not be opened; they are tried again.",
    "tgc_clients": "Programs made for ThinkGear Connector that connected; only with --tgc.",
    "tgc_clients_dropped": "Of these, those that were disconnected because they took nothing.",
    "tgc_clients_refused": "Of these, those that were refused.",
}
GAUGES: Final = {
    **CLIENT_GAUGES,
    "kept": "Readings that the broker has and no recorder has confirmed yet.",
    "kept_bytes": "Payload bytes of the readings that no recorder has confirmed yet.",
    "unsaved": "Readings kept for a forwarder that is away: the broker may not have saved them yet.",
    "headsets": "Headsets that are read, or whose port is tried again and again.",
    "online": "Headsets that send readings.",
    "tgc_connected": "Programs made for ThinkGear Connector that are connected.",
}


def own_metrics(numbers: Mapping[str, float], lag: Histogram) -> Iterator[Metric]:
    """Yield the bridge's metrics; what is not counted, because it is switched off, is 0."""
    numbers = dict.fromkeys((*COUNTERS, *GAUGES), 0.0) | dict(numbers)
    yield from counters(PREFIX, COUNTERS, numbers)
    yield from gauges(PREFIX, GAUGES, numbers)
    yield loop_lag_metric(PREFIX, lag)


class MetricsPage:
    """Serve /metrics in the thread of the broker's client, which has an event loop. Raises SettingsError."""

    def __init__(self, host: str, port: int, bus: ThreadedClient, health: Callable[[], HealthReport]) -> None:
        self._bus = bus
        self._health = health
        self._lag = Histogram(LOOP_LAG_BOUNDS_S)
        self._task: asyncio.Task[None] | None = None
        self._server = MetricsServer(host, port, Metrics(bus.identity, lambda: bus.is_connected, self._own).page)
        self._server.listen()

    def start(self) -> None:
        """Begin to answer. Call it when the client runs, with which it ends."""
        self._bus.call(self._serve)

    def count_lag(self, late_s: float) -> None:
        """Count how late the main thread was."""
        self._lag.observe(max(0.0, late_s))

    def _serve(self) -> None:
        self._task = asyncio.create_task(self._server.serve())
        self._task.add_done_callback(_on_end)

    def _own(self) -> Iterator[Metric]:
        report, bus = self._health(), self._bus
        return own_metrics({**bus.counters, **bus.gauges(), **report.counters, **report.gauges}, self._lag)


def _on_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error("a fault of ours ends the server of the metrics; headsets are read all the same", exc_info=fault)
