"""Whole rows at the end of files, whatever happened before."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv_recorder.live.writer import Writer, write_whole

HEADER = b"a,b\n"
rows = st.lists(st.integers(0, 20).map(lambda n: b"%d,x\n" % n), max_size=8)


@given(before=rows, waiting=rows, cut=st.integers(0, 60))
def test_mending_leaves_whole_rows_and_names_the_missing(
    before: list[bytes], waiting: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The program may be killed after any part of the waiting rows."""
    folder = tmp_path_factory.mktemp("files")
    writer = Writer(folder)
    synced = writer.append("f.csv", HEADER, b"".join(before)) if before else 0
    whole = HEADER + b"".join(before) + b"".join(waiting)
    (folder / "f.csv").write_bytes(whole[: max(synced, min(len(whole), synced + cut))])
    size, missing = writer.mend("f.csv", HEADER, synced, waiting)
    assert writer.size_bytes("f.csv") == size
    if missing or not size:
        writer.append("f.csv", HEADER, b"".join(missing))
    assert sorted((folder / "f.csv").read_bytes().splitlines()) == sorted(whole.splitlines())


def test_what_somebody_else_appended_stays(tmp_path: Path) -> None:
    """Our whole rows in it count as written; a torn one does not."""
    writer = Writer(tmp_path)
    synced = writer.append("f.csv", HEADER, b"1,x\n")
    (tmp_path / "f.csv").write_bytes(HEADER + b"1,x\n3,x\nnote\n2,")
    assert writer.mend("f.csv", HEADER, synced, [b"2,x\n", b"3,x\n"])[1] == [b"2,x\n"]
    assert (tmp_path / "f.csv").read_bytes() == HEADER + b"1,x\n3,x\nnote\n"
    (tmp_path / "f.csv").write_bytes(HEADER + b"1,x\nnote")
    assert writer.mend("f.csv", HEADER, synced, [b"2,x\n"])[1] == [b"2,x\n"]
    assert (tmp_path / "f.csv").read_bytes() == HEADER + b"1,x\nnote\n"


def test_a_short_write_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk accepts half of the bytes; that half is removed again."""
    writer = Writer(tmp_path)
    size = writer.append("f.csv", HEADER, b"1,x\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[: len(content) // 2]))
    with pytest.raises(OSError, match="No space left") as fault:
        writer.append("f.csv", HEADER, b"2,x\n3,x\n")
    assert fault.value.errno == errno.ENOSPC
    assert writer.size_bytes("f.csv") == size


def test_folders_are_made_but_not_the_recordings_themselves(tmp_path: Path) -> None:
    """A removed disk is not replaced by a folder of its name."""
    writer = Writer(tmp_path / "recordings")
    with pytest.raises(FileNotFoundError):
        writer.append("sessions/x/f.csv", HEADER, b"1,x\n")
    (tmp_path / "recordings").mkdir()
    writer.append("sessions/x/f.csv", HEADER, b"1,x\n")
    writer.sync(["sessions/x/f.csv", "gone.csv"], ["sessions/x", "sessions", "."])


def test_a_file_is_written_in_one_step(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_whole(tmp_path / "sidecar.json", content, sync=True)
        assert (tmp_path / "sidecar.json").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["sidecar.json"]
