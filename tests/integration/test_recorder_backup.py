"""csv-recorder as a program: verified and backed up while it records, killed, restored, rebuilt."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroone.contract.files import INBOX_FILE, seq_of
from tests.integration.test_csv_recorder import expected, publish, publisher, recorder, wait_online
from tests.support.brokers import Broker
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
STUDENTS = 5


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "csv_recorder", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def busy(broker: Broker) -> Iterator[list[int]]:
    """Students who send all the time; the list has how many readings each has sent."""
    sent, stop = [0], threading.Event()
    with publisher(broker) as bus:

        def send() -> None:
            while not stop.wait(0.02):
                for student in range(STUDENTS):
                    publish(bus, student, sent[0])
                sent[0] += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            stop.set()
            thread.join()


def rows_of(directory: Path, student: int) -> bytes:
    path = directory / f"Aluno {student}.csv"
    return path.read_bytes() if path.exists() else b""


def seqs_of(directory: Path) -> list[list[int]]:
    files = sorted(directory.glob("sessions/*/*/readings.csv"))
    whole = [path.read_bytes().rpartition(b"\n")[0] for path in files]  # a row may be under way
    return [sorted(seq_of(row) for row in content.splitlines()[1:]) for content in whole]


def test_verified_and_backed_up_while_it_records(broker: Broker, tmp_path: Path) -> None:
    """No false alarm meanwhile, nor after a kill; the restored directory goes on from the moment of the backup."""
    live, restored, archive = tmp_path / "live", tmp_path / "restored", tmp_path / "a.tar.gz"
    with recorder(broker, live) as popen:
        wait_online(broker)
        with busy(broker) as sent:
            wait_for(lambda: len(rows_of(live, 0)) > 4000, "rows")
            for _ in range(3):
                verified = run("verify", str(live))
                assert verified.returncode == 0, verified.stdout
            before = sent[0] - 50
            made = run("backup", str(archive), "--dir", str(live))
            assert made.returncode == 0, made.stderr
        popen.kill()
    verified = run("verify", str(live))
    assert verified.returncode == 0, verified.stdout
    assert run("restore", str(archive), "--dir", str(restored)).returncode == 0
    verified = run("verify", str(restored))
    assert verified.returncode == 0, verified.stdout
    with recorder(broker, restored) as popen, publisher(broker) as bus:
        wait_for(lambda: min(map(len, seqs_of(restored)), default=0) > before, "what the backup has")
        for student in range(STUDENTS):
            for seq in range(sent[0] + 1):  # as senders do who were not told that it is safe
                publish(bus, student, seq)
        count = sent[0] + 1
        wait_for(
            lambda: all(rows_of(restored, each) == expected(each, count) for each in range(STUDENTS)), "all rows", 60
        )
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    assert seqs_of(restored) == [[*range(count)]] * STUDENTS
    verified = run("verify", str(restored))
    assert verified.returncode == 0, verified.stdout


def test_a_recorder_with_a_damaged_inbox_names_the_way_out_which_works(broker: Broker, tmp_path: Path) -> None:
    """Rebuilt, it records on; nothing is doubled when everything is sent again."""
    live = tmp_path / "live"
    with recorder(broker, live), publisher(broker) as bus:
        wait_online(broker)
        for seq in range(20):
            for student in range(STUDENTS):
                publish(bus, student, seq)
        wait_for(lambda: all(rows_of(live, each) == expected(each, 20) for each in range(STUDENTS)), "rows")
    for path in live.glob(f"{INBOX_FILE}-*"):
        path.unlink()
    (live / INBOX_FILE).write_bytes(b"no database at all, but long enough to be one" * 100)
    refused = run("run", "--broker", broker.url, "--dir", str(live))
    assert refused.returncode == 2
    assert f"is damaged: file is not a database. csv-recorder rebuild --dir {live} makes a new one" in refused.stderr
    assert run("rebuild", "--dir", str(live)).returncode == 0
    with recorder(broker, live) as popen, publisher(broker) as bus:
        wait_online(broker)
        assert run("rebuild", "--dir", str(live), "--force").returncode == 2
        for student in range(STUDENTS):
            for seq in range(25):
                publish(bus, student, seq)
        wait_for(lambda: all(rows_of(live, each) == expected(each, 25) for each in range(STUDENTS)), "rows", 30)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(20) == 0
    verified = run("verify", str(live))
    assert verified.returncode == 0, verified.stdout
