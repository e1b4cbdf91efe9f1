"""A wall clock that a test sets, for a program in a process of its own: `clock_shim.c`, loaded by LD_PRELOAD."""

from pathlib import Path

from tests.support import preloaded

SOURCE = Path(__file__).with_suffix(".c")


class ClockShim:
    """The wall clock of programs that run in its ``environment``."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = preloaded.build(SOURCE, folder)
        self.environment = {"LD_PRELOAD": str(library), "NEUROONE_CLOCK": str(self._file)}
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Set the clock so many seconds ahead of the right time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead_s), encoding="utf-8")
        new.replace(self._file)
