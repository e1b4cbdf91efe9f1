"""Build the C libraries of tests that LD_PRELOAD puts between a program and the system."""

import shutil
import subprocess
import sys
from pathlib import Path


def why_not() -> str | None:
    """Return why no such library can be used here; None if it can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD is Linux only"
    return None if _compiler() else "no C compiler here; .ci/run installs it (apt-get install gcc libc6-dev)"


def build(source: Path, folder: Path) -> Path:
    """Compile a library into ``folder``; return its path."""
    compiler = _compiler()
    assert compiler, why_not()
    library = folder / source.with_suffix(".so").name
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")
