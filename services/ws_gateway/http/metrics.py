"""Make the page ``/metrics`` for Prometheus, with the numbers of the gateway's health messages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "neuroone_gateway_"


@dataclass(frozen=True)
class _Numbers(Collector):
    counters: Mapping[str, float]
    gauges: Mapping[str, float]

    def collect(self) -> Iterable[Metric]:
        """Yield each number as a metric."""
        for name, value in self.counters.items():
            yield CounterMetricFamily(PREFIX + name, f"Total of {name} since the start.", value=value)
        for name, value in self.gauges.items():
            yield GaugeMetricFamily(PREFIX + name, f"Value of {name} now.", value=value)


def page(counters: Mapping[str, float], gauges: Mapping[str, float]) -> bytes:
    """Make the page of a moment's numbers."""
    return generate_latest(_Numbers(counters, gauges))
