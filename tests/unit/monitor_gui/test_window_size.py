"""The window fits small screens, in every view and at any scale."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.monitor_windows import Wearer, monitor_window

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from monitor_gui.main_window import MonitorWindow

pytestmark = pytest.mark.gui
SMALL_PX = (640, 400)
"""A screen of 1366 x 768 at a scale of 200 %, with room for title and task bar."""
STARTS = """
import sys, tempfile
from pathlib import Path
from PySide6.QtWidgets import QApplication
from tests.support.monitor_windows import Wearer, monitor_window
app = QApplication([])
with tempfile.TemporaryDirectory() as folder, monitor_window(Path(folder)) as window:
    for source in ("a", "b"):
        Wearer(window, source, source)
    window.show_streams(*window.feed.states())
    app.processEvents()
    free = window.screen().availableGeometry()
    assert free.contains(window.frameGeometry()), (free, window.frameGeometry())
    assert window.minimumSizeHint().width() <= free.width(), (free, window.minimumSizeHint())
"""


@pytest.fixture(params=["en", "pt-BR"])
def window(request: pytest.FixtureRequest, qapp: object, tmp_path: Path) -> Iterator["MonitorWindow"]:
    """A window with two students beside each other, in each language."""
    with monitor_window(tmp_path, request.param) as window:
        for source, name in (("h1", "Ana Clara de Albuquerque e Vasconcelos " * 4), ("h2", None)):
            wearer = Wearer(window, source, name)
            wearer.publish_state(device="/dev/serial/by-id/" + "x" * 200, hint="unplugged", counters={"frames": 10**9})
        window.show_streams(*window.feed.states())
        yield window


def test_every_view_fits_a_small_screen(window: "MonitorWindow") -> None:
    """Whatever stands in the window: long names, and a long fault of the connection."""
    from monitor_gui.settings import PAGES

    window.connection.setText("no broker " * 50)
    window.broker_page.broker.show_connection("no broker " * 50)
    window.pause(True)
    for page in PAGES:
        window.show_page(page)
        least = window.minimumSizeHint()
        assert (least.width() <= SMALL_PX[0], least.height() <= SMALL_PX[1]) == (True, True), (page, least)


def test_all_lines_and_controls_of_the_plots_stay_in_a_small_window(window: "MonitorWindow") -> None:
    from PySide6.QtCore import QPoint

    window.resize(*SMALL_PX)
    window.show_page("monitor")
    window.grab()  # lays everything out
    page = window.plots_page
    for box in page.boxes.values():
        assert page.rect().contains(box.geometry()), box.text()
    for panel in page.panels:
        widgets: list[QWidget] = [panel.title, panel.contact, *panel.numbers.values(), panel.bands, panel.bars]
        for widget in widgets:
            assert panel.rect().contains(widget.rect().translated(widget.mapTo(panel, QPoint()))), widget


def test_a_window_of_a_larger_screen_opens_within_this_one(window: "MonitorWindow", tmp_path: Path) -> None:
    window.setGeometry(3000, 2000, 1800, 1000)
    window.close()
    with monitor_window(tmp_path) as again:
        assert again.screen().availableGeometry().contains(again.frameGeometry())


def test_the_window_opens_within_its_screen_at_any_scale() -> None:
    """Qt's screen without a display is 800 x 800, and 533 x 533 at this scale of 150 %."""
    root = Path(__file__).parents[3]
    environ = os.environ | {"QT_SCALE_FACTOR": "1.5", "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [sys.executable, "-c", STARTS], env=environ, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_plots_that_are_not_shown_take_no_room(window: "MonitorWindow") -> None:
    """The bands are as high as they can be: without spectra they get their row."""
    from PySide6.QtCore import QPoint

    window.resize(900, 700)
    window.show_page("monitor")
    window.draw()
    window.grab()
    panel = window.plots_page.panels[0]
    lowest = max(each.mapTo(panel, each.rect().bottomLeft()).y() for each in (panel.signal.raw, panel.bars))
    assert panel.link.mapTo(panel, QPoint()).y() - lowest < 20


def test_the_counters_of_a_stream_do_not_lie_over_its_plots(window: "MonitorWindow") -> None:
    """In a window as low as that of a small screen at 150 %, with a long name of the port."""
    from PySide6.QtCore import QPoint
    from PySide6.QtWidgets import QApplication

    window.resize(683, 427)
    window.show_page("monitor")
    window.draw()
    for _ in range(3):
        QApplication.processEvents()
    window.grab()
    for panel in window.plots_page.panels:
        top_px = panel.link.mapTo(panel, QPoint()).y()
        lowest_px = max(each.mapTo(panel, each.rect().bottomLeft()).y() for each in (panel.signal.raw, panel.bars))
        assert lowest_px < top_px
