"""Crash images of a recorder under load, and what a new start makes of each."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neuroone.contract import topics
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support import crash_image
from tests.support.brokers import Broker
from tests.support.bus_listener import Listener, identity, listening
from tests.support.crash_image import Image, SyncLog
from tests.support.disk_shim import DiskShim, Rule
from tests.support.live_lesson import Findings, LiveLesson, Load, Row, check, markers_in, rows_in, rows_of_receipts
from tests.support.mqtt_tap import MqttTap, content_of
from tests.support.recorder_process import RecorderProcess
from tests.support.waiting import wait_for

START_TIMEOUT_S = 60.0
SYNC_DELAY_MS = 20
"""A sync of a school's computer takes so long; so the moment of a cut is often within one."""


@dataclass
class Taken:
    """An image with what was promised when it was taken: acknowledged, or named by a receipt."""

    image: Image
    lesson: LiveLesson
    promised: set[Row]
    markers: set[str]
    receipted: int


class World:
    """A broker, a tap, a lesson, and a recorder, whose disk ``is_watched`` by a shim."""

    def __init__(
        self,
        folder: Path,
        students: int,
        rng: random.Random,
        settle_s: float = 0.0,
        directory: Path | None = None,
        *,
        rotate_bytes: int = 0,
        kind: str = brokers.MOSQUITTO,
        is_watched: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.directory = (directory or folder / "recordings").resolve()
        self.directory.mkdir()
        (folder / "broker").mkdir()
        self.broker = Broker(kind, folder / "broker")
        self.broker.start()
        self.tap = MqttTap(self.broker.port)
        self._settle_s = settle_s
        self._rotate_bytes = rotate_bytes
        self._is_watched = is_watched
        if is_watched:
            self.shim = DiskShim(folder / "shim", self.directory)
            self.log = SyncLog(self.shim.log)
        self.bus = ThreadedClient(
            BrokerAddresses.parse(self.broker.url), identity("serial_bridge"), replay=ReplayBuffer(time.monotonic)
        )
        self.bus.start()
        self.lesson = LiveLesson(self.bus, students, rng)
        self.recorder: RecorderProcess

    def start_recorder(self, *options: str) -> None:
        """Start the recorder and wait until it is online."""
        self.tap.drain()
        births = self._births()
        self.recorder = RecorderProcess(
            self.tap.url,
            self.directory,
            *options,
            environment=self.shim.environment() if self._is_watched else None,
            settle_s=self._settle_s,
            rotate_bytes=self._rotate_bytes,
            log=self.folder / "recorder.log",
        )
        wait_for(
            lambda: self._births() > births or not self.recorder.is_alive, "the recorder", START_TIMEOUT_S
        )  # fmt: skip
        assert self.recorder.is_alive, (self.folder / "recorder.log").read_text(encoding="utf-8")

    def states(self) -> list[ServiceState]:
        """Return every state that the recorder has published."""
        topic = str(topics.service_state("local", "csv_recorder", "main"))
        found = [content_of(message) for message in list(self.tap.published) if message.topic == topic]
        return [each for each in found if isinstance(each, ServiceState)]

    def _births(self) -> int:
        return len({state.run for state in self.states() if state.status is ServiceStatus.ONLINE})

    def close(self) -> None:
        """End everything."""
        if hasattr(self, "recorder"):
            self.recorder.kill()
        self.bus.close(1)
        self.tap.close()
        self.broker.kill()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def promised(self) -> tuple[set[Row], int]:
        """Return the readings that are promised, and how many of them receipts named. The recorder must be stopped."""
        self.tap.drain()
        receipted = rows_of_receipts(self.tap.published)
        return rows_in(self.tap.acknowledged) | receipted, len(receipted)

    def take_image(self, to: Path, rng: random.Random, kind: str, wal_kind: str) -> Taken:
        """Cut the power at this moment."""
        with self.recorder.frozen():
            promised, receipted = self.promised()
            markers = markers_in(self.tap.acknowledged)
            image = crash_image.take(self.directory, self.log, self.shim.graves, to, rng, kind, wal_kind)
        return Taken(image, self.lesson, promised, markers, receipted)


def take_images(world: World, count: int, rng: random.Random, turns_per_s: float, gap_s: float) -> Iterator[Taken]:
    """Take images while students send, some of them after the recorder was stopped or killed and started again."""
    world.shim.fail(Rule("sync", "*", 0, mode=f"delay={SYNC_DELAY_MS}"))
    world.start_recorder()
    load = Load(world.lesson, turns_per_s)
    load.start()
    try:
        for number in range(count):
            if number == count // 3:
                world.recorder.stop()
                world.start_recorder()
            elif number == 2 * count // 3:
                world.recorder.kill()
                world.start_recorder()
            time.sleep(rng.uniform(0.3, 1.7) * gap_s)
            kind = crash_image.KINDS[number % len(crash_image.KINDS)]
            wal_kind = rng.choice(crash_image.WAL_KINDS)
            yield world.take_image(world.folder / f"image-{number}", rng, kind, wal_kind)
    finally:
        load.end()


class Recovery:
    """Starts recorders on images, with a broker that has nothing for them."""

    def __init__(self, broker: Broker, listener: Listener) -> None:
        self._broker = broker
        self._listener = listener

    def check(self, taken: Taken, site: str, rng: random.Random) -> Findings:
        """Start a recorder, at times kill it and start it again, stop it; return what is wrong with its files."""
        directory = taken.image.directory
        log = directory.with_suffix(".log")
        found = Findings()
        if rng.random() < 0.5:
            with RecorderProcess(self._broker.url, directory, "--site", f"{site}-killed", log=log):
                time.sleep(rng.uniform(0.3, 1.0))
        with RecorderProcess(self._broker.url, directory, "--site", site, log=log) as recorder:

            def is_online() -> bool:
                return not recorder.is_alive or any(
                    topic.site == site and state.status is ServiceStatus.ONLINE
                    for topic, state in self._listener.of(ServiceState)
                )

            try:
                wait_for(is_online, "recorder online", START_TIMEOUT_S)
                assert recorder.is_alive, f"it ended with {recorder.process.returncode}"
                found.add("exit code", log.name, int(recorder.stop() != 0))
            except (AssertionError, subprocess.TimeoutExpired) as error:
                found.add("not opened", f"{error}: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")
        text = log.read_text(encoding="utf-8", errors="replace")
        found.add("traceback", text[text.find("Traceback") :][-300:], int("Traceback" in text))
        found.include(check(directory, taken.lesson, taken.promised, taken.markers, taken.image.foreign))
        if any(directory.glob("*.csv")):
            self._verify(taken.image, found)
        return found

    def _verify(self, image: Image, found: Findings) -> None:
        """Let `csv-recorder verify` look; it may find fault with files that another program wrote to, and no others."""
        command = [sys.executable, "-m", "csv_recorder", "verify", "--dir", str(image.directory)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        folders = {name.rpartition("/")[0] or name for name in image.foreign}
        lines = [line for line in result.stdout.splitlines() + result.stderr.splitlines() if line.strip()]
        false = [line for line in lines[:-1] if "  " in line and not any(each in line for each in folders)]
        if result.returncode and (false or not folders):  # its last line is a sum
            found.add("false alarm of verify", " | ".join(false[:3]) or lines[-3:])


@contextmanager
def recovery(folder: Path) -> Iterator[Recovery]:
    """Give a broker that knows nothing of the lesson."""
    folder.mkdir(parents=True)
    broker = Broker(brokers.MOSQUITTO, folder)
    broker.start()
    try:
        with listening(broker.url, "births", "neuroone/v1/+/services/csv_recorder/+/state") as listener:
            yield Recovery(broker, listener)
    finally:
        broker.kill()
