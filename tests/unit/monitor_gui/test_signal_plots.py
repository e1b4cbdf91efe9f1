"""The plots of raw samples: what they draw, and what they say about it."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from neuroone.contract.messages import RawBlock
from tests.support import messages

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from monitor_gui.history import History
    from monitor_gui.signal_plots import SignalPlots
    from monitor_gui.view import View

pytestmark = pytest.mark.gui
NOON_S = messages.NOON.timestamp()
END_S = 30


@pytest.fixture
def plots(qtbot: "QtBot") -> "SignalPlots":
    """The plots, with SciPy loaded."""
    from monitor_gui.signal import scipy_loading
    from monitor_gui.signal_plots import SignalPlots

    found = SignalPlots()
    for plot in found.by_name.values():
        qtbot.addWidget(plot)
        plot.colour()
    qtbot.waitUntil(scipy_loading.is_loaded, timeout=30_000)
    return found


def filled(rate_hz: int = 512, lost: range = range(0), poor: range = range(0), **changes: Any) -> "History":
    """Half a minute of a sine of 10 Hz; whole seconds of it are lost or have poor contact."""
    from monitor_gui.history import History

    history = History()
    for second in range(END_S):
        at = messages.NOON + timedelta(seconds=second + 1)
        history.add_reading(
            messages.reading(seq=second, time=at, poor_signal=51 if second in poor else 0, delta=second + 1), second + 1
        )
        for first in range(second * rate_hz, (second + 1) * rate_hz, 64):
            numbers = np.arange(first, min(first + 64, (second + 1) * rate_hz))
            block = RawBlock(
                session="a",
                seq=first,
                time=messages.NOON + timedelta(seconds=(int(numbers[-1]) + 1) / rate_hz),
                first_sample=first,
                rate_hz=rate_hz,
                samples=tuple(np.round(200 * np.sin(2 * np.pi * 10 * numbers / rate_hz)).astype(int).tolist()),
                **{"measured_hz": rate_hz, **changes},
            )
            if second not in lost:
                history.add_raw(block, second + 1)
    return history


def draw(plots: "SignalPlots", history: "History", **changes: Any) -> "View":
    """Draw all three plots of the whole half minute."""
    from monitor_gui.view import View

    view = replace(View(hidden=frozenset(), raw_window_s=30), **changes)
    edge_s = NOON_S + END_S
    pulled = plots.pull(history, view, edge_s)
    rows = history.readings(NOON_S, edge_s)
    plots.follow(pulled)
    plots.draw_trace(pulled, rows, edge_s, view, [])
    plots.draw_spectrum(pulled, rows, edge_s, view)
    plots.draw_spectrogram(pulled, rows, edge_s, view)
    return view


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_a_sine_of_10_hz_is_drawn_at_10_hz(plots: "SignalPlots", rate_hz: int) -> None:
    draw(plots, filled(rate_hz))
    hz, level = plots.spectrum.curve.getData()
    assert hz[np.argmax(level)] == pytest.approx(10, abs=0.2)
    assert "10.0 Hz" in plots.spectrum.note.text()
    assert f"at {rate_hz} Hz" in plots.spectrum.note.text()
    image = plots.spectrogram.image.image
    assert image.shape[0] == END_S - 1
    brightest = image[..., :3].astype(int).sum(axis=2).mean(axis=0)
    assert (np.argmax(brightest) + 1) / 2 == pytest.approx(10, abs=0.2)
    _, microvolts = plots.raw.curves["raw"].getData()
    assert np.nanmax(microvolts) == pytest.approx(43.9, abs=0.2)


def test_without_a_measured_rate_there_is_no_spectrum_and_no_filter(plots: "SignalPlots") -> None:
    draw(plots, filled(measured_hz=None), mains_hz=60)
    assert np.isnan(plots.spectrum.curve.getData()[1]).all()
    assert not plots.spectrogram.image.isVisible()
    for plot in (plots.spectrum, plots.spectrogram, plots.raw):
        assert "still being measured" in plot.note.text()
    assert np.isfinite(plots.raw.curves["raw"].getData()[1]).any()


def test_lost_samples_and_poor_contact_are_left_out_and_said(plots: "SignalPlots") -> None:
    draw(plots, filled(lost=range(10, 12), poor=range(20, 25)))
    image = plots.spectrogram.image.image
    assert np.flatnonzero((image[..., 3] == 0).all(axis=1)).tolist() == [9, 10, 11]
    is_grey = (image[..., 0] == image[..., 1]).all(axis=1) & (image[..., 3] > 0).all(axis=1)
    assert np.flatnonzero(is_grey).tolist() == list(range(19, 25))
    assert "grey: poor contact" in plots.spectrogram.note.text()
    assert "empty: lost samples" in plots.spectrogram.note.text()
    assert "of 21 s" in plots.spectrum.note.text()
    assert np.isnan(plots.raw.curves["raw"].getData()[1]).any()


def test_poor_contact_all_the_time_is_a_grey_spectrum_without_a_peak(plots: "SignalPlots") -> None:
    draw(plots, filled(poor=range(END_S)))
    assert plots.spectrum.note.text().startswith("grey: poor contact")
    assert np.isfinite(plots.spectrum.curve.getData()[1]).all()
    assert len(plots.spectrum.peak.getData()[0]) == 0


def test_a_filter_that_is_too_high_for_the_headset_is_not_used_and_that_is_said(plots: "SignalPlots") -> None:
    draw(plots, filled(rate_hz=100), passband_hz=(1.0, 40.0), mains_hz=60)
    assert "too low for this filter" in plots.raw.note.text()
    assert np.isfinite(plots.raw.curves["raw"].getData()[1]).any()


def test_the_linear_spectrum_and_the_gain_have_their_axes(plots: "SignalPlots") -> None:
    from monitor_gui.view import Density

    draw(plots, filled(), density=Density.LINEAR, gain_uv=25)
    assert plots.raw.viewRange()[1] == pytest.approx([-28.75, 28.75])
    # A sine of 43.9 uV has a power of 965 uV^2; a Hann window spreads it over 0.75 Hz.
    assert plots.spectrum.curve.getData()[1].max() == pytest.approx(965 / 0.75, rel=0.02)
    assert plots.spectrum.getAxis("left").labelText == "µV²/Hz"
