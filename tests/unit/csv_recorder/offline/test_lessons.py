"""The list of lessons, who took part, and what survives a lost inbox."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.recorder import Recorder
from neuroone.contract.files import INBOX_FILE
from neuroone.contract.students import OVERLAP_MAX_S, Stay, who_is_who
from tests.support.recordings import checked
from tests.unit.csv_recorder.live.test_lessons import about, at, phone, start, stop
from tests.unit.csv_recorder.live.test_sessions import record

INFINITY = float("inf")


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path)
    made.open()
    return made


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["lessons", "--json", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_list_has_each_lesson_with_the_number_of_its_students(recorder, tmp_path, capsys):
    record(recorder, start("Ciências"), phone("Ana", 0, "5AAAAA"), phone("Bia", 0, "5BBBBB"), stop(minutes=50))
    record(recorder, start("Aula 7B", "7B", 60), phone("Caio", 0, "7B", 61), start("Feira", minutes=70))
    for each in ("--dir", ""):
        ours, theirs, last = listed(capsys, *filter(None, [each, str(tmp_path)]))
        assert ours == {
            **{"group": "_all", "name": "Ciências", "began": at(0), "ended": at(50)},
            **{"students": 2, "sessions": 2},
        }
        assert (theirs["name"], theirs["ended"], theirs["students"]) == ("Aula 7B", None, 1)
        assert (last["name"], last["students"]) == ("Feira", 2), "Ana and Bia are still there"
    assert main(["lessons", "--dir", str(tmp_path), "--timezone", "America/Sao_Paulo", "--language", "pt-BR"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == "2026-11-22 15:20 - 16:10 alunos: 2 Ciências (todos)".split()
    assert lines[1].split() == "2026-11-22 16:20 - em curso alunos: 1 Aula 7B (7B)".split()
    recorder.close()


def test_the_list_needs_no_inbox_and_says_if_there_is_no_lesson(recorder, tmp_path, capsys):
    record(recorder, phone("Ana", 0, "5AAAAA"))
    recorder.close()
    assert listed(capsys, str(tmp_path)) == []
    assert main(["lessons", str(tmp_path), "--language", "en"]) == 0
    assert capsys.readouterr().out == "No lesson was recorded.\n"
    recorder.open()
    record(recorder, start("Ciências"), phone("Ana", 1, "5AAAAA"), stop(minutes=50))
    recorder.close()
    (tmp_path / INBOX_FILE).unlink()
    assert [(each["name"], each["ended"]) for each in listed(capsys, str(tmp_path))] == [("Ciências", at(50))]
    assert main(["lessons", str(tmp_path / "nothing")]) == 2


@pytest.mark.parametrize("is_lost", [False, True])
def test_lessons_outlive_the_inbox(recorder, tmp_path, capsys, is_lost):
    """What a session has of each stands in its sidecar, and a running lesson goes on after `rebuild`."""
    record(recorder, start("Ciências"), phone("Ana", 0, "5AAAAA"), stop(minutes=50), start("Arte", minutes=60))
    record(recorder, phone("Ana", 1, "5AAAAA", 61))
    recorder.close()
    before = listed(capsys, str(tmp_path)), about(tmp_path, "Ana", "5AAAAA")["lessons"]
    if is_lost:
        (tmp_path / INBOX_FILE).unlink()
    assert main(["rebuild", "--dir", str(tmp_path), "--force"]) == 0
    capsys.readouterr()
    recorder.open()
    record(recorder, phone("Ana", 2, "5AAAAA", 62), phone("Bia", 0, "5BBBBB", 62))
    assert (listed(capsys, str(tmp_path))[:1], about(tmp_path, "Ana", "5AAAAA")["lessons"]) == (
        before[0][:1],
        before[1],
    )
    assert about(tmp_path, "Bia", "5BBBBB")["class"] == "Arte"
    recorder.close()


def test_a_row_of_events_that_is_too_long_stops_no_rebuild(recorder, tmp_path):
    """The lessons of the other rows are found."""
    record(recorder, start("Ciências"), phone("Ana", 0, "5AAAAA"), stop(minutes=50), start("Arte", minutes=60))
    recorder.close()
    (tmp_path / INBOX_FILE).unlink()
    (events,) = tmp_path.glob("sessions/*/events__all.csv")
    header, *others = events.read_bytes().splitlines(keepends=True)
    long = checked([at(-1), "session_start", "", "", "x" * 2**18])
    events.write_bytes(b"".join((header, long, *others)))
    assert main(["rebuild", "--dir", str(tmp_path)]) == 0
    recorder.open()
    record(recorder, phone("Bia", 0, "5BBBBB", 62))
    assert about(tmp_path, "Bia", "5BBBBB")["class"] == "Arte"
    recorder.close()


@pytest.mark.parametrize("damage", ["began = x'ff00'", "name = x'ff00'", "ended = x'00'"])
def test_a_damaged_lesson_of_the_inbox_is_left_out_of_the_new_one(recorder, tmp_path, damage):
    record(recorder, start("Ciências"), phone("Ana", 0, "5AAAAA"), stop(minutes=50), start("Arte", minutes=60))
    recorder.close()
    db = sqlite3.connect(tmp_path / INBOX_FILE)
    with db:
        db.execute(f"UPDATE lessons SET {damage} WHERE name = 'Ciências'")
    db.close()
    assert main(["rebuild", "--dir", str(tmp_path), "--force"]) == 0
    recorder.open()
    record(recorder, phone("Bia", 0, "5BBBBB", 62))
    assert [each.name for each in recorder._inbox.all_lessons()] == ["Arte"]
    assert about(tmp_path, "Bia", "5BBBBB")["class"] == "Arte"
    recorder.close()


def who(*stays: tuple[str, str, float, float]) -> list[str]:
    return [f"{name} {code}".strip() for name, code in who_is_who([Stay(*stay) for stay in stays])]


def test_a_student_is_the_name_whatever_the_code_and_however_it_is_composed():
    assert who(("José", "A", 0, 100), ("Jose\u0301 ", "B", 110, 200), ("Ana", "C", 0, INFINITY)) == [
        "José",
        "José",
        "Ana",
    ]


def test_two_of_one_name_at_the_same_time_are_told_apart_by_their_codes():
    assert who(("Ana", "X", 0, 100), ("Ana", "Y", 10, 90)) == ["Ana X", "Ana Y"]


def test_who_of_two_came_back_is_found_by_the_code_or_by_who_is_away():
    stays = [("Ana", "X", 0, 100), ("Ana", "Y", 10, 500), ("Ana", "Z", 150, 300), ("Ana", "X", 310, 400)]
    assert who(*stays) == ["Ana X", "Ana Y", "Ana X", "Ana X"]
    stays = [("Ana", "X", 0, 100), ("Ana", "Y", 0, 100), ("Ana", "Y", 200, 300), ("Ana", "X", 210, 300)]
    assert who(*stays) == ["Ana X", "Ana Y", "Ana Y", "Ana X"]


def test_a_phone_that_comes_back_while_its_old_connection_hangs_is_one_student():
    assert who(("Ana", "X", 0, 100), ("Ana", "Y", 100 - OVERLAP_MAX_S, 200)) == ["Ana", "Ana"]
