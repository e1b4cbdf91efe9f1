"""One file that grows, and the disk under it: rows appended whole, cut back after a crash or a failed sync.

Whatever stands in a file, and whatever the disk answers, is a matter of that file alone.
"""

import contextlib
import errno
import logging
import os
import stat
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from neuroone.contract.files import APPENDED_BY_HAND

HANDLES_MAX: Final = 8192 if os.name == "posix" else 1
"""Files that are kept open, if the system allows it: two for each of 4000 students. Opening and closing one costs four
times as much as writing a row. But Windows lets nobody move a file that is open, nor Excel change it."""
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 30.0
"""Between two tries to write a file that has a fault: the delay doubles up to this."""
TAIL_MAX_BYTES: Final = 256 * 2**20
"""Unsynced bytes of a file that are looked at after a crash: more than ever waits. A longer tail is somebody else's."""
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
"""A pipe or a device in a file's place must not hold up whoever opens it."""
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | _NONBLOCK

log = logging.getLogger(__name__)


class KnownRows:
    """Rows, to be found whole or by how they begin. A crash may leave hundreds of thousands, for thousands of files."""

    def __init__(self, rows: Iterable[bytes] = ()) -> None:
        self._sorted = sorted(rows)

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def __contains__(self, row: bytes) -> bool:
        at = bisect_left(self._sorted, row)
        return at < len(self._sorted) and self._sorted[at] == row

    def has_start(self, part: bytes) -> bool:
        """Return True if a row begins with this part."""
        at = bisect_left(self._sorted, part)
        return at < len(self._sorted) and self._sorted[at].startswith(part)


class MovedAway(Exception):
    """Somebody moved the file, or put another one in its place."""


@dataclass(slots=True)
class Fault:
    """Why a file cannot be written, and when it is tried again (steady clock)."""

    reason: str
    delay_s: float
    retry_s: float


def next_fault(before: Fault | None, error: Exception, now_s: float) -> Fault:
    """Return the fault that follows another one of the same file; one that is not the disk's is ours, and is logged."""
    if isinstance(error, OSError):
        reason = error.strerror or "the disk refuses"
    else:
        reason = f"a fault of ours: {type(error).__name__}"
        if before is None or before.reason != reason:
            log.error("a fault of ours holds up one file", exc_info=error)
    delay_s = RETRY_MIN_S if before is None else min(RETRY_MAX_S, 2 * before.delay_s)
    return Fault(reason, delay_s, now_s + delay_s)


@dataclass(slots=True, eq=False)
class Output:
    """What goes to one growing file.

    ``pending`` rows are to be appended; ``unsynced`` ones are appended behind ``synced_bytes``, -1 until the file is
    in our care since ``since_s``. The file ``must_be_cut`` back when what stands behind that size is not known. It
    ``is_owed`` rows that the inbox keeps, the oldest since ``owed_since_s``; ``owed_rows`` of them are the first
    unsynced ones. It ``is_moved`` away until what was written to it is settled.
    """

    key: str
    file: int
    path: str
    header: bytes
    synced_bytes: int
    size_bytes: int
    since_s: float
    inode: int = 0
    owed_rows: int = 0
    pending: list[bytes] = field(default_factory=list)
    unsynced: list[bytes] = field(default_factory=list)
    fault: Fault | None = None
    must_be_cut: bool = False
    owed_since_s: float = float("inf")
    is_moved: bool = False

    @property
    def is_owed(self) -> bool:
        """Return True if the inbox keeps rows for this file."""
        return self.owed_since_s < float("inf")

    @property
    def is_settled(self) -> bool:
        """Return True if every row is synced."""
        return not (self.pending or self.unsynced or self.is_owed or self.fault or self.must_be_cut)

    def fail(self, error: Exception, now_s: float) -> None:
        """Note a fault; try again later, and ever more rarely."""
        self.fault = next_fault(self.fault, error, now_s)

    def cut_back(self) -> None:
        """Take everything behind the synced size for unwritten."""
        self.must_be_cut = True
        self.pending = self.unsynced[self.owed_rows :] + self.pending
        self.unsynced, self.owed_rows = [], 0


class Disk:
    """The files of a directory, by their paths in it. Every method raises OSError if the disk refuses.

    ``faults`` counts what `count_fault` was told, by the system's name of the error.
    """

    def __init__(self, directory: Path, handles_max: int = HANDLES_MAX) -> None:
        self._directory = directory
        self._handles_max = handles_max
        self._handles: OrderedDict[str, int] = OrderedDict()
        self.faults: Counter[str] = Counter()

    def count_fault(self, error: Exception) -> None:
        """Count a fault of one file."""
        number = error.errno if isinstance(error, OSError) else None
        self.faults[errno.errorcode.get(number or 0, "other")] += 1

    def adopt(self, path: str) -> int:
        """End the last line of a file that somebody else wrote; return its size in bytes, 0 if there is none."""
        try:
            size = self._stat(path).st_size
        except FileNotFoundError:
            return 0
        return self._end_line(self._open(path), size) if size else 0

    def append(self, output: Output, rows: bytes) -> None:
        """Append whole rows to a file, and the header to a new one; rows that do not fit leave no part behind.

        Raises MovedAway if the file is not the one that was written to before.
        """
        handle = self._open(output.path)
        try:
            now = self._stat(output.path)
        except FileNotFoundError:
            now = None
        if now is None or (output.inode and now.st_ino != output.inode):
            self.close(output.path, sync=True)
            if output.inode and output.size_bytes:
                raise MovedAway
            handle = self._open(output.path)
            now = self._stat(output.path)
        size = now.st_size
        if size != output.size_bytes and size:  # somebody else wrote to it
            size = self._end_line(handle, size)
        output.size_bytes = _write(handle, size, rows if size else output.header + rows)
        output.inode = now.st_ino

    def cut_back(self, output: Output, ours: Sequence[KnownRows]) -> None:
        """End a file at its synced size. What a person appended since is kept beside it, in ``.appended-by-hand``.

        ``ours`` are the rows that may stand there. A tail without any of them, or a part of one, is a person's and
        stays, unless it begins a file that needs a header.
        """
        try:
            size = self._stat(output.path).st_size
        except FileNotFoundError:
            size = 0
        if not size:
            output.synced_bytes = output.size_bytes = output.inode = 0
            output.must_be_cut = False
            return
        handle = self._open(output.path)
        start = min(max(output.synced_bytes, 0), size)
        is_ours, by_hand = False, b""
        if size - start <= TAIL_MAX_BYTES:
            is_ours, by_hand = _judge(_read(handle, start, size), ours, b"" if start else output.header)
        if is_ours:
            if by_hand:
                self._keep_aside(output.path, by_hand)
            os.ftruncate(handle, start)
            size = start
        elif size:
            size = self._end_line(handle, size)
        output.synced_bytes = output.size_bytes = size
        output.inode = os.fstat(handle).st_ino
        output.must_be_cut = False

    def size_bytes(self, path: str) -> int:
        """Return a file's size; 0 if there is none, or none that can be looked at."""
        try:
            return self._stat(path).st_size
        except (OSError, ValueError):  # also a name that this system cannot spell
            return 0

    def make_folder(self, path: str) -> bool:
        """Make a folder; return False if something that is not empty stands there."""
        folder = self._directory / path
        if not self._directory.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the directory of the recordings is gone")
        try:
            folder.mkdir()
        except FileNotFoundError:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            with os.scandir(folder) as entries:
                return next(entries, None) is None
        return True

    def sync(self, path: str) -> None:
        """Bring a file, or a folder's entries, onto the disk. May run in another thread."""
        with contextlib.suppress(FileNotFoundError):  # somebody moved it away
            sync_path(self._directory / path)

    def close(self, path: str, *, sync: bool = False) -> None:
        """Let go of a file's handle, if it is open."""
        handle = self._handles.pop(path, None)
        if handle is not None:
            if sync:
                with contextlib.suppress(OSError):
                    os.fsync(handle)
            os.close(handle)

    def close_all(self) -> None:
        """Let go of every handle."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _stat(self, path: str) -> os.stat_result:
        return os.stat(f"{self._directory}{os.sep}{path}")  # noqa: PTH116 (pathlib costs thrice as much)

    def _open(self, path: str) -> int:
        handle = self._handles.get(path)
        if handle is not None:
            self._handles.move_to_end(path)
            return handle
        try:
            handle = self._new_handle(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._handles:
                raise
            self.close_all()
            handle = self._new_handle(path)
        self._handles[path] = handle
        if len(self._handles) > self._handles_max:
            os.close(self._handles.popitem(last=False)[1])
        return handle

    def _new_handle(self, path: str) -> int:
        whole = f"{self._directory}{os.sep}{path}"
        try:
            handle = os.open(whole, _FLAGS, 0o666)
        except FileNotFoundError:
            if not self._directory.is_dir():
                raise  # somebody removed or unmounted it: a new one would hide that
            Path(whole).parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(whole, _FLAGS, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "it is no regular file")
        return handle

    def _end_line(self, handle: int, size: int) -> int:
        return size if _read(handle, size - 1, size) == b"\n" else _write(handle, size, b"\n")

    def _keep_aside(self, path: str, lines: bytes) -> None:
        with open(f"{self._directory}{os.sep}{path}{APPENDED_BY_HAND}", "ab", opener=_open_at_once) as file:
            file.write(lines)


def write_whole(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace a file in one step; with ``sync`` it is on the disk when this returns. Raises OSError."""
    temporary = f"{path.parent}{os.sep}.{path.name}.new"
    with open(temporary, "wb", opener=_open_at_once) as stream:
        stream.write(content)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(temporary, path)  # noqa: PTH105
    if sync:
        sync_path(path.parent)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _NONBLOCK, 0o666)


def sync_path(path: Path) -> None:
    """Bring a file, or a folder's entries, onto the disk. Raises OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | _NONBLOCK if os.name == "posix" else os.O_RDWR)
    except OSError as error:
        if os.name != "posix" and error.errno == errno.EACCES:
            return  # Windows opens no folder
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder on the way to files, the directory itself among them."""
    return {str(folder) for path in paths for folder in PurePosixPath(path).parents}


def _write(handle: int, size: int, content: bytes) -> int:
    """Append all of it to a file of this size, or nothing; return the new size."""
    try:
        if os.write(handle, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(handle, size)
        raise
    return size + len(content)


def _read(handle: int, start: int, end: int) -> bytes:
    os.lseek(handle, start, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as stream:
        return stream.read(end - start)


def _judge(tail: bytes, ours: Sequence[KnownRows], header: bytes) -> tuple[bool, bytes]:
    """Return True if a tail must go, and the lines in it that a person wrote. ``header`` is that of a whole file.

    A crash leaves rows of ours, a part of one, or damage: NULs, and bytes that are no text. Another program may have
    appended to a part of a row: so a tail that begins as one of ours does is taken for ours. A file needs its header.
    """
    has_header = tail.startswith(header)
    if header.startswith(tail):
        return True, b""
    tail = tail.removeprefix(header)
    *lines, torn = tail.split(b"\n")
    by_hand = [
        line
        for line in (each.replace(b"\0", b"") for each in lines)
        if line.strip() and not any(line + b"\n" in rows for rows in ours)
    ]
    is_torn = bool(torn) and any(rows.has_start(torn) for rows in ours)
    if torn.strip(b"\0 \t\r") and not is_torn:
        by_hand.append(torn.replace(b"\0", b""))
    begins_as_ours = tail[:1] == header[:1] or any(rows.has_start(tail[:1]) for rows in ours) if tail else False
    has_ours = is_torn or begins_as_ours or len(by_hand) < sum(bool(line.strip()) for line in (*lines, torn))
    return has_ours or not has_header or not _is_text(tail), b"".join(line + b"\n" for line in by_hand)


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
