"""The page ``/metrics`` for Prometheus: the numbers that also go into the gateway's health on MQTT."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neuroone.mqtt.presence import HealthReport

PREFIX = "neuroone_gateway_"


class _Numbers(Collector):
    def __init__(self, vitals: Callable[[], HealthReport]) -> None:
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        """Read the numbers of this moment."""
        vitals = self._vitals()
        for name, value in vitals.counters.items():
            yield CounterMetricFamily(PREFIX + name, f"Total of {name} since the start.", value=value)
        for name, value in vitals.gauges.items():
            yield GaugeMetricFamily(PREFIX + name, f"Value of {name} now.", value=value)


def page(vitals: Callable[[], HealthReport]) -> Callable[[], bytes]:
    """Make a function that makes the page."""
    registry = CollectorRegistry()
    registry.register(_Numbers(vitals))
    return lambda: generate_latest(registry)
