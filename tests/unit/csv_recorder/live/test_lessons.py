"""Lessons: who is in them, and what sidecars and inbox keep of them."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live import inbox as inboxes
from csv_recorder.live import lessons as lesson_rules
from csv_recorder.live.descriptions import AFTER_END_S
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.recorder import Recorder
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.files import INBOX_FILE, time_text
from neuroone.contract.messages import EventType, StreamStatus
from neuroone.contract.topics import ALL
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import NOON, stream_state
from tests.unit.csv_recorder.live.test_recorder import Clock, delivery
from tests.unit.csv_recorder.live.test_sessions import EVENT, delivered, record, sidecar, table

ids = itertools.count()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start_recorder(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Recorder]]:
    """Start a recorder, or end the one that runs in good order and start another."""
    running: list[Recorder] = []

    def start() -> Recorder:
        for each in running:
            each.close()
        running.append(Recorder(tmp_path, steady=clock))
        running[-1].open()
        return running[-1]

    yield start
    running[-1].close()


@pytest.fixture
def recorder(start_recorder: Callable[[], Recorder]) -> Recorder:
    return start_recorder()


def event(type: EventType, text: str = "", group: str = ALL, minutes: float = 0, **changes: Any) -> Delivery:
    time = NOON + timedelta(minutes=minutes)
    changed = replace(EVENT, id=f"e{next(ids)}", type=type, text=text, time=time, source=None, **changes)
    return delivered(topics.event("local", group), changed)


def start(name: str, group: str = ALL, minutes: float = 0) -> Delivery:
    return event(EventType.SESSION_START, name, group, minutes)


def stop(group: str = ALL, minutes: float = 0) -> Delivery:
    return event(EventType.SESSION_STOP, "", group, minutes)


def phone(name: str, seq: int, code: str, minutes: float = 0) -> Delivery:
    """A reading of an app that makes a code of its own."""
    time = NOON + timedelta(minutes=minutes)
    return delivery(seq, source=topics.id_from_text(name), name=name, code=code, session=f"s-{name}-{code}", time=time)


def about(root: Path, name: str, code: str) -> dict[str, Any]:
    (folder,) = root.glob(f"sessions/*/*_{code}_{name}")
    return sidecar(folder)


def parts(root: Path, name: str, code: str) -> list[tuple[str, int, int | None]]:
    return [(each["name"], each["first_seq"], each["last_seq"]) for each in about(root, name, code)["lessons"]]


def lessons(root: Path) -> list[tuple[str, str, str | None]]:
    """Every lesson: its group, its name, and when it ended."""
    db = sqlite3.connect(root / INBOX_FILE)
    try:
        return db.execute("SELECT group_id, name, ended FROM lessons ORDER BY id").fetchall()
    finally:
        db.close()


def at(minutes: float) -> str:
    return time_text(NOON + timedelta(minutes=minutes))


def test_a_lesson_of_everybody_takes_in_who_is_there_and_who_comes_whatever_the_code(
    recorder: Recorder, tmp_path: Path
) -> None:
    record(recorder, phone("Ana", 0, "5AAAAA"), phone("Bia", 0, "5BBBBB"), start("Ciências"))
    record(recorder, phone("Ana", 1, "5AAAAA"), phone("Caio", 0, "5CCCCC"))
    record(recorder, stop(minutes=50), phone("Ana", 2, "5AAAAA"), phone("Davi", 0, "5DDDDD", 51))
    record(recorder)
    assert parts(tmp_path, "Ana", "5AAAAA") == [("Ciências", 1, 1)]
    assert parts(tmp_path, "Caio", "5CCCCC") == [("Ciências", 0, 0)]
    assert [about(tmp_path, *who)["class"] for who in (("Ana", "5AAAAA"), ("Caio", "5CCCCC"))] == ["Ciências"] * 2
    assert about(tmp_path, "Davi", "5DDDDD")["class"] is None
    assert parts(tmp_path, "Davi", "5DDDDD") == []
    assert about(tmp_path, "Ana", "5AAAAA")["lessons"][0] == {
        **{"group": ALL, "name": "Ciências", "began": at(0), "ended": at(50), "first_seq": 1, "last_seq": 1}
    }


def test_events_of_everybody_stand_in_every_open_session_and_in_a_file_of_their_own(
    recorder: Recorder, tmp_path: Path
) -> None:
    record(recorder, phone("Ana", 0, "5AAAAA"), phone("Bia", 0, "5BBBBB"))
    record(recorder, event(EventType.MARKER, "olhos fechados"))
    for path in tmp_path.glob("sessions/*/*_*_*/events.csv"):
        assert [row["text"] for row in table(path)] == ["olhos fechados"]
    assert len([*tmp_path.glob("sessions/*/*_*_*/events.csv")]) == 2
    assert [row["text"] for row in table(*tmp_path.glob("sessions/*/events__all.csv"))] == ["olhos fechados"]


def test_a_running_lesson_outlives_the_recorder(
    start_recorder: Callable[[], Recorder], tmp_path: Path, clock: Clock
) -> None:
    recorder = start_recorder()
    record(recorder, phone("Ana", 0, "5AAAAA"), start("Ciências"), phone("Ana", 1, "5AAAAA"))
    recorder._inbox.close()  # as a killed program does
    recorder = start_recorder()
    record(recorder, phone("Ana", 2, "5AAAAA"), phone("Bia", 0, "5BBBBB"))
    recorder = start_recorder()  # ended in good order: the session is closed, and opened again
    record(recorder, phone("Ana", 3, "5AAAAA"), stop(minutes=50), phone("Ana", 4, "5AAAAA"))
    record(recorder)
    assert parts(tmp_path, "Ana", "5AAAAA") == [("Ciências", 1, 3)]
    assert about(tmp_path, "Bia", "5BBBBB")["class"] == "Ciências"
    assert lessons(tmp_path) == [(ALL, "Ciências", at(50))]


def test_the_lesson_of_a_class_counts_before_the_one_of_everybody(recorder: Recorder, tmp_path: Path) -> None:
    """While it runs: before and after it the class is in the lesson of everybody."""
    record(recorder, start("Feira"), phone("Ana", 0, "7B"), phone("Bia", 0, "5BBBBB"))
    record(recorder, start("Aula 7B", "7B", 10), phone("Ana", 1, "7B"), phone("Bia", 1, "5BBBBB"))
    record(recorder, phone("Caio", 0, "7B"))
    record(recorder, stop("7B", 20), phone("Ana", 2, "7B"), stop(minutes=30), phone("Ana", 3, "7B"))
    assert parts(tmp_path, "Ana", "7B") == [("Feira", 0, 0), ("Aula 7B", 1, 1), ("Feira", 2, 2)]
    assert parts(tmp_path, "Bia", "5BBBBB") == [("Feira", 0, 1)]
    assert [about(tmp_path, name, "7B")["class"] for name in ("Ana", "Caio")] == ["Aula 7B", "Aula 7B"]
    assert about(tmp_path, "Bia", "5BBBBB")["class"] == "Feira"


def test_a_start_of_everybody_does_not_rename_a_class_that_has_a_lesson(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, start("Aula 7B", "7B"), phone("Ana", 0, "7B"), start("Feira", minutes=10), phone("Ana", 1, "7B"))
    assert about(tmp_path, "Ana", "7B")["class"] == "Aula 7B"
    assert parts(tmp_path, "Ana", "7B") == [("Aula 7B", 0, None)]


def test_a_second_start_begins_the_next_lesson_and_the_same_name_goes_on(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, phone("Ana", 0, "A"), start("Ciências"), phone("Ana", 1, "A"))
    record(recorder, start("Ciências", minutes=1), phone("Ana", 2, "A"))
    record(recorder, start("Arte", minutes=50), phone("Ana", 3, "A"))
    assert lessons(tmp_path) == [(ALL, "Ciências", at(50)), (ALL, "Arte", None)]
    assert parts(tmp_path, "Ana", "A") == [("Ciências", 1, 2), ("Arte", 3, None)]
    assert about(tmp_path, "Ana", "A")["class"] == "Arte"


def test_a_stop_without_a_start_is_an_event_and_nothing_more(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, phone("Ana", 0, "A"), stop(), stop("A"))
    assert lessons(tmp_path) == []
    assert (about(tmp_path, "Ana", "A")["class"], parts(tmp_path, "Ana", "A")) == (None, [])


def test_everything_of_a_lesson_may_come_in_one_batch(recorder: Recorder, tmp_path: Path) -> None:
    """As it does after the recorder was away: the broker has kept it in order."""
    before, during, after = phone("Ana", 0, "A"), phone("Ana", 1, "A"), phone("Ana", 2, "A")
    late = phone("Bia", 0, "B")
    record(recorder, before, start("Ciências"), during, late, stop(minutes=50), after, start("Arte", minutes=60))
    record(recorder)
    assert parts(tmp_path, "Ana", "A") == [("Ciências", 1, 1), ("Arte", 3, None)]
    assert parts(tmp_path, "Bia", "B") == [("Ciências", 0, 0), ("Arte", 1, None)]
    assert lessons(tmp_path) == [(ALL, "Ciências", at(50)), (ALL, "Arte", None)]


def test_a_session_whose_readings_all_come_after_the_end_is_of_the_lesson(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, start("Ciências"), stop(minutes=50), phone("Ana", 0, "A", minutes=49), phone("Bia", 0, "B", 50))
    assert parts(tmp_path, "Ana", "A") == [("Ciências", 0, -1)]
    assert about(tmp_path, "Ana", "A")["class"] == "Ciências"
    assert parts(tmp_path, "Bia", "B") == []


def test_a_lesson_over_midnight_and_a_clock_that_is_set_back_are_one_lesson(recorder: Recorder, tmp_path: Path) -> None:
    record(recorder, phone("Ana", 0, "A"), start("Astronomia"), phone("Ana", 1, "A"))
    record(recorder, phone("Ana", 2, "A", minutes=24 * 60), stop(minutes=-180), phone("Ana", 3, "A", -179))
    assert parts(tmp_path, "Ana", "A") == [("Astronomia", 1, 2)]
    assert lessons(tmp_path) == [(ALL, "Astronomia", at(-180))]


def test_a_session_that_is_closed_when_the_lesson_ends_is_in_it_only_until_then(
    recorder: Recorder, tmp_path: Path, clock: Clock
) -> None:
    record(recorder, start("Ciências"), phone("Ana", 0, "A"))
    offline = stream_state(status=StreamStatus.OFFLINE, session="s-Ana-A")
    record(recorder, delivered(topics.stream_state("local", "A", "Ana"), offline))
    clock.now_s += AFTER_END_S + 1
    record(recorder)
    assert about(tmp_path, "Ana", "A")["status"] == "closed"
    record(recorder, stop(minutes=50), start("Arte", minutes=60), phone("Ana", 1, "A", 61))
    (first, second) = about(tmp_path, "Ana", "A")["lessons"]
    assert (first["name"], first["ended"], first["last_seq"]) == ("Ciências", at(50), 0)
    assert (second["name"], second["first_seq"], second["last_seq"]) == ("Arte", 1, None)


def test_the_same_event_twice_changes_nothing(recorder: Recorder, tmp_path: Path) -> None:
    begun = start("Ciências")
    record(recorder, phone("Ana", 0, "A"), begun, stop(minutes=50), begun)
    assert lessons(tmp_path) == [(ALL, "Ciências", at(50))]


@pytest.mark.parametrize("name", ["", "\x00\n\u202e", "=1+1", "x" * 1000, "'; DROP TABLE lessons; --"])
def test_a_lesson_may_have_any_name(recorder: Recorder, tmp_path: Path, name: str) -> None:
    record(recorder, start(name), phone("Ana", 0, "A"), stop(minutes=50))
    assert lessons(tmp_path) == [(ALL, name, at(50))]
    assert about(tmp_path, "Ana", "A")["class"] == name


def test_only_so_many_lessons_are_listed(recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs stays, however old it is."""
    monkeypatch.setattr(inboxes, "LESSONS_MAX", 3)
    record(recorder, start("Feira"))
    for number in range(5):
        record(recorder, start(f"L{number}", "7B", number))
    assert [name for _, name, _ in lessons(tmp_path)] == ["Feira", "L2", "L3", "L4"]


def test_only_the_newest_lessons_are_remembered(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a session that goes on for weeks, and of those that have ended."""
    monkeypatch.setattr(lesson_rules, "PARTS_MAX", 3)
    monkeypatch.setattr(lesson_rules, "RECENT_MAX", 2)
    for number in range(5):
        record(recorder, start(f"L{number}", minutes=number), phone("Ana", number, "A", number))
    assert [name for name, _, _ in parts(tmp_path, "Ana", "A")] == ["L2", "L3", "L4"]
    assert [each.name for each in recorder._intake.lessons._recent.values()] == ["L2", "L3"]


def test_a_class_that_runs_in_an_inbox_of_the_version_before_goes_on(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / INBOX_FILE)
    inbox.open()
    inbox.close()
    db = sqlite3.connect(tmp_path / INBOX_FILE)
    db.executescript(
        "DROP TABLE lessons; CREATE TABLE classes (code TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;"
        "INSERT INTO classes VALUES ('ABC123', 'Aula 3'); PRAGMA user_version = 3"
    )
    db.close()
    recorder = Recorder(tmp_path)
    recorder.open()
    record(recorder, delivery(0), stop("ABC123", 50))
    recorder.close()
    assert about(tmp_path, "Joao_Silva", "ABC123")["class"] == "Aula 3"
    assert lessons(tmp_path) == [("ABC123", "Aula 3", at(50))]
