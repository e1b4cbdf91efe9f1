"""A fault of ours, in one message, one file or one session, is that one's alone."""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live import descriptions, sidecar
from csv_recorder.live.intake import Batch, Intake
from csv_recorder.live.output import Disk, Output, write_whole
from csv_recorder.live.sidecar import PIECE_BYTES
from neuroone.contract.files import DEAD_LETTERS_FILE
from neuroone.mqtt.delivery import Delivery
from tests.unit.csv_recorder.live.test_faults import ana, clock, deltas, start
from tests.unit.csv_recorder.live.test_recorder import Clock, delivery
from tests.unit.csv_recorder.live.test_sessions import record

__all__ = ["clock", "start"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_message_at_which_the_intake_fails_is_kept_as_an_invalid_one(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after_commit: bool
) -> None:
    real_accept, real_store = Intake._accept_one, Intake._store
    failed: list[str] = []

    def accept(intake: Intake, delivery: Delivery, batch: Batch) -> None:
        if "Joao" in delivery.topic and not after_commit:
            raise ZeroDivisionError
        real_accept(intake, delivery, batch)

    def store(intake: Intake, batch: Batch) -> Batch:
        stored = real_store(intake, batch)
        if after_commit and not failed:
            failed.append("once")
            raise KeyError(5)
        return stored

    monkeypatch.setattr(Intake, "_accept_one", accept)
    monkeypatch.setattr(Intake, "_store", store)
    recorder = start()
    record(recorder, *map(ana, range(3)), delivery(0), *map(ana, range(3, 6)), delivery(1))
    record(recorder, ana(6))
    assert deltas(tmp_path / "Ana.csv") == [0, 1, 2, 3, 4, 5, 6]
    assert (tmp_path / "Joao_Silva.csv").exists() == after_commit
    letters = (tmp_path / DEAD_LETTERS_FILE).read_text().splitlines() if not after_commit else []
    assert [json.loads(each)["fault"] for each in letters] == ["cannot be recorded (ZeroDivisionError)"] * len(letters)
    assert recorder.counters["dead_letters"] == (0 if after_commit else 2)
    assert ("a fault of ours" in caplog.text) != after_commit
    assert sum(bool(each.exc_info) for each in caplog.records) == (not after_commit), "one traceback a minute"


@pytest.mark.parametrize("call", ["append", "adopt", "sync"])
def test_a_fault_of_ours_in_one_file_holds_up_that_file_alone(
    start: Any, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(Disk, call)

    def fail(disk: Disk, file: Output | str, *more: Any) -> Any:
        path = file if isinstance(file, str) else file.path
        if path == "Joao_Silva.csv":
            raise UnicodeEncodeError("ascii", path, 0, 1, "ordinal not in range(128)")
        return real(disk, file, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, call, fail)
        recorder = start()
        for seq in range(3):
            record(recorder, delivery(seq, delta=seq), ana(seq))
            recorder.settle()
            clock.now_s += 1
        assert deltas(tmp_path / "Ana.csv") == [0, 1, 2]
        (fault,) = recorder.faults()
        assert "a fault of ours: UnicodeEncodeError" in fault
        assert "Joao" not in fault
    clock.now_s += 60
    recorder.write()
    recorder.settle()
    assert deltas(tmp_path / "Joao_Silva.csv") == [0, 1, 2]
    assert recorder.faults() == []


def test_a_fault_of_ours_in_one_sidecar_holds_up_that_session_alone(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sidecar.write_sidecar

    def fail(directory: Path, session: Any, *more: Any, **keys: Any) -> None:
        if session.session == "joao":
            raise IndexError
        real(directory, session, *more, **keys)

    monkeypatch.setattr(descriptions, "write_sidecar", fail)
    recorder = start()
    record(recorder, delivery(0, session="joao"), ana(0))
    recorder.update_sessions()
    assert len([*tmp_path.glob("sessions/*/*_Ana/session.json")]) == 1
    assert "a fault of ours: IndexError" in recorder.faults()[0]


def within_s(run: Callable[[], object], limit_s: float = 10.0) -> None:
    """Run something that must not wait for another program."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    assert not thread.is_alive(), "it waits"


@posix
def test_a_pipe_in_a_files_place_holds_up_nobody(start: Any, tmp_path: Path, clock: Clock) -> None:
    os.mkfifo(tmp_path / "Joao_Silva.csv")
    recorder = start()

    def record_more_than_a_pipe_takes() -> None:
        for seq in range(1500):
            recorder.accept([delivery(seq, delta=seq), ana(seq)])
        recorder.write()
        recorder.settle()

    within_s(record_more_than_a_pipe_takes, 60)
    assert deltas(tmp_path / "Ana.csv") == [*range(1500)]
    assert len(recorder.faults()) == 1
    (tmp_path / "Joao_Silva.csv").unlink()
    clock.now_s += 60
    recorder.write()
    assert deltas(tmp_path / "Joao_Silva.csv") == [*range(1500)]


@posix
def test_a_pipe_in_the_place_of_a_sidecars_new_content_is_a_fault_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".session.json.new")

    def write() -> None:
        with pytest.raises(OSError, match="No such device"):
            write_whole(tmp_path / "session.json", b"{}")

    within_s(write)


def test_a_file_without_lines_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    with path.open("wb") as file:
        file.truncate(5 * PIECE_BYTES)
    pieces = [*sidecar._pieces(path)]
    assert sum(map(len, pieces)) == 5 * PIECE_BYTES
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES
