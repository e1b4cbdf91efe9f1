"""A running csv-recorder and those who ask for its metrics: it is watched, and nobody stops it by that."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.recorded_class import RecordedClass, waiting_class
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
def watched_class(broker: Broker, folder: Path, port: int) -> Iterator[RecordedClass]:
    """Run a recorder with metrics; it must end in good order."""
    with waiting_class(broker, folder) as lesson:
        lesson.start(words=["--metrics-port", str(port)])
        yield lesson
        assert lesson.stop() == 0


def test_a_recorder_under_load_is_watched(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    students = [f"Aluno{number}" for number in range(20)]
    with watched_class(broker, tmp_path, port) as lesson:
        assert get(port, "/healthz") == (200, "ok\n")
        rows = []
        for turn in range(10):
            for student in students:
                lesson.send(student, *range(10 * turn, 10 * turn + 10))
            rows.append(scrape(port)[RECORDER + "rows_total"])
        assert rows == sorted(rows)
        wait_for(lambda: scrape(port)[RECORDER + "rows_total"] == 2000, "2000 rows")
        for student in students:
            lesson.wait_for_rows(student, range(100))
        wait_for(lambda: scrape(port)[RECORDER + "unwritten_rows"] == 0, "an empty inbox")
        samples = scrape(port)
    assert samples["neuroone_broker_connected"] == 1
    assert samples[RECORDER + "sessions_open"] == samples[RECORDER + "sessions_opened_total"] == 20
    assert samples[RECORDER + "disk_works"] == 1
    assert samples[RECORDER + "free_bytes"] > 0
    assert RECORDER + "duplicates_total" in samples  # a broker may deliver again what it has no ack of yet
    assert not any(value for name, value in samples.items() if "disk_faults" in name)


def test_silent_sockets_keep_nobody_from_the_metrics_and_no_row_from_the_disk(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    with watched_class(broker, tmp_path, port) as lesson, contextlib.ExitStack() as silent:
        for number in range(SILENT):
            connection = silent.enter_context(socket.create_connection((LOOPBACK, port)))
            if number % 2:
                connection.send(b"GET /metrics HTTP/1.1\r\n")
            lesson.send("Ana", *range(10 * number, 10 * number + 10))
        assert scrape(port)[RECORDER + "disk_works"] == 1
        lesson.wait_for_rows("Ana", range(10 * SILENT))


def test_a_fault_of_one_file_has_its_kind_and_no_name(broker: Broker, tmp_path: Path) -> None:
    """A well-behaved student beside it is recorded."""
    port = free_port()
    in_place = tmp_path / "recordings" / "Joao_Silva.csv"
    in_place.mkdir(parents=True)
    with watched_class(broker, tmp_path, port) as lesson:
        lesson.send("Joao_Silva", *range(3))
        kind = RECORDER + 'disk_faults_total{kind="EISDIR"}'
        wait_for(lambda: scrape(port).get(kind, 0) >= 1, "the fault")
        wait_for(lambda: scrape(port)[RECORDER + "unwritten_rows"] == 3, "rows that wait")
        samples = scrape(port)
        assert samples[RECORDER + "faulty_files"] == samples[RECORDER + "disk_works"] == 1
        assert samples[RECORDER + "oldest_unsettled_row_age_seconds"] > 0
        assert "Joao" not in get(port, "/metrics")[1]
        lesson.send("Ana", *range(10))
        lesson.wait_for_rows("Ana", range(10))
        in_place.rmdir()
        wait_for(lambda: scrape(port)[RECORDER + "faulty_files"] == 0, "the end of the fault")
        lesson.wait_for_rows("Joao_Silva", range(3))


def test_a_disk_that_takes_nothing_is_told_while_it_lasts(broker: Broker, tmp_path: Path) -> None:
    """No file may grow any more (EFBIG, also for the inbox), and then it may again."""
    import resource

    port = free_port()
    with watched_class(broker, tmp_path, port) as lesson:
        pid = lesson.process.pid
        lesson.send("Ana", *range(20))
        lesson.wait_for_rows("Ana", range(20))
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (SMALL_BYTES, before[1]))
        lesson.send("Ana", *range(20, 40))
        wait_for(lambda: scrape(port)[RECORDER + "disk_works"] == 0, "the fault")
        samples = scrape(port)
        assert samples[RECORDER + 'disk_faults_total{kind="inbox"}'] >= 1
        assert samples[RECORDER + "queue"] > 0
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        wait_for(lambda: scrape(port)[RECORDER + "disk_works"] == 1, "the end of the fault")
        lesson.wait_for_rows("Ana", range(40))


def test_a_port_in_use_is_an_error_at_the_start(tmp_path: Path) -> None:
    """In words and with exit code 2, before anything is made in the directory."""
    with socket.create_server((LOOPBACK, free_port())) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "csv_recorder", "--dir", str(tmp_path / "new"), "--metrics-port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert f"--metrics-port: cannot listen on port {port} of {LOOPBACK} (Address already in use)" in ended.stderr
    assert not (tmp_path / "new").exists()


def test_without_the_setting_there_is_no_port(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder listens nowhere unless it is told to."""
    monkeypatch.delenv("NEUROONE_METRICS_PORT", raising=False)
    with waiting_class(broker, tmp_path) as lesson:
        lesson.start()
        connections = psutil.Process(lesson.process.pid).net_connections(kind="inet")
        assert lesson.stop() == 0
    assert connections
    assert not any(each.status == psutil.CONN_LISTEN for each in connections)
