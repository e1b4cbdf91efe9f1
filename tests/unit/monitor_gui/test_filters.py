"""The filters of the raw trace."""

import numpy as np
import pytest

pytest.importorskip("scipy.signal")
from monitor_gui.history import Floats
from monitor_gui.signal.filters import PASSBANDS_HZ, Filters, LiveFilter


def sine(hz: float, rate_hz: int, seconds: float = 20.0) -> Floats:
    """A sine of 100."""
    return np.asarray(100 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz))


def passed(filters: Filters, hz: float, rate_hz: int) -> float:
    """What is left of a sine's 100, at its highest in the last two seconds."""
    filtered = LiveFilter(filters, rate_hz).run(sine(hz, rate_hz))
    return float(np.abs(filtered[-2 * rate_hz :]).max())


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_filters_take_out_what_they_name_and_leave_the_rest(rate_hz: int) -> None:
    for mains_hz in (50, 60):
        assert passed(Filters(mains_hz=mains_hz), mains_hz, rate_hz) < 1
        assert passed(Filters(mains_hz=mains_hz), mains_hz - 5, rate_hz) > 95
        assert passed(Filters(mains_hz=mains_hz), 10, rate_hz) > 99
    assert passed(Filters(passband_hz=(1.0, 0.0)), 0.1, rate_hz) < 2
    assert passed(Filters(passband_hz=(1.0, 0.0)), 10, rate_hz) > 99
    assert passed(Filters(passband_hz=(8.0, 13.0)), 2, rate_hz) < 5
    assert passed(Filters(passband_hz=(8.0, 13.0)), 40, rate_hz) < 5
    assert passed(Filters(passband_hz=(8.0, 13.0)), 10, rate_hz) > 95


def test_portions_give_what_the_whole_gives() -> None:
    values = np.random.default_rng(1).normal(50, 30, 3000)
    filters = Filters(60, (1.0, 40.0))
    whole = LiveFilter(filters, 512).run(values)
    live = LiveFilter(filters, 512)
    assert np.concatenate([live.run(part) for part in np.split(values, (1, 64, 65, 1777))]) == pytest.approx(whole)


@pytest.mark.parametrize("cut", [0, 1000, 1100, 1200])
def test_a_filter_begins_anew_after_a_hole(cut: int) -> None:
    """The samples after it do not depend on those before, wherever the portions end."""
    values = np.random.default_rng(2).normal(0, 30, 2000)
    values[1000:1200] = np.nan
    live = LiveFilter(Filters(60, (0.5, 0.0)), 512)
    filtered = np.concatenate([live.run(values[:cut]), live.run(values[cut:])])
    assert np.isnan(filtered).tolist() == np.isnan(values).tolist()
    assert filtered[1200:] == pytest.approx(LiveFilter(Filters(60, (0.5, 0.0)), 512).run(values[1200:]))


def test_a_new_beginning_does_not_ring() -> None:
    """A level of 400 uV, as an electrode has it, is no step for a high-pass that begins there."""
    filtered = LiveFilter(Filters(60, (0.5, 0.0)), 512).run(np.full(1000, 400.0))
    assert np.abs(filtered).max() < 1e-6


def test_a_filter_above_half_the_sampling_rate_does_not_fit() -> None:
    assert all(Filters(60, passband_hz).fit(250) for passband_hz in PASSBANDS_HZ)
    assert not Filters(mains_hz=60).fit(128)
    assert not Filters(passband_hz=(1.0, 40.0)).fit(64)
    assert Filters().fit(1)
