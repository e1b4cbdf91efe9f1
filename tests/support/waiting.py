"""Wait for conditions: tests never sleep for a guessed time."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
POLL_S = 0.01
WITHIN_S = 20.0
"""Far more than a quiet machine needs: several test files run at a time."""


def wait_for(condition: Callable[[], Value], what: str, timeout_s: float = WITHIN_S) -> Value:
    """Return the condition's first true value; fail with ``what`` if it does not come in time."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"no {what} within {timeout_s:g} s"
        time.sleep(POLL_S)
    return value
