"""The spectra of raw samples, beside those of SciPy."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("scipy.signal")
from scipy import signal

from monitor_gui.history import COLUMNS, RAW_TAIL_MAX, Floats, History, RawTail
from monitor_gui.signal.spectrum import LiveSpectrum, alpha_peak_hz, are_poor, mean_density
from neuroone.contract.messages import MICROVOLTS_PER_COUNT, RawBlock
from serial_bridge.headsets.events import raw_samples
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support import messages
from tests.support.captures import BASELINE, content, needs_captures

NOON_S = messages.NOON.timestamp()


def keep(history: History, counts: Floats, rate_hz: int, first: int = 0, **changes: object) -> None:
    """Let a history have samples, from number ``first`` on, the last of which is of its own time."""
    for begin, end in pairwise([*range(0, len(counts), 64), len(counts)]):
        history.add_raw(
            RawBlock(
                session="a",
                seq=(first + begin) // 64,
                time=messages.NOON + timedelta(seconds=(first + end) / rate_hz),
                first_sample=first + begin,
                rate_hz=rate_hz,
                samples=tuple(int(each) for each in counts[begin:end]),
                **{"measured_hz": rate_hz, **changes},  # type: ignore[arg-type]
            ),
            0.0,
        )


def spectrum_of(history: History) -> tuple[Floats, Floats]:
    """The frequencies and the mean density of all samples of a history."""
    live = LiveSpectrum()
    for _ in range(20):
        live.follow(history.raw_tail(*live.needs))
    segments = live.segments(0, 10**9)
    density, _, _ = mean_density(segments, np.zeros(len(segments.densities), np.bool_))
    assert density is not None
    return segments.hz, density


def assert_like_welch(counts: Floats, rate_hz: int) -> None:
    """The spectrum is that of scipy.signal.welch within 1 %."""
    history = History()
    keep(history, counts, rate_hz)
    hz, density = spectrum_of(history)
    whole = counts[: len(counts) // rate_hz * rate_hz] * MICROVOLTS_PER_COUNT
    expected_hz, expected = signal.welch(whole, rate_hz, nperseg=2 * rate_hz)
    assert hz == pytest.approx(expected_hz[: len(hz)])
    assert density[1:] == pytest.approx(expected[1 : len(hz)], rel=0.01)


@needs_captures
def test_the_spectrum_of_a_real_capture_is_that_of_scipy() -> None:
    raw = [sample for event in Decoder().feed(content(BASELINE)) for sample in raw_samples(event)]
    assert_like_welch(np.array(raw[: 120 * 512], np.float64), 512)


def test_the_spectrum_of_the_simulator_is_that_of_scipy() -> None:
    raw = [sample for event in Decoder().feed(SimulatedHeadset(1).advance(30)) for sample in raw_samples(event)]
    assert_like_welch(np.array(raw, np.float64), 512)


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_a_sine_of_10_hz_has_its_peak_there_at_every_sampling_rate(rate_hz: int) -> None:
    """Also while the bridge has said 512 for the first seconds, as it had not measured the rate yet."""
    noise = np.random.default_rng(1).normal(0, 20, 20 * rate_hz)
    counts = np.round(100 * np.sin(2 * np.pi * 10 * np.arange(20 * rate_hz) / rate_hz) + noise)
    history = History()
    keep(history, counts[: 4 * rate_hz], 512, measured_hz=None)
    assert history.raw_rate_hz is None
    keep(history, counts[4 * rate_hz :], rate_hz, first=4 * rate_hz)
    assert history.raw_rate_hz == rate_hz
    hz, density = spectrum_of(history)
    assert hz[np.argmax(density)] == pytest.approx(10, abs=0.2)
    assert alpha_peak_hz(hz, density) == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("peak_hz", [8.2, 9.4, 10.75, 12.1])
def test_the_alpha_peak_is_found_between_the_lines_of_the_spectrum(peak_hz: float) -> None:
    rng = np.random.default_rng(3)
    drift = np.cumsum(rng.normal(0, 4, 60 * 512))
    history = History()
    keep(history, np.round(drift - drift.mean() + 40 * np.sin(2 * np.pi * peak_hz * np.arange(60 * 512) / 512)), 512)
    assert alpha_peak_hz(*spectrum_of(history)) == pytest.approx(peak_hz, abs=0.2)


def test_noise_has_no_alpha_peak() -> None:
    rng = np.random.default_rng(4)
    for noise in (rng.normal(0, 30, 60 * 512), np.cumsum(rng.normal(0, 4, 60 * 512)) / 10):
        history = History()
        keep(history, np.round(noise), 512)
        assert alpha_peak_hz(*spectrum_of(history)) is None


def test_portions_give_the_same_spectra_and_a_hole_none() -> None:
    counts = np.random.default_rng(5).normal(0, 30, 20 * 256)
    counts[10 * 256 : 10 * 256 + 5] = np.nan
    whole, live = LiveSpectrum(), LiveSpectrum()
    whole.follow(RawTail(0, 256, 0, counts))
    for stop in range(1, len(counts) + 1, 100):
        series, first = live.needs
        live.follow(RawTail(0, 256, first if series == 0 else 0, counts[first:stop]))
    segments = whole.segments(0, len(counts))
    assert live.segments(0, 18 * 256).densities == pytest.approx(segments.densities[:17], nan_ok=True)
    is_hole = np.isnan(segments.densities).all(axis=1)
    assert np.flatnonzero(is_hole).tolist() == [9, 10]
    density, number, is_doubtful = mean_density(segments, np.arange(19) > 5)
    assert (number, is_doubtful) == (6, False)
    assert density == pytest.approx(segments.densities[:6].mean(axis=0))


def test_a_long_pause_of_the_plot_is_caught_up_with_in_portions() -> None:
    """Ten minutes at once would take longer than a frame; what has been dropped meanwhile is left out."""
    history, live = History(), LiveSpectrum()
    keep(history, np.zeros(512 * 10), 512)
    live.follow(history.raw_tail(*live.needs))
    keep(history, np.zeros(512 * 620), 512, first=512 * 10)
    assert len(history.raw_tail(*live.needs).counts) == RAW_TAIL_MAX
    for _ in range(6):
        live.follow(history.raw_tail(*live.needs))
    assert live.segments(512 * 600, 512 * 630).first == 512 * 600
    assert len(live.segments(512 * 600, 512 * 630).densities) == 29


def test_only_doubtful_seconds_make_a_grey_spectrum_and_lost_ones_none() -> None:
    live = LiveSpectrum()
    live.follow(RawTail(0, 256, 0, np.ones(5 * 256)))
    segments = live.segments(0, 5 * 256)
    assert mean_density(segments, np.ones(4, np.bool_))[1:] == (4, True)
    live.follow(RawTail(1, 256, 0, np.full(5 * 256, np.nan)))
    assert mean_density(live.segments(0, 5 * 256), np.zeros(4, np.bool_)) == (None, 0, False)


def test_a_reading_with_poor_contact_spoils_the_spectra_of_its_second() -> None:
    rows = np.zeros((10, len(COLUMNS)))
    rows[:, 0] = np.arange(1, 11)
    rows[5, COLUMNS.index("poor_signal")] = 26  # of the second from 5 to 6
    rows[8, COLUMNS.index("poor_signal")] = np.nan
    assert np.flatnonzero(are_poor(rows, np.arange(9.0))).tolist() == [4, 5]
