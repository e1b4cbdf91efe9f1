"""Tests of `neuroone up` with a broker that runs and does not work: a full disk, a process that hangs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.sync.client import connect

from neuroone.contract import topics
from neuroone.mqtt.delivery import Delivery
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import client_on
from tests.support.messages import reading
from tests.support.small_disk import small_disk
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests stop programs by signals, which Windows has not"),
]

QUICK = """
import sys
from neuroone.up import broker_check, brokers
broker_check.TRY_EVERY_S = 0.2
broker_check.FAILING_S = 1.0
broker_check.ENDING_S = 0.5
broker_check.UNSAVED_S = 6.0
broker_check.CONNECT_TIMEOUT_S = float(sys.argv.pop())
brokers.AUTOSAVE_S = 1
from neuroone.__main__ import main
sys.exit(main())
"""
"""The command `neuroone` with the patience of a test."""
FRAME_PERIOD_S = 0.25
"""The gateway takes up to five readings a second of a student."""
DISK_MB = 24
WITHIN_S = 60.0
BACKLOG = 5_000
BYTES_EACH = 420
"""What NATS stores of a reading."""
READINGS: dict[str, Any] = {"durable": True, "subscriptions": {topics.every(topics.READING, "local"): 1}}
"""The session of a recorder."""


class Student(threading.Thread):
    """A student whose readings say their number in Delta."""

    def __init__(self, ws_port: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._url = f"ws://{LOOPBACK}:{ws_port}/"
        self._end = threading.Event()

    def run(self) -> None:
        with connect(self._url, proxy=None) as connection:
            while not self._end.wait(FRAME_PERIOD_S):
                frame = {"Codigo": "ABC123", "Nome": "Ana", "Att": 50, "Med": 50, "Delta": self.sent, "Theta": 1}
                connection.send(json.dumps(frame))
                self.sent += 1

    def end(self) -> int:
        """Send no more; return how many readings were sent."""
        self._end.set()
        self.join()
        return self.sent


class Up:
    """A running `neuroone up` with a student."""

    def __init__(self, data: Path, kind: str, timeout_s: float) -> None:
        self.data = data
        self.kind = kind
        self._log_file = data.parent / "up.log"
        ws_port, mqtt_port = free_port(), free_port()
        ports = ["--ws-port", str(ws_port), "--mqtt-port", str(mqtt_port)]
        words = ["up", "--data", str(data), "--broker-program", kind, *ports]
        self.mqtt_url = f"mqtt://{LOOPBACK}:{mqtt_port}"
        with self._log_file.open("wb") as log:
            self.popen = subprocess.Popen([sys.executable, "-c", QUICK, *words, str(timeout_s)], stdout=log, stderr=log)
        self.wait_for_log("Ctrl+C")
        self.student = Student(ws_port)
        self.student.start()
        wait_for(lambda: self.rows(), "first row")

    def wait_for_log(self, words: str) -> None:
        """Wait until the log has these words."""
        wait_for(lambda: words in self.log(), f"log of {words!r}", WITHIN_S)

    def log(self) -> str:
        """Return what it has printed."""
        return self._log_file.read_text(encoding="utf-8")

    def rows(self) -> list[int]:
        """Return the numbers of the readings in the student's file."""
        file = self.data / "Ana.csv"
        lines = file.read_text(encoding="utf-8").splitlines()[1:] if file.exists() else []
        return [int(line.split(",")[2]) for line in lines]

    def broker(self) -> psutil.Process:
        """Return the broker's process."""
        children = psutil.Process(self.popen.pid).children()
        return next(each for each in children if self.kind in each.name())

    def check_rows(self) -> None:
        """Check that every reading that was sent is in the file, once, in its order."""
        sent = self.student.end()
        wait_for(lambda: len(self.rows()) >= sent, f"{sent} rows", WITHIN_S)
        assert self.rows() == list(range(sent))


@contextlib.contextmanager
def running_up(data: Path, kind: str, timeout_s: float = 7.0) -> Iterator[Up]:
    """Run it with a student; stop both at the end. A broker that has not answered for ``timeout_s`` is mute."""
    if brokers.find(kind) is None:
        pytest.skip(f"{kind} is not installed on this machine")
    up = Up(data, kind, timeout_s)
    try:
        yield up
    finally:
        up.student.end()
        up.popen.send_signal(signal.SIGTERM)
        up.popen.wait(WITHIN_S)
        print(up.log())


def test_a_nats_server_whose_disk_was_full_is_restarted_when_there_is_room(tmp_path: Path) -> None:
    """No reading is lost: what came meanwhile waits in the gateway."""
    data = tmp_path / "D"
    with small_disk(data / ".broker", DISK_MB) as disk, running_up(data, brokers.NATS) as up:
        disk.fill()
        up.wait_for_log("it is restarted when its disk has room")
        pid = up.broker().pid
        while_full = up.student.sent
        wait_for(lambda: up.student.sent > while_full + 4, "more readings")
        assert up.broker().pid == pid
        assert up.log().count("when its disk has room") == up.log().count("is full or faulty: ") == 1
        disk.free()
        up.wait_for_log("neuroone: the broker nats works again")
        assert up.broker().pid != pid
        up.check_rows()


@pytest.mark.parametrize("kind", brokers.KINDS)
def test_a_disk_that_is_full_at_the_start_is_named(tmp_path: Path, kind: str) -> None:
    """In one line, without a traceback."""
    if brokers.find(kind) is None:
        pytest.skip(f"{kind} is not installed on this machine")
    folder = tmp_path / "D" / ".broker"
    words = ["up", "--data", str(tmp_path / "D"), "--broker-program", kind]
    words += ["--ws-port", str(free_port()), "--mqtt-port", str(free_port())]
    with small_disk(folder, DISK_MB) as disk:
        disk.fill()
        done = subprocess.run(
            [sys.executable, "-m", "neuroone", *words], capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"the broker {kind} cannot be started: {folder} cannot be written (No space left on device)" in done.stderr


def test_a_mosquitto_that_cannot_save_is_reported_and_left_alone(tmp_path: Path) -> None:
    """Its memory is all that has what waits for the recorder: it goes on, and saves again once there is room."""
    data = tmp_path / "D"
    with small_disk(data / ".broker", DISK_MB) as disk, running_up(data, brokers.MOSQUITTO) as up:
        pid = up.broker().pid
        disk.fill()
        up.wait_for_log("the disk of the broker mosquitto is full or faulty: ")
        disk.free()
        up.wait_for_log("the disk of the broker mosquitto works again")
        assert up.broker().pid == pid
        assert up.log().count("full or faulty") == 1
        up.check_rows()


def test_nats_uses_room_that_was_made_after_its_start(tmp_path: Path) -> None:
    """Its own limit is 75 % of what was free then. At that it refuses all, also the recorder, which would make room."""
    with small_disk(tmp_path / "disk", DISK_MB) as disk:
        broker = Broker(brokers.NATS, disk.folder)
        disk.fill(left_bytes=BACKLOG * BYTES_EACH // 2)
        broker.start()
        try:
            disk.free()
            leave_backlog(broker)
            delivered: list[Delivery] = []
            with client_on(broker.url, "csv_recorder", **READINGS, on_delivery=delivered.append):
                wait_for(lambda: delivered, "delivery of the backlog", WITHIN_S)
        finally:
            broker.stop()


def test_mosquitto_starts_from_a_state_that_a_full_disk_cut_off(tmp_path: Path) -> None:
    """Mosquitto 2.0 leaves such a state, and does not start from it. The backlog in it is kept."""
    state = tmp_path / "D" / ".broker" / brokers.MOSQUITTO_STATE
    state.parent.mkdir(parents=True)
    if brokers.find(brokers.MOSQUITTO) is None:
        pytest.skip("mosquitto is not installed on this machine")
    broker = Broker(brokers.MOSQUITTO, state.parent)
    broker.start()
    try:
        leave_backlog(broker)
    finally:
        broker.stop()
    os.truncate(state, state.stat().st_size - 1)
    with running_up(tmp_path / "D", brokers.MOSQUITTO) as up:
        assert f"{state} was incomplete" in up.log()
        delivered: list[Delivery] = []
        with client_on(up.mqtt_url, "csv_recorder", **READINGS, on_delivery=delivered.append):
            wait_for(lambda: delivered, "delivery of the backlog", WITHIN_S)
        up.check_rows()


def leave_backlog(broker: Broker) -> None:
    """Leave a durable session behind, under which readings wait."""
    with client_on(broker.url, "csv_recorder", **READINGS):
        pass
    with client_on(broker.url, "ws_gateway") as client:
        for seq in range(BACKLOG):
            client.publish(topics.reading("local", "ABC123", "Rui"), reading(name="Rui", seq=seq))
        wait_for(lambda: not client.waiting, "acknowledgement of the backlog", WITHIN_S)


@pytest.mark.parametrize("kind", brokers.KINDS)
def test_a_broker_that_hangs_is_restarted(tmp_path: Path, kind: str) -> None:
    with running_up(tmp_path / "D", kind, timeout_s=0.5) as up:
        hung = up.broker()
        hung.suspend()
        # That it does not answer, or, in a busy moment, that it accepts no messages.
        up.wait_for_log(f"the broker {kind} runs, but ")
        up.wait_for_log(f"neuroone: the broker {kind} works again")
        assert not hung.is_running()
        up.check_rows()
