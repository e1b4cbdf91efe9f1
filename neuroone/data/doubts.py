"""Tells the doubts of all readings of a recording at once: the rule of the contract's `doubt`, for arrays.

A recording is known to its end, so a reading is also doubtful for what came later: all readings of a frozen time, and
the readings before the first one that shows that its bands are clipped.
"""

from typing import Any, Final

import numpy as np

from neuroone.contract.doubt import CLIPPED_AT, DOUBTS, FROZEN_AFTER, SAME_HONEST_MAX, Doubt
from neuroone.contract.files import READINGS_RATE_HZ

Integers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Codes = np.ndarray[Any, np.dtype[np.uint8]]
UNKNOWN: Final = -1
"""Stands in ``valid`` where the source does not say."""
NO_TIME: Final = np.iinfo(np.int64).min
"""Stands in ``times_us`` of a ``{Nome}.csv``; NumPy's number of NaT."""
TOUCHES_ESENSE: Final = np.array([each is not None and each.touches_esense for each in DOUBTS])
TOUCHES_BANDS: Final = np.array([each is not None and each.touches_bands for each in DOUBTS])
"""Whether the doubt of a code touches attention and meditation, or the bands."""
_PERIOD_US: Final = 1_000_000 // READINGS_RATE_HZ
_FROZEN_AFTER_US: Final = round(FROZEN_AFTER.total_seconds() * 1e6)


def codes(times_us: Integers, valid: Integers, esense: Integers, bands: Integers) -> Codes:
    """Return the doubt of each reading, as its place in the contract's `DOUBTS`.

    ``esense`` has a row for attention and one for meditation, ``bands`` a row for each reading.
    """
    found = np.where(valid == UNKNOWN, DOUBTS.index(Doubt.NO_QUALITY), 0).astype(np.uint8)
    is_highest = bands.max(axis=1, initial=0) == CLIPPED_AT
    if is_highest.any() and np.isin(bands[is_highest], (0, CLIPPED_AT)).all(axis=1).any():
        found[is_highest] = DOUBTS.index(Doubt.CLIPPED)
    found[_is_frozen(times_us, esense, bands)] = DOUBTS.index(Doubt.FROZEN)
    is_empty = ~bands.any(axis=1)
    if is_empty.any():
        found[is_empty] = DOUBTS.index(Doubt.NO_BANDS)
        found[is_empty & ~esense.any(axis=0)] = DOUBTS.index(Doubt.ZEROS)
    found[valid == 0] = DOUBTS.index(Doubt.POOR_CONTACT)
    return found


def _is_frozen(times_us: Integers, esense: Integers, bands: Integers) -> Flags:
    is_same = bands[1:, 0] == bands[:-1, 0]
    if not is_same.any():  # as in most recordings: no two equal values of a band beside each other
        return np.zeros(len(bands), np.bool_)
    is_same &= (bands[1:] == bands[:-1]).all(axis=1) & (esense[:, 1:] == esense[:, :-1]).all(axis=0)
    is_same &= times_us[1:] >= times_us[:-1]  # a clock that was set back begins anew
    starts = np.flatnonzero(np.concatenate([[True], ~is_same]))
    counts = np.diff(np.append(starts, len(bands)))
    lasted_us = times_us[starts + counts - 1] - times_us[starts]
    if times_us[0] == NO_TIME:
        lasted_us = (counts - 1) * _PERIOD_US
    return np.repeat((counts > SAME_HONEST_MAX) & (lasted_us >= _FROZEN_AFTER_US), counts)
