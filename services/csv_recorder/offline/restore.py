"""Bring back the recordings of an archive into an empty directory.

Everything is unpacked into a folder inside of the directory first, and moved from there when it is whole; no recorder
starts while that folder is there. An archive is untrusted: it may come from anywhere, or be damaged.
"""

import contextlib
import gzip
import os
import shutil
import sqlite3
import sys
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from csv_recorder.live.inbox import Inbox, WrongVersion, check_whole, words_of_damage
from csv_recorder.offline.backup import PIECE_BYTES, STANDARD, sync_folder, unused
from csv_recorder.offline.lock import locked
from csv_recorder.offline.snapshot import BESIDE, LOG, beside, problem_of
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import BROKER_FOLDER, CERTIFICATES, INBOX_FILE, LOCK_FILE, REPLACED, RESTORING

FILES_MAX: Final = 5_000_000
"""Files in an archive: 200 times 25,000 sessions."""
NAME_MAX_BYTES: Final = 2**20
"""Of what tar says of one file: a name has at most 4096 bytes, and some systems add attributes."""
UNPACKED_MIN_BYTES: Final = 2**30
UNPACKED_RATIO: Final = 100
"""An archive unpacks to at most a GiB and a hundred times its size: rows of recordings shrink to a third, or to a
twentieth if a headset repeats itself. What unpacks to more is made to fill a disk."""
FREE_MIN_BYTES: Final = 2**28
"""Free bytes that a restore leaves on the disk."""
BLOCK_BYTES: Final = 512
TAIL_MAX_BYTES: Final = 2**20
"""Behind the last file: two empty blocks, and padding."""
TIME_MAX_S: Final = 2**33
"""The year 2242: a later time of a file is damage."""
IGNORED: Final = frozenset({"lost+found", LOCK_FILE, CERTIFICATES, BROKER_FOLDER})
"""What an empty directory may hold, and what stays: a file system has the first, the second says nothing, the third is
of the machine, since devices trust it, and the fourth knows what came since the backup."""


class Refused(Exception):
    """The archive is not one to restore; the text says why."""


_UNREADABLE: Final = (Refused, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError)
"""What the reading of an archive raises that is none, or damaged."""


@dataclass(slots=True)
class Restored:
    """What was brought back; ``fault`` says what is wrong with the inbox, and ``kept`` where earlier files are."""

    files: int = 0
    fault: str | None = None
    kept: Path | None = None


@dataclass(slots=True)
class _Counting:
    """A stream of packed bytes that counts them."""

    stream: IO[bytes]
    bytes_read: int = 0

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(size)
        self.bytes_read += len(content)
        return content


class _Unpacked:
    """The unpacked archive, read from its beginning to its end: a standard input cannot be rewound.

    It refuses to read much at once, because tar reads names, of any length, in one piece.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._packed = _Counting(stream)
        self._stream = gzip.GzipFile(fileobj=cast(Any, self._packed), mode="rb")
        self._at = 0
        self._is_one_back = False
        self.last = b""
        self.written_bytes = 0

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._at - self._is_one_back

    def seek(self, at: int) -> int:
        """Go on to a place; back by one byte, which is as far as tar goes."""
        self._is_one_back = at == self._at - 1 and bool(self.last)
        if at < self.tell():
            raise Refused("it leads back to its beginning")
        while self.tell() < at:
            if not self.read(min(PIECE_BYTES, at - self._at)):
                raise Refused("it ends too early")
        return at

    def read(self, size: int) -> bytes:
        """Read some bytes."""
        if not 0 <= size <= NAME_MAX_BYTES:
            raise Refused("a name in it is too long")
        if self._is_one_back and size:
            self._is_one_back = False
            return self.last[-1:]
        content: bytes = self._stream.read(size)
        self._at += len(content)
        self.last = content or self.last
        return content

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the content of a file of that size. Raises Refused if the archive unpacks to more than it may."""
        while size:
            piece = self.read(min(size, PIECE_BYTES))
            if not piece:
                raise Refused("it ends too early")
            size -= len(piece)
            self.written_bytes += len(piece)
            if self.written_bytes > UNPACKED_MIN_BYTES + UNPACKED_RATIO * self._packed.bytes_read:
                raise Refused("it unpacks to far more than recordings do")
            yield piece


def restore(archive: Path, directory: Path, *, replace: bool = False, now: datetime | None = None) -> Restored:
    """Bring back an archive into a directory that is empty, or if ``replace``, whose content is moved aside.

    `STANDARD` is the standard input. Raises SettingsError in a sentence; then the directory is as it was.
    """
    restored = Restored()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stream = sys.stdin.buffer if archive == STANDARD else stack.enter_context(archive.open("rb"))
            stack.enter_context(locked(directory))
            _restore(stream, directory, restored, replace=replace, now=now or datetime.now(UTC))
    except _UNREADABLE as error:
        raise SettingsError([f"ARCHIVE: {archive} is refused: {error}; nothing was restored"]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename or archive}: {error.strerror or error}"]) from None
    return restored


def _restore(stream: IO[bytes], directory: Path, restored: Restored, *, replace: bool, now: datetime) -> None:
    folder = directory / RESTORING
    check_whole(directory, [RESTORING])
    found = sorted(name for name in os.listdir(directory) if name not in IGNORED)  # noqa: PTH208 (names)
    if found and not replace:
        raise SettingsError([f"--dir: {directory} is not empty; --replace moves what it holds aside first"])
    folder.mkdir(mode=0o700)
    try:
        restored.files = _unpack(stream, folder)
        restored.fault = _check_inbox(folder, directory)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if hasattr(os, "sync"):
        os.sync()
    if found:
        restored.kept = _move_aside(directory, found, now)
    _move_in(folder, directory)


def _unpack(stream: IO[bytes], folder: Path) -> int:
    """Unpack an archive into an empty folder; return the number of files.

    Raises Refused, OSError, and what the reading of damaged archives raises.
    """
    unpacked = _Unpacked(stream)
    owner = folder.parent.stat() if hasattr(os, "geteuid") and os.geteuid() == 0 else None
    files = end = 0
    with tarfile.open(mode="r:", fileobj=cast(Any, unpacked)) as tar:
        while (entry := tar.next()) is not None:
            cast(Any, tar).members = []  # tar would keep all of them in memory
            end = entry.offset_data
            path = _path_of(entry)
            end += 0 if entry.isdir() else -(-entry.size // BLOCK_BYTES) * BLOCK_BYTES
            if path is None or path.parts[0] == CERTIFICATES:  # keys of https: this machine has its own, or makes them
                continue
            if entry.isdir():
                (folder / path).mkdir(parents=True, exist_ok=True)
            else:
                files += 1
                if files > FILES_MAX:
                    raise Refused(f"it has more than {FILES_MAX} files")
                if entry.size + FREE_MIN_BYTES > shutil.disk_usage(folder).free:
                    raise Refused("it needs more space than there is on the disk")
                unpacked.seek(entry.offset_data)
                _write(unpacked.pieces(entry.size), folder / path, entry, owner)
        _check_end(unpacked, end)
    return files


def _path_of(entry: tarfile.TarInfo) -> PurePosixPath | None:
    """Return where an entry belongs; None for the directory itself. Raises Refused for what no backup contains."""
    name = entry.name.replace("\\", "/") if os.name == "nt" else entry.name
    path = PurePosixPath(name)
    is_plain = (entry.isreg() or entry.isdir()) and not entry.issparse()
    if not is_plain:
        raise Refused(f"{name!r} in it is no file and no folder")
    if path.is_absolute() or ".." in path.parts or "\0" in name or (os.name == "nt" and ":" in name):
        raise Refused(f"{name!r} in it leads out of the directory")
    if path.parts[:1] == (RESTORING,):
        raise Refused(f"{name!r} in it is of an interrupted restore")
    return path if path.parts else None


def _write(pieces: Iterator[bytes], place: Path, entry: tarfile.TarInfo, owner: os.stat_result | None) -> None:
    """Write one new file."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError:
        raise Refused(f"{entry.name!r} is in it twice") from None
    with os.fdopen(handle, "wb") as stream:
        stream.writelines(pieces)
    place.chmod((entry.mode & 0o644) | 0o600)
    time_s = min(max(0, int(entry.mtime)), TIME_MAX_S)
    os.utime(place, (time_s, time_s))
    if owner is not None:
        for made in (place, *(each for each in place.parents if RESTORING in each.parts)):
            os.chown(made, owner.st_uid, owner.st_gid)


def _check_end(unpacked: _Unpacked, end: int) -> None:
    """Read to the end, where gzip has its sum.

    Raises Refused if the archive is cut off, or followed by something: tar takes both for its end.
    """
    tail_bytes = unpacked.tell() - end
    piece = unpacked.last if tail_bytes else b""
    while True:
        if piece.strip(b"\0") or tail_bytes > TAIL_MAX_BYTES:
            raise Refused("something that is no file is in it")
        piece = unpacked.read(BLOCK_BYTES)
        if not piece:
            break
        tail_bytes += len(piece)
    if tail_bytes < 2 * BLOCK_BYTES:
        raise Refused("it ends too early")


def _check_inbox(folder: Path, directory: Path) -> str | None:
    """Bring the inbox into one file, and say what is wrong with it, and what to do."""
    path = folder / INBOX_FILE
    if not path.exists():
        return None
    for ending in BESIDE:
        if ending != LOG:  # with its log it was copied while no recorder ran
            beside(path, ending).unlink(missing_ok=True)
    problem = problem_of(path)
    if problem is None:
        inbox = Inbox(path)
        try:
            inbox.open()
            for _ in inbox.waiting():
                pass
        except WrongVersion as error:
            raise Refused(f"its inbox: {error}") from None
        except sqlite3.Error as error:
            return words_of_damage(directory / INBOX_FILE, error)
        finally:
            inbox.close()
        return None
    return words_of_damage(directory / INBOX_FILE, sqlite3.DatabaseError(problem))


def _move_aside(directory: Path, names: list[str], now: datetime) -> Path:
    kept = unused(directory / f"{REPLACED}{now:%Y%m%dT%H%M%SZ}")
    kept.mkdir(mode=0o700)
    for name in names:
        if not name.startswith(REPLACED):
            (directory / name).rename(kept / name)
    return kept


def _move_in(folder: Path, directory: Path) -> None:
    """Move everything from the folder into its directory, the inbox last."""
    (folder / LOCK_FILE).unlink(missing_ok=True)
    if (directory / BROKER_FOLDER).exists() and (folder / BROKER_FOLDER).exists():
        shutil.rmtree(folder / BROKER_FOLDER)
    for name in sorted(os.listdir(folder), key=lambda name: name.startswith(INBOX_FILE)):  # noqa: PTH208 (names)
        (folder / name).rename(directory / name)
    sync_folder(directory)
    folder.rmdir()
    sync_folder(directory)
