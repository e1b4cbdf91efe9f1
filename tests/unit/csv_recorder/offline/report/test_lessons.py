"""Reports by lesson: a student is the name, whatever the code, and a lesson is a class."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.recorder import Recorder
from csv_recorder.offline.report.cache import FigureCache
from csv_recorder.offline.report.figures import ALL, Report, Selection, make
from csv_recorder.offline.report.session_figures import Counted, _spread
from csv_recorder.offline.report.texts import BY_CODE, BY_DAY
from neuroone.data.recordings import find, without_doubles
from tests.support.recordings import NOON, checked, reading_rows, time_text, write_session
from tests.unit.csv_recorder.live.test_lessons import phone, start, stop
from tests.unit.csv_recorder.live.test_sessions import record

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def part(
    name: str,
    began: datetime,
    seqs: tuple[int, int | None] = (0, None),
    minutes: float | None = 50,
    group: str = "_all",
) -> dict[str, Any]:
    """A part of a session in a lesson, as sidecars have it."""
    ended = None if minutes is None else time_text(began + minutes * MINUTE)
    times = {"began": time_text(began), "ended": ended}
    return {"group": group, "name": name, **times, "first_seq": seqs[0], "last_seq": seqs[1]}


def rows_of(attention: int, start: datetime, count: int = 60, first: int = 0) -> list[bytes]:
    times = [time_text(start + timedelta(seconds=n)) for n in range(count)]
    # The bands change from row to row: numbers that do not are frozen ones, which do not count.
    return [
        checked([time, "5e55", first + n, 0, 1, attention, 50, 100 + n, *(100,) * 7]) for n, time in enumerate(times)
    ]


def came(
    root: Path,
    name: str,
    code: str,
    start: datetime,
    lessons: Sequence[dict[str, Any]],
    attention: int = 50,
    **more: Any,
) -> None:
    """Write a session of an app that makes a code of its own."""
    rows = more.pop("rows", None) or rows_of(attention, start)
    write_session(root, name, code, f"{name}-1", start, rows, code=code, lessons=list(lessons), **more)


def classes(report: Report) -> list[tuple[str, str, int]]:
    return [(row["class"], row["date"], row["students"]) for row in report.classes.to_dict("records")]


def rows(report: Report, session: str | None = None) -> list[tuple[str, str, int]]:
    """Who was in which class with how many rows; with ``ALL`` only the rows of all lessons."""
    frame = report.sessions
    frame = frame[(frame["session"] == ALL) == (session == ALL)]
    return [(row["student"], row["class"], row["rows"]) for row in frame.to_dict("records")]


def test_a_class_of_random_codes_is_one_lesson_and_who_came_back_counts_once(tmp_path):
    science = [part("Ciências", NOON)]
    for number in range(12):
        came(tmp_path, f"S{number:02}", f"5A{number:02}", NOON, science, number + 40)
    for number in (3, 4):  # their phones came back with another code
        came(tmp_path, f"S{number:02}", f"5B{number:02}", NOON + 5 * MINUTE, science, 90)
    for number in range(12, 15):
        came(tmp_path, f"S{number:02}", f"5A{number:02}", NOON + 10 * MINUTE, science)
    report = make(find([tmp_path]))
    assert classes(report) == [("Ciências", "2026-11-22", 15)]
    assert len(rows(report)) == report.count == 15
    assert rows(report, ALL) == []
    back = report.sessions[report.sessions["student"] == "S03"].iloc[0]
    assert (back["rows"], back["sessions"], back["attention_mean"]) == (120, 2, (43 + 90) / 2)
    of_class = report.classes.iloc[0]
    assert (of_class["sessions"], of_class["attention_students"], of_class["rows"]) == (17, 15, 17 * 60)
    assert len(report.class_curve(0).bins) == 3 * 7
    assert (report.sessions["attention_class_mean"] == of_class["attention_mean"]).all()


def test_three_pupils_on_three_days_with_nine_codes(tmp_path):
    for day in range(3):
        start = NOON + day * DAY
        for number, name in enumerate(("Ana", "Bia", "Caio")):
            came(tmp_path, name, f"5{day}{number}XYZ", start, [part("Ciências", start)], 40 + 10 * day)
    report = make(find([tmp_path]))
    assert classes(report) == [("Ciências", f"2026-11-{22 + day}", 3) for day in range(3)]
    assert rows(report, ALL) == [("Ana", "", 180), ("Bia", "", 180), ("Caio", "", 180)]
    assert len(rows(report)) == 9
    assert {len(report.members[number]) for number in range(3)} == {3}


def test_what_the_recorder_wrote_of_three_days_is_reported_by_lesson(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.open()
    for day in range(3):
        minutes = 24 * 60 * day
        record(recorder, start("Ciências", minutes=minutes))
        for name in ("Ana", "Bia", "Caio"):
            sent = [phone(name, seq, f"5{day}{name}", minutes + 1 + seq / 60) for seq in range(20)]
            record(recorder, *sent, phone(name, 20, f"5{day}{name}", minutes + 51))  # after the lesson
        record(recorder, stop(minutes=minutes + 50))
    recorder.close()
    report = make(without_doubles(find([tmp_path])))
    assert classes(report) == [("Ciências", f"2026-11-{22 + day}", 3) for day in range(3)]
    assert rows(report, ALL) == [("Ana", "", 60), ("Bia", "", 60), ("Caio", "", 60)]


def test_only_what_lies_in_the_lesson_counts_and_a_session_may_have_several(tmp_path):
    """Ana was there before, and stayed for the next lesson; by code the session is one."""
    before = rows_of(10, NOON - MINUTE)
    during, after = rows_of(60, NOON, first=60), rows_of(80, NOON + MINUTE, first=120)
    lessons = [part("Ciências", NOON, (60, 119), 1), part("Arte", NOON + MINUTE, (120, 179), 1)]
    came(tmp_path, "Ana", "5AAAAA", NOON - MINUTE, lessons, rows=before + during + after)
    report = make(find([tmp_path]))
    assert rows(report) == [("Ana", "Ciências", 60), ("Ana", "Arte", 60)]
    assert [*report.sessions["attention_mean"]] == [60, 80, 70]
    by_code = make(find([tmp_path]), by=BY_CODE)
    assert (rows(by_code), [*by_code.sessions["attention_mean"]]) == ([("Ana", "", 180)], [50])
    assert [*make(find([tmp_path]), by=BY_DAY).classes["date"]] == ["2026-11-22"]


def test_two_of_one_name_at_the_same_time_are_two_and_told_apart_by_their_codes(tmp_path):
    for day in range(2):
        start = NOON + day * DAY
        came(tmp_path, "Ana", "TURMA-A", start, [part("Ciências", start)], 40)
        came(tmp_path, "Ana", "TURMA-B", start, [part("Ciências", start)], 80)
    report = make(find([tmp_path]))
    assert [students for _, _, students in classes(report)] == [2, 2]
    assert rows(report, ALL) == [("Ana (TURMA-A)", "", 120), ("Ana (TURMA-B)", "", 120)]
    assert [*report.sessions["attention_mean"]] == [40, 40, 40, 80, 80, 80]


def test_two_of_one_name_and_one_code_are_two(tmp_path):
    for source in ("Ana", "Ana-2"):
        lessons = [part("7B", NOON, group="7B")]
        write_session(tmp_path, "Ana", "7B", source, NOON, rows_of(50, NOON), code="7B", lessons=lessons)
    assert [students for _, _, students in classes(make(find([tmp_path])))] == [2]
    assert [student for student, _, _ in rows(make(find([tmp_path])))] == ["Ana (7B)", "Ana (7B-2)"]


def test_sources_without_a_name_are_not_one_student(tmp_path):
    for code in ("5AAAAA", "5BBBBB"):
        write_session(tmp_path, None, code, "anonymous", NOON, rows_of(50, NOON), lessons=[part("Ciências", NOON)])
    report = make(find([tmp_path]))
    assert [students for _, _, students in classes(report)] == [2]
    assert rows(report, ALL) == []


def test_a_lesson_of_a_class_counts_before_the_one_of_everybody(tmp_path):
    lessons = [
        part("Feira", NOON, (0, 59), 50),
        part("7B", NOON + MINUTE, (60, 119), 1, "7B"),
        part("Feira", NOON, (120, 179)),
    ]
    came(tmp_path, "Ana", "7B", NOON, lessons, rows=rows_of(50, NOON, 180))
    assert sorted(rows(make(find([tmp_path])))) == [("Ana", "7B", 60), ("Ana", "Feira", 120)]


@pytest.mark.parametrize(
    ("lessons", "expected"),
    [
        # The readings came after the stop: the recorder, or the phone's network, was away.
        ([part("Ciências", NOON, (0, -1), 1)], [("Ciências", 60)]),
        ([part("Ciências", NOON, (0, 9), 1)], [("Ciências", 60)]),
        (
            [part("Ciências", NOON, (0, 49), 1), part("Arte", NOON + MINUTE, (50, 119), 1)],
            [("Ciências", 60), ("Arte", 60)],
        ),
        # An app's clock is an hour behind.
        ([part("Ciências", NOON + 60 * MINUTE, (30, 89))], [("Ciências", 60)]),
        (
            [part("Arte", NOON - 5 * MINUTE, (0, -1)), part("Ciências", NOON + 60 * MINUTE, (30, 89))],
            [("Ciências", 60)],
        ),
        # The lesson goes on, or the session ended before it.
        ([part("Ciências", NOON + MINUTE, (60, None), None)], [("Ciências", 60)]),
        # The clock was set back while the lesson ran: it ended before it began.
        ([part("Ciências", NOON, (0, 99), -180)], [("Ciências", 100)]),
        # What a damaged sidecar says.
        ([part("Ciências", NOON) | {"began": "yesterday", "first_seq": 20}], [("Ciências", 100)]),
        ([{"group": 5}, "x", part("Ciências", NOON, (0, None))], [("Ciências", 120)]),
    ],
)  # fmt: skip
def test_late_readings_and_wrong_clocks_are_in_the_right_lesson(tmp_path, lessons, expected):
    came(tmp_path, "Ana", "5AAAAA", NOON, lessons, rows=rows_of(50, NOON, 120))
    assert [(name, count) for _, name, count in rows(make(find([tmp_path])))] == expected


def test_a_clock_that_was_set_back_in_a_lesson_loses_nothing(tmp_path):
    both = rows_of(40, NOON, 60) + rows_of(80, NOON - 30 * MINUTE, 60, first=60)
    came(tmp_path, "Ana", "5AAAAA", NOON, [part("Ciências", NOON, (0, 119), -29)], rows=both)
    assert rows(make(find([tmp_path]))) == [("Ana", "Ciências", 120)]


def test_stored_figures_are_those_of_the_lesson_and_change_with_it(tmp_path):
    def with_cache(hits: int) -> list[tuple[str, str, int]]:
        cache = FigureCache(lambda: 4e9)
        found = rows(make(find([tmp_path]), cache=cache))
        cache.close()
        assert cache.hits == hits
        return found

    lessons = [part("Ciências", NOON, (0, 59), 1), part("Arte", NOON + MINUTE, (60, 119), 1)]
    came(tmp_path, "Ana", "5AAAAA", NOON, lessons, rows=rows_of(50, NOON, 120))
    assert with_cache(hits=0) == with_cache(hits=2) == [("Ana", "Ciências", 60), ("Ana", "Arte", 60)]
    (sidecar,) = tmp_path.rglob("session.json")
    sidecar.write_text(sidecar.read_text("utf-8").replace(lessons[1]["began"], lessons[0]["began"], 2), "utf-8")
    assert with_cache(hits=0) != [("Ana", "Ciências", 60), ("Ana", "Arte", 60)]


def test_a_lesson_is_chosen_by_its_name(tmp_path):
    lessons = [part("Ciências", NOON, (0, 59), 1), part("Arte", NOON + MINUTE, (60, 119), 1)]
    came(tmp_path, "Ana", "5AAAAA", NOON, lessons, rows=rows_of(50, NOON, 120))
    for wanted in ("ciencias", "5AAAAA"):
        found = make(find([tmp_path]), Selection(classes=frozenset({wanted})))
        assert ("Ana", "Ciências", 60) in rows(found)
        assert (("Ana", "Arte", 60) in rows(found)) is (wanted == "5AAAAA")


def test_the_trend_over_weeks_is_a_slope_through_the_lessons(tmp_path):
    """It needs three lessons and a week."""
    for week in range(4):
        start = NOON + 7 * week * DAY
        came(tmp_path, "Ana", f"5{week}", start, [part("Ciências", start)], 40 + 5 * week)
        close = NOON + week * DAY
        came(tmp_path, "Bia", f"6{week}", close, [part("Arte", close)], 40 + 5 * week)
    together = make(find([tmp_path])).sessions.query("session == @ALL").set_index("student")
    assert together["attention_trend_per_week"]["Ana"] == pytest.approx(5)
    assert math.isnan(together["attention_trend_per_week"]["Bia"])


def test_the_spread_has_quartiles_and_the_shares_of_low_medium_and_high(tmp_path):
    values = [1, 39, 40, 41, 69, 70, 100, 100]
    rows = [row for n, value in enumerate(values) for row in rows_of(value, NOON + timedelta(seconds=n), 1, n)]
    came(tmp_path, "Ana", "5AAAAA", NOON, [part("Ciências", NOON)], rows=rows)
    found = make(find([tmp_path])).sessions.iloc[0]
    assert (found["attention_low"], found["attention_medium"], found["attention_high"]) == (2 / 8, 3 / 8, 3 / 8)
    assert (found["attention_min"], found["attention_max"]) == (1, 100)
    assert (found["attention_q1"], found["attention_q3"]) == tuple(np.percentile(values, [25, 75]))
    class_ = make(find([tmp_path])).classes.iloc[0]
    assert (class_["attention_low"], class_["attention_high"]) == (2 / 8, 3 / 8)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 101])
def test_quartiles_are_those_of_numpy(count):
    values = np.random.default_rng(count).integers(1, 101, count)
    kinds, counts = np.unique(values, return_counts=True)
    low, q1, q3, high, *shares = _spread(Counted(kinds.tolist(), counts.tolist(), count, None, None, None, None))
    assert [low, q1, q3, high] == pytest.approx(np.percentile(values, [0, 25, 75, 100]))
    assert sum(share for share in shares if share is not None) == pytest.approx(1)


def test_recordings_without_lessons_are_classes_of_their_codes_beside_lessons(tmp_path):
    came(tmp_path, "Ana", "5AAAAA", NOON, [part("Ciências", NOON)])
    about: dict[str, Any] = {"class": "Aula 3"}
    write_session(tmp_path, "Bia", "7B", "bia", NOON, reading_rows(60), **about)
    assert classes(make(find([tmp_path]))) == [("Aula 3", "2026-11-22", 1), ("Ciências", "2026-11-22", 1)]
    assert pd.isna(make(find([tmp_path])).sessions["attention_trend_per_week"]).all()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            ["lessons", "everybody", "all sessions", "70 and more: ", "trend per week: attention +5.0", "class mean"],
        ),
        ("pt-BR", ["aulas", "todos", "todas as sessões", "70 ou mais: ", "tendência por semana: atenção +5,0"]),
    ],
)
def test_the_page_shows_lessons_and_a_student_over_all_of_them(tmp_path, capsys, language, words):
    """Names of lessons are text; the code stands small beside the lesson."""
    hostile = "<b>Ciências</b>"
    for week in range(3):
        start = NOON + 7 * week * DAY
        for name in ("Ana", "Bia"):
            came(tmp_path / "r", name, f"5{week}{name}", start, [part(hostile, start)], 40 + 5 * week)
    options = ["--html", str(tmp_path / "r.html"), "--csv", str(tmp_path / "r.csv"), "--language", language]
    assert main(["report", str(tmp_path / "r"), "--timezone", "UTC", *options]) == 0
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<b>" not in page
    assert page.count(f"{escape(hostile)} · 2026-11-22 18:20") >= 3, "one for the class, one for each student"
    assert page.count("<svg") == 3 + 6 + 2
    assert "<small>" in page
    for each in words:
        assert each in page
    assert hostile in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "r.csv")
    assert [*table["session"]].count("all") == 2
    assert {"student", "lesson_began", "attention_low", "attention_class_mean"} <= {*table.columns}
