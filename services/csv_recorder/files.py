"""The CSV files of a directory: appended to in whole rows, mended after a crash."""

import errno
import os
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Final

from csv_recorder.rows import HEADER

OPEN_MAX: Final = 200
"""Files that are open at once: below the 256 that macOS allows a program; the longest unused is closed first."""


class CsvFiles:
    """Appends to files. Every method raises OSError when the disk says no."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()
        self._unsynced: set[str] = set()

    def adopt(self, file: str) -> int:
        """A file comes into our care, perhaps one of the old server's: end its last line; returns its size in bytes."""
        if self.size_bytes(file) == 0:
            return 0
        stream = self._stream(file)
        stream.seek(-1, os.SEEK_END)
        if stream.read() != b"\n":
            _write(stream, b"\n")
        return stream.tell()

    def append(self, file: str, rows: bytes) -> None:
        """Append whole rows; a new file gets its header first. What does not fit on the disk leaves no part behind."""
        stream = self._stream(file)
        self._unsynced.add(file)
        _write(stream, rows if stream.seek(0, os.SEEK_END) else HEADER + rows)

    def mend(self, file: str, synced_bytes: int, waiting: bytes) -> None:
        """After a crash: write what waits for a file, of which a part may stand behind its synced size already.

        What stands there and is no such part is somebody else's and stays.
        """
        stream = self._stream(file)
        self._unsynced.add(file)
        start = stream.seek(min(synced_bytes, self.size_bytes(file)))
        tail = stream.read()
        wanted = waiting if start else HEADER + waiting
        if wanted.startswith(tail):
            _write(stream, wanted[len(tail) :])
        else:
            _write(stream, waiting if tail.endswith(b"\n") else b"\n" + waiting)

    def size_bytes(self, file: str) -> int:
        """The file's size; 0 for one that is not there."""
        try:
            return (self._directory / file).stat().st_size
        except FileNotFoundError:
            return 0

    def sync(self) -> dict[str, int]:
        """Bring every file that was appended to onto the disk; returns their sizes in bytes.

        They are named again by the next call, until `settled` says that the sizes are noted.
        """
        sizes = {}
        for file in sorted(self._unsynced):
            stream = self._stream(file)
            os.fsync(stream.fileno())
            sizes[file] = stream.seek(0, os.SEEK_END)
        return sizes

    def settled(self) -> None:
        """The sizes of the last `sync` are safe."""
        self._unsynced.clear()

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _stream(self, file: str) -> BinaryIO:
        stream = self._open.pop(file, None)
        if stream is not None and not (self._directory / file).exists():
            stream.close()  # somebody moved the file away: a new one begins
            stream = None
        if stream is None:
            while len(self._open) >= OPEN_MAX:
                self._open.popitem(last=False)[1].close()
            path = self._directory / file
            path.touch()
            stream = path.open("r+b", buffering=0)
        self._open[file] = stream
        return stream


def _write(stream: BinaryIO, content: bytes) -> None:
    """Write all of it at the stream's place, which is the file's end, or nothing."""
    start = stream.tell()
    try:
        if stream.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        stream.truncate(start)
        raise
