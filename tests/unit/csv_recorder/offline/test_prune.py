"""`csv-recorder prune` removes what ended long ago, and nothing that is recorded, unreadable or younger."""

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline.lock import without_recorder
from csv_recorder.offline.prune import find_old, prune, remove_old
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import EventType
from tests.support.lessons import EVENT, GROUP, Lesson, delivered
from tests.support.messages import NOON, reading

LONG_AGO = NOON - timedelta(days=400)
BEFORE = NOON - timedelta(days=30)


def record(lesson: Lesson, name: str, time: datetime, *, has_ended: bool = True) -> None:
    """Record a session of one reading, with an event of its group and a lesson."""
    for kind in (EventType.SESSION_START, EventType.SESSION_STOP):
        event = replace(EVENT, id=f"{name}-{kind}", type=kind, text=f"aula de {name}", source=None, time=time)
        lesson.recorder.accept([delivered(topics.event("local", GROUP), event)])
    of_name = reading(name=name, session=f"session-{name}", time=time)
    lesson.recorder.accept([delivered(topics.reading("local", GROUP, name), of_name)])
    lesson.settle()
    lesson.describe()
    if has_ended:
        lesson.end(name)
        os.utime(lesson.root / f"{name}.csv", (time.timestamp(), time.timestamp()))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Give what a killed recorder leaves: Ana long ago, João yesterday, Bia who is being recorded since long ago."""
    lesson = Lesson(tmp_path / "live")
    record(lesson, "Ana", LONG_AGO)
    for name in ("Damaged", "Endless"):
        record(lesson, name, LONG_AGO)
    record(lesson, "Raspberry", datetime(1970, 1, 1, tzinfo=NOON.tzinfo))
    record(lesson, "Joao", NOON - timedelta(days=1))
    record(lesson, "Bia", LONG_AGO, has_ended=False)
    yield lesson.killed(tmp_path / "recordings")
    lesson.recorder.close()


def session_of(root: Path, name: str) -> Path:
    [found] = root.glob(f"sessions/*/*_{name}")
    return found


def students(root: Path) -> set[str]:
    return {path.name.rpartition("_")[2] for path in root.glob("sessions/*/*") if path.is_dir()}


def test_what_ended_long_ago_goes_and_everything_else_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (session_of(root, "Damaged") / "session.json").write_bytes(b"{")
    sidecar = session_of(root, "Endless") / "session.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"end": "soon"}))
    stay = {"Damaged", "Endless", "Raspberry", "Joao", "Bia"}
    before = {path: path.read_bytes() for name in stay for path in session_of(root, name).iterdir()}
    with without_recorder(root) as inbox:
        old = find_old(root, BEFORE, inbox)
        assert old.sessions == [session_of(root, "Ana")]
        assert old.running == [session_of(root, "Bia")]
        assert {path.name.rpartition("_")[2] for path in old.undated} == {"Damaged", "Endless", "Raspberry"}
        assert remove_old(root, old, inbox) == []
    assert students(root) == stay
    assert {path: path.read_bytes() for path in before} == before
    assert {path.parent.name for path in root.glob("sessions/*/events_*")} == {"1970-01-01", "2026-11-21"}
    assert not (root / "Ana.csv").exists()
    assert "Ana" not in (root / "names.csv").read_text()
    assert b"session-Ana" not in b"".join(path.read_bytes() for path in root.glob(".inbox.sqlite*"))
    lesson = Lesson(root)
    record(lesson, "Ana", NOON)
    lesson.recorder.close()
    assert (root / "Ana.csv").read_bytes().count(b"\n") == 2
    assert main(["verify", str(root / "sessions"), str(root / "Ana.csv")]) == 1
    faulty = {line.split(": ")[0] for line in capsys.readouterr().out.splitlines()[:-1]}
    assert {Path(each).parent.name.rpartition("_")[2] for each in faulty} <= {"Damaged", "Endless"}


def test_the_command_shows_first_and_removes_only_after_a_yes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROONE_YES", "1")
    command = ["prune", "--dir", str(root), "--older-than", str((datetime.now(NOON.tzinfo) - BEFORE).days)]
    assert main(command) == 2
    shown = capsys.readouterr()
    assert f"session {session_of(root, 'Ana')}\n" in shown.out
    assert "--yes is needed" in shown.err
    assert main([*command, "--yes"]) == 1  # that of 1970 stays
    assert "removed: 3 sessions" in capsys.readouterr().out
    assert students(root) == {"Raspberry", "Joao", "Bia"}
    assert main(["prune", "--dir", str(root), "--yes"]) == 2
    assert "--older-than: is missing" in capsys.readouterr().err


def test_a_removal_that_breaks_off_is_found_again_and_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inbox and index name nobody then of whom only files are left."""

    def kill(session: Path) -> None:
        (session / "readings.csv").unlink()
        raise KeyboardInterrupt

    with without_recorder(root) as inbox:
        old = find_old(root, BEFORE, inbox)
        with monkeypatch.context() as patch:
            patch.setattr("csv_recorder.offline.prune.remove_session", kill)
            with pytest.raises(KeyboardInterrupt):
                remove_old(root, old, inbox)
        assert find_old(root, BEFORE, inbox).sessions == old.sessions
        assert remove_old(root, find_old(root, BEFORE, inbox), inbox) == []
    assert not [path for path in root.rglob("*") if "Ana" in path.name]
    assert b"session-Ana" not in b"".join(path.read_bytes() for path in root.glob(".inbox.sqlite*"))
    assert "Ana" not in (root / "names.csv").read_text()


def test_nobody_is_asked_by_a_running_recorder_so_it_leaves_all_if_the_clock_may_be_wrong(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    record(lesson, "Ana", LONG_AGO)
    lesson.recorder.close()
    with without_recorder(tmp_path) as inbox:
        assert [*find_old(tmp_path, BEFORE, inbox).lines()][-1].startswith("no younger session")
        prune(tmp_path, 30, NOON, inbox)
        assert students(tmp_path) == {"Ana"}
