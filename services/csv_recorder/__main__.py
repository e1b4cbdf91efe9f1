"""csv-recorder: from the broker to CSV files. This module only wires."""

import logging
import queue
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csv_recorder.recorder import Recorder
from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.runtime import lifecycle
from neuroone.runtime.bus import RECEIVE_MAXIMUM, Delivery, MqttBus
from neuroone.runtime.lifecycle import FAILED, Command, Stop
from neuroone.runtime.presence import Vitals
from neuroone.runtime.settings import BusSettings, setting

SERVICE: Final = "csv_recorder"
INSTANCE: Final = "main"
"""The broker keeps what is not acknowledged under the client id, so it must be the same at the next start."""
QUEUE_MAX: Final = 4 * RECEIVE_MAXIMUM
"""Deliveries between network and disk, about 2 MB. The broker should send at most RECEIVE_MAXIMUM before our acks; one
that sends more is left unread from half of this on. One that does not fit all the same is not acknowledged, counted,
and comes again at the next connect."""
BATCH_MAX: Final = 500
SETTLE_PERIOD_S: Final = 1.0
RETRY_S: Final = 1.0
"""Between two tries while the disk says no."""
WAIT_S: Final = 0.2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """What the recorder can be told."""

    dir: Path = setting(Path("recordings"), Path, "Directory of the CSV files.", metavar="DIR")


class Service:
    """The recorder between its bus and its stop. Opens nothing before `run`."""

    def __init__(self, given: Settings, stop: Stop) -> None:
        self._stop = stop
        self._arrived: queue.Queue[Delivery] = queue.Queue(QUEUE_MAX)
        self._recorder = Recorder(given.dir)
        self._overflow = 0
        self._disk_works = True
        identity = given.identity(SERVICE, time.time(), INSTANCE)
        self._mark_topic = topics.recorded(given.site, identity.instance)
        self._bus = MqttBus(
            given.broker,
            identity,
            subscriptions={topics.every(rule, given.site): 1 for rule in (topics.READING, topics.STREAM_STATE)},
            on_delivery=self._arrive,
            has_room=lambda: self._arrived.qsize() < QUEUE_MAX // 2,
            on_fatal=self._die,
            vitals=self._vitals,
            durable=True,
            ca_file=given.broker_ca,
            health_file=given.health_file,
        )

    def run(self) -> int:
        """Record until the program must stop."""
        self._recorder.open()
        self._bus.start()
        settled_s = time.monotonic()
        try:
            while not self._stop.is_set():
                batch = self._next_batch()
                if batch and self._make_durable(batch):
                    for delivery in batch:
                        self._bus.ack(delivery)
                    self._try(self._recorder.write)
                if time.monotonic() - settled_s >= SETTLE_PERIOD_S:
                    settled_s = time.monotonic()
                    self._settle()
            self._settle()
        finally:
            self._bus.close()
            self._recorder.close()
        return self._stop.exit_code

    def _arrive(self, delivery: Delivery) -> None:
        try:
            self._arrived.put_nowait(delivery)
        except queue.Full:
            self._overflow += 1

    def _next_batch(self) -> list[Delivery]:
        batch: list[Delivery] = []
        try:
            batch.append(self._arrived.get(timeout=WAIT_S))
            while len(batch) < BATCH_MAX:
                batch.append(self._arrived.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _make_durable(self, batch: Sequence[Delivery]) -> bool:
        """Take a batch, again and again while the disk says no; False when the program must stop before."""
        while not self._try(lambda: self._recorder.take(batch)):
            if self._stop.wait(RETRY_S):
                return False
        return True

    def _settle(self) -> None:
        if self._try(self._recorder.settle):
            for mark in self._recorder.marks():
                self._bus.publish(self._mark_topic, mark)

    def _try(self, write: Callable[[], None]) -> bool:
        """Do something with the disk; whether it worked. Loud at the first fault and at the recovery."""
        try:
            write()
        except (OSError, sqlite3.Error) as error:
            self._recorder.counters["disk_faults"] += 1
            if self._disk_works:
                log.error("cannot write: %s; nothing is acknowledged until it works again", error)
            self._disk_works = False
            return False
        if not self._disk_works:
            log.info("writing works again")
        self._disk_works = True
        return True

    def _die(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _vitals(self) -> Vitals:
        gauges = {"queue": self._arrived.qsize(), "disk_works": int(self._disk_works)}
        return Vitals({**self._recorder.counters, "overflow": self._overflow}, gauges, working=self._disk_works)


def run(given: Settings, stop: Stop) -> int:
    """Record until ``stop``."""
    return Service(given, stop).run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return lifecycle.main(
        "csv-recorder", {"run": Command(Settings, run, "Record readings as CSV files, until stopped.")}, argv
    )


if __name__ == "__main__":
    sys.exit(main())
