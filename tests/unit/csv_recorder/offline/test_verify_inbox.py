"""Verifying open, reopened and crashed sessions: every tampering is found, and healthy recordings raise no alarm."""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline import verify, verify_session
from csv_recorder.offline.verify import verdicts
from neuroone.contract.files import INBOX_FILE
from tests.support.lessons import Lesson
from tests.support.recordings import SEED_FILE

CLOSED_BEFORE = "session.json.before"
"""The sidecar of Davi's session as it was when the session was closed for the first time."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csv_recorder.__main__.SECOND_LOOK_S", 0.01)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a killed recorder leaves.

    Ana's session is open in two parts, five of her readings wait; Bia's is closed; Caio's has raw samples; Davi's is
    opened again; Eva's began at the end: she has no file yet. There is a marker, and a file of the first server.
    """
    place = tmp_path_factory.mktemp("verify")
    (place / "live").mkdir()
    (place / "live" / "Antigo.csv").write_text(SEED_FILE, encoding="ascii")
    lesson = Lesson(place / "live", rotate_bytes=2500)
    lesson.record("ana", range(20))
    lesson.record("ana", range(20, 30))
    lesson.record("ana", range(30, 34))
    lesson.record("bia", range(10))
    lesson.record("caio", range(10))
    lesson.send_raw("caio", range(3))
    lesson.mark("prova")
    lesson.record("davi", range(8))
    lesson.end("bia")
    lesson.end("davi")
    shutil.copy(folder(lesson.root, "davi") / "session.json", place / CLOSED_BEFORE)
    lesson.record("davi", range(8, 12))
    lesson.write()
    lesson.settle()
    lesson.send("ana", range(34, 39))
    lesson.write()
    lesson.send("eva", range(3))
    yield lesson.killed(place / "killed")
    lesson.recorder.close()


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Path:
    shutil.copy(image.with_name(CLOSED_BEFORE), tmp_path)
    return Path(shutil.copytree(image, tmp_path / "recordings"))


def folder(root: Path, source: str) -> Path:
    (found,) = root.glob(f"sessions/*/*_{source}")
    return found


def faults(root: Path, wait: Callable[[], object] = lambda: None) -> dict[str, str]:
    return {str(each.path.relative_to(root)): "; ".join(each.faults) for each in verdicts([root], wait) if each.faults}


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rewrite(path: Path, change: Callable[[list[bytes]], object]) -> None:
    lines = lines_of(path)
    change(lines)
    path.write_bytes(b"".join(lines))


def checked(row: bytes) -> bytes:
    """Give a row the right check again, as somebody who knows the format would."""
    cells = row[:-9]
    return b"%s%08x\n" % (cells, zlib.crc32(cells))


def edit_sidecar(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    about = json.loads(path.read_text(encoding="utf-8"))
    change(about)
    path.write_text(json.dumps(about), encoding="utf-8")


def other_digits(row: bytes) -> bytes:
    return checked(row.replace(b",85,72,", b",85,71,"))


def cut_synced_rows(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.__delitem__(slice(-3, None)))


def cut_synced_bytes(root: Path) -> None:
    path = folder(root, "caio") / "readings.csv"
    path.write_bytes(path.read_bytes()[:-30])


def cut_raw(root: Path) -> None:
    rewrite(folder(root, "caio") / "raw.csv", lambda lines: lines.pop())


def cut_events_of_group(root: Path) -> None:
    (path,) = root.glob("sessions/*/events_ABC123.csv")
    rewrite(path, lambda lines: lines.pop())


def cut_student_file(root: Path) -> None:
    rewrite(root / "Caio.csv", lambda lines: lines.pop())


def delete_in_the_middle(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.pop(4))


def delete_in_a_finished_part(root: Path) -> None:
    rewrite(folder(root, "ana") / "readings.csv", lambda lines: lines.pop(4))


def delete_where_rows_follow_that_are_not_synced(root: Path) -> None:
    rewrite(folder(root, "ana") / "readings-2.csv", lambda lines: lines.pop(2))


def delete_before_the_reopening(root: Path) -> None:
    rewrite(folder(root, "davi") / "readings.csv", lambda lines: lines.pop(2))


def insert_a_row_of_another_session(root: Path) -> None:
    row = lines_of(folder(root, "bia") / "readings.csv")[3]
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.insert(4, row))


def append_rows_of_another_session(root: Path) -> None:
    rows = lines_of(folder(root, "bia") / "readings.csv")[3:5]
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.extend(rows))


def replace_by_the_file_of_another_session(root: Path) -> None:
    shutil.copy(folder(root, "bia") / "readings.csv", folder(root, "caio") / "readings.csv")


def change_digits(root: Path) -> None:
    rewrite(
        folder(root, "caio") / "readings.csv",
        lambda lines: lines.__setitem__(4, lines[4].replace(b",85,72,", b",85,71,")),
    )


def change_digits_of_the_closed_session_with_its_check(root: Path) -> None:
    rewrite(folder(root, "bia") / "readings.csv", lambda lines: lines.__setitem__(4, other_digits(lines[4])))


def with_the_sidecar_from_before_the_reopening(root: Path) -> None:
    """As after a crash of this recorder, and always in directories of earlier ones."""
    shutil.copy(root.with_name(CLOSED_BEFORE), folder(root, "davi") / "session.json")


def change_digits_before_the_reopening_with_their_check(root: Path) -> None:
    with_the_sidecar_from_before_the_reopening(root)
    rewrite(folder(root, "davi") / "readings.csv", lambda lines: lines.__setitem__(4, other_digits(lines[4])))


def change_a_seq_with_its_check(root: Path) -> None:
    path = folder(root, "caio") / "readings.csv"
    rewrite(path, lambda lines: lines.__setitem__(4, checked(lines[4].replace(b",3,0,1,", b",30,0,1,"))))


def double_a_row(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.append(lines[5]))


def double_a_row_in_the_next_part(root: Path) -> None:
    row = lines_of(folder(root, "ana") / "readings.csv")[5]
    rewrite(folder(root, "ana") / "readings-2.csv", lambda lines: lines.insert(2, row))


def add_a_row_with_the_next_seq(root: Path) -> None:
    path = folder(root, "caio") / "readings.csv"
    rewrite(path, lambda lines: lines.append(checked(lines[-1].replace(b",9,0,1,", b",10,0,1,"))))


def swap_rows_of_the_closed_session(root: Path) -> None:
    path = folder(root, "bia") / "readings.csv"
    rewrite(path, lambda lines: lines.insert(3, lines.pop(6)))


def lose_a_finished_part(root: Path) -> None:
    (folder(root, "ana") / "readings.csv").unlink()


def lose_the_newest_part(root: Path) -> None:
    (folder(root, "caio") / "readings.csv").unlink()


def lose_the_open_session(root: Path) -> None:
    shutil.rmtree(folder(root, "caio"))


def lose_a_closed_sidecar(root: Path) -> None:
    (folder(root, "bia") / "session.json").unlink()


def sidecar_counts(root: Path) -> None:
    edit_sidecar(folder(root, "bia") / "session.json", lambda about: about["counts"].update(readings=11))


def sidecar_counts_of_an_open_session(root: Path) -> None:
    edit_sidecar(folder(root, "caio") / "session.json", lambda about: about["counts"].update(events=99))


def sidecar_hash(root: Path) -> None:
    path = folder(root, "ana") / "session.json"
    edit_sidecar(path, lambda about: about["files"]["readings.csv"].update(sha256="0" * 64))


def sidecar_of_another_child(root: Path) -> None:
    edit_sidecar(folder(root, "caio") / "session.json", lambda about: about.update(name="Bia"))


def sidecar_of_another_session(root: Path) -> None:
    edit_sidecar(folder(root, "caio") / "session.json", lambda about: about.update(session="session-bia"))


def nuls_in_a_synced_row(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.__setitem__(4, bytes(len(lines[4]) - 1) + b"\n"))


def nuls_in_a_student_file(root: Path) -> None:
    rewrite(root / "Caio.csv", lambda lines: lines.__setitem__(4, bytes(len(lines[4]) - 1) + b"\n"))


def nuls_for_the_header(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.__setitem__(0, bytes(len(lines[0]) - 1) + b"\n"))


def text_behind_the_synced_size(root: Path) -> None:
    rewrite(folder(root, "caio") / "readings.csv", lambda lines: lines.append(b"no row at all\n"))


@pytest.mark.parametrize(
    ("tamper", "file", "fault"),
    [
        (cut_synced_rows, "caio/readings.csv", "is cut off behind line 8"),
        (cut_synced_bytes, "caio/readings.csv", "is cut off behind line 11: 30 bytes are not there"),
        (cut_raw, "caio/raw.csv", "is cut off behind line 3"),
        (cut_events_of_group, "events_ABC123.csv", "is cut off behind line 1"),
        (cut_student_file, "Caio.csv", "is cut off behind line 10"),
        (
            delete_in_the_middle,
            "caio/readings.csv",
            "1 readings that were recorded are not there, the first with seq 3",
        ),
        (delete_in_a_finished_part, "ana/readings.csv", "seq 3, before line 5"),
        (delete_where_rows_follow_that_are_not_synced, "ana/readings-2.csv", "before line 3"),
        (delete_before_the_reopening, "davi/readings.csv", "seq 1, before line 3"),
        (insert_a_row_of_another_session, "caio/readings.csv", "1 rows are of another session (line 5)"),
        (append_rows_of_another_session, "caio/readings.csv", "2 rows are of another session (line 12, 13)"),
        (replace_by_the_file_of_another_session, "caio/readings.csv", "10 rows are of another session (line 2, 3, 4"),
        (change_digits, "caio/readings.csv", "line 5 does not match its row check"),
        (change_digits_of_the_closed_session_with_its_check, "bia/readings.csv", "sha256 differs"),
        (change_digits_before_the_reopening_with_their_check, "davi/readings.csv", "sha256 differs"),
        (change_a_seq_with_its_check, "caio/readings.csv", "seq 3, before line 5"),
        (double_a_row, "caio/readings.csv", "1 readings are there twice (line 12)"),
        (double_a_row_in_the_next_part, "ana/readings-2.csv", "1 readings are there twice (line 3)"),
        (add_a_row_with_the_next_seq, "caio/readings.csv", "1 readings are there that the recorder did not record"),
        (swap_rows_of_the_closed_session, "bia/readings.csv", "sha256 differs"),
        (lose_a_finished_part, "ana/session.json", "readings.csv is not there"),
        (lose_the_newest_part, "caio/session.json", "readings.csv is not there"),
        (lose_the_open_session, "caio", "the session's folder is not there"),
        (lose_a_closed_sidecar, "bia/session.json", "is missing"),
        (sidecar_counts, "bia/session.json", "counts 11 readings, the files hold 10"),
        (sidecar_counts_of_an_open_session, "caio/session.json", "counts 99 events"),
        (sidecar_hash, "ana/readings.csv", "sha256 differs"),
        (sidecar_of_another_child, "caio/session.json", "name is not what was recorded"),
        (sidecar_of_another_session, "caio/session.json", "session is not what was recorded"),
        (nuls_in_a_synced_row, "caio/readings.csv", "line 5 does not match its row check"),
        (nuls_in_a_student_file, "Caio.csv", "line 5 is not ten whole numbers"),
        (nuls_for_the_header, "caio/readings.csv", "the header is another"),
        (text_behind_the_synced_size, "caio/readings.csv", "line 12 does not match its row check"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_a_tampering_is_found(root: Path, tamper: Callable[[Path], None], file: str, fault: str) -> None:
    """The file is named, and where lines have changed, the line."""
    tamper(root)
    named = {name: text for name, text in faults(root).items() if name.endswith(file)}
    assert named, faults(root)
    assert fault in next(iter(named.values()))
    assert main(["verify", str(root)]) == 1


def nothing(root: Path) -> None:
    """Files as they are."""


def without_the_first_sidecar(root: Path) -> None:
    (folder(root, "ana") / "session.json").unlink()
    (folder(root, "caio") / "session.json").unlink()


def with_a_torn_row(root: Path) -> None:
    path = folder(root, "ana") / "readings-2.csv"
    path.write_bytes(path.read_bytes()[:-40])


def without_the_rows_that_were_not_synced(root: Path) -> None:
    rewrite(folder(root, "ana") / "readings-2.csv", lambda lines: lines.__delitem__(slice(-5, None)))
    rewrite(root / "Ana.csv", lambda lines: lines.__delitem__(slice(-5, None)))


def with_zeros_for_the_rows_that_were_not_synced(root: Path) -> None:
    for path in (folder(root, "ana") / "readings-2.csv", root / "Ana.csv"):
        path.write_bytes(b"".join(lines_of(path)[:-5]) + bytes(200))


def with_random_bytes_for_the_rows_that_were_not_synced(root: Path) -> None:
    path = folder(root, "ana") / "readings-2.csv"
    path.write_bytes(b"".join(lines_of(path)[:-5]) + b"\xff\xfe\n" * 50)


def with_lines_kept_aside(root: Path) -> None:
    (root / "Ana.csv.appended-by-hand").write_bytes(b"by hand\n")


def with_sessions_of_another_recorder(root: Path) -> None:
    """Copied from elsewhere: this inbox does not know them."""
    shutil.copytree(folder(root, "bia"), root / "sessions" / "2025-01-01" / "101112_OLD_bia")


def without_the_inbox(root: Path) -> None:
    for path in root.glob(f"{INBOX_FILE}*"):
        path.unlink()


def without_old_days(root: Path) -> None:
    """Somebody took closed sessions away."""
    shutil.rmtree(folder(root, "bia"))


@pytest.mark.parametrize(
    "state",
    [
        nothing,
        with_the_sidecar_from_before_the_reopening,
        without_the_first_sidecar,
        with_a_torn_row,
        without_the_rows_that_were_not_synced,
        with_zeros_for_the_rows_that_were_not_synced,
        with_random_bytes_for_the_rows_that_were_not_synced,
        with_lines_kept_aside,
        with_sessions_of_another_recorder,
        without_the_inbox,
        without_old_days,
    ],
)
def test_healthy_recordings_raise_no_alarm(root: Path, state: Callable[[Path], None]) -> None:
    """Neither as a crash left them, nor once the next recorder has mended them, nor when that one has ended."""
    state(root)
    assert faults(root) == {}
    assert main(["verify", str(root)]) == 0
    if state is without_the_inbox:
        return  # a recorder would begin anew
    lesson = Lesson(root)
    assert faults(root) == {}
    lesson.record("ana", range(34, 42))
    lesson.record("davi", range(10, 14))
    lesson.now_s += 11
    lesson.settle()
    lesson.describe()
    assert faults(root) == {}
    lesson.recorder.close()
    assert faults(root) == {}
    rows = [
        line.split(b",")[2] for path in sorted(folder(root, "ana").glob("readings*.csv")) for line in lines_of(path)
    ]
    assert sorted(int(seq) for seq in rows if seq.isdigit()) == [*range(42)]


def test_what_is_there_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What waits in the inbox, and lines that somebody else wrote; the latter in any case."""
    with_lines_kept_aside(root)
    assert main(["verify", str(root)]) == 0
    aside, _ = capsys.readouterr().out.splitlines()
    assert aside == f"{root}/Ana.csv.appended-by-hand: ok, lines that somebody else wrote, kept aside by the recorder"
    assert main(["verify", str(root), "--verbose"]) == 0
    assert f"{root}/.inbox.sqlite: ok, 8 rows wait for their files" in capsys.readouterr().out.splitlines()


def test_what_cannot_be_told_without_an_inbox_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_the_inbox(root)
    assert main(["verify", str(root)]) == 0
    assert capsys.readouterr().err == "no inbox knows 3 open sessions: that their files are whole cannot be told\n"


def test_a_damaged_inbox_is_said_and_the_files_are_checked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are compared with their sidecars."""
    without_the_inbox(root)
    (root / INBOX_FILE).write_bytes(b"no database at all, but long enough to be one" * 100)
    change_digits_of_the_closed_session_with_its_check(root)
    assert main(["verify", str(root)]) == 1
    inbox, readings, _ = capsys.readouterr().out.splitlines()
    assert "is damaged: file is not a database. csv-recorder rebuild --dir" in inbox
    assert readings.endswith("readings.csv: sha256 differs: something in it was changed")


def test_files_that_grow_meanwhile_raise_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder records, settles, ends a part, closes and reopens between any two steps of the verification."""
    lesson = Lesson(tmp_path, rotate_bytes=1500)
    lesson.record("ana", range(5))
    lesson.record("bia", range(5))
    state = {"seq": 5}
    real = verify_session.check_session

    def meanwhile(*values: Any, **keys: Any) -> Any:
        seq = state["seq"] = state["seq"] + 3
        for source in ("ana", "bia", f"new-{seq}"):
            lesson.send(source, range(seq - 3, seq))
        lesson.write()
        if seq % 2:
            lesson.settle()
            lesson.end("bia")
        return real(*values, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(verify, "check_session", meanwhile)
        for _ in range(6):
            assert faults(tmp_path) == {}
    assert state["seq"] > 30
    lesson.recorder.close()
    assert faults(tmp_path) == {}


def test_rows_that_a_file_is_owed_raise_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk has a fault; the inbox keeps its rows."""
    lesson = Lesson(tmp_path)
    lesson.record("ana", range(5))
    with monkeypatch.context() as patch:
        real = os.write

        def refuse(handle: int, content: bytes) -> int:
            if Path(f"/proc/self/fd/{handle}").readlink().name == "readings.csv":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(handle, content)

        patch.setattr(os, "write", refuse)
        lesson.record("ana", range(5, 9))
        assert len(lines_of(folder(tmp_path, "ana") / "readings.csv")) == 6
        assert faults(tmp_path) == {}
        assert faults(lesson.killed(tmp_path.with_name("killed"))) == {}
    lesson.recorder.close()
