"""Make the page ``/metrics`` for Prometheus, with the numbers of the gateway's health messages."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neuroone.mqtt.presence import HealthReport

PREFIX = "neuroone_gateway_"


class _Numbers(Collector):
    """Read a health report whenever the page is made."""

    def __init__(self, report: Callable[[], HealthReport]) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """Make the metrics of this moment."""
        report = self._report()
        for name, value in report.counters.items():
            yield CounterMetricFamily(PREFIX + name, f"Total of {name} since the start.", value=value)
        for name, value in report.gauges.items():
            yield GaugeMetricFamily(PREFIX + name, f"Value of {name} now.", value=value)


def page(report: Callable[[], HealthReport]) -> Callable[[], bytes]:
    """Return a function that makes the page."""
    registry = CollectorRegistry()
    registry.register(_Numbers(report))
    return lambda: generate_latest(registry)
