"""csv-recorder as a program, on real brokers, killed while it works."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from neuroone.contract import topics
from neuroone.contract.files import STUDENT_HEADER, VALUES, student_row
from neuroone.contract.messages import (
    EventType,
    GroupEvent,
    RawBlock,
    Reading,
    Recorded,
    ServiceState,
    ServiceStatus,
)
from neuroone.contract.topics import id_from_text
from neuroone.data import read, sessions
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.session import RECEIVE_MAXIMUM
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.brokers import Broker
from tests.support.bus_listener import Listener, identity, listening
from tests.support.messages import reading
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
STUDENTS = 20
SHOWN_S = 2.0


@contextlib.contextmanager
def recorder(broker: Broker, directory: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running csv-recorder, killed at the end if it still runs."""
    command = [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(directory), *words]
    with subprocess.Popen(command) as popen:
        try:
            yield popen
        finally:
            popen.kill()


@contextlib.contextmanager
def publisher(broker: Broker) -> Iterator[ThreadedClient]:
    """A bus that publishes as a bridge does."""
    bus = ThreadedClient(
        BrokerAddresses.parse(broker.url), identity("serial_bridge"), replay=ReplayBuffer(time.monotonic)
    )
    bus.start()
    try:
        yield bus
    finally:
        assert bus.close(30)


def a_reading(student: int, seq: int) -> Reading:
    """A reading whose row tells which it is."""
    return reading(name=f"Aluno {student}", session=f"session-{student}", seq=seq, delta=seq)


def publish(bus: ThreadedClient, student: int, seq: int) -> None:
    """Publish one reading."""
    assert bus.publish(topics.reading("local", "ABC123", f"Aluno-{student}"), a_reading(student, seq))


def expected(student: int, readings: int) -> bytes:
    """What the student's file must be, to the byte."""
    return STUDENT_HEADER + b"".join(student_row(a_reading(student, seq)) for seq in range(readings))


def files_are_whole(directory: Path, readings: int) -> bool:
    """Whether every student's file has every row once, whole and in its order."""

    def is_whole(student: int) -> bool:
        path = directory / f"Aluno {student}.csv"
        return path.exists() and path.read_bytes() == expected(student, readings)

    return all(map(is_whole, range(STUDENTS)))


def wait_online(broker: Broker) -> None:
    """Wait until a recorder is there, and so its durable session."""
    with listening(broker.url, "watcher") as listener:
        listener.wait_for(
            ServiceState,
            lambda topic, state: topic["service"] == "csv_recorder" and state.status is ServiceStatus.ONLINE,
            20,
        )


def test_a_row_is_soon_in_the_file_and_has_a_receipt(broker: Broker, tmp_path: Path) -> None:
    """The receipt comes when the reading is on the disk."""
    with recorder(broker, tmp_path) as popen, publisher(broker) as bus:
        wait_online(broker)
        with listening(broker.url) as listener:
            for seq in range(3):
                publish(bus, 0, seq)
            path = tmp_path / "Aluno 0.csv"
            wait_for(lambda: path.exists() and path.read_bytes() == expected(0, 3), "three rows", SHOWN_S + 5)
            _, mark = listener.wait_for(Recorded, lambda topic, mark: mark.streams[0].rows == 3)
            assert (mark.streams[0].source, mark.streams[0].seq, mark.streams[0].gaps) == ("Aluno-0", 2, 0)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    with listening(broker.url, "later") as later:
        _, state = later.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder")
        assert state.status is ServiceStatus.OFFLINE


def test_what_was_sent_is_read_back_value_by_value(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    """Readings, raw samples and markers of two students, with `neuroone.data`, while the recorder still runs."""
    broker, rng = start_broker("nats"), random.Random(20)
    began = datetime(2026, 11, 26, 23, 59, 50, tzinfo=UTC)
    folders = tmp_path / "recordings/sessions/2026-11-26"
    sent: dict[str, list[Reading]] = {"Ana": [], "João": []}
    raw: dict[str, list[RawBlock]] = {"Ana": [], "João": []}

    def send(name: str, seq: int) -> None:
        source = id_from_text(name)
        moment = began + timedelta(seconds=seq, microseconds=rng.randrange(10**6))
        about: dict[str, Any] = {"session": f"of-{source}", "seq": seq, "time": moment}
        values = dict(zip(VALUES, (*rng.choices(range(101), k=2), *rng.choices(range(2**24), k=8)), strict=True))
        sent[name].append(reading(**about, name=name, poor_signal=rng.choice([None, 0, 26, 51, 200]), **values))
        samples = tuple(rng.choices(range(-2048, 2048), k=64))
        raw[name].append(RawBlock(**about, first_sample=64 * seq, rate_hz=512, samples=samples))
        assert bus.publish(topics.reading("local", "ABC123", source), sent[name][-1])
        assert bus.publish(topics.raw("local", "ABC123", source), raw[name][-1])

    with recorder(broker, tmp_path / "recordings", "--raw"), publisher(broker) as bus:
        wait_online(broker)
        for name in sent:
            send(name, 0)
        wait_for(lambda: len([*folders.glob("*/raw.csv")]) == len(sent), "sessions", SHOWN_S + 5)
        for seq, name in itertools.product(range(1, 40), sent):
            send(name, seq)
        marker = GroupEvent(id="m1", time=began, type=EventType.MARKER, text='olhos "fechados"; já', source=None)
        assert bus.publish(topics.event("local", "ABC123"), marker)
        lines = [40 + 1] * 2 * len(sent)
        wait_for(lambda: [file.read_bytes().count(b"\n") for file in folders.glob("*/r*.csv")] == lines, "rows")
        wait_for(lambda: len([*folders.glob("*/events.csv")]) == len(sent), "markers")
        found = sessions(folders).set_index("name")
        for name in sent:
            table = read(found.loc[name].path)
            assert [time.to_pydatetime() for time in table.index] == [each.time for each in sent[name]]
            for column in ("seq", "poor_signal", *VALUES):
                column_sent = [getattr(each, column) for each in sent[name]]
                assert [None if pd.isna(each) else each for each in table[column]] == column_sent
            assert list(table["valid"].isna()) == [each.poor_signal is None for each in sent[name]]
            counts = read(found.loc[name].path, "raw")
            assert list(counts["counts"]) == [each for block in raw[name] for each in block.samples]
            assert list(counts["sample"]) == list(range(64 * 40))
            assert list(read(found.loc[name].path, "events")["text"])[-1:] == [marker.text]


def test_killed_again_and_again_it_loses_doubles_and_tears_nothing(broker: Broker, tmp_path: Path) -> None:
    """After five times SIGKILL under load, every row is there once and in its order."""
    rng = random.Random(7)
    readings = 0
    with publisher(broker) as bus:
        with recorder(broker, tmp_path):
            wait_online(broker)
        for _ in range(5):
            with recorder(broker, tmp_path) as popen:
                wait_online(broker)
                kill_at = readings + rng.randrange(5, 40)
                while readings < kill_at:
                    for student in range(STUDENTS):
                        publish(bus, student, readings)
                    readings += 1
                wait_for(lambda: bus.waiting < STUDENTS, "some progress")
                popen.kill()
        with recorder(broker, tmp_path) as popen:
            wait_for(lambda: files_are_whole(tmp_path, readings), "every row", 40)
            popen.send_signal(signal.SIGTERM)
            assert popen.wait(20) == 0
    assert files_are_whole(tmp_path, readings)


def test_readings_sent_while_it_was_stopped_are_recorded(broker: Broker, tmp_path: Path) -> None:
    """The broker keeps it for the recorder's session."""
    with recorder(broker, tmp_path) as popen:
        wait_online(broker)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    with publisher(broker) as bus:
        for seq in range(100):
            for student in range(STUDENTS):
                publish(bus, student, seq)
    with recorder(broker, tmp_path):
        wait_for(lambda: files_are_whole(tmp_path, 100), "all that came meanwhile", 40)


def test_a_long_backlog_is_recorded_in_one_run(broker: Broker, tmp_path: Path) -> None:
    """Mosquitto may send everything after the first ack; the recorder reads only what it can hold."""
    with recorder(broker, tmp_path) as popen:
        wait_online(broker)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    readings = 2 * RECEIVE_MAXIMUM // STUDENTS
    with publisher(broker) as bus:
        for seq in range(readings):
            for student in range(STUDENTS):
                publish(bus, student, seq)
    with recorder(broker, tmp_path):
        wait_for(lambda: files_are_whole(tmp_path, readings), "the whole backlog", 60)


def test_a_broker_that_is_killed_costs_no_row(broker: Broker, tmp_path: Path) -> None:
    """Publishers and recorder come back to it by themselves."""
    with recorder(broker, tmp_path), publisher(broker) as bus:
        wait_online(broker)
        for seq in range(60):
            for student in range(STUDENTS):
                publish(bus, student, seq)
            if seq in (20, 40):
                broker.kill()
                broker.start()
        wait_for(lambda: files_are_whole(tmp_path, 60), "every row once", 40)


def test_an_unwritable_directory_is_refused(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(tmp_path / "file" / "x")],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=dict(os.environ),
    )
    assert done.returncode == 2
    assert "is not writable" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may make a small disk (tmpfs) to fill")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def recording(broker: Broker, directory: Path) -> Iterator[tuple[ThreadedClient, Listener]]:
    """A recorder that has written its first row, with a publisher and a listener beside it."""
    with recorder(broker, directory), publisher(broker) as bus, listening(broker.url) as listener:
        wait_online(broker)
        publish(bus, 0, 0)
        wait_for(lambda: (directory / "Aluno 0.csv").exists(), "the first row")
        yield bus, listener


def test_a_full_disk_is_reported_and_loses_nothing(broker: Broker, small_disk: Path) -> None:
    """Its state says so. No acknowledged reading is lost, and it continues when there is room."""
    directory = small_disk / "recordings"
    with recording(broker, directory) as (bus, listener):
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)) == 4096:
                pass
        for seq in range(100):
            for student in range(STUDENTS):
                if (student, seq) != (0, 0):
                    publish(bus, student, seq)

        def faults() -> list[str | None]:
            states = listener.of(ServiceState)
            return [state.fault for topic, state in states if topic["service"] == "csv_recorder"]

        wait_for(lambda: any(faults()), "the word that the disk is full", 30)
        assert not files_are_whole(directory, 100)
        ballast.unlink()
        wait_for(lambda: files_are_whole(directory, 100), "every row", 60)
        wait_for(lambda: faults()[-1] is None, "the word that it works again", 30)


def test_a_directory_that_goes_and_comes_back(broker: Broker, tmp_path: Path) -> None:
    """Readings of that time are recorded when it is back."""
    directory = tmp_path / "recordings"
    with recording(broker, directory) as (bus, listener):
        directory.rename(tmp_path / "away")
        for seq in range(1, 5):
            publish(bus, 0, seq)
        listener.wait_for(ServiceState, lambda topic, state: bool(state.fault), 20)
        assert not directory.exists()
        (tmp_path / "away").rename(directory)
        wait_for(lambda: (directory / "Aluno 0.csv").read_bytes() == expected(0, 5), "every row", 20)
