"""The recorder on its bus: what arrives is gathered into batches, made durable, and only then acknowledged."""

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from csv_recorder.live.recorder import Options, Recorder, Settling
from csv_recorder.settings import Settings
from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.session import RECEIVE_MAXIMUM, Delivery
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.process_memory import resident_bytes

SERVICE: Final = "csv_recorder"
INSTANCE: Final = "main"
"""The broker keeps what is not acknowledged under the client id, so it must be the same at the next start."""
BATCH_MAX: Final = RECEIVE_MAXIMUM
QUEUE_MAX: Final = 4 * BATCH_MAX
"""Deliveries between network and disk, about 2 MB. The broker should send at most RECEIVE_MAXIMUM before our acks; one
that sends more is left unread from here on."""
GATHER_S: Final = 0.02
"""What arrives within this shares one sync to the disk: at most 50 a second."""
TICK_S: Final = 1.0
"""Between two writings to the files and two marks."""
SETTLE_PERIOD_S: Final = 30.0
"""Between two syncs of all files. With 2000 of them on a slow disk one takes seconds, in a thread of its own."""
RETRY_S: Final = 1.0
"""Between two tries while the disk says no."""
NICENESS: Final = 15
"""What reaches the recorder waits safely, what reaches a dashboard is looked at: on a machine that is too busy for both
the gateway goes first."""
FREE_LOW_BYTES: Final = 2**30
"""Free space below which the log warns: 1000 students fill it in an hour and a half."""

log = logging.getLogger(__name__)


class Service:
    """The recorder between its bus and its stop. Opens nothing before `run`."""

    def __init__(self, given: Settings, stop: Stop) -> None:
        self._given = given
        self._stop = stop
        self._identity = given.identity(SERVICE, time.time(), INSTANCE)
        self._recorder = Recorder(
            given.dir,
            Options(
                site=given.site,
                version=self._identity.version,
                csv=given.csv,
                rotate_bytes=given.rotate_mb * 2**20,
                rotate_s=given.rotate_h * 3600.0,
            ),
        )
        self._mark_topic = topics.recorded(given.site, self._identity.instance)
        self._arrived: list[Delivery] = []
        self._some = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._syncing: tuple[Settling, asyncio.Future[None]] | None = None
        self._settle_due_s = 0.0
        self._free_bytes = -1
        self._bus: AsyncClient

    def run(self) -> int:
        """Record until the program must stop."""
        if hasattr(os, "nice"):
            os.nice(NICENESS)
        self._recorder.open()
        try:
            asyncio.run(self._serve())
        finally:
            if not self._try("close", self._recorder.close):
                log.warning("what is not in the files yet waits in the inbox for the next start")
        return self._stop.exit_code

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop.call(lambda: loop.call_soon_threadsafe(self._some.set))
        rules = [topics.READING, topics.STREAM_STATE, topics.EVENT, *([topics.RAW] if self._given.raw else [])]
        subscriptions = {topics.every(rule, self._given.site): rule.qos for rule in rules}
        self._bus = AsyncClient(
            self._given.brokers(random.Random())[0],
            self._identity,
            subscriptions=subscriptions,
            on_delivery=self._arrive,
            on_fatal=self._die,
            vitals=self._vitals,
            durable=True,
            obsolete=self._recorder.take_filters(subscriptions),
            has_room=lambda: len(self._arrived) < QUEUE_MAX,
            ca_file=self._given.broker_ca,
            health_file=self._given.health_file,
        )
        self._bus.start()
        try:
            await self._record(loop)
        finally:
            if self._syncing is not None:
                await asyncio.wait([self._syncing[1]])
                self._take_synced()
            await self._bus.close(TICK_S)

    async def _record(self, loop: asyncio.AbstractEventLoop) -> None:
        tick_due_s = loop.time()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), max(0.0, tick_due_s - loop.time()))
                if len(self._arrived) < BATCH_MAX:
                    await asyncio.sleep(GATHER_S)
            self._some.clear()
            await self._take_arrived()
            if loop.time() >= tick_due_s or self._stop.is_set():
                tick_due_s = loop.time() + TICK_S
                self._tick(loop)

    async def _take_arrived(self) -> None:
        """Make durable and acknowledge what has arrived, again and again while the disk says no."""
        while self._arrived:
            batch = self._arrived[:BATCH_MAX]
            await self._wait_for_sync()
            if self._try("record", lambda batch=batch: self._recorder.take(batch)):  # type: ignore[misc]
                del self._arrived[: len(batch)]
                self._bus.ack(batch)
                self._bus.read_on()
                await asyncio.sleep(0)  # the bus has its turn
            elif self._stop.is_set():
                return
            else:
                await asyncio.sleep(RETRY_S)

    async def _wait_for_sync(self) -> None:
        """Take no more than may wait for the files; a sync that does not keep up holds the broker back."""
        while self._recorder.is_full and not self._stop.is_set():
            if self._syncing is None:
                self._begin_sync(asyncio.get_running_loop())
            if self._syncing is not None:
                await asyncio.wait([self._syncing[1]])
            if not self._take_synced():
                await asyncio.sleep(RETRY_S)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._try("write the files", self._recorder.write):
            return
        for mark in self._recorder.marks():
            self._bus.publish(self._mark_topic, mark)
        self._take_synced()
        if self._syncing is None and loop.time() >= self._settle_due_s:
            self._settle_due_s = loop.time() + SETTLE_PERIOD_S
            self._begin_sync(loop)
            self._watch_space()
        self._try("write sidecars", self._recorder.look)

    def _begin_sync(self, loop: asyncio.AbstractEventLoop) -> None:
        settling = None

        def begin() -> None:
            nonlocal settling
            settling = self._recorder.settling()

        if self._try("write the files", begin) and settling is not None:
            self._syncing = settling, loop.run_in_executor(None, self._recorder.sync, settling)

    def _take_synced(self) -> bool:
        """Let the inbox forget what a sync that has ended brought onto the disk; False when that failed."""
        if self._syncing is None or not self._syncing[1].done():
            return True
        (settling, done), self._syncing = self._syncing, None

        def settle() -> None:
            try:
                done.result()
            except OSError:
                self._recorder.unsettled(settling)
                raise
            self._recorder.settled(settling)

        return self._try("sync the files", settle)

    def _arrive(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._some.set()

    def _try(self, what: str, write: Callable[[], object]) -> bool:
        """Do something with the disk; whether it worked. Loud at the first fault and at the recovery."""
        try:
            write()
        except (OSError, sqlite3.Error) as error:
            self._recorder.counters["disk_faults"] += 1
            if what not in self._faults:
                log.error(
                    "cannot %s: %s; nothing is lost, but nothing more is taken while it stays so", what, _words(error)
                )
            self._faults[what] = f"cannot {what}: {_words(error)}"
        else:
            if self._faults.pop(what, None) is None:
                return True
            log.info("can %s again", what)
        self._bus.say_fault(next(iter(self._faults.values()), None))
        return what not in self._faults

    def _watch_space(self) -> None:
        with contextlib.suppress(OSError):
            free_bytes = shutil.disk_usage(self._given.dir).free
            if free_bytes < FREE_LOW_BYTES <= (self._free_bytes if self._free_bytes >= 0 else FREE_LOW_BYTES):
                log.warning("only %d MB are free where the recordings are", free_bytes // 2**20)
            self._free_bytes = free_bytes

    def _die(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _vitals(self) -> HealthReport:
        gauges = {
            "queue": len(self._arrived),
            "unwritten": self._recorder.unwritten,
            "disk_works": int(not self._faults),
            "free_bytes": self._free_bytes,
        }
        return HealthReport(self._recorder.counters, gauges, working=not self._faults, memory_bytes=resident_bytes())


def _words(error: OSError | sqlite3.Error) -> str:
    """What the disk says, without a path: that may name a child."""
    return (error.strerror or "the disk says no") if isinstance(error, OSError) else str(error)
