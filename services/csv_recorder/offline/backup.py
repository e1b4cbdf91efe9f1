"""Write all recordings into one archive, as they are at one moment, also while a recorder writes.

The moment is that of a copy of the inbox, and this is why what is restored has lost and doubled nothing:

1. Names, sizes, sidecars and the index are read first, then the inbox, then the files.
2. Of a file that the inbox knows, the archive has the bytes that were synced at that moment. A recorder only appends
   behind them, so they are the same whenever they are read. What was acknowledged beyond them waits in the copied
   inbox, and the recorder that starts with the restored directory appends it.
3. A file that the inbox does not know is somebody else's, or of a session so long closed that nothing comes any more.
   The archive has what it held before the inbox was copied: should a recorder begin to write to it after that, its rows
   are not in the copied inbox either. A file that was not there yet begins after that moment and is left out.
4. The state of the broker of `neuroone up` is copied before the inbox: what this broker has handed on since is in the
   copied inbox, which recognizes it when it comes again.
5. A sidecar may be older than the moment. A session that the inbox has closed since is opened again in the copied
   inbox: the recorder then writes its sidecar anew, and closes it.
"""

import contextlib
import gzip
import io
import itertools
import json
import os
import shutil
import sqlite3
import stat
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

from csv_recorder.live.inbox import Inbox, check_whole, words_of_damage
from csv_recorder.offline.snapshot import copy_inbox
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    BROKER_FOLDER,
    CERTIFICATES,
    CLOSED,
    DAMAGED_INBOX,
    INBOX_FILE,
    INDEX,
    INTERRUPTED,
    LOCK_FILE,
    REPLACED,
    REPORT_CACHE_FILE,
    SIDECAR,
    UP_FILE,
    UP_RESTART,
)

STANDARD: Final = Path("-")
"""Stands for the standard output or input."""
COMPRESSION: Final = 3
"""Level of gzip: half the time of the usual 6, for a tenth more bytes."""
PIECE_BYTES: Final = 2**20
ARCHIVE_MODE: Final = 0o600
"""It holds what children are called and did: its owner alone reads it."""


@dataclass(slots=True)
class Summary:
    """What an archive holds: files, bytes, and what could not be put into it."""

    files: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)


class Backup:
    """One archive in the making."""

    def __init__(self, directory: Path, tar: tarfile.TarFile, place: Path) -> None:
        self._directory = directory
        self._tar = tar
        self._place = place
        self._sidecars: dict[str, tuple[bool, int]] = {}
        self.summary = Summary()

    def write(self) -> None:
        """Write everything, in the order that the top of this module explains. Raises OSError and sqlite3.Error."""
        sizes = dict(self._walk(self._directory))
        first = [path for path in sizes if path == INDEX or PurePosixPath(path).name == SIDECAR]
        for path in first:
            self._add_read_first(path)
        brokers = {path for path in sizes if path.startswith(f"{BROKER_FOLDER}/")}
        # NATS: what was acknowledged (obs) before the messages. A message that is older than that was not handed on.
        for path in sorted(brokers, key=lambda path: ("/obs/" not in path, path)):
            self._add_copied(path)
        copy = self._place / INBOX_FILE
        known = self._copy_inbox(copy) if (self._directory / INBOX_FILE).exists() else {}
        for path in sorted({*sizes, *known}.difference(first, brokers)):
            size = known.get(path, -1)
            size = size if size >= 0 else sizes.get(path, 0)
            if path in sizes or (self._directory / path).exists():
                self._add(path, size)
        if copy.exists():
            self._add(INBOX_FILE, copy.stat().st_size, copy)

    def _walk(self, folder: Path) -> Iterator[tuple[str, int]]:
        """Yield the path in the directory and the size of each file that belongs into the archive."""
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:  # a broker removes its own
            for entry in entries:
                path = Path(entry.path).relative_to(self._directory).as_posix()
                if folder == self._directory and _is_internal(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    if not (entry.name.startswith(".") and entry.name.endswith(".new")):  # one that is being written
                        with contextlib.suppress(FileNotFoundError):
                            yield path, entry.stat(follow_symlinks=False).st_size
                else:
                    self.summary.skipped.append(f"{path} is no file")

    def _add_read_first(self, path: str) -> None:
        """Add the index or a sidecar, which are small and replaced in one step."""
        try:
            content = (self._directory / path).read_bytes()
            mode = (self._directory / path).stat()
        except FileNotFoundError:
            return
        if path != INDEX:
            self._sidecars[str(PurePosixPath(path).parent)] = _closed_with(content)
        self._add_stream(path, len(content), mode, io.BytesIO(content))

    def _add_copied(self, path: str) -> None:
        """Add a file that another program may shorten or replace at any moment, as it is now."""
        copy = self._place / "copied"
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(self._directory / path, copy)
            self._add(path, copy.stat().st_size, copy)

    def _copy_inbox(self, copy: Path) -> dict[str, int]:
        """Copy the inbox; return the synced bytes of the files that it knows, by path."""
        copy_inbox(self._directory / INBOX_FILE, copy)
        inbox = Inbox(copy)
        inbox.open()
        try:
            known = inbox.all_files()
            sizes: dict[int, int] = {}
            for file in known:
                if file.session is not None:
                    sizes[file.session] = sizes.get(file.session, 0) + max(0, file.synced_bytes)
            again = []
            for session in inbox.sessions():
                folder = None if session.about is None else session.about.directory
                if session.open or folder is None:
                    continue
                is_closed, size = self._sidecars.get(folder, (False, 0))
                if not is_closed or size != sizes.get(session.id, size):
                    session.open = True
                    again.append(session)
            inbox.begin()
            inbox.describe(again)
            inbox.commit()
        finally:
            inbox.close()
        return {file.path: file.synced_bytes for file in known}

    def _add(self, path: str, size: int, source: Path | None = None) -> None:
        """Add the first ``size`` bytes of a file, or all of it if it has fewer."""
        try:
            stream = (source or self._directory / path).open("rb")
        except FileNotFoundError:
            self.summary.skipped.append(f"{path} is not there any more")
            return
        with stream:
            found = os.fstat(stream.fileno())
            self._add_stream(path, min(size, found.st_size), found, stream)

    def _add_stream(self, path: str, size: int, found: os.stat_result, stream: IO[bytes]) -> None:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mtime, entry.mode = size, int(found.st_mtime), stat.S_IMODE(found.st_mode)
        self._tar.addfile(entry, stream)
        self.summary.files += 1
        self.summary.bytes += size


def back_up(directory: Path, archive: Path, *, force: bool = False) -> Summary:
    """Write the recordings of a directory into an archive, a compressed tar file; `STANDARD` is the standard output.

    Raises SettingsError in a sentence; then there is no archive, or still the old one.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise SettingsError([f"--dir: {directory} is not there"])
    check_whole(directory)
    if archive != STANDARD:
        if archive.resolve().is_relative_to(directory):
            raise SettingsError([f"ARCHIVE: {archive} is inside of the recordings: it would contain itself"])
        if archive.exists() and not force:
            raise SettingsError([f"ARCHIVE: {archive} is there already; --force replaces it"])
    try:
        with _output(archive) as raw, TemporaryDirectory(prefix=".neuroone-") as place:
            with (
                gzip.GzipFile("", "wb", COMPRESSION, raw) as packed,
                tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT, bufsize=PIECE_BYTES) as tar,
            ):
                backup = Backup(directory, tar, Path(place))
                backup.write()
    except sqlite3.Error as error:
        raise SettingsError([words_of_damage(directory / INBOX_FILE, error)]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename or archive}: {error.strerror or error}; there is no archive"]) from None
    return backup.summary


@contextlib.contextmanager
def _output(archive: Path) -> Iterator[IO[bytes]]:
    """Yield where the archive goes: a file that replaces ``archive`` in one step when it is whole and on the disk."""
    if archive == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = archive.with_name(f".{archive.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), ARCHIVE_MODE)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(archive.parent)


def unused(path: Path) -> Path:
    """Return a path under which there is nothing: this one, or one with a number."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not each.exists())


def sync_folder(folder: Path) -> None:
    """Bring the entries of a folder onto the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_internal(name: str) -> bool:
    """Return True for what is left out: the inbox, which is copied, what commands left behind, and keys for https."""
    return name == CERTIFICATES or name.startswith(
        (INBOX_FILE, LOCK_FILE, REPORT_CACHE_FILE, DAMAGED_INBOX, REPLACED, UP_FILE, UP_RESTART, *INTERRUPTED)
    )


def _closed_with(content: bytes) -> tuple[bool, int]:
    """Return if a sidecar says that its session is closed, and the bytes of all files that it names."""
    try:
        about: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False, 0
    listed = about.get("files") if isinstance(about, Mapping) else None
    if not isinstance(listed, Mapping) or about.get("status") != CLOSED:
        return False, 0
    sizes = [each.get("bytes") if isinstance(each, Mapping) else None for each in listed.values()]
    return True, sum(size for size in sizes if isinstance(size, int))
