"""How the gateway groups sessions into lessons and students, from sidecars that may hold anything."""

import io
import json
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import EVENTS, event_row, reading_rows, time_text, write_session
from tests.unit.ws_gateway.http.test_recordings import get
from ws_gateway.http import converter, formats
from ws_gateway.http.converter import Converter
from ws_gateway.http.recorded_lessons import About, about, lessons_of

BEGAN = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
"""The evening before in Brazil."""
BRAZIL_MIN = -180


def lesson(name: str | None = "Ciências", group: str = "_all", after_min: int = 0, **more: Any) -> dict[str, Any]:
    """A lesson as a sidecar lists it."""
    return {
        "group": group,
        "name": name,
        "began": time_text(BEGAN + timedelta(minutes=after_min)),
        "ended": None,
        **more,
    }


def session(name: str, after_min: int = 0, minutes: int = 5, code: str = "5A", **fields: object) -> About:
    """What a list knows of a session."""
    start = BEGAN + timedelta(minutes=after_min)
    times = {"start": time_text(start), "end": time_text(start + timedelta(minutes=minutes))}
    return about({"name": name, "code": code, **times, **fields}, f"{start:%Y-%m-%d/%H%M%S}_x")


def grouped(**sessions: About) -> list[tuple[str | None, str, list[str]]]:
    """The lessons as name, local day, and who was there."""
    lessons = lessons_of(sessions, BRAZIL_MIN)
    return [(each.name, each.day, [f"{who.name}{who.apart}" for who in each.students]) for each in lessons]


def test_a_lesson_takes_in_all_codes_and_a_student_who_came_back_counts_once():
    lessons = [lesson()]
    found = grouped(
        a=session("Ana", lessons=lessons),
        b=session("Bia", 10, lessons=lessons, code="5B"),
        c=session("Ana", 20, lessons=lessons, code="5C"),
    )
    assert found == [("Ciências", "2026-11-21", ["Ana", "Bia"])]


def test_two_of_one_name_at_one_time_are_two():
    lessons = [lesson()]
    found = grouped(a=session("Ana", 0, 40, lessons=lessons), b=session("Ana", 1, 40, code="5B", lessons=lessons))
    assert found == [("Ciências", "2026-11-21", ["Ana5A", "Ana5B"])]


def test_two_that_are_still_there_are_two():
    """A session that goes on has no end yet."""
    open_ones: dict[str, Any] = {"end": None, "lessons": [lesson()]}
    assert grouped(a=session("Ana", **open_ones), b=session("Ana", 1, code="5B", **open_ones))[0][2] == [
        "Ana5A",
        "Ana5B",
    ]


def test_lessons_of_one_name_on_two_days_are_two_and_one_session_may_be_in_both():
    both = [lesson(), lesson(after_min=1440)]
    found = grouped(a=session("Ana", lessons=both), b=session("Bia", lessons=[lesson(ended=time_text(BEGAN))]))
    assert found == [("Ciências", "2026-11-22", ["Ana"]), ("Ciências", "2026-11-21", ["Ana", "Bia"])]


def test_sessions_of_earlier_versions_are_grouped_by_the_name_of_the_class_the_code_and_the_day():
    b7: dict[str, Any] = {"class": "Biologia", "group": "7B"}
    c7: dict[str, Any] = {"class": "Biologia", "group": "7C"}
    found = grouped(
        a=session("Ana", **b7),
        b=session("Bia", 60, **b7),
        c=session("Caio", 30, **c7),
        d=session("Davi", 1440),
        e=session("Eva", 1500),
    )
    assert found == [
        (None, "2026-11-22", ["Davi", "Eva"]),
        ("Biologia", "2026-11-21", ["Caio"]),
        ("Biologia", "2026-11-21", ["Ana", "Bia"]),
    ]


@pytest.mark.parametrize(
    "sidecar",
    [
        {},
        {"name": 5, "code": [], "class": {}, "start": "x", "end": 3, "lessons": "Ciências"},
        {"lessons": [None, 5, {}, {"began": "0001-01-01T00:00:00+14:00", "name": []}, *[{"group": 1}] * 1000]},
        {"name": "x" * 100_000, "class": "y" * 100_000, "start": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_a_sidecar_may_hold_anything(sidecar):
    known = about(sidecar, "2026-11-22/120000_A_Ana")
    (*_, last) = lessons_of({"2026-11-22/120000_A_Ana": known}, BRAZIL_MIN)
    assert len(known.name) <= 200
    assert len(known.lessons) <= 20
    assert [student.folders for student in last.students] == [("2026-11-22/120000_A_Ana",)]


def test_keys_stay_the_same_and_unknown_ones_are_not_found(tmp_path):
    write_session(tmp_path, "Ana", "5A", "Ana", BEGAN, lessons=[lesson()])
    (listed,) = json.loads(get(tmp_path, "/recordings?by=lesson").body)["lessons"]
    (student,) = json.loads(get(tmp_path, f"/recordings?lesson={listed['key']}").body)["students"]
    assert get(tmp_path, f"/recordings/lessons/{listed['key']}").status_code == HTTPStatus.OK
    assert get(tmp_path, f"/recordings/lessons/{listed['key']}?student={student['key']}").status_code == HTTPStatus.OK
    for path in ("0123456789abcdef", f"{listed['key']}?student=x", "../x", "%2e%2e", ""):
        assert get(tmp_path, f"/recordings/lessons/{path}").status_code == HTTPStatus.NOT_FOUND, path
    for query in ("format=exe", "utc_offset_min=x", "utc_offset_min=9999"):
        assert get(tmp_path, f"/recordings/lessons/{listed['key']}?{query}").status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("query", ["by=x", "by=lesson&page=x"])
def test_a_list_that_nobody_has_is_refused_with_a_sentence(tmp_path, query):
    assert get(tmp_path, f"/recordings?{query}").status_code == HTTPStatus.BAD_REQUEST


def test_what_this_installation_cannot_make_is_not_offered(tmp_path, monkeypatch):
    """An installation of the gateway alone has no pandas."""
    write_session(tmp_path, "Ana", "5A", "Ana", BEGAN, lessons=[lesson()])
    monkeypatch.setattr(converter, "NEEDED", ("csv_recorder", "a_library_that_is_missing"))
    listed = json.loads(get(tmp_path, "/recordings?by=lesson").body)
    assert listed["formats"] == ["stored", "csv-ptbr"]
    path = f"/recordings/lessons/{listed['lessons'][0]['key']}"
    assert get(tmp_path, f"{path}?format=xlsx").status_code == HTTPStatus.NOT_FOUND
    assert get(tmp_path, f"{path}?format=csv-ptbr").status_code == HTTPStatus.OK


def test_a_workbook_is_made_of_a_directory_that_was_named_in_short(tmp_path, monkeypatch):
    """The recorder's program works in a folder of its own. Nothing of the download stays behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_session(Path("kept"), "Ana", "5A", "Ana", BEGAN, reading_rows(2, BEGAN), lessons=[lesson()])
    (listed,) = json.loads(get(Path("kept"), "/recordings?by=lesson").body)["lessons"]
    made = get(Path("kept"), f"/recordings/lessons/{listed['key']}?format=xlsx")
    assert made.status_code == HTTPStatus.OK
    assert "xl/workbook.xml" in zipfile.ZipFile(io.BytesIO(made.body)).namelist()
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("event", ["online", "session_start", "gap", "marker"])
def test_readings_of_one_session_come_alone_if_nobody_set_a_mark(tmp_path, event):
    """Marks are in the table of events, and a download without it has lost them."""
    session = write_session(tmp_path, "Ana", "5A", "Ana", BEGAN, reading_rows(2, BEGAN))
    (session / "events.csv").write_bytes(f"{EVENTS}\n".encode() + event_row(BEGAN, event, "olhos fechados"))
    made = formats.make(csv_of({"Ana": [session]}), Converter())
    assert made.name == ("Ciências.zip" if event == "marker" else "Ciências.csv")
    if event == "marker":
        archive = zipfile.ZipFile(io.BytesIO(b"".join(made.pieces)))
        assert archive.namelist() == ["Ana.csv", "Ana_eventos.csv"]
        assert b"olhos fechados" in archive.read("Ana_eventos.csv")


@pytest.mark.parametrize("other", ["Ana_2", "ana_2", "Ana_1_eventos"])
def test_no_table_of_a_lesson_takes_the_place_of_another_one(tmp_path, other):
    """The second session of Ana is Ana_2, whatever another student is called."""
    students: dict[str, list[Path]] = {"Ana": [], other: []}
    for number, name in enumerate(["Ana", "Ana", other], 1):
        start = BEGAN + timedelta(minutes=number)
        students[name].append(write_session(tmp_path, name, "5A", name, start, reading_rows(number)))
    names, tables = tables_of(students)
    assert len({each.casefold() for each in names}) == 6
    assert sorted(each.count(b"\r\n") for each in tables) == [2, 3, 4]


def test_a_student_whose_name_looks_like_a_table_of_events_is_not_left_out(tmp_path):
    students = {name: [write_session(tmp_path, name, source=name)] for name in ("Ana", "Ana_eventos")}
    assert len(tables_of(students)[1]) == 2


def tables_of(students: dict[str, list[Path]]) -> tuple[list[str], list[bytes]]:
    """The names of all files of a lesson's Brazilian download, and what those with readings hold."""
    made = formats.make(csv_of(students), Converter())
    archive = zipfile.ZipFile(io.BytesIO(b"".join(made.pieces)))
    contents = [archive.read(each) for each in archive.namelist()]
    return archive.namelist(), [each for each in contents if b"atencao" in each]


def csv_of(students: dict[str, list[Path]]) -> formats.Chosen:
    """The Brazilian CSV files of these students."""
    return formats.Chosen("Ciências", students, formats.Format.CSV_PTBR, UTC, "UTC", "pt-BR")
