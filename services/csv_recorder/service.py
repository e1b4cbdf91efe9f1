"""Gathers deliveries into batches, makes them durable, and acknowledges them."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import Metric

from csv_recorder.live import metrics
from csv_recorder.live.descriptions import Describing
from csv_recorder.live.faults import Faults
from csv_recorder.live.other_shards import FIRST_WAIT_S, OtherShards
from csv_recorder.live.output import HANDLES_MAX
from csv_recorder.live.raw_subscription import RawSubscription
from csv_recorder.live.receipts import Receipts
from csv_recorder.live.recorder import Options, Recorder
from csv_recorder.live.writer import Settling
from csv_recorder.offline.lock import without_recorder
from csv_recorder.offline.prune import AT_ONCE_MAX, prune
from csv_recorder.settings import RunSettings
from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.presence import HealthReport
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.metrics import LOOP_LAG_BOUNDS_S, Histogram, Metrics
from neuroone.service.metrics_server import MetricsServer
from neuroone.service.process_memory import resident_bytes
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog

SERVICE: Final = "csv_recorder"
INSTANCE: Final = "main"
"""The broker keeps unacknowledged messages under the client id, so it must be the same at the next start."""
BATCH_MAX: Final = 500
"""Deliveries that share one transaction; with more, the loop is not back in time for pings and metrics."""
GATHER_S: Final = 0.05
"""Nothing is read for so long after a batch: what comes meanwhile costs one read and one sync to the disk, not one a
message (docs/decisions/0010). What is read at once, 256 kB at most, is all that waits between network and disk."""
TICK_S: Final = 1.0
"""Time between two looks at what is due."""
SETTLE_PERIOD_S: Final = 30.0
"""Time between two syncs of all files. With 2000 files on a slow disk one takes seconds, in another thread."""
PRUNE_PERIOD_S: Final = 3600.0
"""Time between two looks for what is to be removed after --keep-days: only old days are looked into."""
QUIET_S: Final = 0.3
LAST_S: Final = 2.0
"""A recorder that is to stop goes on until nothing has come for QUIET_S, and for LAST_S at most: of gateways that ended
just before it the broker has the last readings still on their way. What does not come now comes at the next start."""
RETRY_S: Final = 1.0
"""Time between two tries while the disk refuses."""
FILES_FOR_OTHERS: Final = 256
"""Open files that are left for the inbox, the broker's connection, syncs and sidecars."""
GC_THRESHOLDS: Final = (100_000, 20, 20)
"""New objects before the garbage collector runs. A batch makes thousands that live until they are settled; with the
default of 700 looking at them took a twelfth of the time."""
NICENESS: Final = 15
"""On a machine that is too busy, the gateway goes first: dashboards are live, but the recorder's input waits safely."""
STATES_S: Final = 0.05
"""For the broker to send the states that it keeps."""
RECORDERS: Final = f"/services/{SERVICE}/"
"""In the topics of recorders."""

log = logging.getLogger(__name__)


def prepare_process() -> None:
    """Let other programs go first, and collect garbage seldom: for a process that only records."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@dataclass(slots=True)
class Due:
    """When what is done again and again is due, in seconds of the event loop's clock, and how late the ticks were."""

    record_s: float = 0.0
    receipt_s: float = 0.0
    write_s: float = 0.0
    settle_s: float = 0.0
    prune_s: float = 0.0
    quiet_s: float = 0.0
    end_s: float = float("inf")
    lag: Histogram = field(default_factory=lambda: Histogram(LOOP_LAG_BOUNDS_S))


class Service:
    """The recorder as a program: connects broker, recorder and disk. `run` opens them.

    ``files_max`` files may be open in this process.
    """

    def __init__(self, settings: RunSettings, stop: Stop, files_max: int = 1024) -> None:
        self._settings = settings
        self._stop = stop
        self._watchdog = Watchdog(settings.watchdog_s, on_alive=Report(lambda: self._client.is_connected).on_alive)
        self._identity = settings.identity(SERVICE, time.time(), INSTANCE)
        self._recorder = Recorder(
            settings.dir,
            Options(
                site=settings.site,
                version=self._identity.version,
                csv=settings.csv,
                raw=settings.raw,
                rotate_bytes=settings.rotate_mb * 2**20,
                rotate_s=settings.rotate_h * 3600.0,
                handles_max=max(1, min(HANDLES_MAX, files_max - FILES_FOR_OTHERS)),
                shard=str(settings.shard or ""),
            ),
        )
        receipt_topic = topics.recorded(settings.site, self._identity.instance)
        self._receipts = Receipts(
            lambda receipt: self._client.publish(receipt_topic, receipt), time.monotonic, settings.shard
        )
        self._others = OtherShards(
            self._identity,
            lambda words: self._on_fatal(NeuroOneError(words)),
            self._report_others,
        )
        self._arrived: list[Delivery] = []
        self._some = asyncio.Event()
        self._faults = Faults()
        self._syncing: tuple[Settling, asyncio.Future[None]] | None = None
        self._describing: tuple[Describing, asyncio.Future[None]] | None = None
        self._due = Due()
        raw = topics.every(topics.RAW, settings.site)
        self._of_students = RawSubscription(
            lambda: self._client.session.subscribe(raw, topics.RAW.qos),
            lambda: self._client.session.unsubscribe(raw),
        )
        self._client: AsyncClient

    def run(self) -> int:
        """Record until the program is stopped."""
        server = self._new_metrics_server()
        self._recorder.open()
        with self._watchdog:
            try:
                asyncio.run(self._serve(server))
            finally:
                with self._disk("close"):
                    self._recorder.close()
                if "close" in self._faults:
                    log.warning("rows that are not in the files yet wait in the inbox for the next start")
        return self._stop.exit_code

    def _new_metrics_server(self) -> MetricsServer | None:
        """Return the server of /metrics, which listens, or None if there is to be none. Raises SettingsError."""
        settings = self._settings
        if not settings.metrics_port:
            return None
        shown = Metrics(self._identity, lambda: self._client.is_connected, self._metrics)
        server = MetricsServer(settings.metrics_host, settings.metrics_port, shown.page)
        server.listen()
        return server

    async def _serve(self, server: MetricsServer | None) -> None:
        loop = asyncio.get_running_loop()
        self._stop.call(lambda: loop.call_soon_threadsafe(self._some.set))
        of_raw = topics.RAW if self._settings.raw else topics.LESSON
        rules = [topics.READING, topics.STREAM_STATE, topics.EVENT, of_raw]
        subscriptions = {topics.every(rule, self._settings.site): rule.qos for rule in rules}
        for rule in (topics.SERVICE_STATE, topics.HEALTH):
            subscriptions[topics.every(rule, self._settings.site, service=SERVICE)] = 0
        raw = topics.every(topics.RAW, self._settings.site)
        obsolete = {*self._recorder.replace_filters(subscriptions), raw} - subscriptions.keys()
        self._client = AsyncClient(
            self._settings.brokers(random.Random()),
            self._identity,
            subscriptions=subscriptions,
            on_delivery=self._on_delivery,
            on_link=self._on_link,
            on_fatal=self._on_fatal,
            health=self._health,
            durable=True,
            obsolete=obsolete,
            has_room=lambda: not self._arrived,
            ca_file=self._settings.broker_ca,
            health_file=self._settings.health_file,
        )
        self._client.start()
        scrapes = None if server is None else asyncio.create_task(server.serve())
        if scrapes is not None:
            scrapes.add_done_callback(self._on_end_of_metrics)
        try:
            await self._record(loop)
        finally:
            if scrapes is not None:
                scrapes.cancel()
                await asyncio.wait([scrapes])
            under_way = [each[1] for each in (self._syncing, self._describing) if each is not None]
            if under_way:
                await asyncio.wait(under_way)
            self._finish_sync()
            self._finish_describing()
            await self._client.close(TICK_S)

    async def _record(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept what arrives, and tick once a second, whatever the disk answers."""
        tick_due_s = loop.time()
        beat = self._watchdog.watch("event loop")
        while not self._has_ended(loop.time()):
            due_s = min(tick_due_s, self._receipts.due_s, *((self._due.quiet_s,) if self._stop.is_set() else ()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), max(0.0, due_s - loop.time()))
            self._some.clear()
            count = len(self._arrived)
            await self._record_arrived(loop, tick_due_s)
            self._receipts.send()
            beat()
            if loop.time() >= tick_due_s:
                self._due.lag.observe(loop.time() - tick_due_s)
                tick_due_s = loop.time() + TICK_S
                self._tick(loop)
            if 0 < count < BATCH_MAX:
                await asyncio.sleep(GATHER_S)
            if not self._arrived:
                self._client.resume_reading()
            if count:
                self._due.quiet_s = loop.time() + QUIET_S  # from now on: nothing was read while these were recorded
        await self._record_arrived(loop, float("inf"))
        self._due.receipt_s = 0.0
        self._tick(loop)
        self._receipts.send_all()

    def _has_ended(self, now_s: float) -> bool:
        """Return True if the service is to stop and nothing more comes."""
        if not self._stop.is_set():
            return False
        if self._due.end_s == float("inf"):
            self._due.end_s, self._due.quiet_s = now_s + LAST_S, now_s + QUIET_S
        return not self._client.is_connected or now_s >= min(self._due.end_s, self._due.quiet_s)

    async def _record_arrived(self, loop: asyncio.AbstractEventLoop, until_s: float) -> None:
        """Make deliveries durable and acknowledge them. What the disk refuses is tried again after RETRY_S."""
        while self._arrived and self._may_record(loop):
            batch, own = self._others.next_batch(self._arrived, BATCH_MAX)
            with self._disk("record"):
                if own:
                    self._recorder.accept(own)
            if "record" in self._faults:
                self._due.record_s = loop.time() + RETRY_S
                return
            del self._arrived[: len(batch)]
            self._others.dropped += len(batch) - len(own)
            self._client.ack(batch)
            if loop.time() >= until_s:
                self._some.set()
                return
            await asyncio.sleep(0)  # let the client run

    def _may_record(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return False while a refused batch must wait, or too many rows wait for a sync; this slows the broker down.

        The end of the sync wakes `_record` up.
        """
        if loop.time() < self._due.record_s or not self._others.is_answered(
            loop.time(), has_states=self._client.session.has_states
        ):
            return False
        if self._recorder.is_full:
            self._finish_sync()
        if not self._recorder.is_full:
            return True
        if self._syncing is None:
            self._begin_sync(loop)
        if self._syncing is None or self._faults.hold_up_all:
            self._due.record_s = loop.time() + RETRY_S
        return False

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() >= self._due.receipt_s:
            # The broker and each gateway handle every stream of a receipt, so fewer of them for thousands.
            within_s = self._recorder.turn_s / 2
            self._due.receipt_s = loop.time() + within_s
            with self._disk("read the inbox"):
                self._receipts.add(self._recorder.receipts(), within_s)
        self._finish_sync()
        self._finish_describing()
        if loop.time() >= self._due.write_s:
            self._due.write_s = loop.time() + self._recorder.turn_s
            with self._disk("write the files"):
                self._recorder.write()
            if self._describing is None:
                describing = self._recorder.begin_describing()
                if describing.sidecars:
                    self._describing = describing, loop.run_in_executor(None, self._recorder.write_sidecars, describing)
        if self._syncing is None and loop.time() >= self._due.settle_s:
            self._due.settle_s = loop.time() + SETTLE_PERIOD_S
            self._begin_sync(loop)
            self._watch_space()
        if self._settings.keep_days and loop.time() >= self._due.prune_s:
            self._prune(loop)
        self._report_faults()

    def _prune(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remove old sessions while nobody is recorded; the recorder lets go of its files and opens them again."""
        is_busy = self._arrived or self._syncing or self._describing or self._recorder.gauges()["sessions_open"]
        if is_busy or self._faults.hold_up_all or self._stop.is_set():
            return
        days = self._settings.keep_days
        self._due.prune_s = loop.time() + PRUNE_PERIOD_S
        try:
            self._recorder.close()
            with without_recorder(self._settings.dir) as inbox:
                old, left = prune(self._settings.dir, days, datetime.now(UTC), inbox)
            if old:
                log.info("removed after %d days: %s", days, old.summary(left))
            if left:
                log.error("%d sessions or files cannot be removed after %d days", len(left), days)
            elif len(old.sessions) == AT_ONCE_MAX:
                self._due.prune_s = loop.time()
        except (OSError, sqlite3.Error, SettingsError) as error:
            words = getattr(error, "strerror", None) or error  # without a path, which may name a child
            log.error("what is older than %d days cannot be removed: %s", days, words)
        try:
            self._recorder.open()
        except SettingsError as error:
            self._on_fatal(error)

    def _begin_sync(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._disk("write the files"):
            settling = self._recorder.begin_settling()
            if settling is not None:
                self._syncing = settling, loop.run_in_executor(None, self._recorder.sync, settling)
                self._syncing[1].add_done_callback(lambda done: self._some.set())

    def _finish_sync(self) -> None:
        """Remove synced rows from the inbox if a sync has ended."""
        if self._syncing is None or not self._syncing[1].done():
            return
        (settling, done), self._syncing = self._syncing, None
        with self._disk("sync the files"):
            done.result()
            self._recorder.finish_settling(settling)

    def _finish_describing(self) -> None:
        """Close sessions whose sidecars are written."""
        if self._describing is None or not self._describing[1].done():
            return
        (describing, done), self._describing = self._describing, None
        with self._disk("close sessions"):
            done.result()
            self._recorder.finish_describing(describing)

    def _on_link(self, is_up: bool) -> None:
        if is_up:
            loop = asyncio.get_running_loop()
            self._others.on_link(loop.time())
            for wait_s in (STATES_S, FIRST_WAIT_S):  # what came meanwhile may be recorded then
                loop.call_later(wait_s, self._some.set)
        self._receipts.on_link(is_up)

    def _report_others(self, words: str | None) -> None:
        if self._client.session.set_fault("shards", words) and words is not None:
            log.error("%s", words)

    def _on_delivery(self, delivery: Delivery) -> None:
        if RECORDERS in delivery.topic:
            self._others.on_delivery(delivery, asyncio.get_running_loop().time())
            return
        if not self._settings.raw:
            self._of_students.on_delivery(delivery)
        self._arrived.append(delivery)
        self._some.set()

    @contextlib.contextmanager
    def _disk(self, what: str) -> Iterator[None]:
        """Note a fault of the inbox, and say it in the retained state."""
        with self._faults.noting(what) as is_news:
            yield
        if is_news():
            self._report_faults()

    def _report_faults(self) -> None:
        """Say in the retained state what holds up all or one."""
        self._faults.note_files(self._recorder.faults())
        self._client.report_fault(self._faults.words)

    def _watch_space(self) -> None:
        with contextlib.suppress(OSError):
            self._faults.note_space(shutil.disk_usage(self._settings.dir).free)

    def _on_end_of_metrics(self, ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (fault := ended.exception()) is not None:
            log.error("a fault of ours in the server of the metrics: the service ends", exc_info=fault)
            self._stop.set(FAILED)

    def _on_fatal(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _health(self) -> HealthReport:
        gauges = {
            "queue": len(self._arrived),
            "unwritten": self._recorder.unwritten,
            "disk_works": int(not self._faults.hold_up_all),
            "faulty_files": self._faults.files,
            "free_bytes": self._faults.free_bytes,
        }
        counters = {**self._recorder.counters, "inbox_faults": self._faults.of_inbox, "of_others": self._others.dropped}
        return HealthReport(counters, gauges, working=not self._faults.hold_up_all, memory_bytes=resident_bytes())

    def _metrics(self) -> Iterator[Metric]:
        """Yield the recorder's own metrics; the client's numbers, which health messages hold anyway, are among them."""
        self._watch_space()
        report, client, recorder = self._health(), self._client, self._recorder
        values = {**client.session.publications.gauges(), **report.gauges, **recorder.gauges()}
        faults = {**recorder.disk.faults, metrics.INBOX: self._faults.of_inbox}
        return metrics.own_metrics({**client.counters, **report.counters}, values, faults, self._due.lag)
