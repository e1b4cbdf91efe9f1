"""One unlucky file, message, clock or disk: nobody else notices."""

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live.dead_letters import LINE_PERIOD_S
from csv_recorder.live.descriptions import AFTER_END_S, IDLE_S
from csv_recorder.live.faults import FREE_LOW_BYTES, Faults
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import RETRY_MAX_S
from csv_recorder.live.recorder import Recorder
from csv_recorder.live.reorder import ORDER_S
from csv_recorder.live.sessions import SEQ_JUMP_MAX
from neuroone.contract import topics
from neuroone.contract.files import APPENDED_BY_HAND, DEAD_LETTERS_FILE, STUDENT_HEADER, student_row
from neuroone.contract.messages import EventType, StreamStatus
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import NOON, reading
from tests.unit.csv_recorder.live.test_recorder import Clock, crash, delivery, ended
from tests.unit.csv_recorder.live.test_sessions import ended_session, marker, only, record, sidecar, table


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Recorder]]:
    """Start recorders in the directory; what still runs is closed."""
    started: list[Recorder] = []

    def begin(**options: Any) -> Recorder:
        recorder = Recorder(tmp_path, steady=clock, **options)
        recorder.open()
        started.append(recorder)
        return recorder

    yield begin
    for recorder in started:
        recorder.close()


def ana(seq: int, **changes: Any) -> Delivery:
    """A reading of a well-behaved student, whose row tells which it is."""
    return delivery(seq, "Ana", name="Ana", session="session-ana", delta=seq, **changes)


def deltas(path: Path) -> list[int]:
    """The numbers of the rows in a student's file."""
    header, *rows = path.read_bytes().splitlines(keepends=True)
    assert header == STUDENT_HEADER
    assert all(row.endswith(b"\n") for row in rows)
    return [int(row.split(b",")[2]) for row in rows]


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, call: str, error: int, times: int = 1_000_000) -> list[int]:
    """Let a system call fail for files with a text in their path; returns how often it did."""
    real = getattr(os, call)
    failed = [0]

    def path_of(file: Any) -> str:
        return str(Path(f"/proc/self/fd/{file}").readlink()) if isinstance(file, int) else str(file)

    def faulty(file: Any, *rest: Any, **keys: Any) -> Any:
        if name in path_of(file) and failed[0] < times:
            failed[0] += 1
            raise OSError(error, os.strerror(error))
        return real(file, *rest, **keys)

    monkeypatch.setattr(os, call, faulty)
    return failed


def test_long_names_and_long_codes_of_two_students_are_recorded(start: Any, tmp_path: Path) -> None:
    name, codes = "ã" * 200, ("C" * 64, "C" * 63 + "D")
    recorder = start()
    for number, code in enumerate(codes):
        for source in ("a", "b"):
            id = f"{source}{number}"
            record(recorder, delivery(0, id, name=name, code=code, session=id), ana(2 * number + (source == "b")))
    assert recorder.faults() == []
    files = [path for path in tmp_path.glob("*.csv") if path.name != "names.csv"]
    assert len(files) == 5
    assert all(len(path.name.encode()) <= 230 for path in files)
    assert deltas(tmp_path / "Ana.csv") == [0, 1, 2, 3]


def test_a_jump_of_seq_is_no_reading_and_counters_stay_bounded(start: Any, tmp_path: Path) -> None:
    recorder = start()
    for number in range(2100):
        recorder.accept([delivery(2**53 - 1, "x", session=f"x{number}"), ana(number)])
    recorder.write()
    assert recorder.counters["dead_letters"] == 2100
    assert max(recorder.counters.values()) < 2**53
    assert deltas(tmp_path / "Ana.csv") == list(range(2100))
    record(recorder, ana(2099 + SEQ_JUMP_MAX + 2), ana(2099 + SEQ_JUMP_MAX + 1))
    assert (recorder.counters["dead_letters"], recorder.counters["gaps"]) == (2101, SEQ_JUMP_MAX)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_directory_in_the_place_of_a_file_holds_up_that_file_alone(
    start: Any, tmp_path: Path, clock: Clock, restarts: bool
) -> None:
    """It is named by number, never by name, and written when it can be, also by a later recorder."""
    (tmp_path / "Joao_Silva.csv").mkdir()
    recorder = start()
    for seq in range(5):
        record(recorder, delivery(seq, delta=seq), ana(seq))
        clock.now_s += 1
    assert deltas(tmp_path / "Ana.csv") == [0, 1, 2, 3, 4]
    assert len([*tmp_path.glob("sessions/*/*/readings.csv")]) == 2
    (fault,) = recorder.faults()
    assert fault.startswith("file ")
    assert "Is a directory" in fault
    assert "Joao" not in fault
    if restarts:
        crash(recorder)
        recorder = start()
        record(recorder, delivery(5, delta=5))
    (tmp_path / "Joao_Silva.csv").rmdir()
    clock.now_s += RETRY_MAX_S
    record(recorder, delivery(6 if restarts else 5, delta=6 if restarts else 5))
    clock.now_s += RETRY_MAX_S
    record(recorder)
    assert recorder.faults() == []
    assert deltas(tmp_path / "Joao_Silva.csv") == list(range(7 if restarts else 6))


@pytest.mark.parametrize(("call", "error"), [("write", errno.EIO), ("write", errno.ENOSPC), ("open", errno.EROFS)])
@pytest.mark.parametrize("path", ["/Joao_Silva.csv", "_Joao_Silva/readings.csv"])
def test_a_fault_of_one_file_is_that_files(
    start: Any, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str, call: str, error: int
) -> None:
    recorder = start()
    record(recorder, delivery(0, delta=0), ana(0))
    with monkeypatch.context() as patch:
        failed = refuse(patch, path, call, error)
        for seq in range(1, 4):
            record(recorder, delivery(seq, delta=seq), ana(seq))
            clock.now_s += ORDER_S
        assert failed[0] or call == "open"
        assert deltas(tmp_path / "Ana.csv") == [0, 1, 2, 3]
        assert [receipt.seq for receipt in recorder.receipts()] == [3, 3]
    clock.now_s += RETRY_MAX_S
    record(recorder, delivery(4, delta=4))
    clock.now_s += RETRY_MAX_S
    record(recorder)
    assert recorder.faults() == []
    assert deltas(tmp_path / "Joao_Silva.csv") == [0, 1, 2, 3, 4]
    assert [row["seq"] for row in table(only(tmp_path, "sessions/*/*_Joao_Silva") / "readings.csv")] == [*"01234"]


@pytest.mark.parametrize("restarts", [False, True])
def test_rows_whose_sync_failed_are_written_again(
    start: Any, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """The system may have dropped them while it says at the next try that all is well."""
    recorder = start()
    record(recorder, delivery(0, delta=0), ana(0))
    with monkeypatch.context() as patch:
        refuse(patch, "Joao_Silva", "fsync", errno.EIO, times=2)
        recorder.accept([delivery(1, delta=1), ana(1)])
        recorder.settle()
    for file in [tmp_path / "Joao_Silva.csv", only(tmp_path, "sessions/*/*_Joao_Silva") / "readings.csv"]:
        size = file.stat().st_size
        with file.open("r+b") as stream:  # what the system dropped
            stream.seek(size - 10)
            stream.write(bytes(10))
    if restarts:
        crash(recorder)
        recorder = start()
    clock.now_s += RETRY_MAX_S
    record(recorder, delivery(2, delta=2))
    assert recorder.faults() == []
    assert deltas(tmp_path / "Joao_Silva.csv") == [0, 1, 2]
    assert deltas(tmp_path / "Ana.csv") == [0, 1]
    rows = table(only(tmp_path, "sessions/*/*_Joao_Silva") / "readings.csv")
    assert [row["seq"] for row in rows] == ["0", "1", "2"]


def test_a_commit_that_fails_with_all_that_follows_loses_nothing(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flaky disk fails the commit, the undoing and the reading back; the same batch is given again and again."""
    recorder = start()
    record(recorder, ana(0))
    batch = [ana(1), ana(2)]

    def fail(*words: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    for broken in (("commit",), ("commit", "rollback"), ("open_sessions",), ("waiting",)):
        with monkeypatch.context() as patch:
            for name in broken:
                patch.setattr(Inbox, name, fail)
            with contextlib.suppress(sqlite3.OperationalError):  # where nothing is in doubt it is accepted
                recorder.accept(batch)
    recorder.accept(batch)
    recorder.accept([ana(3)])
    crash(recorder)
    again = start()
    record(again, *batch, ana(3))
    assert deltas(tmp_path / "Ana.csv") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "line", [b"a,b,c\n", b"\n", b"one;two\n", b"Jo\xe3o\n", bytes(30) + b"\n", b"\xff\xfe\x00", b'"' * 99 + b"\n"]
)
def test_whatever_stands_in_a_file_stops_nobody(start: Any, tmp_path: Path, clock: Clock, line: bytes) -> None:
    """Also when the session is closed, and at the next start."""
    recorder = start()
    record(recorder, delivery(0, delta=0), ana(0))
    paths = [tmp_path / "Joao_Silva.csv", *only(tmp_path, "sessions/*/*_Joao_Silva").glob("*.csv")]
    for path in paths:
        path.write_bytes(path.read_bytes() + line)
    record(recorder, delivery(1, delta=1), ana(1))
    crash(recorder)
    for path in paths:
        path.write_bytes(path.read_bytes() + line)
    recorder = start()
    record(recorder, delivery(2, delta=2), ana(2), ended_session())
    clock.now_s += AFTER_END_S + 1
    record(recorder)
    assert recorder.counters["sessions_closed"] == 1
    assert sidecar(only(tmp_path, "sessions/*/*_Joao_Silva"))["counts"]["readings"] == 3
    assert deltas(tmp_path / "Ana.csv") == [0, 1, 2]
    for seq in range(3):
        wanted = student_row(reading(delta=seq))
        assert paths[0].read_bytes().splitlines(keepends=True).count(wanted) == 1


def test_a_settling_of_recordings_that_were_taken_away_is_forgotten(start: Any, tmp_path: Path, clock: Clock) -> None:
    """What is acknowledged in the new ones stays, also after a crash."""
    recorder = start()
    recorder.accept([ana(0)])
    settling = recorder.begin_settling()
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    recorder.accept([ana(1), ana(2), ana(3)])
    recorder.sync(settling)
    recorder.finish_settling(settling)
    crash(recorder)
    again = start()
    clock.now_s += ORDER_S + 1
    record(again, ana(4))
    assert deltas(tmp_path / "Ana.csv") == [1, 2, 3, 4]


def test_a_wall_clock_that_is_set_moves_nothing(start: Any, tmp_path: Path, clock: Clock) -> None:
    """Back by an hour while a reading is late; forward by more than a week, then a crash."""
    now = [NOON]
    recorder = start(now=lambda: now[0])
    record(recorder, ana(0), ana(2))
    now[0] -= timedelta(hours=1)
    clock.now_s += ORDER_S + 1
    record(recorder)
    assert deltas(tmp_path / "Ana.csv") == [0, 2]
    now[0] += timedelta(days=30)
    record(recorder, ana(3))
    crash(recorder)
    again = start(now=lambda: now[0])
    record(again, ana(0), ana(2), ana(3), ana(4))
    assert deltas(tmp_path / "Ana.csv") == [0, 2, 3, 4]


def test_a_file_that_was_moved_away_is_begun_anew_without_doubling(start: Any, tmp_path: Path) -> None:
    recorder = start()
    for seq in range(5):
        recorder.accept([ana(seq)])
        recorder.write()
    (tmp_path / "Ana.csv").rename(tmp_path / "archived.csv")
    for seq in range(5, 10):
        record(recorder, ana(seq))
    recorder.accept([ana(10)])
    recorder.write()
    crash(recorder)
    start()
    assert deltas(tmp_path / "archived.csv") == [0, 1, 2, 3, 4]
    assert deltas(tmp_path / "Ana.csv") == [5, 6, 7, 8, 9, 10]


def test_a_file_that_was_shortened_doubles_nothing(start: Any, tmp_path: Path) -> None:
    recorder = start()
    record(recorder, ana(0), ana(1), ana(2))
    crash(recorder)
    (tmp_path / "Ana.csv").write_bytes(b"".join((tmp_path / "Ana.csv").read_bytes().splitlines(keepends=True)[:2]))
    record(start(), ana(3))
    assert deltas(tmp_path / "Ana.csv") == [0, 3]


def test_a_file_that_is_gone_is_not_made_without_a_row(start: Any, tmp_path: Path) -> None:
    recorder = start()
    record(recorder, ana(0))
    recorder.close()
    (tmp_path / "Ana.csv").unlink()
    start().close()
    assert not (tmp_path / "Ana.csv").exists()


def test_what_a_person_appended_during_a_crash_is_kept(start: Any, tmp_path: Path) -> None:
    recorder = start()
    record(recorder, ana(0))
    recorder.accept([ana(1)])
    recorder.write()
    crash(recorder)
    with (tmp_path / "Ana.csv").open("ab") as file:
        file.write(b"a note\n")
    start()
    assert deltas(tmp_path / "Ana.csv") == [0, 1]
    assert (tmp_path / f"Ana.csv{APPENDED_BY_HAND}").read_bytes() == b"a note\n"


def test_a_session_that_comes_from_another_source_is_the_same_one(start: Any, tmp_path: Path) -> None:
    """Two phones of one name after a restart of the gateway: each may have the other's source."""
    recorder = start()
    record(recorder, *(delivery(seq, "Joao", session="one", delta=seq) for seq in range(5)))
    record(recorder, *(delivery(seq, "Joao-2", session="one", delta=seq) for seq in range(3, 8)))
    assert {(each.source, each.seq, each.gaps, each.rows) for each in recorder.receipts()} == {
        ("Joao", 7, 0, 8),
        ("Joao-2", 7, 0, 8),
    }
    assert deltas(tmp_path / "Joao_Silva.csv") == list(range(8))


def test_the_sidecar_of_a_session_that_goes_on_says_so(start: Any, tmp_path: Path, clock: Clock) -> None:
    recorder = start()
    record(recorder, delivery(0), ended_session())
    clock.now_s += AFTER_END_S + 1
    record(recorder)
    assert sidecar(only(tmp_path))["status"] == "closed"
    record(recorder, delivery(1))
    assert (sidecar(only(tmp_path))["status"], sidecar(only(tmp_path))["end"]) == ("open", None)
    crash(recorder)
    record(start())
    assert sidecar(only(tmp_path))["status"] == "open"


def test_a_session_whose_first_reading_is_not_the_first(start: Any, tmp_path: Path) -> None:
    recorder = start()
    record(recorder, delivery(7))
    assert sidecar(only(tmp_path))["counts"]["missing"] == 7
    assert recorder.faults() == []


def test_a_running_class_is_known_after_a_restart(start: Any, tmp_path: Path) -> None:
    recorder = start()
    record(recorder, marker("Ciências", EventType.SESSION_START, id="e1"))
    crash(recorder)
    recorder = start()
    record(recorder, delivery(0))
    assert sidecar(only(tmp_path))["class"] == "Ciências"
    record(recorder, marker("", EventType.SESSION_STOP, id="e2"))
    crash(recorder)
    recorder = start()
    record(recorder, delivery(0, "Ana", session="ana"))
    assert sidecar(only(tmp_path, "sessions/*/*_Ana"))["class"] is None


def test_a_sidecar_that_cannot_be_written_holds_up_nobody(start: Any, tmp_path: Path, clock: Clock) -> None:
    recorder = start()
    recorder.accept([delivery(0), ana(0)])
    recorder.write()
    (only(tmp_path, "sessions/*/*_Joao_Silva") / "session.json").mkdir()
    record(recorder, ended_session(), ended("Ana"))
    (fault,) = recorder.faults()
    assert fault.startswith("the sidecar of session ")
    clock.now_s += IDLE_S + 1
    record(recorder)
    assert sidecar(only(tmp_path, "sessions/*/*_Ana"))["status"] == "closed"
    (only(tmp_path, "sessions/*/*_Joao_Silva") / "session.json").rmdir()
    clock.now_s += RETRY_MAX_S
    record(recorder)
    assert sidecar(only(tmp_path, "sessions/*/*_Joao_Silva"))["status"] == "closed"
    assert recorder.faults() == []


def test_a_folder_that_somebody_moved_holds_up_no_closing(start: Any, tmp_path: Path, clock: Clock) -> None:
    recorder = start()
    recorder.accept([delivery(0), ana(0)])
    recorder.write()
    only(tmp_path, "sessions/*/*_Joao_Silva").rename(tmp_path / "away")
    record(recorder, ended_session(), ended("Ana"))
    clock.now_s += IDLE_S + 1
    record(recorder)
    record(recorder)
    assert recorder.counters["sessions_closed"] == 2
    assert recorder.faults() == []


def test_invalid_messages_are_kept_but_fill_neither_disk_nor_log(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    monkeypatch.setattr("csv_recorder.live.writer.DEAD_LETTERS_MAX_BYTES", 5000)
    recorder = start()
    bad = Delivery(str(topics.reading("local", "g", "s")), b'{"seq": "x"}', False, 1, 1)
    for number in range(100):
        record(recorder, bad, ana(number))
    letters = (tmp_path / DEAD_LETTERS_FILE).read_bytes().splitlines()
    assert all(json.loads(letter)["payload"] for letter in letters)
    assert sum(map(len, letters)) <= 5000
    assert recorder.counters["dead_letters"] == len(letters) + recorder.counters["dead_letters_dropped"] == 100
    line = "invalid messages (kept in .dead-letters.jsonl): "
    assert [each for each in caplog.messages if "invalid" in each] == [f"{line}1 x attention: is missing"]
    clock.now_s += LINE_PERIOD_S
    recorder.write()
    recorder.write()
    assert caplog.messages[-1] == f"{line}99 x attention: is missing"
    assert len(caplog.messages) == 2, "the sum comes without another invalid message, and once"
    record(recorder, bad, ana(100))
    recorder.close()
    assert caplog.messages[2:] == [f"{line}1 x attention: is missing"]
    assert deltas(tmp_path / "Ana.csv") == list(range(101))


def test_a_state_with_an_absurd_number_is_a_dead_letter(start: Any, tmp_path: Path) -> None:
    recorder = start()
    topic = str(topics.stream_state("local", "g", "s"))
    payload = b'{"counters": {"a\\ud800": 1' + b"0" * 400 + b"}}"
    record(recorder, Delivery(topic, payload, True, 1, 1), ana(0))
    assert recorder.counters["dead_letters"] == 1
    assert deltas(tmp_path / "Ana.csv") == [0]


def test_a_stream_that_is_offline_and_comes_again(start: Any, tmp_path: Path, clock: Clock) -> None:
    """Nothing is closed that goes on, and nothing stays open that has ended."""
    recorder = start()
    record(recorder, delivery(0), ended_session())
    clock.now_s += AFTER_END_S / 2
    record(recorder, delivery(1), ended_session(StreamStatus.ONLINE))
    clock.now_s += AFTER_END_S * 2
    record(recorder)
    assert recorder.counters["sessions_closed"] == 0
    assert [receipt.seq for receipt in recorder.receipts()] == [1]


def test_little_space_is_said_once_until_there_is_more(caplog: pytest.LogCaptureFixture) -> None:
    faults, said = Faults(), []
    assert faults.free_bytes == -1
    low = FREE_LOW_BYTES - 1
    for free_bytes in (low, low, FREE_LOW_BYTES, low):
        faults.note_space(free_bytes)
        said.append(len(caplog.records))
    assert (said, faults.free_bytes) == ([1, 1, 1, 2], low)
