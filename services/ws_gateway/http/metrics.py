"""The gateway's own metrics, which it shows to Prometheus beside those of every service."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import Metric

from neuroone.service.metrics import (
    CLIENT_COUNTERS,
    CLIENT_GAUGES,
    LOOP_LAG_BOUNDS_S,
    Histogram,
    counter_by,
    counters,
    gauges,
    loop_lag_metric,
)

PREFIX: Final = "neuroone_gateway_"
COUNTERS: Final = {
    **CLIENT_COUNTERS,
    "clients_accepted": "WebSocket clients that were accepted.",
    "clients_refused": "WebSocket clients refused because their address has or opens too many connections.",
    "clients_evicted": "WebSocket clients disconnected because they took nothing for 10 s; counted at their end.",
    "frames_received": "Messages received from clients.",
    "frames_bad": "Messages from clients that were answered with an error.",
    "frames_conflated": "Frames replaced by a newer one because the client was slow; counted at its end.",
    "faults": "Faults of ours while serving a client; each ended that one connection.",
    "readings": "Readings of students that were accepted for the broker.",
    "readings_coalesced": "Readings that came faster than --reading-rate; another one replaced them.",
    "readings_held": "Readings of newcomers, held back for seconds until it was known whether a namesake still speaks.",
    "readings_repeated": "Readings that a client sent again and that were left out.",
    "readings_refused": "Readings refused because too much waits for the broker.",
    "students_joined": "Streams of students that began.",
    "door_waited": "Students who had to wait at the door of a lesson.",
    "door_admitted": "Students who waited and were admitted by a teacher.",
    "door_refused": "Students who waited and were refused by a teacher.",
    "door_removed": "Students whom teachers removed by this gateway.",
    "door_frames_lost": "Frames of waiting students of the first dialect that are not kept: too fast, or too many.",
    "raw_blocks": "Blocks of students' raw samples that went to the broker.",
    "raw_blocks_unwanted": "Blocks of students' raw samples that were dropped: no lesson wants them, or not any more.",
    "raw_blocks_too_fast": "Blocks of students' raw samples that were dropped: faster than twice the headsets' rate.",
    "conversions": "Workbooks and reports that were begun for a download.",
    "conversions_failed": "Workbooks and reports that could not be made: too slow, killed, or nothing can be read.",
    "certificate_faults": "Renewed certificates that could not be used; the one before stays.",
    "kept_overflowed": "Readings no longer kept for a recorder that is away or too slow.",
    "osc_lost": "Datagrams of --osc that the network did not take, or for which nobody listened.",
}
GAUGES: Final = {
    **CLIENT_GAUGES,
    "clients": "WebSocket clients that are connected.",
    "students": "Students whose stream is open.",
    "dashboards": "Dashboards that are connected.",
    "waiting": "Students who wait at the door of a lesson, or are kept out.",
    "removed": "Students whom the lessons that run keep out.",
    "kept": "Readings that the broker has and no recorder has confirmed yet.",
    "kept_bytes": "Payload bytes of the readings that no recorder has confirmed yet.",
    "unsaved": "Readings kept for a forwarder that is away: the broker may not have saved them yet.",
    "recorders_missing": "Shards of streams without a recorder; 1 if there is no recorder at all.",
}
CERTIFICATE: Final = {"certificate_left_seconds": "Seconds until the certificate for https ends; only with --tls-port."}
ACK_LATENCY_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Half of the readings take about 1 ms; those that waited for a broker that was away take up to a minute or more."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """How late a reading's first ack is, and how late the event loop."""

    ack: Histogram = field(default_factory=lambda: Histogram(ACK_LATENCY_BOUNDS_S))
    loop: Histogram = field(default_factory=lambda: Histogram(LOOP_LAG_BOUNDS_S))


def own_metrics(
    totals: Mapping[str, float],
    values: Mapping[str, float],
    refusals: Mapping[str, float],
    latencies: Latencies,
    certificate_left_s: float | None,
) -> Iterator[Metric]:
    """Yield the gateway's metrics."""
    yield from counters(PREFIX, COUNTERS, totals)
    yield from gauges(PREFIX, GAUGES, values)
    yield counter_by(
        "reason", PREFIX + "refusals", "Connections and messages that the gateway refused, by the reason.", refusals
    )
    yield latencies.ack.metric(
        PREFIX + "ack_latency_seconds", "Time from the arrival of a student's reading to the broker's first ack."
    )
    yield loop_lag_metric(PREFIX, latencies.loop)
    if certificate_left_s is not None:
        yield from gauges(PREFIX, CERTIFICATE, {"certificate_left_seconds": certificate_left_s})
