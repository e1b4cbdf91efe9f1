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
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.json import decode
from neuroone.contract.messages import Reading
from neuroone.forward.settings import ForwardSettings
from neuroone.forward.spool import Spool, Waiting
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog

SERVICE: Final = "forwarder"
INSTANCE: Final = "main"
"""The school's broker keeps what waits under the client id, so it must be the same at the next start."""
RULES: Final = (topics.READING, topics.STREAM_STATE, topics.EVENT, topics.LESSON)
"""What a district gets. What a school's recorder says stays there: receipts are about the files of one recorder, and
would let go of what the other one does not have."""
SERVICES: Final = ("ws_gateway", "serial_bridge")
"""The services whose state travels too: when one dies, its streams have ended."""
BATCH_MAX: Final = 500
"""Messages of one transaction, and of one look into the spool."""
IN_FLIGHT_MAX: Final = 1000
"""Messages that are on their way to the district: two windows of the outbox, so that it never waits for the disk."""
GATHER_S: Final = 0.02
"""Time in which what comes shares one sync to the disk."""
TICK_S: Final = 0.5
"""Time between two looks at what is due."""
RETRY_S: Final = 1.0
"""Time between two tries while the disk refuses, or the spool is full."""
AWAY_S: Final = 30.0
"""If the district acknowledges nothing of what waits for so long, the forwarder's state says so."""
CLOSE_S: Final = 5.0
"""How long a stopping forwarder waits for the district's broker."""
NOT_TAKEN: Final = "nothing reaches the district: its broker is away, or refuses what this school sends"
FILE: Final = "spool.db"

log = logging.getLogger(__name__)


class Service:
    """Forward until the program must stop. Raises SettingsError."""

    def __init__(self, given: ForwardSettings, stop: Stop) -> None:
        self._given = given
        self._stop = stop
        brokers = given.check()
        self._spool = Spool(given.spool / FILE, given.spool_mb * 1_000_000)
        self._arrived: list[Delivery] = []
        self._unacked: dict[int, None] = {}
        self._sent = self._done = 0
        self._some = asyncio.Event()
        self._progress_s = time.monotonic()
        """When the district last acknowledged something, or nothing waited for it."""
        self._keep_due_s = 0.0
        self._disk_fault: str | None = None
        self._counters = dict.fromkeys(("spooled", "forwarded", "given_up"), 0)
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
        self._district = AsyncClient(
            brokers.shuffled(random.Random()) if given.broker_shuffle else brokers,
            identity,
            on_link=self._on_link,
            on_fatal=self._on_fatal,
            on_refused=self._on_refused,
            health=self._health,
            replay=ReplayBuffer(time.monotonic),
            ca_file=given.district_ca,
        )

    def run(self) -> int:
        """Forward until stopped; return the exit code. Raises SettingsError."""
        self._spool.open()
        watchdog = Watchdog(self._given.watchdog_s, on_alive=Report(lambda: self._school.is_connected).on_alive)
        try:
            with watchdog:
                asyncio.run(self._serve(watchdog))
        finally:
            self._spool.close()
        return self._stop.exit_code

    async def _serve(self, watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        self._stop.call(lambda: loop.call_soon_threadsafe(self._some.set))
        beat = watchdog.watch("event loop")
        self._school.start()
        self._district.start()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), TICK_S)
            self._some.clear()
            beat()
            self._do_what_is_due()
            await asyncio.sleep(GATHER_S)
        await self._district.close(CLOSE_S)
        self._do_what_is_due()
        await self._school.close(TICK_S)

    def _do_what_is_due(self) -> None:
        if time.monotonic() >= self._keep_due_s:
            try:
                self._keep_arrived()
                self._send()
                self._remove_acked()
                self._disk_fault = "the spool is full: nothing more is kept" if self._spool.is_full else None
            except sqlite3.Error as error:
                self._disk_fault = f"the spool cannot be written ({error})"
            if self._disk_fault is not None:
                self._keep_due_s = time.monotonic() + RETRY_S
        self._school.report_fault(self._disk_fault or self._fault_of_line())

    def _fault_of_line(self) -> str | None:
        """Say that nothing has reached the district for a while; None if something has, or nothing waits."""
        if not self._spool.length and self._district.is_connected:
            self._progress_s = time.monotonic()
        return NOT_TAKEN if time.monotonic() - self._progress_s >= AWAY_S else None

    def _keep_arrived(self) -> None:
        """Make what has arrived durable, and acknowledge it. While the spool is full, the broker keeps it."""
        if self._arrived and not self._spool.is_full:
            self._spool.add(self._arrived)
            self._counters["spooled"] += len(self._arrived)
            self._school.ack(self._arrived)
            self._arrived.clear()
            self._school.resume_reading()

    def _send(self) -> None:
        while self._district.is_connected and len(self._unacked) < IN_FLIGHT_MAX:
            found = self._spool.after(self._sent, BATCH_MAX)
            for each in found:
                if not self._put(each):
                    return
                self._sent = each.id
            if not found:
                return

    def _put(self, waiting: Waiting) -> bool:
        """Hand a message to the district's client; return False if it takes no more now.

        One whose topic has other ids than the contract's, which nobody there would read, is given up.
        """
        try:
            topic = topics.parse(waiting.topic)
        except ContractError:
            self._counters["given_up"] += 1
            return True
        reading = None
        if topic.rule is topics.READING:
            with contextlib.suppress(ContractError):  # the recorder will set it aside
                message = decode(Reading, waiting.payload)
                reading = ((topic["group"], topic["source"], message.session), message.seq)
        id, rule = waiting.id, topic.rule
        outgoing = Outgoing(waiting.topic, waiting.payload, rule.qos, rule.retained, lambda: self._on_ack(id), reading)
        if rule.qos:
            self._unacked[id] = None
        if self._district.put(outgoing) or not rule.qos:
            return True
        del self._unacked[id]
        return False

    def _on_ack(self, id: int) -> None:
        if id in self._unacked:
            del self._unacked[id]
            self._progress_s = time.monotonic()
            self._counters["forwarded"] += 1
            if len(self._unacked) < IN_FLIGHT_MAX / 2:
                self._some.set()

    def _on_refused(self, outgoing: Outgoing) -> None:
        """Go on without a message that the district's broker will never accept."""
        if outgoing.on_ack is not None:
            self._counters["given_up"] += 1
            outgoing.on_ack()

    def _remove_acked(self) -> None:
        done = min(self._unacked, default=self._sent + 1) - 1
        if done > self._done:
            self._spool.remove(done)
            self._done = done

    def _on_link(self, up: bool) -> None:
        """Begin again with what is in the spool: what was on its way may not have arrived."""
        if up:
            self._some.set()
            return
        self._district.session.publications.outbox.forget()
        self._sent = min(self._unacked, default=self._sent + 1) - 1
        self._unacked.clear()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._some.set()

    def _on_fatal(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _health(self) -> HealthReport:
        gauges = {"spool": self._spool.length, "spool_bytes": self._spool.size_bytes}
        return HealthReport(self._counters, gauges, working=not self._disk_fault, memory_bytes=resident_bytes())


def run(given: ForwardSettings, stop: Stop) -> int:
    """Forward until stopped; return the exit code. Raises SettingsError."""
    return Service(given, stop).run()
