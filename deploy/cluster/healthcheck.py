"""Say by the exit code whether a node of a cluster has all that the others have.

    healthcheck.py [--watch] PID-FILE

A node whose disk was full keeps nothing from then on, also when there is room again, and the others wait for it in
vain. So it is told to end once it has said so for 30 s; what started it starts it again, until there is room. With
--watch this goes on for ever: systemd has no health checks. A healthy node also looks after leaders (leaders.py).
"""

import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import leaders

MONITOR = leaders.settings().get("monitor", "http://127.0.0.1:8222") + "/healthz"
EVERY_S = 5
DISABLED_MAX = 6
TIMEOUT_S = 4
DISABLED_FILE = Path(tempfile.gettempdir(), "disabled")


def status(url: str) -> int:
    """Return the status of an answer; 0 for none."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 (always http)
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def check(pid_file: Path) -> int:
    """Check the node once, and end it if it is time; return the exit code."""
    if status(f"{MONITOR}?js-enabled-only=true") != 503:
        DISABLED_FILE.unlink(missing_ok=True)
        if status(MONITOR) != 200:
            return 1
        leaders.keep_if_possible()
        return 0
    with DISABLED_FILE.open("a", encoding="ascii") as counted:
        counted.write(".")
    if DISABLED_FILE.stat().st_size >= DISABLED_MAX:
        DISABLED_FILE.unlink()
        sys.stderr.write("this node keeps nothing any more, since its disk was full or failed: it is restarted\n")
        os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGTERM)
    return 1


def main() -> int:
    """Check the node once, or for ever."""
    is_watch, pid_file = sys.argv[1] == "--watch", Path(sys.argv[-1])
    code = check(pid_file)
    while is_watch:
        time.sleep(EVERY_S)
        check(pid_file)
    return code


if __name__ == "__main__":
    sys.exit(main())
