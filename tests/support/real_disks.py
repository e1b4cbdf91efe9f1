"""A directory of recordings that is full, taken away or not writable, by mounts and renames instead of a shim."""

import errno
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.crash_round import World
from tests.support.disk_faults import EVERYTHING, Fault
from tests.support.small_disk import SmallDisk


@dataclass(frozen=True, slots=True)
class FullDisk(Fault):
    """Another program fills the disk to its last byte, and removes its file later."""

    def begin(self, world: World, victim: str) -> None:
        """Fill it."""
        SmallDisk(world.directory.parent).fill()

    def end(self, world: World) -> None:
        """Make room."""
        SmallDisk(world.directory.parent).free()


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
    subprocess.run(command, check=True, capture_output=True)
