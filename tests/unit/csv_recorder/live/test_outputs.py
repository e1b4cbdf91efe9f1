"""The files of a session, one after the other."""

import sqlite3
from pathlib import Path

import pytest

from csv_recorder.live.inbox import Inbox
from neuroone.contract.files import seq_of
from tests.support.lessons import Lesson


def test_a_crash_after_the_end_of_a_part_doubles_nothing(tmp_path: Path) -> None:
    """The next part is known after it as well: it is cut back, and what waits goes into that one."""
    lesson = Lesson(tmp_path / "live", rotate_bytes=500)
    lesson.record("ana", range(8))
    lesson.send("ana", range(8, 11))
    lesson.write()
    killed = lesson.killed(tmp_path / "killed")
    lesson.recorder.close()
    after = Lesson(killed, rotate_bytes=500)
    after.recorder.close()
    parts = sorted(killed.glob("sessions/*/*/readings*.csv"), reverse=True)
    assert [[seq_of(row) for row in part.read_bytes().splitlines()[1:]] for part in parts] == [
        [*range(8)],
        [8, 9, 10],
    ]


def test_a_session_that_is_reopened_after_a_crash_keeps_its_files(tmp_path: Path) -> None:
    """What was synced when it was closed stays; what the crash left behind it is cut."""
    lesson = Lesson(tmp_path / "live")
    lesson.record("ana", range(5))
    lesson.end("ana")
    lesson.send("ana", range(5, 8))
    lesson.write()
    killed = lesson.killed(tmp_path / "killed")
    lesson.recorder.close()
    (path,) = killed.glob("sessions/*/*/readings.csv")
    path.write_bytes(path.read_bytes()[:-60] + bytes(60))
    after = Lesson(killed)
    after.recorder.close()
    assert [seq_of(row) for row in path.read_bytes().splitlines()[1:]] == [*range(8)]


def test_a_folder_that_the_inbox_refused_gets_no_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a recording without rows, and the session would go into another folder."""
    lesson = Lesson(tmp_path)
    lesson.send("ana", range(3))

    def refuse(inbox: Inbox) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "commit", refuse)
        with pytest.raises(sqlite3.OperationalError):
            lesson.write()
        lesson.describe()
    lesson.record("ana", range(3, 5))
    lesson.recorder.close()
    (path,) = tmp_path.glob("sessions/*/*/readings.csv")
    assert [seq_of(row) for row in path.read_bytes().splitlines()[1:]] == [*range(5)]
    assert [each.parent for each in tmp_path.glob("sessions/*/*/session.json")] == [path.parent]
