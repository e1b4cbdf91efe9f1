"""Another number of recorders: who goes on with a session knows what is recorded of it."""

import csv
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.inbox_shard import note_shard, shard_in
from csv_recorder.live.recorder import Options, Recorder
from csv_recorder.live.sessions import HOLES_MAX
from csv_recorder.offline.verify import verdicts
from csv_recorder.resharding import reshard
from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE, seq_of
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, GroupEvent, RecordedStream
from neuroone.data import read_all, sessions
from neuroone.data.recordings import find
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import NOON, reading

STREAM = ("5KXPVN", "Maria")
"""Of shards 1/1, 1/2, 3/3 and 3/4."""


def a_reading(seq: int, source: str = STREAM[1]) -> Delivery:
    message = reading(name="Maria", code=STREAM[0], seq=seq, time=NOON + timedelta(seconds=seq))
    return Delivery(str(topics.reading("local", STREAM[0], source)), encode(message), False, 1, 1)


def a_start(name: str) -> Delivery:
    event = GroupEvent(id=f"start-{name}", time=NOON, type=EventType.SESSION_START, text=name, source=None)
    return Delivery(str(topics.event("local", topics.ALL)), encode(event), False, 1, 1)


def record(directory: Path, shard: str, *deliveries: Delivery) -> list[RecordedStream]:
    """Let the recorder of a shard record; return its receipts."""
    recorder = Recorder(directory, Options(shard=shard))
    recorder.open()
    recorder.accept(deliveries)
    receipts = recorder.receipts()
    recorder.close()
    return receipts


def seqs(directory: Path) -> list[int]:
    paths = sorted(directory.glob("sessions/*/*/readings.csv"))
    return [seq_of(row) for path in paths for row in path.read_bytes().splitlines()[1:]]


def faults(parent: Path) -> list[str]:
    return [fault for each in verdicts([parent], lambda: None) for fault in each.faults]


def shards(directories: Sequence[Path]) -> list[str]:
    found = []
    for each in directories:
        inbox = Inbox(each / INBOX_FILE)
        inbox.open()
        found.append(shard_in(inbox.db))
        inbox.close()
    return found


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [tmp_path / name for name in "123"]


def test_a_session_goes_on_in_another_directory(folders: list[Path]) -> None:
    """What comes again is left out, a late reading is taken, and no reading counts as missing."""
    record(folders[0], "1/2", *map(a_reading, (0, 1, 3)))
    record(folders[1], "2/2")
    assert reshard(folders, 3, "local").shards == ["1/3", "2/3", "3/3"]
    (receipt,) = record(folders[2], "3/3", *map(a_reading, (1, 2, 3, 4, 5)))
    assert (receipt.seq, receipt.rows, receipt.duplicates, receipt.gaps) == (5, 3, 2, 0)
    assert (seqs(folders[0]), seqs(folders[2])) == ([0, 1, 3], [2, 4, 5])
    counts: dict[str, Any] = next(each for each in find([folders[2]]) if not each.is_legacy).about["counts"]
    assert (counts["readings"], counts["missing"], counts["elsewhere"]) == (3, 0, 3)
    assert faults(folders[0].parent) == []


def test_a_session_comes_back(folders: list[Path]) -> None:
    record(folders[0], "1/2", *map(a_reading, (0, 1)))
    record(folders[1], "2/2")
    reshard(folders, 3, "local")
    record(folders[2], "3/3", *map(a_reading, (2, 3)))
    assert reshard(folders, 2, "local").shards == ["1/2", "2/2", "retired"]
    (receipt,) = record(folders[0], "1/2", *map(a_reading, (3, 4)))
    assert (receipt.seq, receipt.rows, receipt.gaps) == (4, 3, 0)
    assert (seqs(folders[0]), seqs(folders[2])) == ([0, 1, 4], [2, 3])
    assert faults(folders[0].parent) == []


def test_readings_that_are_given_up_count_as_missing_elsewhere_too(folders: list[Path]) -> None:
    """A receipt that named fewer gaps would tell a phone that they are recorded."""
    record(folders[0], "", *(a_reading(2 * each) for each in range(HOLES_MAX + 3)))
    reshard(folders, 3, "local")
    (receipt,) = record(folders[2], "3/3", a_reading(2 * HOLES_MAX + 5))
    assert (receipt.seq, receipt.gaps) == (2 * HOLES_MAX + 5, HOLES_MAX + 2)


def test_a_session_that_changed_its_source_is_known_as_a_whole(folders: list[Path]) -> None:
    """A gateway died, and another student has the name's source: the session went on with the other recorder."""
    record(folders[0], "1/2", *map(a_reading, range(4)))
    record(folders[1], "2/2", *(a_reading(seq, "Maria-3") for seq in (4, 6)))
    for of in (2, 1):
        reshard(folders[:2], of, "local")
        assert faults(folders[0].parent) == []
    (receipt,) = record(folders[0], "", *map(a_reading, (0, 5, 7)))
    assert (receipt.seq, receipt.duplicates, receipt.gaps) == (7, 1, 0)
    assert (seqs(folders[0]), seqs(folders[1])) == ([0, 1, 2, 3, 5, 7], [4, 6])
    assert faults(folders[0].parent) == []


def test_recordings_of_all_are_divided_and_brought_together(folders: list[Path]) -> None:
    record(folders[0], "", *map(a_reading, (0, 1)))
    reshard(folders, 3, "local")
    record(folders[2], "3/3", a_reading(2))
    assert reshard(folders, 1, "local").shards == ["", "retired", "retired"]
    record(folders[0], "", *map(a_reading, (2, 3)))
    assert (seqs(folders[0]), seqs(folders[2])) == ([0, 1, 3], [2])


def test_every_recorder_knows_the_lesson_that_runs(folders: list[Path]) -> None:
    record(folders[0], "", a_start("Ciências"), a_reading(0))
    reshard(folders, 3, "local")
    record(folders[2], "3/3", a_start("Ciências"), a_reading(1))
    (about,) = {str(each.about["lessons"][0]["name"]) for each in find([folders[2]]) if not each.is_legacy}
    assert about == "Ciências"
    assert not [*folders[2].glob("sessions/*/events_*.csv")]


def test_one_that_was_broken_off_is_run_again(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    record(folders[0], "1/2", a_reading(0))
    record(folders[1], "2/2")
    calls: list[object] = []

    def fail_later(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise OSError(5, "the disk refuses")
        note_shard(*given)

    with monkeypatch.context() as patch:
        patch.setattr("csv_recorder.resharding.note_shard", fail_later)
        with pytest.raises(OSError, match="refuses"):
            reshard(folders, 3, "local")
    assert shards(folders) == ["1/3", "2/2", "retired"]
    reshard(folders, 3, "local")
    assert shards(folders) == ["1/3", "2/3", "3/3"]
    record(folders[2], "3/3", *map(a_reading, (0, 1)))
    assert seqs(folders[2]) == [1]


def test_one_recorder_again_that_was_broken_off_is_run_again(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first directory is of all already; the broker is to forget those of both shards still."""
    record(folders[0], "1/2", a_reading(0))
    record(folders[1], "2/2")

    def fail_to_retire(db: sqlite3.Connection, text: str) -> None:
        if text == "retired":
            raise OSError(5, "the disk refuses")
        note_shard(db, text)

    with monkeypatch.context() as patch:
        patch.setattr("csv_recorder.resharding.note_shard", fail_to_retire)
        with pytest.raises(OSError, match="refuses"):
            reshard(folders[:2], 1, "local")
    assert shards(folders[:2]) == ["", "2/2"]
    for _ in range(2):  # the first time without --broker
        done = reshard(folders[:2], 1, "local")
        assert (done.shards, done.gone) == (["", "retired"], ("shard-1", "shard-2"))
    assert reshard(folders[:2], 2, "local").gone == ("main",)


def test_what_is_refused_leaves_no_directory_behind(folders: list[Path]) -> None:
    record(folders[0], "1/2", a_reading(0))
    with pytest.raises(SettingsError, match="2/2 is missing"):
        reshard(folders, 3, "local")
    assert not folders[1].exists()


def test_what_would_lose_sessions_is_refused(folders: list[Path]) -> None:
    record(folders[0], "1/2", a_reading(0))
    for directories, of, words in (
        ([folders[0], folders[0]], 2, "different directories"),
        ([folders[0]], 2, "2 different directories"),
        ([folders[0]], 1, "shard 2/2 is missing"),
    ):
        with pytest.raises(SettingsError, match=words):
            reshard(directories, of, "local")
    recorder = Recorder(folders[0], Options(shard="1/2"))
    recorder.open()
    with pytest.raises(SettingsError, match="a recorder writes there"):
        reshard(folders, 3, "local")
    recorder.close()


@pytest.mark.parametrize(
    ("stored", "given", "words"),
    [
        ("1/2", "2/2", "is of shard 1/2, and --shard is 2/2"),
        ("1/2", "", "is of shard 1/2, and --shard is not given"),
        ("", "1/2", "holds recordings of all students, and --shard is 1/2"),
    ],
)
def test_the_directory_of_another_shard_is_refused(tmp_path: Path, stored: str, given: str, words: str) -> None:
    record(tmp_path, stored, a_reading(0))
    with pytest.raises(SettingsError, match=words):
        record(tmp_path, given)
    record(tmp_path, stored, a_reading(1))


def test_a_folder_of_shards_is_read_as_one(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Report, lessons, exports and `neuroone.data` see each reading once, also of a session that went on elsewhere."""
    parent = folders[0].parent
    record(folders[0], "", a_start("Ciências"), *map(a_reading, range(4)))
    reshard(folders, 3, "local")
    record(folders[2], "3/3", *map(a_reading, range(3, 9)))
    assert read_all(parent)["seq"].tolist() == [*range(9)]
    assert sessions(parent)["readings"].tolist() == [4, 5]
    capsys.readouterr()
    for command in (["lessons", "--json"], ["report", "--csv", str(parent / "r.csv")], ["verify"]):
        assert main([*command, str(parent)]) == 0
    said = capsys.readouterr().out
    assert said.count('"name": "Ciências"') == 1
    assert '"students": 1' in said
    (row,) = csv.DictReader((parent / "r.csv").read_text(encoding="utf-8").splitlines())
    assert (row["student"], row["rows"], row["missing"]) == ("Maria", "9", "0")
    assert main(["export", "--to", "parquet", "--out", str(parent / "out"), *map(str, folders[::2])]) == 0
    assert sum(pq.read_table(each).num_rows for each in (parent / "out" / "readings").glob("*.parquet")) == 9


def test_a_student_is_forgotten_where_nothing_is_recorded_yet(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The inbox of the next recorder knows whose sessions it got."""
    record(folders[0], "", a_reading(0))
    reshard(folders, 3, "local")
    assert b"Maria" in (folders[2] / INBOX_FILE).read_bytes()
    assert main(["forget", "--dir", str(folders[2]), "--name", "Maria", "--yes"]) == 0, capsys.readouterr()
    assert b"Maria" not in (folders[2] / INBOX_FILE).read_bytes()
    assert main(["prune", "--dir", str(folders[2]), "--older-than", "1", "--yes"]) == 0
    assert main(["rebuild", "--dir", str(folders[2]), "--force"]) == 0
    assert shards(folders) == ["1/3", "2/3", "3/3"]


def test_a_recorder_of_all_does_not_write_beside_shards(folders: list[Path]) -> None:
    """An update of a server starts it again in the folder that holds their directories; retired ones do not matter."""
    record(folders[0], "1/2", a_reading(0))
    record(folders[1], "2/2")
    parent = folders[0].parent
    with pytest.raises(SettingsError, match="holds directories of shards, like 1"):
        record(parent, "")
    reshard([parent, *folders[:2]], 1, "local")
    record(parent, "", a_reading(0), a_reading(1))
    assert seqs(parent) == [1]
