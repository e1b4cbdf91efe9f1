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
