"""What a simulator makes is marked wherever the window shows it; and the ports that the window offers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.monitor_windows import Wearer, monitor_window

if TYPE_CHECKING:
    from monitor_gui.main_window import MonitorWindow

pytestmark = pytest.mark.gui


@pytest.fixture(params=["en", "pt-BR"])
def window(request: pytest.FixtureRequest, qapp: object, tmp_path: Path) -> Iterator["MonitorWindow"]:
    """A window without a broker, in each language."""
    with monitor_window(tmp_path, request.param) as window:
        yield window


def test_a_simulated_student_is_marked_in_every_view_and_nobody_else(window: "MonitorWindow") -> None:
    from monitor_gui import texts

    demo, ana = Wearer(window, "h1", "Demo"), Wearer(window, "h2", "Ana")
    demo.publish_state(simulated=True)
    window.show_streams(*window.feed.states())
    window.show_page("class")
    demo.publish_reading(simulated=True)
    ana.publish_reading()
    mark = texts.of("panel.simulated")

    def is_marked(texts_shown: list[str]) -> list[bool]:
        return [mark in text for text in sorted(texts_shown, key=lambda text: "Ana" in text)]

    window.refresh()
    model = window.pages.classroom.model
    assert is_marked([str(model.index(row).data()) for row in range(2)]) == [True, False]
    window.show_page("monitor")
    assert is_marked([f"{panel.title.text()} {panel.link.text()}" for panel in window.plots_page.panels]) == [
        True,
        False,
    ]
    window.show_page("full_screen")
    assert is_marked([stream.name.text() for stream in window.pages.numbers.streams]) == [True, False]
    window.show_page("connection")
    table = window.broker_page.streams.table
    cells = [[table.item(row, column) for column in range(table.columnCount())] for row in range(2)]
    assert is_marked([" ".join(cell.text() for cell in row if cell) for row in cells]) == [True, False]


def test_headsets_over_bluetooth_le_are_offered_and_never_chosen_by_themselves(window: "MonitorWindow") -> None:
    box = window.broker_page.headset
    rows = b'{"port": "ble:AA:02", "vid_pid": "-", "description": "BrainLink", "looks_like": "HM-10"}\n'
    window.bridge._list.readAllStandardOutput = lambda: type("Bytes", (), {"data": lambda _: rows})()  # type: ignore[method-assign]
    window.bridge._on_ports()
    listed = [box.port.itemData(row) for row in range(box.port.count())]
    assert listed == ["ble:AA:02", "ble", "sim"]
    assert "BrainLink, HM-10" in box.port.itemText(0)
    assert box.port.currentIndex() == -1
    box.choose_port("ble")
    assert box.wanted_port == box.port.currentData() == "ble"


def test_a_simulated_headset_that_is_started_with_everything_is_recorded_as_demo(window: "MonitorWindow") -> None:
    box = window.broker_page.headset
    assert box.recorded_name == ""
    box.choose_port("sim")
    assert box.recorded_name == "Demo"
    box.name.setText("Ana")
    assert box.recorded_name == "Ana"


@pytest.mark.parametrize("width_px", [139, 224, 400])
def test_a_tile_of_a_simulated_student_has_room_for_what_is_wrong(qapp: object, width_px: int) -> None:
    """In the tiles of twelve students, at 150 % and at 100 %, and in a larger one."""
    from PySide6.QtGui import QPainter, QPixmap

    from monitor_gui.class_tiles import _lines

    canvas = QPixmap(1, 1)
    painter = QPainter(canvas)
    parts = ["SIMULATED", "Off the skin"]
    lines = _lines(painter, parts, width_px)
    widest_px = max(painter.fontMetrics().horizontalAdvance(line) for line in lines)
    painter.end()
    assert all(any(part in line for line in lines) for part in parts)
    assert widest_px <= width_px
    assert len(lines) == (2 if width_px == 139 else 1)
