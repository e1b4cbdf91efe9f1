"""A running csv-recorder and those who ask for its metrics: it is watched, and nobody stops it by that."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from neuroone.contract import topics
from neuroone.contract.files import STUDENT_HEADER, student_row
from neuroone.contract.messages import Reading
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.integration.test_csv_recorder import publisher, wait_online
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.messages import reading
from tests.support.scrapes import get, scrape
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform != "linux", reason="the tests set limits of a process (Linux)"),
]
SILENT = 20
RECORDER = "neuroone_recorder_"
SMALL_BYTES = 1024
"""A size that every file of a recorder has passed."""


@pytest.fixture
def broker(start_broker) -> Broker:
    """The port does not depend on the kind of broker: one is enough."""
    started: Broker = start_broker(brokers.NATS)
    return started


@contextlib.contextmanager
def recorder(broker: Broker, directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A running csv-recorder with metrics; it must end in good order."""
    command = [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(directory)]
    with subprocess.Popen([*command, "--metrics-port", str(port)]) as popen:
        try:
            wait_online(broker)
            yield popen
            popen.send_signal(signal.SIGTERM)
            assert popen.wait(20) == 0
        finally:
            popen.kill()


class Lesson:
    """Students who send; what their files must be."""

    def __init__(self, bus: ThreadedClient, directory: Path) -> None:
        self.bus = bus
        self.directory = directory
        self.sent: dict[str, list[Reading]] = {}

    def send(self, name: str, count: int = 1) -> None:
        for _ in range(count):
            readings = self.sent.setdefault(name, [])
            readings.append(reading(name=name, session=f"session-{name}", seq=len(readings), delta=len(readings)))
            assert self.bus.publish(topics.reading("local", "ABC123", name), readings[-1])

    def is_recorded(self) -> bool:
        """Return True if every file has every row once, whole and in its order."""
        return all(
            (path := self.directory / f"{name}.csv").is_file()
            and path.read_bytes() == STUDENT_HEADER + b"".join(map(student_row, readings))
            for name, readings in self.sent.items()
        )


def test_a_recorder_under_load_is_watched(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    with publisher(broker) as bus, recorder(broker, tmp_path, port):
        assert get(port, "/healthz") == (200, "ok\n")
        lesson = Lesson(bus, tmp_path)
        rows = []
        for _ in range(10):
            for number in range(20):
                lesson.send(f"Aluno{number}", 10)
            rows.append(scrape(port)[RECORDER + "rows_total"])
        assert rows == sorted(rows)
        wait_for(lambda: scrape(port)[RECORDER + "rows_total"] == 2000, "2000 rows")
        wait_for(lesson.is_recorded, "every row")
        wait_for(lambda: scrape(port)[RECORDER + "unwritten_rows"] == 0, "an empty inbox")
        samples = scrape(port)
    assert samples["neuroone_broker_connected"] == 1
    assert samples[RECORDER + "sessions_open"] == samples[RECORDER + "sessions_opened_total"] == 20
    assert samples[RECORDER + "disk_works"] == 1
    assert samples[RECORDER + "free_bytes"] > 0
    assert samples[RECORDER + "duplicates_total"] >= 0  # a broker may deliver again what it has no ack of yet
    assert not any(value for name, value in samples.items() if "disk_faults" in name)


def test_silent_sockets_keep_nobody_from_the_metrics_and_no_row_from_the_disk(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    with publisher(broker) as bus, recorder(broker, tmp_path, port), contextlib.ExitStack() as silent:
        lesson = Lesson(bus, tmp_path)
        for number in range(SILENT):
            connection = silent.enter_context(socket.create_connection((LOOPBACK, port)))
            if number % 2:
                connection.send(b"GET /metrics HTTP/1.1\r\n")
            lesson.send("Ana", 10)
        assert scrape(port)[RECORDER + "disk_works"] == 1
        wait_for(lesson.is_recorded, "every row")


def test_a_fault_of_one_file_has_its_kind_and_no_name(broker: Broker, tmp_path: Path) -> None:
    """A well-behaved student beside it is recorded."""
    port = free_port()
    (tmp_path / "Joao_Silva.csv").mkdir()
    with publisher(broker) as bus, recorder(broker, tmp_path, port):
        lesson = Lesson(bus, tmp_path)
        lesson.send("Joao_Silva", 3)
        kind = RECORDER + 'disk_faults_total{kind="EISDIR"}'
        wait_for(lambda: scrape(port).get(kind, 0) >= 1, "the fault")
        wait_for(lambda: scrape(port)[RECORDER + "unwritten_rows"] == 3, "rows that wait")
        samples = scrape(port)
        assert samples[RECORDER + "faulty_files"] == samples[RECORDER + "disk_works"] == 1
        assert samples[RECORDER + "oldest_unsettled_row_age_seconds"] > 0
        assert "Joao" not in get(port, "/metrics")[1]
        lesson.send("Ana", 10)
        ana = Lesson(bus, tmp_path)
        ana.sent["Ana"] = lesson.sent["Ana"]
        wait_for(ana.is_recorded, "Ana's rows")
        (tmp_path / "Joao_Silva.csv").rmdir()
        wait_for(lambda: scrape(port)[RECORDER + "faulty_files"] == 0, "the end of the fault")
        wait_for(lesson.is_recorded, "every row")


def test_a_disk_that_takes_nothing_is_told_while_it_lasts(broker: Broker, tmp_path: Path) -> None:
    """No file may grow any more (EFBIG, also for the inbox), and then it may again."""
    import resource

    port = free_port()
    with publisher(broker) as bus, recorder(broker, tmp_path, port) as popen:
        lesson = Lesson(bus, tmp_path)
        lesson.send("Ana", 20)
        wait_for(lesson.is_recorded, "the first rows")
        before = resource.prlimit(popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(popen.pid, resource.RLIMIT_FSIZE, (SMALL_BYTES, before[1]))
        lesson.send("Ana", 20)
        wait_for(lambda: scrape(port)[RECORDER + "disk_works"] == 0, "the fault")
        samples = scrape(port)
        assert samples[RECORDER + 'disk_faults_total{kind="inbox"}'] >= 1
        assert samples[RECORDER + "queue"] > 0
        resource.prlimit(popen.pid, resource.RLIMIT_FSIZE, before)
        wait_for(lambda: scrape(port)[RECORDER + "disk_works"] == 1, "the end of the fault")
        wait_for(lesson.is_recorded, "every row")


def test_a_port_in_use_is_an_error_at_the_start(tmp_path: Path) -> None:
    """In words and with exit code 2, before anything is made in the directory."""
    with socket.create_server((LOOPBACK, free_port())) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "csv_recorder", "--dir", str(tmp_path / "new"), "--metrics-port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert f"--metrics-port: cannot listen on port {port} of {LOOPBACK} (Address already in use)" in ended.stderr
    assert not (tmp_path / "new").exists()


def test_without_the_setting_there_is_no_port(broker: Broker, tmp_path: Path) -> None:
    """The recorder listens nowhere unless it is told to."""
    command = [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if name != "NEUROONE_METRICS_PORT"}
    with subprocess.Popen(command, env=environ) as popen:
        wait_online(broker)
        connections = psutil.Process(popen.pid).net_connections(kind="inet")
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    assert connections
    assert not any(each.status == psutil.CONN_LISTEN for each in connections)
