"""The watchdog: what hangs is ended, what is only busy or asleep is not."""

import logging
import subprocess
import sys
import threading

import pytest

from neuroone.service.lifecycle import FAILED
from neuroone.service.watchdog import MISSED_S, PERIOD_S, Watchdog

LIMIT_S = 5.0


def looks(watchdog: Watchdog, seconds: float) -> None:
    for _ in range(int(seconds / PERIOD_S)):
        watchdog.look()


def test_a_loop_that_stands_ends_the_process_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """One line: which loop, for how long, and in which calls it is."""
    ends: list[int] = []
    watchdog = Watchdog(LIMIT_S, ends.append)
    moving, standing = watchdog.watch("headsets"), watchdog.watch("event loop")
    standing()
    for _ in range(int(LIMIT_S / PERIOD_S)):
        moving()
        watchdog.look()
    assert ends == []
    moving()
    watchdog.look()
    assert ends == [FAILED]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("it hangs and ends: its event loop has not moved for 5 s, at watchdog.py:")
    assert "test_a_loop_that_stands" in caplog.messages[0] or "look" in caplog.messages[0]


def test_beats_keep_it_alive_however_long_it_sleeps_between_looks() -> None:
    """A computer that slept has missed no look, so no time counts as missed."""
    ends: list[int] = []
    watchdog = Watchdog(LIMIT_S, ends.append)
    beat = watchdog.watch("event loop")
    for _ in range(20):
        looks(watchdog, LIMIT_S - PERIOD_S)
        beat()
    assert ends == []


def test_a_limit_of_0_ends_nothing() -> None:
    ends: list[int] = []
    watchdog = Watchdog(0, ends.append)
    looks(watchdog, 2)
    first, _ = watchdog.watch("headsets"), watchdog.watch("event loop")
    for _ in range(100):
        first()
        watchdog.look()
    assert ends == []


def test_systemd_hears_only_of_a_life_in_all_loops() -> None:
    """Not before the first loop has begun, which is the start of the service."""
    told: list[None] = []
    watchdog = Watchdog(0, on_alive=lambda: told.append(None))
    looks(watchdog, 2)
    assert told == []
    first, _ = watchdog.watch("headsets"), watchdog.watch("event loop")
    for _ in range(100):
        first()
        watchdog.look()
    assert len(told) == MISSED_S / PERIOD_S


def test_a_log_that_hangs_keeps_no_hanging_service(caplog: pytest.LogCaptureFixture) -> None:
    released, ends = threading.Event(), list[int]()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            released.wait(30)

    handler = Stuck()
    logging.getLogger("neuroone.service.watchdog").addHandler(handler)
    try:
        watchdog = Watchdog(PERIOD_S, ends.append)
        watchdog.watch("event loop")
        looks(watchdog, 2 * PERIOD_S)
        assert ends == [FAILED]
    finally:
        released.set()
        logging.getLogger("neuroone.service.watchdog").removeHandler(handler)


@pytest.mark.parametrize(
    ("hang", "said"),
    [
        (
            "time.sleep(60)",
            "CRITICAL example: it hangs and ends: its work has not moved for 1 s, at <string>:7 <module>",
        ),
        ("re.match('(a+)+$', 'a' * 40 + 'b')", "Timeout (0:00:02)!"),
    ],
    ids=["waits for ever", "holds Python's lock"],
)
def test_a_real_process_that_hangs_ends_with_a_failure(hang: str, said: str) -> None:
    program = f"""import re, time
from neuroone.service import logs
from neuroone.service.watchdog import Watchdog
logs.configure("example", "info")
watchdog = Watchdog(1.0)
with watchdog:
    watchdog.watch("work")(); {hang}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == FAILED
    assert said in done.stderr
    assert done.stderr.count("\n") == 1 or "Timeout" in said


def test_a_service_that_ends_in_order_leaves_no_watchdog() -> None:
    """Neither its thread nor the timer of the C library ends the process later."""
    program = """import time
from neuroone.service.watchdog import Watchdog
watchdog = Watchdog(1.0)
with watchdog:
    beat = watchdog.watch("work")
    for _ in range(12):
        beat(); time.sleep(0.1)
time.sleep(2.2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
