"""``python -m neuroone.service.healthcheck FILE``: exit with 0 if a service touched its health file recently.

For the health checks of containers and supervisors. A service touches the file (``--health-file``) while it works and
is connected to its broker.
"""

import sys
import time
from pathlib import Path
from typing import Final

FRESH_S: Final = 10.0
"""The file is touched every 2 s; five missed touches are a fault and not a busy moment."""


def is_fresh(file: Path, now_s: float) -> bool:
    """Return True if ``file`` was touched in the last FRESH_S before ``now_s`` (seconds since 1970)."""
    try:
        return now_s - file.stat().st_mtime <= FRESH_S
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_fresh(Path(sys.argv[1]), time.time()) else 1)
