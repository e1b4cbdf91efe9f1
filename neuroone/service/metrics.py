"""Make the page ``/metrics`` for Prometheus: what every service has, and what each service adds.

Services count in dictionaries and arrays, and these are read when somebody asks for the page: that costs a message
nothing more than the counting (docs/decisions/0013).
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from platform import python_version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from neuroone.mqtt.identity import Identity

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The text format that every version of Prometheus reads."""
PAGE_PERIOD_S: Final = 1.0
"""A page is shown for so long: with thousands of students it takes 15 ms to make, and anybody may ask for it."""
CLIENT_COUNTERS: Final = {
    "connects": "Connections to the broker that it accepted.",
    "published": "Messages accepted for sending to the broker.",
    "acked": "Messages that the broker acknowledged.",
    "refused": "Refusals of messages by the broker; a refused message is sent again.",
    "given_up": "Messages that the broker will not accept, however often they are sent.",
    "replayed": "Messages sent to the broker again after a reconnect, or for a recorder that is new.",
    "states_repeated": "States published once more, for those who subscribed while they were published first.",
    "dropped": "Messages dropped because the outbox was full.",
    "dropped_qos0": "Messages of QoS 0 dropped because the broker was away.",
    "dropped_too_large": "Messages dropped because they are larger than the broker accepts.",
    "delivered": "Messages that the broker delivered.",
    "delivered_bad": "Delivered messages that break the contract.",
    "late_states": "Retained states left out because a newer one of their topic had come.",
    "live_states_forgotten": "Live states not remembered, beyond 20,000: a late retained one is not left out.",
    "callback_errors": "Delivered messages left out because of a fault of ours; the log has its traceback.",
    "subscriptions_refused": "Refusals of subscriptions by the broker.",
    "faults": "Faults of ours in the connection to the broker; each ends the service.",
}
"""What the broker's client of every service counts."""
CLIENT_GAUGES: Final = {
    "outbox": "Messages that the broker has not acknowledged yet.",
    "outbox_bytes": "Payload bytes of the messages that the broker has not acknowledged yet.",
}
LOOP_LAG_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""From a free event loop to one whose clients give up."""


class Histogram:
    """Count values in buckets. ``bounds`` are the highest value of each bucket but the last, rising."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def metric(self, name: str, help: str) -> Metric:
        """Return what was counted so far."""
        names = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, help, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):
    """The metrics of one service. ``own`` yields what it has beside those of every service, from this moment."""

    def __init__(
        self,
        identity: Identity,
        is_connected: Callable[[], bool],
        own: Callable[[], Iterable[Metric]],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build = {"service": identity.service, "version": identity.version, "python": python_version()}
        self._is_connected = is_connected
        self._own = own
        self._steady = steady
        self._page = b""
        self._made_s = float("-inf")
        self._registry = CollectorRegistry()
        self._registry.register(self)
        _Process(registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric but those of the process."""
        yield InfoMetricFamily("neuroone_build", "The program that runs; the value is always 1.", self._build)
        yield GaugeMetricFamily(
            "neuroone_broker_connected", "1 while the service is connected to its broker, else 0.", self._is_connected()
        )
        yield from self._own()

    def page(self) -> bytes:
        """Return the page, at most PAGE_PERIOD_S old."""
        now_s = self._steady()
        if now_s - self._made_s >= PAGE_PERIOD_S:
            self._page = generate_latest(self._registry)
            self._made_s = now_s
        return self._page


class _Process(ProcessCollector):
    """The metrics of the process, also where /proc shows nothing but processes (ProcSubset=pid of systemd)."""

    def _boot_time(self) -> float:
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        if clock is None:
            raise OSError("there is no /proc here")
        return time.time() - time.clock_gettime(clock)


def counters(prefix: str, helps: Mapping[str, str], values: Mapping[str, float]) -> Iterator[Metric]:
    """Yield the totals that have a help text."""
    for name, help in helps.items():
        yield CounterMetricFamily(prefix + name, help, value=values[name])


def gauges(prefix: str, helps: Mapping[str, str], values: Mapping[str, float]) -> Iterator[Metric]:
    """Yield the values of the moment that have a help text."""
    for name, help in helps.items():
        yield GaugeMetricFamily(prefix + name, help, value=values[name])


def loop_lag_metric(prefix: str, lag: Histogram) -> Metric:
    """Return how late a service was: every service has this metric."""
    return lag.metric(prefix + "event_loop_lag_seconds", "How late the timers of the event loop were.")


def counter_by(label: str, name: str, help: str, values: Mapping[str, float]) -> Metric:
    """Return one total for each value of a label."""
    metric = CounterMetricFamily(name, help, labels=(label,))
    for each, value in values.items():
        metric.add_metric((each,), value)
    return metric
