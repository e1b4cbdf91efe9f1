"""The plots of readings: what is written at their axes."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.gui


@pytest.mark.parametrize("width_px", [130, 150, 200, 209, 210, 300])
def test_the_letters_of_the_bars_do_not_lie_over_each_other(qtbot: "QtBot", width_px: int) -> None:
    """Two streams beside each other leave the bars 130 pixels."""
    from PySide6.QtGui import QPainter, QPixmap

    from monitor_gui.plots import BandBars

    plot = BandBars()
    qtbot.addWidget(plot)
    plot.resize(width_px, 150)
    plot.show()
    plot.draw(np.arange(8.0), 40.0, "%", is_faint=False)
    plot.grab()
    canvas = QPixmap(1, 1)
    painter = QPainter(canvas)
    _, _, written = plot.getAxis("bottom").generateDrawSpecs(painter)
    painter.end()
    boxes = sorted((box for box, _, _ in written), key=lambda box: box.left())
    assert len(boxes) == (8 if width_px >= 210 else 5)
    for left, right in pairwise(boxes):
        assert left.right() <= right.left()


@pytest.mark.parametrize("height_px", [44, 70, 90, 120, 200, 400])
def test_the_numbers_at_the_left_axis_do_not_lie_over_each_other(qtbot: "QtBot", height_px: int) -> None:
    """Whatever the range; both ends of the axis have theirs."""
    from PySide6.QtGui import QPainter, QPixmap

    from monitor_gui.plots import ESENSE_LEVELS, ESensePlot
    from monitor_gui.view import levels_between

    plot = ESensePlot()
    qtbot.addWidget(plot)
    plot.show()
    for levels in (ESENSE_LEVELS, [-100.0, -50.0, 0.0, 50.0, 100.0], levels_between(2.0, 7.5)):
        plot.resize(500, height_px)
        plot.frame(50.0, levels[0] - 0.1, levels[-1] + 0.1, levels)
        plot.grab()
        canvas = QPixmap(1, 1)
        painter = QPainter(canvas)
        _, _, written = plot.getAxis("left").generateDrawSpecs(painter)
        painter.end()
        boxes = sorted(((box.center().y(), box) for box, _, _ in written), key=lambda each: each[0])
        said = [float(text) for _, _, text in written]
        assert {min(said), max(said)} == {levels[0], levels[-1]}
        for (upper, _), (lower, _) in pairwise(boxes):
            assert lower - upper >= 12, said
