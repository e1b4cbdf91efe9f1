"""Show the means of each class to Prometheus, without names: python class_metrics.py BROKER ADDRESS:PORT.

The compose profile "grafana" runs it (docs/how-to/examples.md). A student alone in a class code is that class's mean.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from neuroone.client import subscribe
from neuroone.client.classes import Classes

HELP = {
    "students": "Students who sent a reading in the last 10 s.",
    "counted": "Students whose attention means something now: the mean is theirs.",
    "attention": "Mean attention, 1 to 100; absent while nobody is counted.",
    "meditation": "Mean meditation, 1 to 100; absent while nobody's means something.",
}


class ClassMetrics(Collector):
    """The metrics of all classes. The readings come in one thread, Prometheus asks in another."""

    def __init__(self) -> None:
        self.classes = Classes()
        self.lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric of each class."""
        with self.lock:
            summaries = self.classes.summaries(time.monotonic())
        for name, what in HELP.items():
            metric = GaugeMetricFamily(f"neuroone_class_{name}", what, labels=["group"])
            for group, summary in summaries.items():
                if (value := getattr(summary, name)) is not None:
                    metric.add_metric([group], value)
            yield metric


def main(broker: str, listen: str) -> None:
    """Serve the metrics until the program is ended."""
    metrics, registry = ClassMetrics(), CollectorRegistry()
    registry.register(metrics)
    address, _, port = listen.rpartition(":")
    start_http_server(int(port), address, registry)
    with subscribe(broker, site=os.environ.get("NEUROONE_SITE", "local"), connect_timeout_s=None) as readings:
        for each in readings:
            with metrics.lock:
                metrics.classes.add(each, time.monotonic())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
