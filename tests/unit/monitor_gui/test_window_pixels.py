"""The plots of the window have pixels of their curves, wherever the values move."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from neuroone.contract import topics
from neuroone.contract.messages import BANDS, RAW_RATE_HZ, RawBlock
from tests.support import messages
from tests.support.monitor_windows import Wearer, client_of, monitor_window

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication, QWidget
    from pytestqt.qtbot import QtBot

    from monitor_gui.main_window import MonitorWindow
    from monitor_gui.panel import StreamPanel

pytestmark = pytest.mark.gui
BLOCK = 64
ROUNDS = ((range(100, 90, -1), 5, 20), (range(8, 0, -1), 2_000_000, 2000))
"""Seconds ago, powers of the bands and counts of the raw samples: no value of one is near those of the other."""
DRAWN_MIN_PX = 30
"""A curve of eight readings in the narrowest of these plots has twice as many."""


@pytest.fixture
def window(qtbot: "QtBot", tmp_path: Path) -> Iterator["MonitorWindow"]:
    """A window with every plot."""
    from monitor_gui.signal import scipy_loading

    qtbot.waitUntil(scipy_loading.is_loaded, timeout=30_000)
    with monitor_window(tmp_path) as window:
        window.resize(1300, 900)
        window.show_view(replace(window.view, hidden=frozenset()))
        yield window


def publish(wearer: Wearer, ago_s: int, power: int, counts: int) -> None:
    """Deliver a second of a headset."""
    wearer.publish_reading(ago_s, **{band: power * (number + 1) for number, band in enumerate(BANDS)})
    first = (100 - ago_s) * RAW_RATE_HZ
    for at in range(first, first + RAW_RATE_HZ, BLOCK):
        samples = np.round(counts * np.sin(2 * np.pi * 10 * np.arange(at, at + BLOCK) / RAW_RATE_HZ)).astype(int)
        block = RawBlock(
            session=messages.SESSION,
            seq=at // BLOCK,
            time=datetime.now(UTC) - timedelta(seconds=ago_s - (at + BLOCK - first) / RAW_RATE_HZ),
            first_sample=at,
            rate_hz=RAW_RATE_HZ,
            samples=tuple(samples.tolist()),
            measured_hz=RAW_RATE_HZ,
        )
        client_of(wearer.window).deliver(topics.raw(wearer.window.feed.site, wearer.group, wearer.source), block)


def pixels_of(widget: "QWidget") -> np.ndarray:
    """Return a picture of a widget, as rows of red, green and blue."""
    from PySide6.QtGui import QImage

    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def drawn(panel: "StreamPanel") -> dict[str, int]:
    """Return how many pixels have the colour of each curve, and how many of the spectrogram have any colour."""
    from PySide6.QtGui import QColor

    from monitor_gui import themes

    plots = {
        panel.bands: BANDS,
        panel.esense: ("attention", "meditation"),
        panel.signal.raw: ("raw",),
        panel.signal.spectrum: ("spectrum",),
    }
    found = {}
    for plot, names in plots.items():
        pixels = pixels_of(plot)
        for name in names:
            colour = QColor(themes.colours()[name])
            found[name] = int((pixels == (colour.red(), colour.green(), colour.blue())).all(axis=2).sum())
    spectrogram = pixels_of(panel.signal.spectrogram).astype(int)
    found["spectrogram"] = int((np.ptp(spectrogram, axis=2) > 30).sum())
    return found


def test_every_curve_is_drawn_where_its_values_are(window: "MonitorWindow", qapp: "QApplication") -> None:
    """Also when they have left the range in which the plot was drawn first; for one stream, and for two to compare."""
    for sources in (("h1",), ("h2", "h3")):
        wearers = [Wearer(window, source, source) for source in sources]
        window.show_streams(*(stream for stream in window.feed.states() if stream.source in sources))
        for seconds, power, counts in ROUNDS:
            for ago_s in seconds:
                for wearer in wearers:
                    publish(wearer, ago_s, power, counts)
            for panel in window.plots_page.panels:
                panel.restyle()
            window.draw()
            qapp.processEvents()
            counted = [drawn(panel) for panel in window.plots_page.panels]
            assert len(counted) == len(sources)
            assert min(px for each in counted for px in each.values()) > DRAWN_MIN_PX, (power, counted)
