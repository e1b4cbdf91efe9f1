"""The view, and the arithmetic of what is drawn in it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")
from monitor_gui import view as views
from monitor_gui.history import COLUMNS, Floats
from monitor_gui.view import Bars, Scale, Signal, View
from neuroone.contract.doubt import DOUBTS, Doubt, Doubts
from neuroone.contract.messages import BANDS, RecordedStream, ServiceState, ServiceStatus, StreamStatus
from neuroone.service.stream_states import status_of
from tests.support import messages


def rows(**columns: list[float]) -> Floats:
    """Rows of readings; a column that is not given is 100. A poor signal is a doubt."""
    length = len(next(iter(columns.values())))
    poor = DOUBTS.index(Doubt.POOR_CONTACT)
    columns = {"doubt": [poor if each > 0 else 0 for each in columns["poor_signal"]], **columns}
    return np.array([columns.get(name, [100.0] * length) for name in COLUMNS]).T


@pytest.mark.parametrize(
    ("poor", "signal"),
    [
        (None, Signal.UNKNOWN),
        (0, Signal.GOOD),
        (1, Signal.ADJUSTING),
        (50, Signal.ADJUSTING),
        (51, Signal.POOR),
        (199, Signal.POOR),
        (200, Signal.OFF),
        (255, Signal.OFF),
    ],
)
def test_only_poor_signal_0_is_a_good_contact(poor: int | None, signal: Signal) -> None:
    assert views.signal_of(poor) is signal


def test_esense_is_held_while_the_signal_is_poor() -> None:
    """It moves from the coloured line to the grey one; the value 0 is drawn in neither."""
    lines = views.lines_of(rows(time_s=[0, 1, 2], poor_signal=[0, 26, 0], attention=[50, 51, 0]), 2)
    assert np.isnan(lines.valid["attention"]).tolist() == [False, True, True]
    assert np.isnan(lines.doubtful["attention"]).tolist() == [True, False, True]
    assert [each.tolist() for each in lines.is_doubtful] == [[False, True, False]] * 2
    assert lines.x.tolist() == [-2, -1, 0]


def test_bands_are_not_drawn_off_the_skin_nor_where_they_are_artefacts() -> None:
    """Noise of a headset on the table, wrapped negatives and zeros are left out."""
    lines = views.lines_of(rows(time_s=[0, 1, 2, 3], poor_signal=[0, 200, 0, 0], delta=[1000, 1000, 2**24 - 3, 0]), 3)
    assert lines.valid["delta"][0] == pytest.approx(3)
    assert np.isnan(lines.valid["delta"][1:]).all()
    assert np.isnan(lines.doubtful["delta"]).all()


def test_clipped_bands_are_doubtful_and_esense_is_not() -> None:
    clipped, frozen = DOUBTS.index(Doubt.CLIPPED), DOUBTS.index(Doubt.FROZEN)
    lines = views.lines_of(rows(time_s=[0, 1, 2], poor_signal=[np.nan] * 3, doubt=[0, clipped, frozen]), 2)
    assert np.isnan(lines.valid["theta"]).tolist() == [False, True, True]
    assert np.isnan(lines.valid["attention"]).tolist() == [False, False, True]
    assert np.isnan(lines.doubtful["theta"]).tolist() == [True, False, False]
    assert [each.tolist() for each in lines.is_doubtful] == [[False, True, True], [False, False, True]]
    assert views.bands_range(lines, frozenset(), Scale.AUTO) == (1.5, 2.5)  # 100 is drawn in grey


@pytest.mark.parametrize(
    ("changes", "status", "value", "valid"),
    [
        ({"poor_signal": 0}, StreamStatus.ONLINE, 85, True),
        ({"poor_signal": None}, StreamStatus.ONLINE, 85, True),
        ({"poor_signal": 1}, StreamStatus.ONLINE, 85, False),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 0)}, StreamStatus.ONLINE, 85, False),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 99)}, StreamStatus.ONLINE, 85, True),
        ({"poor_signal": 0, "attention": 0}, StreamStatus.ONLINE, None, False),
        ({"poor_signal": 0}, StreamStatus.STALE, 85, False),
        ({"poor_signal": 0}, StreamStatus.OFFLINE, None, False),
    ],
)
def test_esense_is_grey_when_not_valid_and_hidden_when_not_known(
    changes: dict[str, Any], status: StreamStatus, value: int | None, valid: bool
) -> None:
    """Grey for a poor signal or a stale stream, "--" for 0 and offline."""
    reading = messages.reading(**changes)
    assert views.esense_of({"attention": reading.attention}, Doubts().add(reading), "attention", status) == (
        value,
        valid,
    )


def test_a_stream_is_stale_after_3_s_and_offline_after_10() -> None:
    """The age of the last reading counts before the state; so does a service that has died."""
    state = messages.stream_state()
    assert status_of(state, None, 2.9) is StreamStatus.ONLINE
    assert status_of(state, None, 3.0) is StreamStatus.STALE
    assert status_of(state, None, 10.0) is StreamStatus.OFFLINE
    assert status_of(messages.stream_state(status=StreamStatus.OFFLINE), None, 0.1) is StreamStatus.OFFLINE
    dead = ServiceState(status=ServiceStatus.OFFLINE, version="1", epoch=state.epoch, connection=1)
    assert status_of(state, dead, 0.1) is StreamStatus.OFFLINE


def test_relative_bars_sum_to_100() -> None:
    """Relative bars are computed from the powers, not from their logarithms."""
    (row,) = rows(time_s=[0], poor_signal=[0], delta=[300], theta=[600])
    heights = views.bars_of(row, Bars.RELATIVE)
    assert heights.sum() == pytest.approx(100)
    assert heights[1] / heights[0] == pytest.approx(2)
    assert views.bars_of(row, Bars.LOG)[2] == pytest.approx(2)
    assert views.bars_of(None, Bars.RELATIVE).tolist() == [0] * len(BANDS)


def test_clipped_bands_have_no_relative_bars() -> None:
    (row,) = rows(time_s=[0], poor_signal=[np.nan], doubt=[DOUBTS.index(Doubt.CLIPPED)])
    assert views.bars_of(row, Bars.RELATIVE).tolist() == [0] * len(BANDS)
    assert views.bars_of(row, Bars.LOG)[2] == pytest.approx(2)


def test_a_stream_is_recorded_if_the_receipt_of_its_session_is_recent_or_complete() -> None:
    reading = messages.reading(seq=9)

    def receipt(session: str, seq: int) -> RecordedStream:
        return RecordedStream(group="g", source="s", session=session, seq=seq, rows=seq, duplicates=0, gaps=0)

    assert views.is_recorded(reading, receipt(reading.session, 9), 100)
    assert views.is_recorded(reading, receipt(reading.session, 5), 1)
    assert not views.is_recorded(reading, receipt(reading.session, 5), 100)
    assert not views.is_recorded(reading, receipt("other", 9), 1)
    assert not views.is_recorded(reading, None, 0)


def test_a_paused_view_stays_and_scrolls_back_to_the_oldest_reading() -> None:
    view = View().paused(100.0)
    assert view.edge_s(160.0) == 100
    assert view.scrolled(30, 50).edge_s(160.0) == 70
    assert view.scrolled(80, 50).back_s == 50
    assert view.scrolled(-5, 50).back_s == 0
    assert view.scrolled(30, 50).behind_s(160.0) == 90
    assert View().scrolled(30, 50) == View()
    assert view.paused(None).edge_s(160.0) == 160


def test_only_the_signal_means_all_of_its_plots() -> None:
    view = View(hidden=frozenset({"raw", "spectrum", "delta"})).signal_only(True)
    assert (view.hidden, view.is_signal_only) == (frozenset({"delta"}), True)
    assert view.signal_only(False) == View(hidden=frozenset({"delta"}))


def test_the_range_of_decibels_has_steps_and_a_bound() -> None:
    levels = np.concatenate([np.linspace(-12.0, 23.0, 100), [-60.0, np.nan]])
    assert views.power_range(levels, Scale.AUTO) == (-20, 30)
    assert views.power_range(levels, Scale.FIXED) == views.power_range(np.array([]), Scale.AUTO) == (-20, 40)
    assert views.power_range(np.full(9, -60.0), Scale.AUTO) == (-60, -50)


def test_fixed_ranges_stay_and_automatic_ones_hold_all_values() -> None:
    lines = views.lines_of(rows(time_s=[0, 1], poor_signal=[0, 0], delta=[10, 10**6]), 1)
    assert views.bands_range(lines, frozenset(), Scale.FIXED) == views.BANDS_FIXED
    low, high = views.bands_range(lines, frozenset(), Scale.AUTO)
    assert low <= 1 <= 6 <= high
    assert views.bands_range(lines, frozenset(BANDS), Scale.AUTO) == views.BANDS_FIXED
    assert views.raw_range(np.array([150.0, np.nan, -10.0]), Scale.AUTO, 0) == 200
    assert views.raw_range(np.array([150.0]), Scale.FIXED, 0) == 500
    assert views.raw_range(np.array([150.0]), Scale.AUTO, 25) == 25


@given(st.integers(2, 3000), st.integers(2, 400), st.integers(0, 10_000))
def test_a_thinned_trace_keeps_its_extremes(count: int, most: int, first: int) -> None:
    """However few points are drawn, the highest and the lowest samples are among them, but for a cut group at first."""
    values = np.sin(np.arange(first, first + count, dtype=float)) * 100
    times, thin = views.thinned(np.arange(count, dtype=float), values, first, most)
    assert len(thin) == len(times) <= most + 2
    assert (np.diff(times) > 0).all()
    if count > most:
        size = 2 * -(-count // most)
        kept = values[-first % size :]
        assert (thin.max(), thin.min()) == (kept.max(), kept.min())


def test_a_thinned_trace_does_not_flicker_while_it_moves() -> None:
    """A sample later, all points but those at the ends are the same."""
    values = np.random.default_rng(1).normal(0, 30, 31_000)
    times = np.arange(len(values)) / 512
    _, before = views.thinned(times[:30_720], values[:30_720], 0, 2600)
    _, after = views.thinned(times[1:30_721], values[1:30_721], 1, 2600)
    assert set(after[2:-2]) <= set(before)


@pytest.mark.parametrize("blinks", [0, 1, 4])
@pytest.mark.parametrize("size", [10.0, 30.0, 120.0])
def test_blinks_do_not_set_the_scale_of_the_raw_trace(size: float, blinks: int) -> None:
    """The trace between the blinks fills at least an eighth of the plot's height, and is not cut."""
    seconds = np.arange(5120) / 512
    trace = size * np.sin(2 * np.pi * 10 * seconds)
    for number in range(blinks):
        trace[512 + 1024 * number : 712 + 1024 * number] += 400
    half = views.raw_range(trace, Scale.AUTO, 0)
    assert size <= half <= max(8 * size, 25)
    dropped = np.where(seconds < 1, np.nan, trace)
    assert views.raw_range(dropped, Scale.AUTO, 0) == half


def test_a_loose_electrode_all_the_time_is_seen_whole() -> None:
    assert views.raw_range(np.tile([-440.0, 440.0], 2560), Scale.AUTO, 0) == 500
