"""A small disk of its own for a test: a file system in memory that can be filled, and emptied again."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCKS_BYTES = (1 << 20, 1 << 12, 1)
"""Large blocks first, then whatever still fits."""


class SmallDisk:
    """A mounted file system of a few MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, left_bytes: int = 0) -> None:
        """Leave so much free, by default not one byte."""
        with self._filler.open("ab", buffering=0) as filler:
            for size_bytes in BLOCKS_BYTES:
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(b"\0" * size_bytes)
            filler.truncate(filler.seek(0, 2) - left_bytes)

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Mount a file system of that size at ``folder``; skip the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux":
        pytest.skip("small disks for tests are made on Linux only")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
