"""What every service shows to Prometheus."""

import sys

import psutil
import pytest
from prometheus_client import generate_latest, process_collector
from prometheus_client.core import CollectorRegistry

from neuroone import __version__
from neuroone.mqtt.identity import Identity
from neuroone.service.metrics import PAGE_PERIOD_S, Histogram, Metrics, counter_by, counters, gauges
from tests.support.scrapes import checked

IDENTITY = Identity("local", "csv_recorder", "main", __version__, epoch=1, run="now")


class Page:
    """A registry of one metric."""

    def __init__(self, *metrics):
        self.metrics = metrics

    def collect(self):
        return self.metrics

    def samples(self):
        registry = CollectorRegistry()
        registry.register(self)
        checked(generate_latest(registry).decode())
        return {(s.name, *s.labels.values()): s.value for metric in registry.collect() for s in metric.samples}


def test_a_value_on_a_bound_belongs_below_it():
    histogram = Histogram((0.1, 1.0))
    for value in (0.0, 0.1, 0.11, 1.0, 1.01, 60.0):
        histogram.observe(value)
    samples = Page(histogram.metric("wait_seconds", "How long it took here.")).samples()
    assert samples == {
        ("wait_seconds_bucket", "0.1"): 2,
        ("wait_seconds_bucket", "1.0"): 4,
        ("wait_seconds_bucket", "+Inf"): 6,
        ("wait_seconds_count",): 6,
        ("wait_seconds_sum",): pytest.approx(62.22),
    }


def test_a_histogram_without_values_is_shown():
    samples = Page(Histogram((1.0,)).metric("wait_seconds", "How long it took here.")).samples()
    assert samples["wait_seconds_count",] == 0


def test_numbers_are_those_of_the_last_second():
    """However often somebody asks: a page takes time to make."""
    totals, now_s, made = {"rows": 1, "unknown": 5}, 0.0, []

    def own():
        made.append(now_s)
        return counters("x_", {"rows": "Rows that were written."}, totals)

    metrics = Metrics(IDENTITY, lambda: False, own, lambda: now_s)
    assert "\nx_rows_total 1.0\n" in metrics.page().decode()
    totals["rows"] = 2
    for _ in range(100):
        now_s += PAGE_PERIOD_S / 101
        assert "\nx_rows_total 1.0\n" in metrics.page().decode()
    now_s = PAGE_PERIOD_S
    assert "\nx_rows_total 2.0\n" in metrics.page().decode()
    assert made == [0.0, PAGE_PERIOD_S]


def test_a_page_that_could_not_be_made_is_made_at_the_next_question():
    numbers: dict[str, float] = {}
    metrics = Metrics(IDENTITY, lambda: True, lambda: gauges("x_", {"at": "Which of the two."}, numbers), lambda: 0.0)
    with pytest.raises(KeyError):
        metrics.page()
    numbers["at"] = 3
    assert b"x_at 3.0" in metrics.page()


def test_every_service_says_what_it_is_and_whether_its_broker_is_there():
    is_connected, now_s = False, 0.0
    page = Metrics(IDENTITY, lambda: is_connected, tuple, lambda: now_s)
    found = {metric.name: metric.samples[0] for metric in checked(page.page().decode())}
    assert found["neuroone_build_info"].labels["service"] == "csv_recorder"
    assert found["neuroone_build_info"].labels["version"] == __version__
    assert found["neuroone_broker_connected"].value == 0
    is_connected, now_s = True, PAGE_PERIOD_S
    assert "\nneuroone_broker_connected 1.0\n" in page.page().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_memory_cpu_and_open_files_of_the_process_are_shown(monkeypatch):
    """Also under systemd, where our units hide what is not a process (/proc/stat has the time of the boot)."""

    def without_stat(path, *rest, **keys):
        if path == "/proc/stat":
            raise FileNotFoundError(path)
        return open(path, *rest, **keys)  # noqa: PTH123 (what the library calls)

    monkeypatch.setattr(process_collector, "open", without_stat, raising=False)
    page = Metrics(IDENTITY, lambda: True, tuple).page().decode()
    found = {metric.name: metric.samples[0].value for metric in checked(page)}
    assert found["process_resident_memory_bytes"] > 2**20
    assert found["process_cpu_seconds"] > 0
    assert found["process_open_fds"] > 2
    assert found["process_start_time_seconds"] == pytest.approx(psutil.Process().create_time(), abs=2)


def test_services_of_one_program_do_not_share_their_metrics():
    helps = {"at": "Which of the two."}
    one = Metrics(IDENTITY, lambda: True, lambda: gauges("x_", helps, {"at": 1}))
    two = Metrics(IDENTITY, lambda: True, lambda: gauges("x_", helps, {"at": 2}))
    assert b"\nx_at 1.0\n" in one.page()
    assert b"\nx_at 2.0\n" in two.page()


def test_a_label_is_escaped():
    reasons = {'a"b\\c\nd': 3}
    samples = Page(counter_by("reason", "x_refusals", "What was refused here.", reasons)).samples()
    assert samples == {("x_refusals_total", 'a"b\\c\nd'): 3}
