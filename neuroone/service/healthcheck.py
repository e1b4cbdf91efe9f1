"""``python -m neuroone.service.healthcheck FILE``: exit 0 when a service touched its health file lately.

For health checks of containers and supervisors; a service touches the file (``--health-file``) while it
works and has its broker.
"""

import sys
import time
from pathlib import Path
from typing import Final

FRESH_S: Final = 10.0
"""The file is touched every 2 s; five missed in a row are a fault, not a busy moment."""


def is_fresh(file: Path, now_s: float) -> bool:
    """Whether ``file`` exists and was touched in the last FRESH_S before ``now_s`` (seconds since 1970)."""
    try:
        return now_s - file.stat().st_mtime <= FRESH_S
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_fresh(Path(sys.argv[1]), time.time()) else 1)
