"""How NeuroOne's programs start each other: with this Python, or in the folder that needs no Python.

`deploy/folder` builds that folder (docs/decisions/0035). Its program `neuroone` has the services as commands.
"""

import sys
from pathlib import Path


def is_frozen() -> bool:
    """Return True in a program of the folder."""
    return bool(getattr(sys, "frozen", False))


def command(package: str, *words: str) -> list[str]:
    """Return the command line of one of our programs, named by its package, like `serial_bridge`."""
    if not is_frozen():
        return [sys.executable, "-m", package, *words]
    here = Path(sys.executable)
    service = [] if package == "neuroone" else [package.replace("_", "-")]
    return [str(here.with_name(f"neuroone{here.suffix}")), *service, *words]


def contents() -> Path | None:
    """Return where the folder keeps what its programs are made of; None outside of it."""
    return Path(sys._MEIPASS) if is_frozen() else None  # type: ignore[attr-defined] # noqa: SLF001 (PyInstaller's name)
