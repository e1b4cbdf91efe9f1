"""A new inbox from the recorded files: every way out of a damaged one, with no reading lost or doubled."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from csv_recorder.offline.rebuild import progress_of
from csv_recorder.offline.verify import verdicts
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE
from tests.support.lessons import Lesson
from tests.support.recordings import SEED_FILE
from tests.unit.csv_recorder.offline.test_backup import sessions_rows, students_rows

SENT = {"ana": 40, "bia": 30, "caio": 20, "davi": 3}
"""Readings of each student that were acknowledged. Davi's wait in the inbox alone, and the last of Ana's and Caio's."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a killed recorder leaves: sessions open, closed, opened again, in parts, and without a file yet."""
    place = tmp_path_factory.mktemp("rebuild")
    (place / "live").mkdir()
    (place / "live" / "Caio.csv").write_text(SEED_FILE.replace("890123", "1"), encoding="ascii")
    lesson = Lesson(place / "live", rotate_bytes=1500)
    lesson.record("bia", range(20))
    lesson.record("caio", range(10))
    lesson.end("bia")
    for start in range(0, 30, 5):
        lesson.record("ana", range(start, start + 5))
    lesson.record("bia", range(20, 30))
    lesson.end("bia")
    lesson.mark("prova")
    lesson.record("caio", range(10, 15))
    lesson.send("ana", range(30, 35))
    lesson.write()
    lesson.send("ana", range(35, 40))
    lesson.send("caio", range(15, 20))
    lesson.send("davi", range(3))
    yield lesson.killed(place / "killed")
    lesson.recorder.close()


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image, tmp_path / "recordings"))


def faults(root: Path) -> dict[str, list[str]]:
    return {str(each.path): each.faults for each in verdicts([root], lambda: None) if each.faults}


def whole(counts: dict[str, int]) -> dict[str, list[int]]:
    return {source: [*range(count)] for source, count in counts.items()}


def in_files(root: Path) -> list[dict[str, list[int]]]:
    return [
        {source: sorted(rows) for source, rows in found.items() if rows}
        for found in (sessions_rows(root), students_rows(root))
    ]


def merge_log(root: Path) -> Path:
    """Bring the log into the inbox, as the end of a recorder does."""
    path = root / INBOX_FILE
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=DELETE")
    db.close()
    for each in root.glob(f"{INBOX_FILE}-*"):
        each.unlink()
    return path


def garbage(root: Path) -> None:
    merge_log(root).write_bytes(b"no database at all, but long enough to be one" * 200)


def first_half(root: Path) -> None:
    path = merge_log(root)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_page(root: Path) -> None:
    path = merge_log(root)
    path.write_bytes(path.read_bytes()[:4096])


def empty(root: Path) -> None:
    merge_log(root).write_bytes(b"")


def log_of_another_time(root: Path) -> None:
    """The restored inbox of a backup beside the log of a killed recorder, as the first recipe for restoring left it."""
    path = merge_log(root)
    later = Path(shutil.copytree(root, root.with_name("later")))
    lesson = Lesson(later, rotate_bytes=1500)
    for number in range(30):
        lesson.send(f"x{number}", range(9))
    killed = lesson.killed(root.with_name("later-killed"))
    lesson.recorder.close()
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE x AS SELECT * FROM sessions; DROP INDEX files_of_session; DROP TABLE x; VACUUM")
    db.execute("CREATE INDEX files_of_session ON files (session)")
    db.execute("PRAGMA journal_mode=WAL")
    db.close()
    shutil.copy(killed / f"{INBOX_FILE}-wal", root / f"{INBOX_FILE}-wal")


def zeroed_schema(root: Path) -> None:
    path = merge_log(root)
    content = bytearray(path.read_bytes())
    content[100:4096] = bytes(3996)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, first_half, one_page, empty, log_of_another_time, zeroed_schema])
def test_every_damage_has_a_way_out(
    root: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorder names it; after it, what is sent again is not doubled, and what waited comes again or is saved."""
    damage(root)
    with pytest.raises(SettingsError, match=f"is damaged: .* csv-recorder rebuild --dir {root} makes a new one"):
        Lesson(root)
    assert main(["verify", str(root)]) == 1
    assert f"csv-recorder rebuild --dir {root} makes a new one" in capsys.readouterr().out
    assert main(["rebuild", "--dir", str(root)]) == 0
    out = capsys.readouterr().out
    (kept,) = (each for each in root.glob("inbox.damaged-*") if not each.name.endswith(("-wal", "-shm")))
    assert f"the old inbox is {kept}: remove it when nobody needs it any more" in out
    assert faults(root) == {}
    lesson = Lesson(root, rotate_bytes=1500)
    lesson.settle()
    assert faults(root) == {}
    for source, count in SENT.items():
        lesson.send(source, range(count + 2))
    lesson.recorder.close()
    for found in in_files(root):  # the log of another time adds its students
        assert {source: found[source] for source in SENT} == whole({source: n + 2 for source, n in SENT.items()})
        assert all(len(rows) == len({*rows}) for rows in found.values())
    assert faults(root) == {}
    assert main(["rebuild", "--dir", str(root)]) == 0
    assert "is in order: nothing was changed" in capsys.readouterr().out


def test_a_missing_inbox_is_rebuilt(root: Path) -> None:
    for each in root.glob(f"{INBOX_FILE}*"):
        each.unlink()
    assert main(["rebuild", "--dir", str(root)]) == 0
    assert faults(root) == {}
    assert not [*root.glob("inbox.damaged-*")]
    lesson = Lesson(root, rotate_bytes=1500)
    for source, count in SENT.items():
        lesson.send(source, range(count))
    lesson.recorder.close()
    assert in_files(root) == [whole(SENT)] * 2


def test_all_is_saved_of_an_inbox_that_can_be_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what waits: nothing needs to be sent again. Sessions go on in their folders and files."""
    assert main(["rebuild", "--dir", str(root), "--force"]) == 0
    assert "could not be read" not in capsys.readouterr().out
    assert faults(root) == {}
    lesson = Lesson(root, rotate_bytes=1500)
    lesson.settle()
    assert in_files(root) == [whole(SENT)] * 2
    lesson.mark("prova")
    for source, count in SENT.items():
        lesson.send(source, range(count + 1))
    lesson.recorder.close()
    assert in_files(root) == [whole({source: count + 1 for source, count in SENT.items()})] * 2
    (events,) = root.glob("sessions/*/events_ABC123.csv")
    assert events.read_bytes().count(b"prova") == 1
    assert faults(root) == {}


def pages_of(path: Path) -> list[int]:
    return [*range(2, path.stat().st_size // 4096 + 1)]


def test_one_damaged_page_costs_no_more_than_what_it_held(image: Path, tmp_path: Path) -> None:
    """Each page in turn: rows that are in files are never doubled, and most that wait are saved."""
    first = Path(shutil.copytree(image, tmp_path / "first"))
    saved = 0
    for page in pages_of(merge_log(first))[::3]:
        root = Path(shutil.copytree(first, tmp_path / f"page-{page}"))
        content = bytearray((root / INBOX_FILE).read_bytes())
        content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        (root / INBOX_FILE).write_bytes(content)
        assert main(["rebuild", "--dir", str(root)]) == 0, page
        assert faults(root) == {}, page
        lesson = Lesson(root, rotate_bytes=1500)
        lesson.settle()
        assert all(len(rows) == len({*rows}) for found in in_files(root) for rows in found.values()), page
        saved += in_files(root) == [whole(SENT)] * 2
        for source, count in SENT.items():
            lesson.send(source, range(count))
        lesson.recorder.close()
        assert in_files(root)[0] == whole(SENT), page
        shutil.rmtree(root)
    assert saved > len(pages_of(first / INBOX_FILE)) / 6


def test_an_inbox_of_another_version_is_not_rebuilt(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not damaged: the words name the other version and a backup."""
    db = sqlite3.connect(root / INBOX_FILE)
    db.execute("PRAGMA user_version=9")
    db.close()
    words = "it was made by another version \\(schema 9\\): use that version, or bring back a backup"
    with pytest.raises(SettingsError, match=words):
        Lesson(root)
    assert main(["rebuild", "--dir", str(root)]) == 2
    assert "use that version, or bring back a backup" in capsys.readouterr().err
    assert main(["verify", str(root)]) == 1
    assert "use that version" in capsys.readouterr().out


def test_no_rebuild_while_a_recorder_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inbox = Inbox(root / INBOX_FILE)
    inbox.open()
    assert main(["rebuild", "--dir", str(root), "--force"]) == 2
    assert "a recorder writes there: stop it first" in capsys.readouterr().err
    inbox.close()


@pytest.mark.parametrize("at", range(6))
def test_a_rebuild_that_was_interrupted_is_seen_and_run_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Killed before any of its renames: no recorder starts in between, and the second run saves the same rows."""
    real, done = Path.rename, [0]

    def die(path: Path, target: Path) -> Path:
        done[0] += 1
        if done[0] > at:
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        try:
            assert main(["rebuild", "--dir", str(root), "--force"]) == 0
        except KeyboardInterrupt:
            patch.undo()
            with pytest.raises(SettingsError, match="csv-recorder rebuild was interrupted there; run it again"):
                Lesson(root)
            assert main(["rebuild", "--dir", str(root)]) == 0
    assert faults(root) == {}
    lesson = Lesson(root, rotate_bytes=1500)
    lesson.recorder.close()
    assert in_files(root) == [whole(SENT)] * 2


def test_sessions_without_a_sidecar_are_known_by_their_folders(root: Path) -> None:
    """With no inbox either: a crash before the first sidecar, and a lost inbox."""
    garbage(root)
    for path in [*root.glob("sessions/*/*/session.json"), root / "names.csv"]:
        path.unlink()
    assert main(["rebuild", "--dir", str(root)]) == 0
    assert faults(root) == {}
    lesson = Lesson(root, rotate_bytes=1500)
    for source, count in SENT.items():
        lesson.send(source, range(count + 2))
    lesson.recorder.close()
    assert in_files(root) == [whole({source: count + 2 for source, count in SENT.items()})] * 2
    abouts = [json.loads(path.read_text(encoding="utf-8")) for path in root.glob("sessions/*/*/session.json")]
    assert {about["name"] for about in abouts} == {source.title() for source in SENT}
    assert {about["kind"] for about in abouts} == {"client"}
    assert faults(root) == {}


def test_torn_rows_and_zeros_are_cut_off(root: Path) -> None:
    """Whole rows stay; a text that is no row is kept aside; a row that somebody left without an end gets one."""
    garbage(root)
    (readings,) = root.glob("sessions/*/*_caio/readings.csv")
    readings.write_bytes(readings.read_bytes() + b"2026-11-22T18:2")
    (root / "Ana.csv").write_bytes((root / "Ana.csv").read_bytes() + bytes(9000))
    (root / "Bia.csv").write_bytes((root / "Bia.csv").read_bytes() + b"1,2,3,4,5,6,7,8,9,10")
    assert main(["rebuild", "--dir", str(root)]) == 0
    assert faults(root) == {}
    assert readings.with_name("readings.csv.appended-by-hand").read_bytes() == b"2026-11-22T18:2\n"
    assert (root / "Bia.csv").read_bytes().endswith(b"\n1,2,3,4,5,6,7,8,9,10\n")
    assert not [*root.glob("*.appended-by-hand")]


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rebuild", "--dir", str(tmp_path / "gone")]) == 2
    assert "is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seqs", "seq", "rows", "holes", "lost"),
    [
        ([], -1, 0, (), 0),
        ([0, 1, 2], 2, 3, (), 0),
        ([2, 5], 5, 2, ((0, 1), (3, 4)), 0),
        (range(0, 2004, 2), 2002, 1002, 1000, 1),
    ],
)
def test_progress_is_that_of_the_seqs(seqs: list[int], seq: int, rows: int, holes: object, lost: int) -> None:
    """The oldest gaps beyond a thousand are given up, as while recording."""
    progress = progress_of(seqs)
    assert (progress.seq, progress.rows, progress.lost) == (seq, rows, lost)
    assert (len(progress.holes) if isinstance(holes, int) else progress.holes) == holes
