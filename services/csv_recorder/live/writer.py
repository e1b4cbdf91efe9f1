"""Appends whole rows to files, repairs them after a crash, and syncs them to the disk.

A file is open only while rows are written: thousands of students need one handle, and a file that somebody moved away
is created again.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)


class Writer:
    """Appends to files, named by their path in the directory. Every method raises OSError if the disk refuses."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, file: str, header: bytes, rows: bytes) -> int:
        """Append whole rows, and the header to a new file; return the file's size in bytes.

        Rows that do not fit on the disk leave no part behind.
        """
        handle = self._open(file)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            return _write(handle, end, rows if end else header + rows)
        finally:
            os.close(handle)

    def adopt(self, file: str) -> int:
        """End the last line of a file that may be the old server's; return the file's size in bytes."""
        if self.size_bytes(file) == 0:
            return 0
        handle = self._open(file)
        try:
            end = os.lseek(handle, -1, os.SEEK_END) + 1
            return end if os.read(handle, 1) == b"\n" else _write(handle, end, b"\n")
        finally:
            os.close(handle)

    def mend(self, file: str, header: bytes, synced_bytes: int, rows: Sequence[bytes]) -> tuple[int, list[bytes]]:
        """End the file with a whole row again after a crash; return its size in bytes and the rows that are missing.

        ``rows`` are those that may stand behind the synced size, the last one perhaps in part. Anything else there was
        written by somebody else, and stays.
        """
        handle = self._open(file)
        try:
            start = min(synced_bytes, os.lseek(handle, 0, os.SEEK_END))
            os.lseek(handle, start, os.SEEK_SET)
            with os.fdopen(os.dup(handle), "rb") as stream:
                tail = stream.read()
            if not start and tail.startswith(header):
                start, tail = len(header), tail.removeprefix(header)
            elif not start and header.startswith(tail):
                tail = b""
            lines = tail.splitlines(keepends=True)
            left = Counter(lines)
            missing = []
            for row in rows:
                if left[row]:
                    left[row] -= 1
                else:
                    missing.append(row)
            torn = lines[-1] if lines and not lines[-1].endswith(b"\n") else b""
            end = start + len(tail)
            if torn and any(row.startswith(torn) for row in missing):
                end -= len(torn)
            elif torn:
                end = _write(handle, end, b"\n")
            os.ftruncate(handle, end)
            return end, missing
        finally:
            os.close(handle)

    def sync(self, files: Iterable[str], folders: Iterable[str]) -> None:
        """Sync files, and the folders of new ones, to the disk. May run in another thread."""
        for file in files:
            self._sync(file, os.O_RDWR)
        if os.name == "posix":  # other systems cannot open a folder
            for folder in folders:
                self._sync(folder, os.O_RDONLY)

    def size_bytes(self, file: str) -> int:
        """Return the file's size; 0 if there is no file."""
        try:
            return os.stat(f"{self._directory}{os.sep}{file}").st_size  # noqa: PTH116 (pathlib costs thrice as much)
        except FileNotFoundError:
            return 0

    def _open(self, file: str) -> int:
        path = f"{self._directory}{os.sep}{file}"
        try:
            return os.open(path, _FLAGS, 0o666)
        except FileNotFoundError:
            if not self._directory.is_dir():
                raise  # somebody removed or unmounted it: a new one would hide that
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, _FLAGS, 0o666)

    def _sync(self, file: str, flags: int) -> None:
        try:
            handle = os.open(f"{self._directory}{os.sep}{file}", flags)
        except FileNotFoundError:
            return  # somebody moved it away
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace a file in one step, with ``sync`` also if the power fails. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as stream:
        stream.write(content)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    temporary.replace(path)


def _write(handle: int, start: int, content: bytes) -> int:
    """Write all of it at ``start``, the end of the file, or nothing; return the new end."""
    os.lseek(handle, start, os.SEEK_SET)
    try:
        if os.write(handle, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(handle, start)
        raise
    return start + len(content)
