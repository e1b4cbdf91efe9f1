"""Finds where a source's clock was set during a session: a Pi without a battery begins in 1970, a phone is corrected.

The times that were recorded stay as they are. What counts seconds leaves such a step out.
"""

from typing import Any, Final

import numpy as np

from neuroone.contract.files import READINGS_RATE_HZ
from neuroone.data.doubts import NO_TIME, Flags, Integers

SET_BACK_MIN_S: Final = 2.0
"""Less is no more than two delays of a network."""
SET_AHEAD_MIN_S: Final = 3600.0
"""A source that says nothing for so long within one session was away, or its clock was set: neither is recorded time.
Less is a hole like any other."""
_PERIOD_US: Final = 1_000_000 // READINGS_RATE_HZ


def is_set_back(steps_us: Any, periods_us: Any = _PERIOD_US) -> Any:
    """Return where the clock was set back between two neighbours, from their distances in time and the usual ones."""
    return steps_us < periods_us - SET_BACK_MIN_S * 1e6


def steady_us(times_us: Integers, runs: Integers, seqs: Integers) -> tuple[Integers, int]:
    """Return the times of readings as a clock that nobody sets would show them, and how often it was set.

    All are microseconds since 1970; the first reading, by ``runs`` and ``seqs``, keeps its time.
    """
    if len(times_us) < 2 or times_us[0] == NO_TIME:
        return times_us, 0
    order = np.lexsort((seqs, runs))
    steps_us = np.diff(times_us[order])
    found: Flags = is_set_back(steps_us) | (steps_us >= SET_AHEAD_MIN_S * 1e6)
    if not found.any():
        return times_us, 0
    steps_us[found] = _PERIOD_US
    steady = np.empty_like(times_us)
    steady[order] = times_us[order[0]] + np.concatenate([[0], np.cumsum(steps_us)])
    return steady, int(np.count_nonzero(found))


def times_set_back(times_us: Integers, runs: Integers, seqs: Integers) -> Integers:
    """Return for each reading how often the clock had been set back before it."""
    order = np.lexsort((seqs, runs))
    before = np.zeros(len(times_us), np.int64)
    before[order[1:]] = np.cumsum(is_set_back(np.diff(times_us[order])))
    return before
