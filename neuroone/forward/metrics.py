"""The forwarder's own metrics, which it shows to Prometheus beside those of every service."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.presence import HealthReport
from neuroone.service.metrics import Metrics, counters, gauges
from neuroone.service.metrics_server import MetricsServer

PREFIX: Final = "neuroone_forwarder_"
COUNTERS: Final = {
    "connects": "Connections to the school's broker that it accepted.",
    "district_connects": "Connections to the district's broker that it accepted.",
    "delivered": "Messages that the school's broker delivered.",
    "spooled": "Messages that were put into the spool.",
    "forwarded": "Messages of the spool that the district's broker acknowledged.",
    "refused": "Refusals by the district's broker; what it refuses is sent again.",
    "given_up": "Messages that the district never gets: too large, against the contract, or states that it refuses.",
    "replayed": "Readings sent to the district again because no recorder there had confirmed them.",
}
GAUGES: Final = {
    "spool": "Messages that wait in the spool for the district.",
    "spool_bytes": "Size of the messages in the spool.",
    "spool_full": "1 while the spool has reached --spool-mb: the school's broker keeps what comes then.",
    "oldest_waiting_age_seconds": "For how long the oldest message has waited in the spool.",
    "in_flight": "Messages of the spool that are on their way to the district.",
    "unconfirmed": "Readings that the district's broker has and no recorder there has confirmed yet.",
    "district_connected": "1 while the district's broker is there and lets this school publish.",
    "district_login_refused": "1 if the district's broker refused the login at the last try.",
    "district_refuses": "1 while the district's broker refuses some of what this school sends, or all of it.",
    "district_records": "0 if the district's recorder did not confirm some readings within two minutes, else 1.",
    "disk_works": "1 if the spool can be written, else 0.",
}


def own_metrics(numbers: Mapping[str, float]) -> Iterator[Metric]:
    """Yield the forwarder's metrics."""
    yield from counters(PREFIX, COUNTERS, numbers)
    yield from gauges(PREFIX, GAUGES, numbers)


def server_of(
    host: str, port: int, school: AsyncClient, district: AsyncClient, health: Callable[[], HealthReport]
) -> MetricsServer:
    """Return the server of /metrics, which listens. Raises SettingsError."""

    def own() -> Iterator[Metric]:
        report, counted = health(), {"district_connects": district.counters["connects"]}
        counted |= {"replayed": district.counters["replayed"]}
        return own_metrics({**school.counters, **counted, **report.counters, **report.gauges})

    server = MetricsServer(host, port, Metrics(school.identity, lambda: school.is_connected, own).page)
    server.listen()
    return server
