"""Whole rows at the end of files, whatever stands in them and whatever the disk answers."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv_recorder.live.output import Disk, KnownRows, MovedAway, Output, write_whole
from neuroone.contract.files import APPENDED_BY_HAND

HEADER = b"a,b\n"
rows = st.lists(st.integers(0, 20).map(lambda n: b"%d,x\n" % n), max_size=8)
damage = st.one_of(st.binary(max_size=60), st.integers(0, 60).map(bytes), st.just(b"note of a teacher\n"))


def output(path: str = "f.csv", synced_bytes: int = 0) -> Output:
    return Output("file/1", 1, path, HEADER, synced_bytes, synced_bytes, 0.0)


@given(before=rows, waiting=rows, cut=st.integers(0, 60), damaged=damage)
def test_after_a_crash_each_row_is_there_once(
    before: list[bytes], waiting: list[bytes], cut: int, damaged: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever part of the waiting rows was written, and whatever stands behind it."""
    folder = tmp_path_factory.mktemp("files")
    disk, ours = Disk(folder), output()
    whole = HEADER + b"".join(before) if before else b""
    tail = (b"" if before else HEADER) + b"".join(waiting)
    (folder / "f.csv").write_bytes(whole + tail[:cut] + damaged)
    ours.synced_bytes = ours.size_bytes = len(whole)
    disk.cut_back(ours, [KnownRows(waiting)])
    disk.append(ours, b"".join(waiting))
    disk.close_all()
    content = (folder / "f.csv").read_bytes()
    assert content.startswith(HEADER if before else b"")
    assert content.endswith(b"".join(waiting))
    assert content.startswith(whole)
    kept = content[len(whole) : len(content) - len(b"".join(waiting))].removeprefix(HEADER)
    assert b"\0" not in kept
    assert not set(waiting) & set(kept.splitlines(keepends=True))


def test_what_a_person_appended_is_kept_aside(tmp_path: Path) -> None:
    disk, ours = Disk(tmp_path), output(synced_bytes=len(HEADER + b"1,x\n"))
    (tmp_path / "f.csv").write_bytes(HEADER + b"1,x\n3,x\nnote\n\0\0\n2,")
    disk.cut_back(ours, [KnownRows([b"2,x\n", b"3,x\n"])])
    disk.close_all()
    assert (tmp_path / "f.csv").read_bytes() == HEADER + b"1,x\n"
    assert (tmp_path / f"f.csv{APPENDED_BY_HAND}").read_bytes() == b"note\n"


@pytest.mark.parametrize(
    ("synced", "torn"), [(b"", b""), (b"", b"a,"), (b"", HEADER + b"2,"), (HEADER + b"1,x\n", b"2,")]
)
def test_a_torn_row_that_a_program_has_appended_to_is_no_row(tmp_path: Path, synced: bytes, torn: bytes) -> None:
    disk, ours = Disk(tmp_path), output(synced_bytes=len(synced))
    (tmp_path / "f.csv").write_bytes(synced + torn + b"note\n")
    disk.cut_back(ours, [KnownRows([b"2,x\n"])])
    disk.append(ours, b"2,x\n")
    disk.close_all()
    assert (tmp_path / "f.csv").read_bytes() == (synced or HEADER) + b"2,x\n"
    assert (tmp_path / f"f.csv{APPENDED_BY_HAND}").read_bytes() == torn.removeprefix(HEADER) + b"note\n"


def test_a_tail_that_is_larger_than_anything_of_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csv_recorder.live.output.TAIL_MAX_BYTES", 5)
    disk, ours = Disk(tmp_path), output()
    (tmp_path / "f.csv").write_bytes(b"somebody's\n")
    disk.cut_back(ours, [KnownRows([b"2,x\n"])])
    disk.close_all()
    assert (tmp_path / "f.csv").read_bytes() == b"somebody's\n"


def test_what_a_person_appended_stays_where_no_row_of_ours_is(tmp_path: Path) -> None:
    """And its last line is ended."""
    disk, ours = Disk(tmp_path), output(synced_bytes=len(HEADER + b"1,x\n"))
    (tmp_path / "f.csv").write_bytes(HEADER + b"1,x\nnote")
    disk.cut_back(ours, [KnownRows([b"2,x\n"])])
    disk.append(ours, b"2,x\n")
    disk.close_all()
    assert (tmp_path / "f.csv").read_bytes() == HEADER + b"1,x\nnote\n2,x\n"


def test_a_file_that_is_moved_away_is_noticed(tmp_path: Path) -> None:
    """Also when another one stands in its place."""
    for replaced in (False, True):
        disk, ours = Disk(tmp_path), output(f"{replaced}.csv")
        disk.append(ours, b"1,x\n")
        (tmp_path / ours.path).rename(tmp_path / "away.csv")
        if replaced:
            (tmp_path / ours.path).write_bytes(b"new\n")
        with pytest.raises(MovedAway):
            disk.append(ours, b"2,x\n")
        disk.close_all()


def test_a_short_write_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk took half of it: that half goes again."""
    disk, ours = Disk(tmp_path), output()
    disk.append(ours, b"1,x\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[: len(content) // 2]))
    with pytest.raises(OSError, match="No space left") as fault:
        disk.append(ours, b"2,x\n3,x\n")
    disk.close_all()
    assert fault.value.errno == errno.ENOSPC
    assert (tmp_path / "f.csv").read_bytes() == HEADER + b"1,x\n"


def test_folders_are_made_but_not_the_recordings_themselves(tmp_path: Path) -> None:
    """A disk that was taken away is not replaced by a folder of its name."""
    disk = Disk(tmp_path / "recordings")
    with pytest.raises(FileNotFoundError):
        disk.append(output("sessions/x/f.csv"), b"1,x\n")
    with pytest.raises(FileNotFoundError):
        disk.make_folder("sessions/y")
    (tmp_path / "recordings").mkdir()
    disk.append(output("sessions/x/f.csv"), b"1,x\n")
    assert disk.make_folder("sessions/y")
    assert disk.make_folder("sessions/y")  # empty: nobody's
    assert not disk.make_folder("sessions/x")
    for path in ("sessions/x/f.csv", "gone.csv", "sessions/x", "."):
        disk.sync(path)
    disk.close_all()


def test_no_more_files_stay_open_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when the system gives no handle, those that are open are let go."""
    disk = Disk(tmp_path, handles_max=3)
    for number in range(10):
        disk.append(output(f"{number}.csv"), b"1,x\n")
    assert len(disk._handles) == 3
    opened = os.open
    refused: list[bool] = []

    def refuse_once(*words: object, **keys: object) -> int:
        if not refused:
            refused.append(True)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(*words, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse_once)
    disk.append(output("more.csv"), b"1,x\n")
    assert len(disk._handles) == 1
    disk.close_all()


def test_a_file_is_written_in_one_step(tmp_path: Path) -> None:
    """Nothing else is left beside it."""
    for content in (b"one", b"two"):
        write_whole(tmp_path / "sidecar.json", content, sync=True)
        assert (tmp_path / "sidecar.json").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["sidecar.json"]
