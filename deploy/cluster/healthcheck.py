"""Say by the exit code whether a node of a cluster has all that the others have, or watch over it.

    healthcheck.py
    healthcheck.py --watch PID-FILE
    healthcheck.py --wait

A node whose disk was full keeps nothing from then on, also when there is room again, and the others wait for it in
vain. So --watch tells it to end once it has said so for 30 s; what started it starts it again, until there is room. It
also ends a node that is cut off (isolation.py), which --wait then keeps from starting, and looks after leaders
(leaders.py).
"""

import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import isolation
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


def end(pid_file: Path, number: signal.Signals, why: str) -> None:
    """End the node."""
    sys.stderr.write(f"this node {why}: it is restarted\n")
    os.kill(int(pid_file.read_text(encoding="ascii")), number)


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
        end(pid_file, signal.SIGTERM, "keeps nothing any more, since its disk was full or failed")
    return 1


def check_isolation(pid_file: Path) -> None:
    """End the node if it is cut off."""
    given = leaders.settings()
    try:
        if given and isolation.is_alone(given):
            end(pid_file, signal.SIGKILL, "reaches no other one")  # it has nobody to hand its leaders over to
    except (OSError, ValueError, LookupError):
        return  # the node starts or ends


def watch(pid_file: Path) -> None:
    """Watch over the node for ever."""
    checked_s = float("-inf")
    while True:
        if time.monotonic() - checked_s >= EVERY_S:
            checked_s = time.monotonic()
            check(pid_file)
        check_isolation(pid_file)
        time.sleep(isolation.PERIOD_S)


def main() -> int:
    """Check the node, watch over it, or wait for another one."""
    if "--watch" in sys.argv:
        watch(Path(sys.argv[-1]))
    elif "--wait" in sys.argv:
        isolation.wait_until_it_reaches_one(leaders.settings())
        return 0
    return int(status(MONITOR) != 200)


if __name__ == "__main__":
    sys.exit(main())
