"""A wall clock that a test sets, for a program in a process of its own: `clock_shim.c`, loaded by LD_PRELOAD."""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def why_not() -> str | None:
    """Return why the shim cannot be used here; None if it can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD is Linux only"
    return None if shutil.which("cc") else "no C compiler here (apt-get install gcc libc6-dev)"


class ClockShim:
    """The wall clock of programs that run in its ``environment``."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = folder / "clock_shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "NEUROONE_CLOCK": str(self._file)}
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Set the clock so many seconds ahead of the right time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead_s), encoding="utf-8")
        new.replace(self._file)
