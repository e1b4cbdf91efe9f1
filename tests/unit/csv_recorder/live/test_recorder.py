"""From deliveries to files, with a clock of the test's own."""

import errno
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv_recorder.live.descriptions import IDLE_S
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import RETRY_MIN_S
from csv_recorder.live.recorder import Recorder
from csv_recorder.live.student_files import ACTIVE_S
from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import DEAD_LETTERS_FILE, INBOX_FILE, INDEX, STUDENT_HEADER, file_key, student_row
from neuroone.contract.json import encode
from neuroone.contract.messages import StreamStatus
from neuroone.data.recordings import index
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import reading, stream_state


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def delivery(seq: int = 0, source: str = "Joao_Silva", **changes: Any) -> Delivery:
    message = reading(seq=seq, **changes)
    topic = topics.reading("local", topics.group_id(message.code), source)
    return Delivery(str(topic), encode(message), False, 1, 1)


def ended(source: str = "Joao_Silva", code: str = "ABC123") -> Delivery:
    topic = topics.stream_state("local", code, source)
    return Delivery(str(topic), encode(stream_state(status=StreamStatus.OFFLINE)), False, 1, 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(tmp_path: Path, clock: Clock) -> Iterator[Recorder]:
    made = Recorder(tmp_path, steady=clock)
    made.open()
    yield made
    made.close()


def record(recorder: Recorder, *deliveries: Delivery) -> None:
    recorder.accept(deliveries)
    recorder.write()


def rows_of(path: Path) -> list[bytes]:
    content = path.read_bytes()
    assert content.startswith(STUDENT_HEADER)
    assert content.endswith(b"\n")
    return content.splitlines(keepends=True)[1:]


def test_the_first_servers_file_is_the_same_to_the_byte(recorder: Recorder, tmp_path: Path) -> None:
    """Header and row of the old server's example."""
    record(recorder, delivery())
    assert (tmp_path / "Joao_Silva.csv").read_bytes() == (
        b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
        b"85,72,123456,234567,345678,456789,567890,678901,789012,890123\n"
    )


def test_a_file_of_the_old_server_is_continued(recorder: Recorder, tmp_path: Path) -> None:
    """Also if its last line has no end."""
    (tmp_path / "Joao_Silva.csv").write_bytes(STUDENT_HEADER + b"1,2,3,4,5,6,7,8,9,10")
    record(recorder, delivery())
    assert rows_of(tmp_path / "Joao_Silva.csv") == [b"1,2,3,4,5,6,7,8,9,10\n", student_row(reading())]


def test_a_reading_that_comes_again_is_written_once(recorder: Recorder, tmp_path: Path) -> None:
    """In the same batch, in a later one, and after a restart; a gap is counted, and closed when it is filled late."""
    record(recorder, delivery(0), delivery(0), delivery(3))
    record(recorder, delivery(0), delivery(1), delivery(3))
    recorder.close()
    again = Recorder(tmp_path)
    again.open()
    record(again, delivery(1), delivery(3), delivery(4))
    (receipt,) = again.receipts()
    again.close()
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 4
    assert (receipt.seq, receipt.rows, receipt.duplicates, receipt.gaps) == (4, 4, 5, 1)


def test_a_reading_without_a_name_is_counted_not_written(recorder: Recorder, tmp_path: Path) -> None:
    """Its receipt comes all the same, so that nobody sends it again."""
    record(recorder, delivery(name=None))
    assert not (tmp_path / "Joao_Silva.csv").exists()
    assert recorder.counters["unnamed"] == 1
    assert recorder.receipts()[0].seq == 0


def test_two_students_of_one_name(recorder: Recorder, tmp_path: Path, clock: Clock) -> None:
    """The later student's file has the code while both are active. After one has left, the next gets the name alone."""
    record(recorder, delivery(), delivery(code="5KXPVN"), delivery(1), delivery(1, code="5KXPVN"))
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 2
    assert len(rows_of(tmp_path / "Joao_Silva__5KXPVN.csv")) == 2
    record(recorder, ended())
    record(recorder, delivery(code="5NEWER"))
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 3
    clock.now_s += ACTIVE_S + 1
    record(recorder, delivery(2))
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 4


def test_a_student_who_begins_anew_goes_on_in_the_same_file(recorder: Recorder, tmp_path: Path) -> None:
    """Also where the next stream has another name, as at a gateway that has not heard yet of the end."""
    record(recorder, delivery(), delivery(1))
    record(recorder, delivery(2), delivery(source="Joao_Silva-2", session="the-next-one"), ended())
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 4
    assert [each.name for each in tmp_path.glob("*.csv")] == ["Joao_Silva.csv"]


def test_three_of_one_name_and_code_have_three_files(recorder: Recorder, tmp_path: Path) -> None:
    sources = ("Joao_Silva", "Joao_Silva-2", "Joao_Silva-3")
    for seq in range(2):
        record(recorder, *(delivery(seq, source, session=source) for source in sources))
    names = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert names == ["Joao_Silva.csv", "Joao_Silva__ABC123-2.csv", "Joao_Silva__ABC123.csv"]
    assert {len(rows_of(path)) for path in tmp_path.glob("*.csv")} == {2}


@given(names=st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True))
def test_no_two_names_share_a_file_and_none_leaves_the_directory(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every row is found again in a file of its own, directly in the directory."""
    directory = tmp_path_factory.mktemp("names")
    recorder = Recorder(directory)
    recorder.open()
    record(
        recorder, *(delivery(source=f"s{number}", name=name, session=f"s{number}") for number, name in enumerate(names))
    )
    recorder.close()
    listed = {name: file for file, name in index(directory).items()}
    assert listed.keys() == set(names)
    files = {path.name for path in directory.glob("*.csv")} - {INDEX}
    assert files == set(listed.values())
    assert len(files) == len(names)
    assert all(len(rows_of(directory / file)) == 1 for file in files)
    assert len([*directory.glob("sessions/*/*/readings.csv")]) == len(names)


def test_names_that_differ_in_case_have_two_files(recorder: Recorder, tmp_path: Path) -> None:
    """On Windows and macOS their names would be one file."""
    record(recorder, delivery(name="ANA", source="a", session="a"), delivery(name="Ana", source="b", session="b"))
    names = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert len({name.casefold() for name in names}) == 2


def test_an_invalid_message_is_kept_and_harms_nobody(recorder: Recorder, tmp_path: Path) -> None:
    """It is counted, written to the dead letters, and the readings around it are recorded."""
    bad = Delivery("neuroone/v1/local/streams/g/s/reading", b'{"seq": "x"}', False, 1, 1)
    foreign = Delivery("other/topic", b"", False, 1, 1)
    record(recorder, delivery(0), bad, foreign, delivery(1))
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 2
    assert recorder.counters["dead_letters"] == 2
    assert (tmp_path / DEAD_LETTERS_FILE).read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("cut", [0, 1, 40, 80, 100, 150])
def test_a_crash_between_inbox_and_file_is_mended(tmp_path: Path, cut: int) -> None:
    """The file may hold any part of the waiting rows; each is there once after the next start."""
    recorder = Recorder(tmp_path)
    recorder.open()
    record(recorder, *(delivery(seq) for seq in range(2)))
    whole = (tmp_path / "Joao_Silva.csv").read_bytes()
    crash(recorder)
    (tmp_path / "Joao_Silva.csv").write_bytes(whole[:cut])
    again = Recorder(tmp_path)
    again.open()
    again.close()
    assert (tmp_path / "Joao_Silva.csv").read_bytes() == whole


def test_a_crash_after_a_settled_part_is_mended(tmp_path: Path) -> None:
    """Only rows after the last sync wait; what somebody else appended stays."""
    recorder = Recorder(tmp_path)
    recorder.open()
    record(recorder, delivery(0))
    recorder.settle()
    recorder.accept([delivery(1)])
    crash(recorder)
    with (tmp_path / "Joao_Silva.csv").open("ab") as file:
        file.write(b"note of a teacher")
    again = Recorder(tmp_path)
    again.open()
    again.close()
    assert rows_of(tmp_path / "Joao_Silva.csv") == [
        student_row(reading()),
        b"note of a teacher\n",
        student_row(reading()),
    ]


def crash(recorder: Recorder) -> None:
    """Let go of the database and the files without a word, as a killed program does."""
    recorder._inbox.close()
    recorder.disk.close_all()


def test_a_full_disk_is_not_acknowledged_and_leaves_no_half_row(
    recorder: Recorder, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the inbox are written once when there is room again."""
    record(recorder, delivery(0))
    with monkeypatch.context() as patch:

        def full(handle: int, content: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "write", full)
        record(recorder, delivery(1))
        assert [fault.partition("(")[2] for fault in recorder.faults()] == ["No space left on device)"] * 2
    clock.now_s += RETRY_MIN_S
    record(recorder, delivery(2))
    assert recorder.faults() == []
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 3


def test_a_second_recorder_in_the_directory_is_refused(recorder: Recorder, tmp_path: Path) -> None:
    second = Recorder(tmp_path)
    with pytest.raises(SettingsError, match="another recorder uses"):
        second.open()


def test_a_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A file in its place, and an inbox that is not a database."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is not writable"):
        Recorder(tmp_path / "file" / "dir").open()
    (tmp_path / INBOX_FILE).write_bytes(b"this is no database" * 100)
    with pytest.raises(SettingsError, match="is damaged"):
        Recorder(tmp_path).open()


def test_every_stream_has_a_receipt_and_has_it_once(recorder: Recorder) -> None:
    record(recorder, *(delivery(source=f"s{number}", name=None) for number in range(450)))
    assert [receipt.source for receipt in recorder.receipts()] == [f"s{number}" for number in range(450)]
    assert recorder.receipts() == []


def refuse_commits(patch: pytest.MonkeyPatch) -> None:
    """The disk of the inbox is full."""

    def full(self: Inbox) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    patch.setattr(Inbox, "commit", full)


def test_a_settling_that_failed_does_not_double_rows_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next settling also stores the sizes that the failed one could not store."""
    recorder = Recorder(tmp_path)
    recorder.open()
    record(recorder, delivery(0))
    with monkeypatch.context() as patch:
        refuse_commits(patch)
        with pytest.raises(sqlite3.OperationalError):
            recorder.settle()
    record(recorder, delivery(0, source="b", name="B", session="b"))
    recorder.settle()
    record(recorder, delivery(1))
    crash(recorder)
    again = Recorder(tmp_path)
    again.open()
    again.close()
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 2


def test_a_refused_batch_has_no_receipt(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt covers only what is on the disk."""
    record(recorder, delivery(0))
    with monkeypatch.context() as patch:
        refuse_commits(patch)
        with pytest.raises(sqlite3.OperationalError):
            recorder.accept([delivery(1), delivery(2)])
    assert [(receipt.seq, receipt.rows) for receipt in recorder.receipts()] == [(0, 1)]


def test_more_sessions_than_are_remembered_double_nothing(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a session comes again in the same batch."""
    monkeypatch.setattr("csv_recorder.live.sessions.SESSIONS_MAX", 2)
    for _ in range(2):
        record(recorder, *(delivery(source=each, name=each.upper(), session=each) for each in ("a", "b", "c", "a")))
    assert {path.name: len(rows_of(path)) for path in tmp_path.glob("*.csv")} == {"A.csv": 1, "B.csv": 1, "C.csv": 1}


def test_deleted_recordings_are_begun_again(recorder: Recorder, tmp_path: Path) -> None:
    """A deleted database would accept rows and lose them."""
    record(recorder, delivery(0))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    record(recorder, delivery(1), delivery(2))
    recorder.write(all=True)
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 2


def hostile_names(count: int) -> list[str]:
    """What somebody may type who wants to break out, collide, or be illegible; no two alike."""
    rng = random.Random(20261123)
    parts = [
        *(
            "..",
            "/",
            "\\",
            ".",
            " ",
            "~",
            "C:",
            "CON",
            "nul",
            "COM1",
            "LPT¹",
            "names",
            "sessions",
            ".inbox",
            ".sqlite",
            ".csv",
        ),
        *(
            "\0",
            "\n",
            "\r\n",
            "\t",
            "\u202e",
            "\u200b",
            "\ufeff",
            "\u2028",
            "é",
            "e\u0301",
            "É",
            "ß",
            "SS",
            "ı",
            "İ",
            "ﬁ",
            "fi",
        ),
        *(
            "Ana",
            "ANA",
            "ana",
            "José",
            "名前",
            "😀",
            "👩‍👩‍👧",
            "<img src=x onerror=alert(1)>",
            "=1+1",
            "'; DROP TABLE files; --",
        ),
        *(
            "%2e%2e",
            "$HOME",
            "`id`",
            "|",
            "?",
            "*",
            ":",
            '"',
            "a" * 300,
            "🧠" * 100,
            "neuroone/v1/#",
            "+",
            "__ABC123",
            "-3754d6",
        ),
    ]
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choices(parts, k=rng.randint(1, 5)))] = None
    return list(names)


def test_a_class_sees_its_rows_after_a_second_whoever_was_there_before(recorder: Recorder, clock: Clock) -> None:
    record(recorder, *(delivery(source=f"s{number}", session=f"s{number}", name=None) for number in range(1500)))
    assert recorder.turn_s == 3.0
    clock.now_s += IDLE_S + 1
    recorder.settle()
    while recorder.update_sessions():
        pass
    record(recorder, delivery())
    assert recorder.turn_s == 1.0


@pytest.mark.timeout(300)  # 40,000 files are made and synced
def test_ten_thousand_hostile_names(recorder: Recorder, tmp_path: Path) -> None:
    """Nothing outside the directory, no two students in one file on any system, every row found again."""
    names = hostile_names(10_000)
    before = sorted(tmp_path.parent.iterdir())
    for start in range(0, len(names), 500):
        record(
            recorder,
            *(
                delivery(name=name, source=f"s{number}", session=f"s{number}", delta=number, code=None)
                for number, name in enumerate(names[start : start + 500], start)
            ),
        )
    recorder.settle()
    assert sorted(tmp_path.parent.iterdir()) == before
    listed = {name: file for file, name in index(tmp_path).items()}
    assert listed.keys() == set(names)
    assert len({file_key(file) for file in listed.values()}) == len(names)
    for number, name in enumerate(names):
        file = tmp_path / listed[name]
        assert file.parent == tmp_path
        (only,) = rows_of(file)
        assert int(only.split(b",")[2]) == number
    crash(recorder)  # closing so many sessions takes a while


@pytest.mark.parametrize(
    "payload",
    [
        b'{"counters": {"\\ud800": %s}}' % (b"9" * 400),
        b"[" * 100_000,
        b'{"seq": NaN, "time": "\xff"}',
        b'{"seq": 1e400}',
        b"",
    ],
)
def test_whatever_the_contract_refuses_is_acknowledged_and_kept(
    recorder: Recorder, tmp_path: Path, payload: bytes
) -> None:
    topics_of_stream = (topics.reading, topics.raw, topics.stream_state)
    bad = [Delivery(str(each("local", "g", "s")), payload, False, 1, 1) for each in topics_of_stream]
    record(recorder, *bad, delivery(0))
    letters = (tmp_path / DEAD_LETTERS_FILE).read_text(encoding="utf-8").splitlines()
    assert len(letters) == recorder.counters["dead_letters"] == 3 - (payload == b"")  # an empty state removes one
    assert len(rows_of(tmp_path / "Joao_Silva.csv")) == 1
