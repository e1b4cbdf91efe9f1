"""What a power cut leaves of a directory: what was synced is there, anything later is arbitrary.

The log of `disk_shim.c` says which bytes and which names were synced. An image is a copy of the directory, made while
its program is stopped, in which everything else is damaged.
"""

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

CUT, ZEROS, NOISE, FOREIGN = "cut", "zeros", "random bytes", "foreign lines"
KINDS = (CUT, ZEROS, NOISE, FOREIGN)
WAL_KINDS = (CUT, ZEROS, NOISE, "none")
INBOX = ".inbox.sqlite"
PAGE_BYTES = 4096
BEYOND_BYTES = 3 * PAGE_BYTES
"""A write that was under way may have made a file longer, without its content."""

Range = tuple[int, int, int]
"""When it was written, by line of the log; its start and its end in bytes."""


@dataclass(slots=True)
class _Name:
    """A change of a name in a folder: N and M make one, U removes one, R replaces one by another."""

    line: int
    change: str
    path: str
    inode: int = 0
    old_inode: int = 0
    source: str = ""


@dataclass
class SyncLog:
    """The log of a shim, read as far as it goes."""

    path: Path
    dirty: dict[int, list[Range]] = field(default_factory=lambda: defaultdict(list))
    lost: dict[int, list[Range]] = field(default_factory=lambda: defaultdict(list))
    """Written before a sync that failed: the system holds it for clean, so no later sync writes it."""
    names: dict[str, list[_Name]] = field(default_factory=lambda: defaultdict(list))
    syncs: int = 0
    _begun: dict[str, tuple[int, int, str | None]] = field(default_factory=dict)
    _line: int = 0
    _offset: int = 0

    def read(self) -> None:
        """Read what is new."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.seek(self._offset)
            text = file.read()
            self._offset = file.tell()
        for line in text.split("\n")[:-1]:
            self._line += 1
            self._one(*line.split("\t"))

    def _one(self, what: str, *cells: str) -> None:
        if what == "W":
            inode, start, end = int(cells[0]), int(cells[1]), int(cells[1]) + int(cells[2])
            self.dirty[inode].append((self._line, start, end))
            self.lost[inode] = [part for each in self.lost[inode] for part in _without(each, start, end)]
        elif what == "T":
            inode, size, before = map(int, cells[:3])
            for ranges in (self.dirty, self.lost):
                ranges[inode] = [(line, start, min(end, size)) for line, start, end in ranges[inode] if start < size]
            if before > size:
                self.dirty[inode].append((self._line, size, before))
        elif what == "B":
            self._begun[cells[0]] = (self._line, int(cells[1]), cells[3] if cells[2] == "-1" else None)
        elif what in "EF":
            self._ended(*self._begun.pop(cells[0]), is_good=what == "E")
        elif what == "N":
            self._name(_Name(self._line, what, cells[1], int(cells[0])))
        elif what == "M":
            self._name(_Name(self._line, what, cells[0]))
        elif what == "U":
            self._name(_Name(self._line, what, cells[1], old_inode=int(cells[0])))
        elif what == "R":
            self._name(_Name(self._line, what, cells[3], int(cells[0]), int(cells[1]), cells[2]))

    def _ended(self, begun: int, inode: int, folder: str | None, *, is_good: bool) -> None:
        if folder is not None:
            if is_good:
                self.names[folder] = [each for each in self.names[folder] if each.line > begun]
            return
        self.syncs += is_good
        if not is_good:
            self.lost[inode] += [each for each in self.dirty[inode] if each[0] < begun]
        self.dirty[inode] = [each for each in self.dirty[inode] if each[0] > begun]

    def _name(self, name: _Name) -> None:
        self.names[str(PurePosixPath(name.path).parent)].append(name)


@dataclass
class Image:
    """A damaged copy, and the lines that another program appended, by path."""

    directory: Path
    kind: str
    wal_kind: str
    foreign: dict[str, list[bytes]] = field(default_factory=dict)
    vanished: int = 0
    damaged: int = 0


def take(
    root: Path, log: SyncLog, graves: Path, to: Path, rng: random.Random, kind: str, wal_kind: str = "none"
) -> Image:
    """Copy a directory whose program is stopped, and damage what was not synced."""
    log.read()
    image = Image(to, kind, wal_kind)
    inodes: dict[str, int] = {}
    to.mkdir(parents=True)
    for path in sorted(root.rglob("*")):
        copy = to / path.relative_to(root)
        if path.is_dir():
            copy.mkdir()
        else:
            shutil.copyfile(path, copy)
            inodes[str(path.relative_to(root))] = path.stat().st_ino
    for changes in list(log.names.values()):
        kept = rng.randint(0, len(changes))
        for change in reversed(changes[kept:]):
            _undo(change, image, inodes, graves)
    for name, inode in inodes.items():
        path = to / name
        if path.exists():
            _damage(path, name, image, rng, log.dirty[inode], log.lost[inode])
    if kind == FOREIGN:
        _append_foreign(image, rng)
    return image


def _undo(change: _Name, image: Image, inodes: dict[str, int], graves: Path) -> None:
    path = image.directory / change.path
    image.vanished += 1
    if change.change == "M":
        shutil.rmtree(path, ignore_errors=True)
    elif change.change == "N":
        path.unlink(missing_ok=True)
    elif change.change == "R":
        if path.exists() and (image.directory / change.source).parent.is_dir():
            path.rename(image.directory / change.source)
            inodes[change.source] = change.inode
    if change.old_inode and (graves / str(change.old_inode)).exists() and path.parent.is_dir():
        shutil.copyfile(graves / str(change.old_inode), path)
        inodes[change.path] = change.old_inode


def _damage(path: Path, name: str, image: Image, rng: random.Random, dirty: list[Range], lost: list[Range]) -> None:
    size = path.stat().st_size
    for _, start, end in lost:
        _overwrite(path, start, min(end, size), lambda length: b"\0" * length)
    if name == f"{INBOX}-shm":  # is shared memory, of which a disk may have anything
        path.write_bytes(rng.randbytes(rng.randrange(size + 1)))
        return
    if name == INBOX:
        for _, start, end in dirty:
            if start >= PAGE_BYTES:  # a sector of the first page is the old one or the new one
                _overwrite(path, start, min(end, size), rng.randbytes)
        return
    is_wal = name.startswith(INBOX)
    kind = image.wal_kind if is_wal else image.kind
    synced = _start_of_tail(dirty, size)
    if kind == "none" or (synced >= size and not is_wal):
        return
    image.damaged += 1
    fills: dict[str, Callable[[int], bytes]] = {ZEROS: bytes, NOISE: rng.randbytes}
    fill = fills.get(kind)
    if kind == CUT or (kind == FOREIGN and rng.random() < 0.7):
        with path.open("r+b") as file:
            file.truncate(rng.randint(synced, size))
    elif fill:
        for _, start, end in dirty if is_wal else [(0, synced, size)]:
            _overwrite(path, start, min(end, size), fill)
        if is_wal or rng.random() < 0.3:
            with path.open("ab") as file:
                file.write(fill(rng.randint(1, BEYOND_BYTES)))


def _start_of_tail(dirty: list[Range], size: int) -> int:
    """Return where what was not synced begins, of what goes on to the end of the file."""
    start = size
    for _, first, end in sorted(dirty, key=lambda each: each[2], reverse=True):
        if end < start:
            break
        start = min(start, first)
    return start


def _overwrite(path: Path, start: int, end: int, fill: Callable[[int], bytes]) -> None:
    if end > start:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(fill(end - start))


def _append_foreign(image: Image, rng: random.Random) -> None:
    for path in sorted(image.directory.rglob("*.csv")):
        if path.name == "names.csv" or rng.random() < 0.4:
            continue
        name = str(path.relative_to(image.directory))
        lines = list(_foreign_lines(rng, rng.randint(1, 3)))
        image.foreign[name] = [line.strip(b"\n") for line in lines if line.strip()]
        with path.open("ab") as file:
            file.write(b"".join(lines))


def _foreign_lines(rng: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        number = b"%09d" % rng.randrange(10**9)
        yield (
            rng.choice(
                (
                    b"written by another program %s\n",
                    b"; Jos\xe9 %s\n",
                    b"1,2,3,4,5,6,7,8,9,1%s\n",
                    b"2026-11-22T18:20:31.123456Z,x,%s,,,0,0,0,0,0,0,0,0,0,0,deadbeef\n",
                    b"\n%s\n",
                )
            )
            % number
        )


def _without(range: Range, start: int, end: int) -> list[Range]:
    line, first, last = range
    parts = [(line, first, min(last, start)), (line, max(first, end), last)]
    return [each for each in parts if each[1] < each[2]]
