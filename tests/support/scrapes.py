"""Ask a service for ``/metrics`` as Prometheus does, and hold the answer against Prometheus' conventions."""

import http.client
import re

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.brokers import LOOPBACK

TIMEOUT_S = 10.0
"""How long Prometheus waits by default."""
UNUSUAL_UNIT = re.compile(r"_(ms|us|milliseconds|minutes|hours|kb|mb|kilobytes|megabytes|percent)(_|$)")
RESERVED = ("_count", "_sum", "_bucket", "_created")


def get(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(port: int) -> dict[str, float]:
    """Return the value of every sample, by its name and labels as they stand in the text."""
    status, text = get(port, "/metrics")
    assert status == 200
    checked(text)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def checked(text: str) -> list[Metric]:
    """Parse the text; assert what ``promtool check metrics`` asserts, and that every help text says something."""
    metrics = list(text_string_to_metric_families(text))
    assert metrics
    for metric in metrics:
        assert metric.documentation.count(" ") >= 2, f"{metric.name} has no help text"
        assert metric.documentation.endswith("."), metric.name
        assert metric.samples, metric.name
        assert not UNUSUAL_UNIT.search(metric.name), f"{metric.name}: base units are seconds and bytes"
        assert metric.name == metric.name.lower()
        assert not metric.name.endswith(RESERVED), metric.name
        if metric.type == "counter":
            assert all(sample.name == f"{metric.name}_total" for sample in metric.samples), metric.name
        else:
            assert not metric.name.endswith("_total"), metric.name
    names = [metric.name for metric in metrics]
    assert len(names) == len(set(names)), "a metric stands there twice"
    return metrics
