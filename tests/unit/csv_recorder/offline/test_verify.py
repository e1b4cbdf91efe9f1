"""Whether recorded files are what was written: every kind of damage is found, and a torn tail is mended."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from csv_recorder.offline.verify import verdicts
from neuroone.contract.files import INBOX_FILE
from tests.support.recordings import (
    NOON,
    SEED_FILE,
    checked,
    event_row,
    raw_rows,
    reading_rows,
    time_text,
    write_index,
    write_session,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A class of two, one with raw samples and three parts, the other still open; both with the old server's file."""
    root = tmp_path / "recordings"
    events = [event_row(NOON, "online"), event_row(NOON, "marker", 'prova, "início"')]
    write_session(root, readings=reading_rows(90, lost=range(40, 45)), raw=raw_rows(5), events=events, parts=3)
    write_session(root, name="Ana", source="ana", readings=reading_rows(30), is_open=True)
    (root / "Joao_Silva.csv").write_text(SEED_FILE, encoding="ascii")
    (root / "Ana.csv").write_text(SEED_FILE, encoding="ascii")
    (root / "sessions" / "2026-11-22" / "events_ABC123.csv").write_bytes(
        b"time,event,first_seq,last_seq,text,check\n" + events[1]
    )
    write_index(root, {"Joao_Silva": "Joao_Silva.csv", "Ana": "Ana.csv"})
    return root


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """Nothing moves in these files: the second look may come at once."""
    monkeypatch.setattr("csv_recorder.__main__.SECOND_LOOK_S", 0.01)


def session(root: Path, source: str = "Joao_Silva") -> Path:
    found = list(root.glob(f"sessions/*/*_{source}"))
    assert len(found) == 1
    return Path(found[0])


def found(root: Path) -> dict[str, str]:
    """Faults by file."""
    looked = verdicts([root], wait=lambda: None)
    return {str(each.path.relative_to(root)): "; ".join(each.faults) for each in looked if each.faults}


def only_fault(root: Path) -> str:
    faults = found(root)
    assert len(faults) == 1, faults
    return next(iter(faults.values()))


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_files_in_order_need_one_line(root, capsys):
    """One line of summary and exit code 0; with --verbose a line for every file."""
    assert main(["verify", str(root)]) == 0
    assert capsys.readouterr().out == "13 files, 163 rows: all in order\n"
    assert main(["verify", str(root), "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert sum(": ok" in line for line in lines) == 13
    assert any(line.endswith("session.json: ok, 5 readings missing") for line in lines)


def test_a_wrong_file_has_one_line_with_all_its_faults(root, capsys):
    """It lists every fault; the exit code is 1."""
    path = session(root) / "readings.csv"
    change(path, b",40,50,", b",41,50,")
    assert main(["verify", str(root)]) == 1
    counts, line, summary = capsys.readouterr().out.splitlines()
    assert line == f"{path}: line 2 does not match its row check; sha256 differs: something in it was changed"
    assert "session.json: counts 85 readings, the files hold 84" in counts
    assert summary == "13 files, 162 rows: 2 wrong"


def test_a_changed_row_of_an_open_session_is_found(root):
    """It has no hash yet; the row check shows it."""
    change(session(root, "ana") / "readings.csv", b",50,", b",59,")
    assert only_fault(root) == "line 2 does not match its row check"


def test_many_changed_rows_are_counted(root):
    path = session(root, "ana") / "readings.csv"
    path.write_bytes(path.read_bytes().replace(b",5e55,", b",5e56,"))
    assert only_fault(root) == "line 2, 3, 4 and 27 more does not match its row check"


def test_a_row_with_other_columns_is_found(root):
    """Even if its check is right."""
    path = session(root, "ana") / "readings.csv"
    path.write_bytes(path.read_bytes() + checked([time_text(NOON), "5e55", 31]))
    assert only_fault(root) == "1 rows do not have 16 columns (line 32)"


def test_a_lost_row_is_found(root):
    """A row removed from a closed session shows in size, hash and counts."""
    path = session(root) / "readings-2.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    faults = found(root)
    assert "bytes, session.json says" in faults[str(path.relative_to(root))]
    assert (
        "counts 5 missing readings, in the files 6 are missing"
        in faults[str((path.parent / "session.json").relative_to(root))]
    )


def test_a_doubled_row_is_found(root):
    folder = session(root, "ana")
    first = (folder / "readings.csv").read_bytes().splitlines(keepends=True)
    (folder / "readings-2.csv").write_bytes(first[0] + first[1])
    assert found(root) == {str((folder / "readings-2.csv").relative_to(root)): "1 readings are there twice (line 2)"}


def test_a_late_row_is_worth_a_note_only(root):
    """A reading that comes too late stands behind newer ones."""
    path = session(root, "ana") / "readings.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines.append(lines.pop(5))
    path.write_bytes(b"".join(lines))
    verdict = next(each for each in verdicts([path], lambda: None) if each.path == path)
    assert (verdict.faults, verdict.notes) == ([], ["1 rows late"])


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("readings", 86, "counts 86 readings, the files hold 85"),
        ("valid", 1, "counts 1 valid, the files hold 85"),
        ("unknown", 1, "counts 1 unknown, the files hold 0"),
        ("raw_blocks", 0, "counts 0 raw_blocks, the files hold 40"),
        ("events", None, "counts None events, the files hold 2"),
        ("missing", 0, "counts 0 missing readings, in the files 5 are missing"),
    ],
)
def test_counts_that_differ_from_the_files_are_named(root, key, value, fault):
    path = session(root) / "session.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["counts"][key] = value
    path.write_text(json.dumps(about), encoding="utf-8")
    assert only_fault(root) == fault


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_sidecar_that_is_not_json_is_wrong(root, content):
    (session(root) / "session.json").write_bytes(content)
    assert only_fault(root).startswith(("cannot be read", "is not a JSON object"))


def test_a_missing_sidecar_is_wrong(root):
    (session(root) / "session.json").unlink()
    assert only_fault(root) == "is missing"


def test_an_unknown_schema_is_wrong(root):
    change(session(root) / "session.json", b'"schema": 1', b'"schema": 9')
    assert only_fault(root) == "schema 9 is not known here"


def test_a_missing_file_and_an_extra_file_are_named(root):
    folder = session(root)
    (folder / "readings-3.csv").rename(folder / "readings-4.csv")
    faults = found(root)
    assert faults[str((folder / "session.json").relative_to(root))] == "readings-3.csv is not there"
    assert faults[str((folder / "readings-4.csv").relative_to(root))] == "is not named in session.json"


def test_another_header_is_wrong(root):
    """A file without its header, and one with another."""
    change(session(root, "ana") / "readings.csv", b"poor_signal", b"poor-signal")
    assert only_fault(root) == "the header is another"
    (session(root, "ana") / "readings.csv").write_bytes(b"")
    assert only_fault(root) == "the header is missing"


def test_events_of_a_group_are_checked(root):
    """They are checked like those of a session."""
    change(root / "sessions" / "2026-11-22" / "events_ABC123.csv", b"prova", b"prove")
    assert only_fault(root) == "line 2 does not match its row check"


def test_rows_of_the_old_servers_file_are_ten_whole_numbers(root):
    """Ten whole numbers each, under its header."""
    change(root / "Ana.csv", b"85,72,", b"85,x,")
    assert only_fault(root) == "line 2 is not ten whole numbers"
    change(root / "Ana.csv", b"85,x,", b"85,72,1,")
    assert only_fault(root) == "line 2 is not ten whole numbers"


def test_the_index_is_checked(root):
    """It names a missing file, and has a row of one column."""
    (root / "Ana.csv").unlink()
    assert only_fault(root) == "1 of the files that it names are not there"
    (root / "names.csv").write_bytes(b"name,file\nJoao_Silva\n")
    assert only_fault(root) == "1 rows do not have 2 columns"
    (root / "names.csv").write_bytes(b"")
    assert only_fault(root).startswith("cannot be read")


@pytest.mark.parametrize("tail", [b"2026-11-22T18:2", b"\0\0\0\0", b"85,72,1"])
def test_repair_cuts_a_torn_tail_and_nothing_else(root, tail, capsys):
    """Of a session, of the old server's file and of a group's events; every other byte stays."""
    torn = [session(root) / "readings-3.csv", session(root, "ana") / "readings.csv", root / "Ana.csv"]
    torn.append(root / "sessions" / "2026-11-22" / "events_ABC123.csv")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for path in torn:
        path.write_bytes(before[path] + tail)
    assert main(["verify", str(root)]) == 1
    out = capsys.readouterr().out
    assert out.count(f"torn tail of {len(tail)} bytes (--repair cuts it off)") == 4
    assert main(["verify", str(root), "--repair"]) == 0
    assert capsys.readouterr().out.count("bytes cut off\n") == 4
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_the_environment_steers_no_repair(root, tmp_path, monkeypatch, capsys):
    """It may say what is only read."""
    torn = root / "Ana.csv"
    torn.write_bytes(torn.read_bytes() + b"1,2")
    before = torn.read_bytes()
    monkeypatch.setenv("NEUROONE_DIR", str(root))
    monkeypatch.chdir(tmp_path.parent)
    assert main(["verify"]) == 1
    assert main(["verify", "--repair"]) == 2
    assert "recordings is not there" in capsys.readouterr().err
    assert torn.read_bytes() == before
    assert main(["verify", "--repair", "--dir", str(root)]) == 0


def test_repair_leaves_other_damage(root, capsys):
    """A changed row stays as it is and stays wrong."""
    path = session(root, "ana") / "readings.csv"
    change(path, b",50,", b",59,")
    before = path.read_bytes()
    assert main(["verify", str(root), "--repair"]) == 1
    assert path.read_bytes() == before


def test_no_repair_while_a_recorder_runs(root, capsys):
    """It would cut a row that the recorder is writing. Verifying alone is allowed."""
    inbox = Inbox(root / INBOX_FILE)
    inbox.open()
    try:
        assert main(["verify", str(session(root)), "--repair"]) == 2
        assert "a recorder writes there: stop it first" in capsys.readouterr().err
        assert main(["verify", str(root)]) == 0
    finally:
        inbox.close()
    assert main(["verify", str(root), "--repair"]) == 0


def test_a_damaged_inbox_stops_a_repair(root, capsys):
    """The command says so in a sentence, and changes nothing."""
    (root / INBOX_FILE).write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Inbox(root / INBOX_FILE).open()
    assert main(["verify", str(root), "--repair"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_row_that_is_being_written_is_not_wrong(root):
    """An open session is read again before it is called wrong."""
    path = session(root, "ana") / "readings.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    looks = verdicts([root], wait=lambda: path.write_bytes(whole))
    assert [each for each in looks if each.faults] == []


def test_a_session_that_closes_meanwhile_is_not_wrong(root):
    """A session that changes while it is read is read again."""
    folder = session(root)
    closed = folder.with_name("closed")
    shutil.copytree(folder, closed)
    (folder / "readings-3.csv").unlink()

    def finish() -> None:
        shutil.copy(closed / "readings-3.csv", folder / "readings-3.csv")

    first = verdicts([folder], wait=finish)
    assert any(each.faults for each in first)  # nothing moved while it was read: it is wrong
    finish()
    assert not any(each.faults for each in verdicts([folder], wait=lambda: None))


def test_a_path_without_a_recording_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no recording" in capsys.readouterr().err
