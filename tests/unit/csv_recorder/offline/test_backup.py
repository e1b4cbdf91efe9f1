"""A backup while a recorder works, and what is restored from it: every acknowledged reading once."""

import contextlib
import gzip
import io
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.inbox import Inbox
from csv_recorder.offline import backup, restore, snapshot
from csv_recorder.offline.verify import verdicts
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import BROKER_FOLDER, CERTIFICATES, INBOX_FILE, LOCK_FILE, READINGS, seq_of
from tests.support.lessons import Lesson
from tests.support.recordings import SEED_FILE

STUDENTS = ("ana", "bia", "caio", "davi")


def students_rows(root: Path) -> dict[str, list[int]]:
    """The readings in each student's file by their delta, which is their seq; without those of the first server."""
    found = {}
    for path in root.glob("*.csv"):
        if path.name != "names.csv":
            rows = path.read_bytes().splitlines()[1:]
            found[path.stem.lower()] = [int(row.split(b",")[2]) for row in rows if b",890123" in row]
    return found


def sessions_rows(root: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in sorted(root.glob(f"sessions/*/*/{READINGS}*.csv")):
        rows = found.setdefault(path.parent.name.rpartition("_")[2], [])
        rows += [seq_of(row) for row in path.read_bytes().splitlines()[1:]]
    return found


def faults(root: Path) -> dict[str, list[str]]:
    return {str(each.path): each.faults for each in verdicts([root], lambda: None) if each.faults}


class Busy:
    """A lesson in which anything may happen between two steps of a backup; ``sent`` are the acknowledged readings."""

    def __init__(self, root: Path, seed: int) -> None:
        self.lesson = Lesson(root, rotate_bytes=1500)
        self.sent = Counter[str]()
        self.chance = random.Random(seed)
        self.marks = 0

    def act(self) -> None:
        chance = self.chance
        source = chance.choice(STUDENTS) if chance.random() < 0.8 else f"new{chance.randrange(6)}"
        for _ in range(chance.randrange(1, 3)):
            self.lesson.send(source, range(self.sent[source], self.sent[source] + 2))
            self.sent[source] += 2
        if chance.random() < 0.3:
            self.marks += 1
            self.lesson.mark(f"m{self.marks}")
        for each in chance.sample((self.lesson.write, self.lesson.settle, self.lesson.describe, lambda: None), 2):
            each()
        if chance.random() < 0.2:
            self.lesson.end(chance.choice(STUDENTS))

    def send_all_again(self, lesson: Lesson) -> None:
        for source, sent in self.sent.items():
            lesson.send(source, range(sent))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_meanwhile_no_reading_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The recorder records, settles, ends parts, closes, reopens and begins sessions between any two files."""
    busy = Busy(tmp_path / "live", seed)
    for name in ("Caio", "New1", "Nobody"):
        (tmp_path / "live" / f"{name}.csv").write_text(SEED_FILE.replace("890123", "1"), encoding="ascii")
    for _ in range(20):
        busy.act()
    at_the_moment: dict[str, int] = {}
    with monkeypatch.context() as patch:
        real_add, real_copy = backup.Backup._add_stream, snapshot.copy_inbox

        def add(*values: Any) -> None:
            busy.act()
            real_add(*values)
            busy.act()

        def copy(path: Path, place: Path) -> None:
            busy.act()
            at_the_moment.update(busy.sent)
            real_copy(path, place)
            busy.act()

        patch.setattr(backup.Backup, "_add_stream", add)
        patch.setattr(backup, "copy_inbox", copy)
        assert main(["backup", str(tmp_path / "a.tar.gz"), "--dir", str(tmp_path / "live")]) == 0
    assert main(["restore", str(tmp_path / "a.tar.gz"), "--dir", str(tmp_path / "new")]) == 0
    assert faults(tmp_path / "new") == {}
    restored = Lesson(tmp_path / "new", rotate_bytes=1500)
    restored.write()
    for found in (students_rows(tmp_path / "new"), sessions_rows(tmp_path / "new")):
        assert {source: sorted(rows) for source, rows in found.items() if rows} == {
            source: [*range(count)] for source, count in at_the_moment.items()
        }
    busy.send_all_again(restored)
    restored.recorder.close()
    for found in (students_rows(tmp_path / "new"), sessions_rows(tmp_path / "new")):
        assert {source: sorted(rows) for source, rows in found.items() if rows} == {
            source: [*range(count)] for source, count in busy.sent.items()
        }
    assert faults(tmp_path / "new") == {}
    assert not [*(tmp_path / "new").rglob("*.appended-by-hand")]
    assert (tmp_path / "new" / "Nobody.csv").read_text(encoding="ascii").startswith(SEED_FILE[:60])
    busy.lesson.recorder.close()
    assert faults(tmp_path / "live") == {}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A killed recorder's directory: rows wait, the log of the inbox is not empty."""
    lesson = Lesson(tmp_path / "live")
    lesson.record("ana", range(10))
    lesson.record("bia", range(10))
    lesson.end("bia")
    lesson.send("ana", range(10, 15))
    lesson.write()
    killed = lesson.killed(tmp_path / "recordings")
    lesson.recorder.close()
    shutil.rmtree(tmp_path / "live")
    return killed


@pytest.fixture
def archive(recorded: Path, tmp_path: Path) -> Path:
    assert main(["backup", str(tmp_path / "a.tar.gz"), "--dir", str(recorded)]) == 0
    return tmp_path / "a.tar.gz"


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".inbox"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_names_sizes_and_modes_are_kept(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names in any alphabet, empty files, files larger than a piece; the archive is its owner's alone."""
    for name, content in {
        "João 🎓 Íris.csv": b"x" * (2**20 + 1),
        "é" * 100 + ".csv": b"",
        os.fsdecode(b"\xff\xfe.csv"): b"1\n",
        "block.csv": bytes(2**20),
        "sessions/2026-11-22/note.txt": b"",
    }.items():
        (recorded / name).write_bytes(content)
    (recorded / "block.csv").chmod(0o600)
    before = contents(recorded)
    assert main(["backup", str(tmp_path / "a.tar.gz"), "--dir", str(recorded)]) == 0
    assert contents(recorded) == before
    assert stat.S_IMODE((tmp_path / "a.tar.gz").stat().st_mode) == 0o600
    assert main(["restore", str(tmp_path / "a.tar.gz"), "--dir", str(tmp_path / "new")]) == 0
    assert main(["verify", "--dir", str(recorded / "sessions")]) == 0
    restored = contents(tmp_path / "new")
    tails = {"Ana.csv", *(name for name in before if "_ana/readings" in name)}
    assert restored.keys() == before.keys()
    assert {name: before[name] for name in before if name not in tails} == {
        name: restored[name] for name in restored if name not in tails
    }
    assert all(before[name].startswith(restored[name]) for name in tails)
    assert stat.S_IMODE((tmp_path / "new" / "block.csv").stat().st_mode) == 0o600


def test_keys_of_https_are_in_no_backup_and_stay_where_they_are(recorded: Path, tmp_path: Path) -> None:
    """Devices trust this machine's: neither does an archive carry them, nor does a restore take or bring any."""
    (recorded / CERTIFICATES).mkdir()
    (recorded / CERTIFICATES / "authority.pem").write_bytes(b"key")
    archive = tmp_path / "a.tar.gz"
    assert main(["backup", str(archive), "--dir", str(recorded)]) == 0
    with tarfile.open(archive) as tar:
        assert not [name for name in tar.getnames() if CERTIFICATES in name]
    of_tar = tmp_path / "b.tar.gz"
    with tarfile.open(of_tar, "w:gz") as tar:
        tar.add(recorded, ".")
    for each in (archive, of_tar):
        new = tmp_path / f"new {each.name}"
        (new / CERTIFICATES).mkdir(parents=True)
        (new / CERTIFICATES / "authority.pem").write_bytes(b"mine")
        assert main(["restore", str(each), "--dir", str(new)]) == 0
        assert main(["restore", str(each), "--dir", str(new), "--replace"]) == 0
        assert (new / CERTIFICATES / "authority.pem").read_bytes() == b"mine"
        assert (new / "Ana.csv").exists()


def test_the_state_of_a_broker_is_archived_whole_while_it_changes(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker replaces and removes its files at any moment; what it had handed on before is in the inbox."""
    state, gone = recorded / BROKER_FOLDER / "mosquitto.db", recorded / BROKER_FOLDER / "jetstream" / "1.blk"
    gone.parent.mkdir(parents=True)
    gone.write_bytes(b"messages")
    state.write_bytes(b"old")
    walk, copy_inbox = backup.Backup._walk, snapshot.copy_inbox

    def walk_and_remove(self: backup.Backup, folder: Path) -> Any:
        yield from walk(self, folder)
        if folder == recorded:
            gone.unlink()

    def replace_and_copy(path: Path, copy: Path) -> None:
        state.write_bytes(b"a newer state, which is larger")
        copy_inbox(path, copy)

    monkeypatch.setattr(backup.Backup, "_walk", walk_and_remove)
    monkeypatch.setattr(backup, "copy_inbox", replace_and_copy)
    archive = tmp_path / "a.tar.gz"
    assert main(["backup", str(archive), "--dir", str(recorded)]) == 0
    assert main(["restore", str(archive), "--dir", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / BROKER_FOLDER / "mosquitto.db").read_bytes() == b"old"


def test_a_restore_leaves_the_state_of_the_broker_that_is_there(recorded: Path, tmp_path: Path) -> None:
    """It has what came since the backup."""
    state = recorded / BROKER_FOLDER / "mosquitto.db"
    state.parent.mkdir()
    state.write_bytes(b"then")
    archive = tmp_path / "a.tar.gz"
    assert main(["backup", str(archive), "--dir", str(recorded)]) == 0
    state.write_bytes(b"now")
    assert main(["restore", str(archive), "--dir", str(recorded), "--replace"]) == 0
    assert state.read_bytes() == b"now"
    assert (recorded / "Ana.csv").exists()


def test_the_inbox_of_a_newer_version_is_refused_before_anything_is_moved(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(sqlite3.connect(recorded / INBOX_FILE)) as db:
        db.execute("PRAGMA user_version=99")
    archive, new = tmp_path / "a.tar.gz", tmp_path / "new"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(recorded, ".")
    new.mkdir()
    (new / "Bia.csv").write_bytes(b"mine")
    assert main(["restore", str(archive), "--dir", str(new), "--replace"]) == 2
    assert "is refused: its inbox: it was made by another version (schema 99)" in capsys.readouterr().err
    assert {path.name for path in new.iterdir()} == {"Bia.csv", LOCK_FILE}


def test_a_backup_through_pipes(recorded: Path, tmp_path: Path) -> None:
    """As with containers: - is the standard output, and the standard input."""
    command = [sys.executable, "-m", "csv_recorder"]
    made = subprocess.run([*command, "backup", "-", "--dir", str(recorded)], capture_output=True, check=True)
    assert b"files" in made.stderr
    restored = subprocess.run(
        [*command, "restore", "-", "--dir", str(tmp_path / "new")], input=made.stdout, capture_output=True, check=True
    )
    assert b"files restored" in restored.stdout
    assert faults(tmp_path / "new") == {}


def test_a_backup_is_refused_in_words(recorded: Path, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inside of the directory, over another archive, of a directory that is not there, of one that is not whole."""
    before = archive.read_bytes()
    for words, reason in (
        ([str(recorded / "a.tar.gz"), "--dir", str(recorded)], "inside of the recordings"),
        ([str(archive), "--dir", str(recorded)], "is there already; --force replaces it"),
        ([str(archive), "--dir", str(recorded / "gone"), "--force"], "is not there"),
        ([str(archive / "a"), "--dir", str(recorded)], "Not a directory"),
        ([], "archive: is missing"),
    ):
        assert main(["backup", *words]) == 2
        assert reason in capsys.readouterr().err
    (recorded / ".restoring").mkdir()
    assert main(["backup", str(archive), "--dir", str(recorded), "--force"]) == 2
    assert "is not whole" in capsys.readouterr().err
    assert archive.read_bytes() == before
    (recorded / ".restoring").rmdir()
    assert main(["backup", str(archive), "--dir", str(recorded), "--force"]) == 0
    assert not [path for path in archive.parent.iterdir() if path.name.endswith(".new")]


def test_a_backup_that_fails_leaves_the_old_archive(
    recorded: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = archive.read_bytes()
    (recorded / "Ana.csv").write_bytes(b"")

    def full(*values: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.Backup, "_add", full)
    assert main(["backup", str(archive), "--dir", str(recorded), "--force"]) == 2
    assert "No space left on device; there is no archive" in capsys.readouterr().err
    assert archive.read_bytes() == before
    assert sorted(path.name for path in archive.parent.iterdir()) == ["a.tar.gz", "recordings"]


def test_the_environment_steers_nothing_that_replaces_data(
    recorded: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEUROONE_FORCE", "1")
    monkeypatch.setenv("NEUROONE_REPLACE", "1")
    monkeypatch.setenv("NEUROONE_ARCHIVE", str(archive))
    monkeypatch.setenv("NEUROONE_DIR", str(recorded))
    monkeypatch.setenv("NEUROONE_NAME", "Ana")
    monkeypatch.setenv("NEUROONE_YES", "1")
    monkeypatch.chdir(tmp_path)
    assert main(["backup"]) == 2
    assert main(["backup", str(archive), "--dir", str(recorded)]) == 2
    assert main(["restore", str(archive)]) == 2
    assert main(["restore", str(archive), "--dir", str(recorded)]) == 2
    assert main(["rebuild"]) == 2
    assert main(["forget"]) == 2
    assert main(["forget", "--dir", str(recorded)]) == 2
    assert (recorded / "Ana.csv").exists()


def test_the_environment_steers_nothing_that_reads_recordings_but_where_they_are(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NEUROONE_CSV=false is the recorder's switch: `report` wrote a file of that name."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    values = {"CSV": "false", "HTML": "a.html", "OUT": "out", "TO": "parquet", "GROUP": "none", "REPAIR": "1"}
    for name, value in {**values, "PATHS": "gone", "DIR": str(recorded)}.items():
        monkeypatch.setenv(f"NEUROONE_{name}", value)
    assert main(["report"]) == 0
    assert "Ana" in capsys.readouterr().out
    assert main(["verify"]) == 0
    assert main(["export"]) == 2
    assert sorted(path for path in tmp_path.rglob("*") if "report-figures" not in path.name) == before


# --- restoring -----------------------------------------------------------------------------------


def test_an_archive_of_tar_is_restored_too(recorded: Path, tmp_path: Path) -> None:
    """Earlier versions were copied with tar; after a kill the log of the inbox belongs to it."""
    subprocess.run(["tar", "-C", str(recorded), "-czf", str(tmp_path / "a.tar.gz"), "."], check=True)
    assert main(["restore", str(tmp_path / "a.tar.gz"), "--dir", str(tmp_path / "new")]) == 0
    assert not [*(tmp_path / "new").glob(f"{INBOX_FILE}-*")]
    assert faults(tmp_path / "new") == {}
    lesson = Lesson(tmp_path / "new")
    lesson.send("ana", range(16))
    lesson.recorder.close()
    assert students_rows(tmp_path / "new")["ana"] == [*range(16)]


def test_a_restore_over_a_killed_recorder_keeps_nothing_of_its_log(
    recorded: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stale log was replayed into the restored inbox once: malformed for ever."""
    lesson = Lesson(recorded)
    for seq in range(15, 200):
        lesson.send("carla", [seq - 15])
    killed = lesson.killed(recorded.with_name("killed"))
    lesson.recorder.close()
    assert (killed / f"{INBOX_FILE}-wal").stat().st_size > 0
    assert main(["restore", str(archive), "--dir", str(killed)]) == 2
    assert "is not empty; --replace moves what it holds aside first" in capsys.readouterr().err
    assert main(["restore", str(archive), "--dir", str(killed), "--replace"]) == 0
    assert "what was there before is in" in capsys.readouterr().out
    assert not [*killed.glob(f"{INBOX_FILE}-*")]
    (kept,) = killed.glob(".replaced-*")
    assert (kept / f"{INBOX_FILE}-wal").exists()
    assert faults(killed) == {}
    again = Lesson(killed)
    again.send("ana", range(17))
    again.recorder.close()
    assert students_rows(killed) == {"ana": [*range(17)], "bia": [*range(10)]}
    assert main(["restore", str(archive), "--dir", str(killed), "--replace"]) == 0
    assert len([*killed.glob(".replaced-*")]) == 2


def test_a_restore_does_not_replace_what_a_recorder_uses(
    recorded: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = Inbox(recorded / INBOX_FILE)
    inbox.open()
    before = contents(recorded)
    assert main(["restore", str(archive), "--dir", str(recorded), "--replace"]) == 2
    assert "a recorder writes there: stop it first" in capsys.readouterr().err
    assert contents(recorded) == before
    inbox.close()


@pytest.mark.parametrize("moved", [False, True])
def test_an_interrupted_restore_is_seen(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moved: bool
) -> None:
    """No recorder starts in it, and none takes it for whole; no backup is made of it."""
    killed, real = tmp_path / "new", restore._move_in

    def die(folder: Path, directory: Path) -> None:
        if moved:
            (folder / "Ana.csv").rename(directory / "Ana.csv")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restore, "_move_in", die)
        with pytest.raises(KeyboardInterrupt):
            main(["restore", str(archive), "--dir", str(killed)])
    with pytest.raises(SettingsError, match="csv-recorder restore was interrupted there; empty the directory and"):
        Lesson(killed)
    for words in (["restore", str(archive)], ["backup", str(tmp_path / "b")], ["rebuild"]):
        assert main([*words, "--dir", str(killed)]) == 2
        assert "interrupted" in capsys.readouterr().err
    shutil.rmtree(killed)
    assert main(["restore", str(archive), "--dir", str(killed)]) == 0
    assert real is restore._move_in


def member(name: str, content: bytes = b"", **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in values.items():
        setattr(entry, key, value)
    return entry, content


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(mode="w:gz", fileobj=raw) as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Change a byte of gzip's sum at the end."""
    return content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]


GOOD = member("Ana.csv", b"x" * 5000)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "leads out": lambda: packed(GOOD, member("../out.csv", b"x")),
    "leads out deep": lambda: packed(GOOD, member("sessions/a/../../../out.csv", b"x")),
    "absolute": lambda: packed(GOOD, member("/tmp/out.csv", b"x")),
    "symbolic link": lambda: packed(GOOD, member("a.csv", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "link to a folder": lambda: packed(
        member("sessions", type=tarfile.SYMTYPE, linkname=".."), member("sessions/x", b"x")
    ),
    "hard link": lambda: packed(GOOD, member("a.csv", type=tarfile.LNKTYPE, linkname="Ana.csv")),
    "device": lambda: packed(GOOD, member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "pipe": lambda: packed(GOOD, member("a", type=tarfile.FIFOTYPE)),
    "twice": lambda: packed(GOOD, GOOD),
    "a file for a folder": lambda: packed(GOOD, member("Ana.csv/x", b"x")),
    "the folder of a restore": lambda: packed(GOOD, member(".restoring/x", b"x")),
    "a long name": lambda: packed(GOOD, member("a" * 2**21, b"x")),
    "a name that no disk takes": lambda: packed(GOOD, member("a" * 300, b"x")),
    "zeros": lambda: gzip.compress(bytes(member("a.csv", b"", size=0)[0].tobuf()) + bytes(3 * 2**20)),
    "more than the disk has": lambda: gzip.compress(member("a.csv", size=2**60)[0].tobuf() + bytes(5000)),
    "no archive": lambda: b"this is no archive" * 100,
    "nothing": lambda: b"",
    "a zip": lambda: b"PK\x03\x04" + bytes(100),
    "cut off": lambda: cut(packed(member("Ana.csv", random.Random(1).randbytes(50_000)))),
    "another sum": lambda: flipped(packed(GOOD)),
    "no end": lambda: gzip.compress(GOOD[0].tobuf() + GOOD[1] + bytes(120)),
    "garbage behind": lambda: gzip.compress(gzip.decompress(packed(GOOD)) + b"garbage" * 100),
    "garbage between": lambda: gzip.compress(GOOD[0].tobuf() + GOOD[1] + bytes(120) + b"garbage!" * 64 + bytes(9999)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, place = tmp_path / "a.tar.gz", tmp_path / "new"
    path.write_bytes(HOSTILE[name]())
    assert main(["restore", str(path), "--dir", str(place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("csv-recorder restore: ")
    assert "Traceback" not in error
    assert [each.name for each in place.iterdir()] == [LOCK_FILE]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar.gz", "new"]
    assert not Path("/tmp/out.csv").exists()


def test_an_archive_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restore, "UNPACKED_MIN_BYTES", 2**20)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed(member("a.csv", bytes(40 * 2**20))))
    assert main(["restore", str(path), "--dir", str(tmp_path / "new")]) == 2
    assert "it unpacks to far more than recordings do; nothing was restored" in capsys.readouterr().err
    assert [each.name for each in (tmp_path / "new").iterdir()] == [LOCK_FILE]


def test_a_damaged_inbox_in_an_archive_is_said_with_the_way_out(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it happens to archives that were copied while a recorder worked."""
    path = recorded / INBOX_FILE
    for each in recorded.glob(f"{INBOX_FILE}-*"):
        each.unlink()
    path.write_bytes(b"garbage" * 3000)
    subprocess.run(["tar", "-C", str(recorded), "-czf", str(tmp_path / "a.tar.gz"), "."], check=True)
    new = tmp_path / "new"
    assert main(["restore", str(tmp_path / "a.tar.gz"), "--dir", str(new)]) == 1
    assert f"is damaged: file is not a database. csv-recorder rebuild --dir {new} makes" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="csv-recorder rebuild"):
        Lesson(new)
    assert main(["rebuild", "--dir", str(new)]) == 0
    lesson = Lesson(new)
    lesson.send("ana", range(17))
    lesson.recorder.close()
    assert students_rows(new)["ana"] == [*range(17)]
