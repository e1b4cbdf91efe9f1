"""The recorded session: its files, its events, its sidecar."""

import csv
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live.descriptions import AFTER_END_S, IDLE_S
from csv_recorder.live.intake import RAW_WAITING_MAX_BLOCKS, RAW_WAITING_MAX_SESSIONS
from csv_recorder.live.recorder import Options, Recorder
from csv_recorder.live.reorder import ORDER_S
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.files import DEAD_LETTERS_FILE, SIDECAR_FIELDS
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, Message, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import GOLDEN, NOON, reading, stream_state
from tests.unit.csv_recorder.live.test_recorder import Clock, crash, delivery, ended

EVENT: Any = GOLDEN["group_event"]
RAW: Any = GOLDEN["raw"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(tmp_path: Path, clock: Clock) -> Iterator[Recorder]:
    made = Recorder(tmp_path, Options(site="local", version="9.9"), steady=clock)
    made.open()
    yield made
    made.close()


def record(recorder: Recorder, *deliveries: Delivery) -> None:
    recorder.accept(deliveries)
    recorder.write()
    recorder.settle()
    recorder.update_sessions()


def delivered(topic: Topic, message: Message) -> Delivery:
    return Delivery(str(topic), encode(message), False, 1, 1)


def marker(text: str = "now", type: EventType = EventType.MARKER, **changes: Any) -> Delivery:
    event = replace(EVENT, text=text, type=type, source=None, **changes)
    return delivered(topics.event("local", "ABC123"), event)


def only(directory: Path, pattern: str = "sessions/*/*") -> Path:
    (found,) = (path for path in directory.glob(pattern) if path.is_dir())
    return found


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a file, each checked."""
    for line in path.read_bytes().splitlines()[1:]:
        cells, _, check = line.rpartition(b",")
        assert check == b"%08x" % zlib.crc32(cells + b",")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sidecar(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "session.json").read_text(encoding="utf-8"))
    return content


def test_a_session_has_a_directory_of_its_own(recorder: Recorder, tmp_path: Path) -> None:
    """Named by its day, start, group and source; every row with time, session, seq and signal."""
    record(recorder, delivery(0, poor_signal=0), delivery(1, poor_signal=51), delivery(2, poor_signal=None))
    directory = only(tmp_path)
    assert directory.relative_to(tmp_path).as_posix() == f"sessions/{NOON:%Y-%m-%d}/{NOON:%H%M%S}_ABC123_Joao_Silva"
    rows = table(directory / "readings.csv")
    assert [(row["seq"], row["poor_signal"], row["valid"]) for row in rows] == [
        ("0", "0", "1"),
        ("1", "51", "0"),
        ("2", "", ""),
    ]
    assert rows[0]["time"] == "2026-11-22T18:20:31.123456Z"
    assert (rows[0]["attention"], rows[0]["mid_gamma"]) == ("85", "890123")


def test_the_sidecar_says_who_what_and_how_much(recorder: Recorder, tmp_path: Path, clock: Clock) -> None:
    """An open session has no sums; a closed one has the end, counts and SHA-256 of every file."""
    record(
        recorder,
        delivery(0, poor_signal=0),
        delivery(1, poor_signal=51),
        delivery(1, poor_signal=51),
        delivery(4, poor_signal=0),
    )
    assert (sidecar(only(tmp_path))["status"], sidecar(only(tmp_path))["end"]) == ("open", None)
    clock.now_s += ORDER_S + 1
    record(recorder)
    clock.now_s += ORDER_S + 1
    record(recorder, ended_session())
    clock.now_s += AFTER_END_S + 1
    record(recorder)
    directory = only(tmp_path)
    closed = sidecar(directory)
    assert (closed["status"], closed["name"], closed["site"]) == ("closed", "Joao_Silva", "local")
    assert closed.keys() == SIDECAR_FIELDS.keys()
    assert closed["end"] == closed["start"] == "2026-11-22T18:20:31.123456Z"
    assert closed["counts"] == {
        "readings": 3,
        "valid": 2,
        "unknown": 0,
        "duplicates": 1,
        "missing": 2,
        "raw_blocks": 0,
        "events": 3,
    }
    for name, file in closed["files"].items():
        content = (directory / name).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    events = [(row["event"], row["first_seq"], row["last_seq"]) for row in table(directory / "events.csv")]
    assert events == [("duplicates", "1", "1"), ("gap", "2", "3"), ("offline", "", "")]


def ended_session(status: StreamStatus = StreamStatus.OFFLINE) -> Delivery:
    state = replace(stream_state(), session=reading().session, status=status)
    return delivered(topics.stream_state("local", "ABC123", "Joao_Silva"), state)


def test_a_closed_session_goes_on_when_its_stream_does(recorder: Recorder, tmp_path: Path, clock: Clock) -> None:
    record(recorder, delivery(0), ended_session())
    clock.now_s += AFTER_END_S + 1
    record(recorder)
    assert recorder.counters["sessions_closed"] == 1
    record(recorder, delivery(1))
    assert len(table(only(tmp_path) / "readings.csv")) == 2
    clock.now_s += IDLE_S + 1
    record(recorder)
    assert (sidecar(only(tmp_path))["status"], sidecar(only(tmp_path))["counts"]["readings"]) == ("closed", 2)


def test_a_clean_stop_closes_and_a_restart_is_told(tmp_path: Path) -> None:
    """The next recorder notes its start in the events, also after a crash."""
    first = Recorder(tmp_path)
    first.open()
    first.accept([delivery(0)])
    crash(first)
    second = Recorder(tmp_path)
    second.open()
    second.accept([delivery(1)])
    second.close()
    directory = only(tmp_path)
    assert [row["event"] for row in table(directory / "events.csv")] == ["recorder_start", "recorder_stop"]
    assert len(table(directory / "readings.csv")) == 2
    assert sidecar(directory)["status"] == "closed"


def test_a_reading_that_was_overtaken_is_put_in_its_place(recorder: Recorder, tmp_path: Path) -> None:
    """In the student's file, if it comes in time; the session's file has the seq, and waits for nothing."""
    recorder.accept([delivery(0), delivery(2, delta=2)])
    recorder.write()
    record(recorder, delivery(1, delta=1))
    assert [row["seq"] for row in table(only(tmp_path) / "readings.csv")] == ["0", "2", "1"]
    assert [line.split(b",")[2] for line in (tmp_path / "Joao_Silva.csv").read_bytes().splitlines()[2:]] == [b"1", b"2"]


def after_a_crash(directory: Path, *deliveries: Delivery) -> Recorder:
    """A recorder whose forerunner recorded these, and was killed."""
    first = Recorder(directory)
    first.open()
    record(first, *deliveries)
    crash(first)
    again = Recorder(directory)
    again.open()
    return again


def test_what_waits_for_its_turn_survives_a_settling_and_a_crash(tmp_path: Path) -> None:
    """The inbox keeps it and removes the rest."""
    again = after_a_crash(tmp_path, delivery(0), delivery(2))
    again.close()
    assert [row["seq"] for row in table(only(tmp_path) / "readings.csv")] == ["0", "2"]


def student_lines(directory: Path) -> list[bytes]:
    """Return the rows of the student's file."""
    return (directory / "Joao_Silva.csv").read_bytes().splitlines()[1:]


def test_what_waits_for_its_turn_keeps_waiting_after_a_crash(tmp_path: Path) -> None:
    """A broker may redeliver a reading after newer ones."""
    again = after_a_crash(tmp_path, delivery(0, delta=0), delivery(2, delta=2))
    record(again, delivery(3, delta=3), delivery(1, delta=1))
    again.close()
    assert [row["seq"] for row in table(only(tmp_path) / "readings.csv")] == ["0", "2", "3", "1"]
    assert [line.split(b",")[2] for line in student_lines(tmp_path)] == [b"0", b"1", b"2", b"3"]


def test_files_go_on_in_new_ones(tmp_path: Path, clock: Clock) -> None:
    """At a size and at an age. No file is renamed, each has its header, and ended ones have their sums."""
    recorder = Recorder(tmp_path, Options(rotate_bytes=1000, rotate_s=600), steady=clock)
    recorder.open()
    for seq in range(20):
        record(recorder, delivery(seq))
    parts = sorted(path.name for path in only(tmp_path).glob("readings*.csv"))
    assert parts == ["readings-2.csv", "readings-3.csv", "readings.csv"]
    assert set(sidecar(only(tmp_path))["files"]) == {"readings.csv", "readings-2.csv"}
    clock.now_s += 601
    record(recorder)
    record(recorder, delivery(20))
    assert (only(tmp_path) / "readings-4.csv").exists()
    recorder.close()
    rows = [row["seq"] for number in ("", "-2", "-3", "-4") for row in table(only(tmp_path) / f"readings{number}.csv")]
    assert rows == [str(seq) for seq in range(21)]


def test_a_crash_after_a_file_went_on_in_a_new_one_doubles_nothing(tmp_path: Path, clock: Clock) -> None:
    """The rows that wait belong to the new file, although the crash came before it was synced."""
    recorder = Recorder(tmp_path, Options(rotate_bytes=1000), steady=clock)
    recorder.open()
    for seq in range(15):
        record(recorder, delivery(seq))
    recorder.accept([delivery(15), delivery(16)])
    recorder.write()
    recorder._inbox.close()  # as a killed program does
    recorder = Recorder(tmp_path, steady=clock)
    recorder.open()
    record(recorder, delivery(17))
    recorder.close()
    parts = sorted(only(tmp_path).glob("readings*.csv"), key=lambda path: (len(path.name), path.name))
    assert len(parts) > 1
    assert [row["seq"] for path in parts for row in table(path)] == [str(seq) for seq in range(18)]


def test_a_marker_is_with_everyone_in_the_group(recorder: Recorder, tmp_path: Path) -> None:
    """Once, also in the group's own file, even if it comes twice. The class gets its name from its start event."""
    record(recorder, marker("Aula 3", EventType.SESSION_START, id="e1"))
    other = delivery(source="Ana", name="Ana", session="s-ana")
    record(recorder, delivery(0), other, marker('say "a,\nb"', id="e2"), marker('say "a,\nb"', id="e2"))
    for source in ("Joao_Silva", "Ana"):
        directory = only(tmp_path, f"sessions/*/*_{source}")
        assert [(row["event"], row["text"]) for row in table(directory / "events.csv")] == [
            ("marker", 'say "a, b"'),
        ]
        assert sidecar(directory)["class"] == "Aula 3"
    (group,) = tmp_path.glob("sessions/*/events_ABC123.csv")
    assert [row["event"] for row in table(group)] == ["session_start", "marker"]


def test_a_marker_for_one_student_is_with_that_one_only(recorder: Recorder, tmp_path: Path) -> None:
    event = replace(EVENT, id="e3", source="Ana")
    record(recorder, delivery(0), delivered(topics.event("local", "ABC123"), event))
    assert not (only(tmp_path) / "events.csv").exists()


def test_raw_blocks_have_a_file_of_their_own(recorder: Recorder, tmp_path: Path) -> None:
    """Those of the second before the first reading of their session too, whose samples belong to that reading."""
    topic = topics.raw("local", "ABC123", "Joao_Silva")
    blocks = [replace(RAW, seq=n, first_sample=64 * n) for n in range(4)]
    record(recorder, delivered(topic, blocks[0]))
    record(recorder, delivered(topic, blocks[1]), delivery(0), delivered(topic, blocks[2]))
    record(recorder, delivered(topic, blocks[3]))
    record(recorder, *(delivered(topic, each) for each in blocks))  # again, after an outage of the broker
    rows = table(only(tmp_path) / "raw.csv")
    assert [row["first_sample"] for row in rows] == ["0", "64", "128", "192"]
    assert tuple(map(int, rows[0]["samples"].split())) == RAW.samples
    assert rows[0]["rate_hz"] == "512"


def test_raw_blocks_of_students_are_recorded_where_those_of_headsets_are_not(tmp_path: Path) -> None:
    """The sidecar says so; a lesson's state, also a cleared one, is no reading and no fault."""
    recorder = Recorder(tmp_path, Options(raw=False))
    recorder.open()
    topic = topics.raw("local", "ABC123", "Joao_Silva")
    lesson = topics.lesson("local", "ABC123")
    record(recorder, delivered(lesson, GOLDEN["lesson_raw"]), Delivery(str(lesson), b"", True, 1, 1))
    for kind in ("client", "headset"):
        block = replace(RAW, session=kind)
        record(recorder, delivered(topic, block), delivery(0, session=kind, kind=kind), delivered(topic, block))
        record(recorder, delivered(topic, replace(block, seq=block.seq + 1)))
    recorder.close()
    kept = {path.parent.name.rpartition("_")[2]: len(table(path)) for path in tmp_path.glob("sessions/*/*/raw.csv")}
    assert list(kept.values()) == [2]
    abouts = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("sessions/*/*/session.json")]
    assert {about["kind"]: about["rates_hz"].get("raw") for about in abouts} == {"client": 512, "headset": 512}
    assert not (tmp_path / DEAD_LETTERS_FILE).exists()


def test_raw_blocks_of_a_session_that_never_comes_are_bounded(recorder: Recorder, tmp_path: Path) -> None:
    topic = topics.raw("local", "ABC123", "Joao_Silva")
    for n in range(3 * RAW_WAITING_MAX_BLOCKS):
        record(recorder, delivered(topic, replace(RAW, seq=n, first_sample=64 * n)))
    (kept,) = recorder._intake._raw_waiting.values()
    assert [each.seq for each in kept] == [*range(2 * RAW_WAITING_MAX_BLOCKS, 3 * RAW_WAITING_MAX_BLOCKS)]
    others = (replace(RAW, session=f"s{n}") for n in range(RAW_WAITING_MAX_SESSIONS))
    record(recorder, *(delivered(topics.raw("local", "ABC123", other.session), other) for other in others))
    assert len(recorder._intake._raw_waiting) == RAW_WAITING_MAX_SESSIONS
    record(recorder, delivery(0))
    assert not (only(tmp_path) / "raw.csv").exists()


def test_only_so_many_sessions_are_known_by_their_newest_raw_block(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csv_recorder.live.intake.RAW_SEQS_MAX_SESSIONS", 3)
    for n in range(5):
        block = replace(RAW, session=f"s{n}")
        record(recorder, delivery(0, session=f"s{n}"), delivered(topics.raw("local", "ABC123", "Joao_Silva"), block))
    assert len(recorder._intake._raw_seqs) == 3


def test_old_style_files_can_be_turned_off(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, Options(csv=False))
    recorder.open()
    record(recorder, delivery(0))
    recorder.close()
    assert not [*tmp_path.glob("*.csv")]
    assert len(table(only(tmp_path) / "readings.csv")) == 1


def test_two_sessions_of_one_second_have_two_directories(recorder: Recorder, tmp_path: Path) -> None:
    """A phone may reconnect at once."""
    record(recorder, delivery(0), delivery(0, session="another"), ended())
    assert len([path for path in tmp_path.glob("sessions/*/*") if path.is_dir()]) == 2


def test_a_session_id_with_a_comma_moves_no_column(recorder: Recorder, tmp_path: Path) -> None:
    """Third parties choose any session id."""
    record(recorder, delivery(0, session='a,"b"', poor_signal=0))
    (row,) = table(only(tmp_path) / "readings.csv")
    assert (row["session"], row["valid"], row["seq"]) == ('a,"b"', "1", "0")
