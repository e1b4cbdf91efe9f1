"""The monitor's window plays recordings, offscreen and without any broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serial_bridge.captures.files import EXAMPLE
from tests.support.monitor_windows import connecting_windows, points, wait
from tests.support.recordings import raw_rows, reading_rows, write_session

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from monitor_gui.main_window import MonitorWindow

pytestmark = [pytest.mark.gui]


@pytest.fixture
def window(qtbot: "QtBot", tmp_path: Path) -> Iterator["MonitorWindow"]:
    """A window that knows no broker."""
    with connecting_windows(qtbot, tmp_path) as new_window:
        window = new_window()
        window.start("monitor")
        window.show()
        yield window


def test_a_session_is_played_as_it_was_live_and_marked_as_a_recording(
    window: "MonitorWindow", qtbot: "QtBot", tmp_path: Path
) -> None:
    folder = write_session(tmp_path, readings=reading_rows(60), raw=raw_rows(60))
    window.player.open(folder)
    wait(qtbot, lambda: window.player.playback is not None)
    (panel,) = window.plots_page.panels
    assert window.player.isVisible()
    assert "RECORDING of Joao_Silva" in window.player.title.text()
    assert "nothing is published" in window.connection.text()
    assert not window.window_actions.by_name["marker"].isEnabled()
    assert window.ask_for_marker() is None
    window.player.slider.setValue(300)
    wait(qtbot, lambda: points(panel.bands.curves["delta"]) >= 29 and points(panel.signal.raw.curves["raw"]) > 500)
    assert panel.link.text().startswith("recording")
    assert panel.recorded.text() == ""
    window.window_actions.by_name["pause"].trigger()
    assert window.player.playback is not None
    assert not window.player.playback.is_running
    position_s = window.player.playback.clock()
    assert 30 <= position_s < 40
    window.window_actions.by_name["back"].trigger()
    assert window.player.playback.clock() == position_s - 5
    window.player.loop.setChecked(True)
    window.player.speed.setCurrentIndex(5)
    window.player.slider.setValue(590)
    window.player.run_button.click()
    wait(qtbot, lambda: window.player.playback is not None and window.player.playback.clock() < 30)
    window.save_table(tmp_path / "shown.csv")
    assert len((tmp_path / "shown.csv").read_text(encoding="utf-8").splitlines()) > 1
    window.player.close_button.click()
    assert not window.player.isVisible()
    assert window.plots_page.panels == []


def test_a_capture_is_played_and_another_file_takes_its_place_only_if_it_can(
    window: "MonitorWindow", qtbot: "QtBot", tmp_path: Path
) -> None:
    window.player.open(EXAMPLE)
    wait(qtbot, lambda: window.player.playback is not None)
    playback = window.player.playback
    (tmp_path / "noise.bytes").write_bytes(b"no headset" * 99)
    window.player.open(tmp_path / "noise.bytes")
    wait(qtbot, lambda: "noise.bytes is not a recording" in window.player.fault.text())
    assert window.player.playback is playback
    assert window.player.fault.isVisible()
    window.choose_language("pt-BR")
    wait(qtbot, lambda: "noise.bytes não é uma gravação" in window.player.fault.text())
    assert "GRAVAÇÃO" in window.player.title.text()
    window.choose_language("en")


def test_a_file_that_cannot_be_played_is_one_sentence_and_changes_nothing(
    window: "MonitorWindow", qtbot: "QtBot", tmp_path: Path
) -> None:
    window.player.open(tmp_path / "gone.capture")
    wait(qtbot, lambda: window.player.fault.isVisible())
    assert window.player.fault.text().endswith("gone.capture does not exist.")
    assert window.player.playback is None
    assert not window.player.slider.isVisible()
    window.player.close_button.click()
    assert not window.player.isVisible()
