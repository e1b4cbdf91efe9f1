"""The memory of this program."""

import os
from pathlib import Path


def resident_bytes() -> int | None:
    """Return this program's resident memory in bytes; None on systems without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
