"""A directory of recordings that is full, taken away or not writable, by mounts and renames instead of a shim."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.crash_round import World
from tests.support.disk_faults import EVERYTHING, Fault

DISK_BYTES = 16 * 2**20
BALLAST = "ballast"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system; yield where. Raises OSError if this user may not."""
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def may_mount(folder: Path) -> bool:
    """Return True if this user may mount file systems."""
    try:
        with small_disk(folder):
            return True
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class FullDisk(Fault):
    """Another program fills the disk to its last byte, and removes its file later."""

    def begin(self, world: World, victim: str) -> None:
        """Fill it."""
        handle = os.open(world.directory.parent / BALLAST, os.O_WRONLY | os.O_CREAT)
        size_bytes = 65536
        while size_bytes:
            try:
                os.write(handle, bytes(size_bytes))
            except OSError:
                size_bytes //= 2
        os.close(handle)

    def end(self, world: World) -> None:
        """Make room."""
        (world.directory.parent / BALLAST).unlink()


@dataclass(frozen=True, slots=True)
class Renamed(Fault):
    """Somebody renames the directory, and renames it back later."""

    def begin(self, world: World, victim: str) -> None:
        """Take it away."""
        world.directory.rename(_away(world))

    def end(self, world: World) -> None:
        """Bring it back."""
        _away(world).rename(world.directory)


@dataclass(frozen=True, slots=True)
class ReplacedByAFile(Renamed):
    """There is a file where the directory was."""

    def begin(self, world: World, victim: str) -> None:
        """Take it away, and put a file in its place."""
        world.directory.rename(_away(world))
        world.directory.write_text("no directory")

    def end(self, world: World) -> None:
        """Bring it back."""
        world.directory.unlink()
        _away(world).rename(world.directory)


@dataclass(frozen=True, slots=True)
class Unmounted(Fault):
    """The mount point is empty, and cannot be written, until the disk is mounted again."""

    def begin(self, world: World, victim: str) -> None:
        """Hide the directory by a file system that is read-only."""
        _run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(world.directory))

    def end(self, world: World) -> None:
        """Show it again."""
        _run("umount", "--lazy", str(world.directory))


REAL_FAULTS = (
    FullDisk("a full disk", EVERYTHING, ("write",), errno.ENOSPC),
    Renamed("the directory renamed and back", EVERYTHING, ("write",), errno.ENOENT),
    ReplacedByAFile("a file instead of the directory", EVERYTHING, ("write",), errno.ENOTDIR),
    Unmounted("an empty, read-only mount point", EVERYTHING, ("write",), errno.EROFS),
)


def _away(world: World) -> Path:
    return world.directory.with_suffix(".away")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr.decode(errors="replace")) from None
