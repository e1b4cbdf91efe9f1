"""The raw trace in microvolts, and the blinks in it."""

import numpy as np
import pytest

pytest.importorskip("scipy.signal")
from monitor_gui.history import RAW_MAX, RawTail
from monitor_gui.signal.filters import Filters
from monitor_gui.signal.trace import LiveTrace
from serial_bridge.ports import simulated

RAW = Filters()


def test_counts_become_microvolts() -> None:
    """1.8 V over 4096 counts behind a gain of 2000: 100 counts are 22 uV."""
    trace = LiveTrace()
    trace.follow(RawTail(0, 512, 0, np.array([100.0, np.nan, -2048.0])), RAW)
    assert trace.microvolts(0, 3) == pytest.approx([21.973, np.nan, -450.0], abs=0.001, nan_ok=True)
    assert np.isnan(trace.microvolts(-2, 5)[[0, 1, -2, -1]]).all()


def test_other_filters_and_another_series_begin_anew() -> None:
    trace = LiveTrace()
    assert trace.needs(RAW) == (-1, 0)
    trace.follow(RawTail(3, 512, 0, np.ones(100)), RAW)
    assert trace.needs(RAW) == (3, 100)
    assert trace.needs(Filters(60)) == (-1, 0)
    trace.follow(RawTail(3, 512, 0, np.ones(100)), Filters(60, (0.5, 0.0)))
    assert np.abs(trace.microvolts(0, 100)).max() < 1e-6
    trace.follow(RawTail(4, 256, 0, np.ones(50)), Filters(60, (0.5, 0.0)))
    assert trace.needs(Filters(60, (0.5, 0.0))) == (4, 50)


def test_memory_is_bounded_and_samples_that_were_missed_are_a_gap() -> None:
    trace = LiveTrace()
    trace.follow(RawTail(0, 512, 0, np.zeros(RAW_MAX)), RAW)
    trace.follow(RawTail(0, 512, RAW_MAX, np.zeros(64)), RAW)
    assert np.isnan(trace.microvolts(0, 100)).sum() == 64
    trace.follow(RawTail(0, 512, RAW_MAX + 200, np.zeros(64)), RAW)
    assert np.isnan(trace.microvolts(RAW_MAX + 100, RAW_MAX + 264)).sum() == 100


@pytest.mark.parametrize("rate_hz", [250, 512])
def test_blinks_are_marked_at_their_peaks_and_not_across_a_hole(rate_hz: int) -> None:
    counts = np.random.default_rng(1).normal(0, 30, 20 * rate_hz)
    shape = np.array([800 * simulated._blink(n / rate_hz) for n in range(rate_hz // 2)])
    begins = [second * rate_hz for second in (3, 7, 11, 15)]
    for begin in begins:
        counts[begin : begin + len(shape)] += shape
    peak = int(np.argmax(shape))
    counts[begins[2] + peak : begins[2] + peak + rate_hz] = np.nan
    trace = LiveTrace()
    for first in range(0, len(counts), 100):
        trace.follow(RawTail(0, rate_hz, first, counts[first : first + 100]), RAW)
    found = trace.blinks(0, len(counts))
    assert found == pytest.approx([begins[0] + peak, begins[1] + peak, begins[3] + peak], abs=rate_hz // 25)
    assert trace.blinks(0, begins[1]) == found[:1]
