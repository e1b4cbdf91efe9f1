"""Bring what happens at a school to its district: through a spool on the disk, whatever the line does.

Two brokers, and a spool between them. What the school's broker delivers is acknowledged once it is in the spool, and
leaves the spool once the district's broker has acknowledged it (docs/decisions/0047).
"""

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.forward.line import Line
from neuroone.forward.settings import ForwardSettings
from neuroone.forward.spool import FILE, Spool
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.presence import HealthReport
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog

if TYPE_CHECKING:
    from neuroone.service.metrics_server import MetricsServer

SERVICE: Final = "forwarder"
INSTANCE: Final = "main"
"""The school's broker keeps what waits under the client id, so it must be the same at the next start."""
RULES: Final = (topics.READING, topics.STREAM_STATE, topics.EVENT, topics.LESSON)
"""What a district gets. What a school's recorder says stays there: receipts are about the files of one recorder, and
would let go of what the other one does not have."""
SERVICES: Final = ("ws_gateway", "serial_bridge")
"""The services whose state travels too: when one dies, its streams have ended."""
GATHER_S: Final = 0.02
"""Time in which what comes shares one sync to the disk."""
TICK_S: Final = 0.5
"""Time between two looks at what is due."""
RETRY_S: Final = 1.0
"""Time between two tries while the disk refuses, or the spool is full."""
CLOSE_S: Final = 5.0
"""How long a stopping forwarder waits for the district's broker."""
FULL: Final = "the spool is full: nothing more is kept"

log = logging.getLogger(__name__)


class Service:
    """Forward until the program must stop. Raises SettingsError."""

    def __init__(self, given: ForwardSettings, stop: Stop) -> None:
        self._given = given
        self._stop = stop
        self._spool = Spool(given.spool / FILE, given.spool_mb * 1_000_000)
        self._arrived: list[Delivery] = []
        self._some = asyncio.Event()
        self._keep_due_s = 0.0
        self._disk_fault: str | None = None
        self._spooled = 0
        identity = given.identity(SERVICE, time.time(), INSTANCE)
        rules = [*RULES, *([topics.RAW] if given.with_raw else [])]
        self._school = AsyncClient(
            given.brokers(random.Random()),
            identity,
            subscriptions={topics.every(rule, given.site): rule.qos for rule in rules}
            | {topics.every(topics.SERVICE_STATE, given.site, service=name): 1 for name in SERVICES},
            obsolete=[] if given.with_raw else [topics.every(topics.RAW, given.site)],
            on_delivery=self._on_delivery,
            on_fatal=self._on_fatal,
            health=self._health,
            durable=True,
            has_room=lambda: not self._arrived,
            ca_file=given.broker_ca,
            health_file=given.health_file,
        )
        self._line = Line(given, identity, self._spool, self._some.set, on_fatal=self._on_fatal, health=self._health)

    def run(self) -> int:
        """Forward until stopped; return the exit code. Raises SettingsError."""
        server = self._new_metrics_server()
        self._spool.open()
        watchdog = Watchdog(self._given.watchdog_s, on_alive=Report(lambda: self._school.is_connected).on_alive)
        try:
            with watchdog:
                asyncio.run(self._serve(watchdog, server))
        finally:
            self._spool.close()
        return self._stop.exit_code

    def _new_metrics_server(self) -> "MetricsServer | None":
        """Return the server of /metrics, which listens, or None if there is to be none. Raises SettingsError."""
        given = self._given
        if not given.metrics_port:
            return None
        from neuroone.forward import metrics  # prometheus_client takes a while, and most need none

        school, district = self._school, self._line.client
        return metrics.server_of(given.metrics_host, given.metrics_port, school, district, self._health)

    async def _serve(self, watchdog: Watchdog, server: "MetricsServer | None") -> None:
        loop = asyncio.get_running_loop()
        self._stop.call(lambda: loop.call_soon_threadsafe(self._some.set))
        beat = watchdog.watch("event loop")
        self._school.start()
        self._line.client.start()
        scrapes = None if server is None else asyncio.create_task(server.serve())
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), TICK_S)
            self._some.clear()
            beat()
            self._do_what_is_due()
            await asyncio.sleep(GATHER_S)
        if scrapes is not None:
            scrapes.cancel()
        await self._line.client.close(CLOSE_S)
        self._do_what_is_due()
        await self._school.close(TICK_S)

    def _do_what_is_due(self) -> None:
        if time.monotonic() >= self._keep_due_s:
            try:
                self._keep_arrived()
                self._line.send()
                self._line.remove_acked()
                self._disk_fault = FULL if self._spool.is_full else None
            except sqlite3.Error as error:
                self._disk_fault = f"the spool cannot be written ({error})"
            if self._disk_fault is not None:
                self._keep_due_s = time.monotonic() + RETRY_S
        self._school.report_fault(self._disk_fault or self._line.fault())
        self._line.client.report_fault(self._disk_fault or self._line.refusals.words)

    def _keep_arrived(self) -> None:
        """Make what has arrived durable, and acknowledge it. While the spool is full, the broker keeps it."""
        if self._arrived and not self._spool.is_full:
            self._spool.add(self._arrived)
            self._spooled += len(self._arrived)
            self._school.ack(self._arrived)
            self._arrived.clear()
            self._school.resume_reading()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._some.set()

    def _on_fatal(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _health(self) -> HealthReport:
        counters = {"spooled": self._spooled, **self._line.counters}
        gauges = {
            "spool": self._spool.length,
            "spool_bytes": self._spool.size_bytes,
            "spool_full": int(self._spool.is_full),
            "oldest_waiting_age_seconds": round(self._spool.oldest_age_s(), 1),
            "disk_works": int(self._disk_fault in (None, FULL)),
            **self._line.gauges(),
        }
        return HealthReport(counters, gauges, working=not self._disk_fault, memory_bytes=resident_bytes())


def run(given: ForwardSettings, stop: Stop) -> int:
    """Forward until stopped; return the exit code. Raises SettingsError."""
    return Service(given, stop).run()
