"""Print the metrics: write docs/metrics.md from the code.

    python3 run.py exec python -m docs.print_metrics

A test fails when the file and the code disagree.
"""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric

from csv_recorder.live import metrics as recorder
from neuroone.forward import metrics as forwarder
from neuroone.mqtt.identity import Identity
from neuroone.service.metrics import LOOP_LAG_BOUNDS_S, Histogram, Metrics
from serial_bridge import metrics as bridge
from ws_gateway.dialects.handlers import REFUSALS
from ws_gateway.http import metrics as gateway

FILE = Path(__file__).with_name("metrics.md")
HEAD = "\n| metric | type | labels | what |\n|---|---|---|---|\n"
INTRODUCTION = """\
<!-- Printed from the code by docs/print_metrics.py: change the services' metrics.py, then print again. -->
# Metrics

What `/metrics` shows to Prometheus. [Server](how-to/server.md) says where it is and how to scrape it.

No metric and no label holds a name, a class code, or the id of a student or a class. Names do not change; later
versions may add some. A total counts from the start of the service. The label values below are there from the start.

## Every service
"""
PROCESS = """\
| `process_cpu_seconds_total` | counter | | CPU time of the process; these six on Linux only. |
| `process_max_fds` | gauge | | Most files and connections that the process may have open. |
| `process_open_fds` | gauge | | Files and connections that it has open. |
| `process_resident_memory_bytes` | gauge | | Memory that it holds. |
| `process_start_time_seconds` | gauge | | When it started, in seconds since 1970. |
| `process_virtual_memory_bytes` | gauge | | Address space that it has reserved. |
"""
GATEWAY = """
## ws_gateway

`/metrics` is on the port of the WebSocket server. `/healthz` answers 200 while the process works. `/readyz` answers 503
while the broker is away or the gateway stops, and 200 otherwise; its text begins with `degraded` if no recorder is
there, or if one reports a fault (its disk, for example): students and dashboards work, but not all is recorded.

`neuroone_gateway_refusals_total` says by reason what `…_clients_refused_total`, `…_frames_bad_total` and
`…_readings_refused_total` say as sums: these three stay for dashboards of the first version.
"""


RECORDER = """
## csv_recorder

`--metrics-port PORT` (or `NEUROONE_METRICS_PORT`) serves `/metrics` and `/healthz` on a port of their own; 0, the
default, serves none. `--metrics-host` is the address that it listens on, by default this machine only. Whoever
connects, the recorder goes on: at most 50 pages a second are made, at most 16 connections are kept, each for 5 s.

Rows per second are `rate(neuroone_recorder_rows_total[1m])`. A disk fault of a kind that has no row yet, `EISDIR` for
example, has one from its first time on.
"""
BRIDGE = """
## serial_bridge

`serial-bridge run --metrics-port PORT` (or `NEUROONE_BRIDGE_METRICS_PORT`, another variable than the recorder's: on one
machine both may read the same file of settings) serves `/metrics` and `/healthz` as the recorder does; 0, the default,
serves none. The numbers are sums over all headsets of this bridge. Its event loop is the main thread, which searches
the ports; a computer that is too busy for its headsets shows there.
"""
FORWARDER = """
## forwarder

`neuroone forward --metrics-port PORT` (or `NEUROONE_FORWARD_METRICS_PORT`) serves `/metrics` and `/healthz` as the
recorder does; 0, the default, serves none. `neuroone_broker_connected` is about the school's broker. While the line is
away `neuroone_forwarder_oldest_waiting_age_seconds` rises and `neuroone_forwarder_district_connected` is 0; nothing is
dropped here at the spool's bound: `neuroone_forwarder_spool_full` is 1, and the school's broker keeps what comes.
"""


def markdown() -> str:
    """Return the text of docs/metrics.md."""
    identity = Identity("local", "ws_gateway", "main", "0.1.0", epoch=1, run="run")
    lag = Histogram(LOOP_LAG_BOUNDS_S)
    own = gateway.own_metrics(
        dict.fromkeys(gateway.COUNTERS, 0),
        dict.fromkeys(gateway.GAUGES, 0),
        dict.fromkeys(REFUSALS, 0),
        gateway.Latencies(),
        0.0,
    )
    recorders = recorder.own_metrics(dict.fromkeys(recorder.COUNTERS, 0), dict.fromkeys(recorder.GAUGES, 0), {}, lag)
    bridges = bridge.own_metrics({}, lag)
    forwarders = forwarder.own_metrics(dict.fromkeys((*forwarder.COUNTERS, *forwarder.GAUGES), 0))
    every = Metrics(identity, lambda: True, tuple).collect()
    parts = [INTRODUCTION, HEAD, *_rows(every), PROCESS, GATEWAY, HEAD, *_rows(own), RECORDER, HEAD, *_rows(recorders)]
    return "".join([*parts, BRIDGE, HEAD, *_rows(bridges), FORWARDER, HEAD, *_rows(forwarders)])


def _rows(metrics: Iterable[Metric]) -> Iterable[str]:
    for metric in metrics:
        ending = {"counter": "_total", "info": "_info"}.get(metric.type, "")
        kind = "gauge" if metric.type == "info" else metric.type
        yield f"| `{metric.name}{ending}` | {kind} | {_labels(metric)} | {metric.documentation} |\n"


def _labels(metric: Metric) -> str:
    """Return the labels, each with its values if there are few kinds of them."""
    names = dict.fromkeys(name for sample in metric.samples for name in sample.labels if name != "le")
    values = {name: sorted({sample.labels[name] for sample in metric.samples}) for name in names}
    return ", ".join(f"`{name}`{': ' + ', '.join(found) if len(found) > 1 else ''}" for name, found in values.items())


if __name__ == "__main__":
    FILE.write_text(markdown(), encoding="utf-8")
