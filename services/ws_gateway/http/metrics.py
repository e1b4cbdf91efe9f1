"""Make the page ``/metrics`` for Prometheus, with the numbers of the gateway's health messages."""

from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neuroone.mqtt.presence import HealthReport

PREFIX = "neuroone_gateway_"


class _Numbers(Collector):
    """The numbers of one health report."""

    def __init__(self, report: HealthReport) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """Yield each number as a metric."""
        for name, value in self._report.counters.items():
            yield CounterMetricFamily(PREFIX + name, f"Total of {name} since the start.", value=value)
        for name, value in self._report.gauges.items():
            yield GaugeMetricFamily(PREFIX + name, f"Value of {name} now.", value=value)


def page(report: HealthReport) -> bytes:
    """Make the page of a health report."""
    return generate_latest(_Numbers(report))
