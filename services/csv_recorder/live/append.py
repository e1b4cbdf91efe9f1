"""The files of a directory: appended to in whole rows, mended after a crash, brought onto the disk.

A file is open only while it is written to: thousands of students need no more handles than one, and a file that
somebody moved away is begun anew.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)


class Files:
    """Appends to files, named by their path in the directory. Every method raises OSError when the disk says no."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, file: str, header: bytes, rows: bytes) -> int:
        """Append whole rows, a new file's header before them; returns the file's size in bytes.

        What does not fit on the disk leaves no part behind.
        """
        handle = self._open(file)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            return _write(handle, end, rows if end else header + rows)
        finally:
            os.close(handle)

    def adopt(self, file: str) -> int:
        """A file comes into our care, perhaps one of the old server's: end its last line; returns its size in bytes."""
        if self.size_bytes(file) == 0:
            return 0
        handle = self._open(file)
        try:
            end = os.lseek(handle, -1, os.SEEK_END) + 1
            return end if os.read(handle, 1) == b"\n" else _write(handle, end, b"\n")
        finally:
            os.close(handle)

    def mend(self, file: str, header: bytes, synced_bytes: int, rows: Sequence[bytes]) -> tuple[int, list[bytes]]:
        """After a crash: end the file with a whole row again.

        ``rows`` are those that may stand behind the synced size, the last one perhaps in part; what stands there and
        is none of them is somebody else's, and stays. Returns the file's size in bytes and the rows that are missing.
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
        """Bring files and the entries of new ones in their folders onto the disk. May run in a thread of its own."""
        for file in files:
            self._sync(file, os.O_RDWR)
        if os.name == "posix":  # elsewhere a folder is no file
            for folder in folders:
                self._sync(folder, os.O_RDONLY)

    def size_bytes(self, file: str) -> int:
        """The file's size; 0 for one that is not there."""
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
                raise  # somebody took it away, or what it was mounted from: it is not ours to make a new one
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, _FLAGS, 0o666)

    def _sync(self, file: str, flags: int) -> None:
        try:
            handle = os.open(f"{self._directory}{os.sep}{file}", flags)
        except FileNotFoundError:
            return  # somebody moved it away: it is theirs
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file in one step: a reader sees the old content or the new; ``sync``: also after a power cut.

    Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as stream:
        stream.write(content)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    temporary.replace(path)


def _write(handle: int, start: int, content: bytes) -> int:
    """Write all of it from ``start``, which is the end of what stays, or nothing; returns where it ends."""
    os.lseek(handle, start, os.SEEK_SET)
    try:
        if os.write(handle, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(handle, start)
        raise
    return start + len(content)
