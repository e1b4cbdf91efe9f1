"""The raw trace as it is drawn: filtered, in microvolts, with marks where somebody seems to have blinked."""

from collections import deque
from typing import Final

import numpy as np

from monitor_gui.history import RAW_MAX, Floats, RawTail, Ring
from monitor_gui.signal.filters import Filters, LiveFilter, runs_of
from neuroone.contract.blinks import BlinkEstimator
from neuroone.contract.messages import MICROVOLTS_PER_COUNT

BLINKS_MAX: Final = 1200
"""Kept marks: two a second for ten minutes."""


class LiveTrace:
    """Follow the raw samples of a stream, each only once. Samples keep their numbers."""

    def __init__(self) -> None:
        self._follows: tuple[int, float, Filters] = (-1, 0.0, Filters())
        self._first = 0
        """Number of the first sample in the ring."""
        self._ring = Ring(RAW_MAX, 1, np.float32)
        self._filter: LiveFilter | None = None
        self._blinks = BlinkEstimator()
        self._marks: deque[int] = deque(maxlen=BLINKS_MAX)

    def needs(self, filters: Filters) -> tuple[int, int]:
        """Return the series and the number of the first sample that is needed next for these filters."""
        series, _, known = self._follows
        return (series, self._first + self._ring.total) if known == filters else (-1, 0)

    def follow(self, tail: RawTail, filters: Filters) -> None:
        """Filter the new samples and find the blinks in them; begin anew with other filters or another series."""
        follows = (tail.series, tail.rate_hz, filters)
        if follows != self._follows or tail.first != self._first + self._ring.total:
            self._follows, self._first = follows, tail.first
            self._ring = Ring(RAW_MAX, 1, np.float32)
            self._filter = None if filters.are_off else LiveFilter(filters, tail.rate_hz)
            self._blinks = BlinkEstimator(tail.rate_hz)
            self._marks.clear()
        microvolts = tail.counts * MICROVOLTS_PER_COUNT
        filtered = microvolts if self._filter is None else self._filter.run(microvolts)
        self._ring.append(filtered[:, np.newaxis])
        self._mark_blinks(tail)

    def microvolts(self, first: int, stop: int) -> Floats:
        """Return the samples with these numbers that are here; the others are NaN."""
        values = np.full(stop - first, np.nan)
        rows = self._ring.rows(first - self._first, stop - self._first)[:, 0]
        oldest = max(first, self._first + self._ring.total - RAW_MAX, self._first)
        values[oldest - first : oldest - first + len(rows)] = rows
        return values

    def blinks(self, first: int, stop: int) -> list[int]:
        """Return the numbers of the samples at which blinks have their peaks."""
        return [number for number in self._marks if first <= number < stop]

    def _mark_blinks(self, tail: RawTail) -> None:
        done = 0
        for first, stop in runs_of(tail.counts):
            if first:
                self._blinks.skip(first - done)
            found = self._blinks.find(tail.counts[first:stop].tolist())
            self._marks.extend(self._first + blink.peak_at for blink in found)
            done = stop
        if done < len(tail.counts):
            self._blinks.skip(len(tail.counts) - done)
