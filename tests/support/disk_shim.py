"""A disk that fails on request, for a program in a process of its own: `disk_shim.c`, loaded by LD_PRELOAD."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from tests.support import preloaded

SOURCE = Path(__file__).with_suffix(".c")
ALWAYS = -1


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that fails for paths that match ``pattern``, relative to the watched directory; see `disk_shim.c`."""

    call: str
    pattern: str
    error: int = errno.EIO
    times: int = ALWAYS
    mode: str = "-"

    def __str__(self) -> str:
        return f"{self.call}\t{self.error}\t{self.times}\t{self.mode}\t{self.pattern}\n"


class DiskShim:
    """The shim for one watched directory; ``folder`` keeps its own files, on the same file system."""

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.log = folder / "shim.log"
        self.graves = folder / "graves"
        self.graves.mkdir(exist_ok=True)
        self._rules = folder / "shim.rules"
        self._library = preloaded.build(SOURCE, folder)

    def environment(self) -> dict[str, str]:
        """Return the environment of a program whose disk this is."""
        return {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "NEUROONE_SHIM_ROOT": str(self.root),
            "NEUROONE_SHIM_LOG": str(self.log),
            "NEUROONE_SHIM_RULES": str(self._rules),
            "NEUROONE_SHIM_GRAVES": str(self.graves),
        }

    def fail(self, *rules: Rule) -> None:
        """Let these calls fail from now on, and no others."""
        new = self._rules.with_suffix(".new")
        new.write_text("".join(map(str, rules)), encoding="utf-8")
        new.replace(self._rules)

    def heal(self) -> None:
        """Let no call fail any more."""
        self.fail()
