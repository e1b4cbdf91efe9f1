"""The monitor's window starts the whole system of this computer, and ends it; offscreen, with real programs."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from monitor_gui.playing.opening import Opening
from tests.support.brokers import LOOPBACK, free_port
from tests.support.monitor_windows import WAIT_MS, connecting_windows, wait

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from monitor_gui.main_window import MonitorWindow

pytestmark = [pytest.mark.gui, pytest.mark.broker]


@pytest.fixture
def open_window(qtbot: "QtBot", tmp_path: Path) -> Iterator[Callable[[int], "MonitorWindow"]]:
    """Open a window that starts its gateway on this port."""
    from monitor_gui.local_system import LocalSystem

    systems = []
    with connecting_windows(qtbot, tmp_path) as new_window:

        def open_on(ws_port: int) -> "MonitorWindow":
            system = LocalSystem(ws_port, free_port())
            systems.append(system)
            window = new_window(system)
            window.preferences.keep("folder", str(tmp_path / "data"))
            window.start("connection")
            window.show()
            return window

        yield open_on
    for system in systems:
        system.close()


def at_least(counters: dict[str, int], readings: int) -> bool:
    """Return True once so many readings have come."""
    return counters["readings"] >= readings


def test_start_here_starts_everything_shows_it_and_ends_it_with_the_window(
    open_window: Callable[[int], "MonitorWindow"], qtbot: "QtBot", tmp_path: Path
) -> None:
    window = open_window(free_port())
    box = window.broker_page.system
    window.broker_page.headset.choose_port("sim")
    window.broker_page.headset.name.setText("Ana")
    box.start_button.click()
    wait(qtbot, lambda: box.system.is_ready)
    assert "IP Local:" in box.said.toPlainText()
    assert box.state.text().startswith("Everything runs")
    wait(qtbot, lambda: window.plots_page.panels)
    (panel,) = window.plots_page.panels
    wait(qtbot, lambda: window.feed._watched[panel.stream].recorded)
    assert (tmp_path / "data" / "Ana.csv").exists()
    window.record(True)
    bar = window.record_bar
    wait(qtbot, lambda: "capture sim_" in bar.said.text() and ": 0 rows" not in bar.said.text())
    (capture,) = bar.files()
    assert capture.parent == tmp_path / "data" / "captures"
    assert f"capture {capture.name} (" in bar.said.text()
    wait(qtbot, lambda: window.feed.lesson(panel.stream.group) is not None)
    size_bytes = capture.stat().st_size
    wait(qtbot, lambda: capture.stat().st_size > size_bytes + 20_000)
    assert window.window_actions.by_name["record"].isChecked()
    bar.stop_button.click()
    wait(qtbot, lambda: window.feed.lesson(panel.stream.group) is None)
    assert not window.window_actions.by_name["record"].isChecked()
    counters = window.feed._watched[panel.stream].history.counters
    sizes = []
    for _ in range(2):  # the bridge ends the file within a quarter of a second
        wanted = counters["readings"] + 2
        qtbot.waitUntil(partial(at_least, counters, wanted), timeout=WAIT_MS)
        sizes.append(capture.stat().st_size)
    assert sizes[0] == sizes[1]
    recording = Opening(capture)
    recording.run()
    assert recording.recording is not None
    assert recording.recording.fault is None
    assert recording.recording.duration_s > 1
    started = psutil.Process(box.system._run.processId()).children(recursive=True)
    assert len(started) >= 3
    window.close()
    window.bridge.close()
    window.feed.close()
    box.system.close()
    assert box.system.exit_code == 0
    psutil.wait_procs(started, timeout=10)
    assert not any(each.is_running() for each in started)


def test_what_keeps_it_from_starting_is_one_sentence(
    open_window: Callable[[int], "MonitorWindow"], qtbot: "QtBot", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        window = open_window(other.getsockname()[1])
        box = window.broker_page.system
        box.start_button.click()
        assert f"Port {other.getsockname()[1]} is used by another program" in box.state.text()
        assert not box.system.is_running
    (tmp_path / "data").write_text("no folder", encoding="ascii")
    box.start_button.click()
    wait(qtbot, lambda: not box.system.is_running)
    assert "is not writable" in box.state.text()
    assert "Traceback" not in box.said.toPlainText()
    monkeypatch.setattr("monitor_gui.local_system.command_of", lambda *words: None)
    box.start_button.click()
    assert "not installed here" in box.state.text()


def test_a_broker_that_is_there_already_does_not_keep_it_from_starting(qapp: object, tmp_path: Path) -> None:
    from monitor_gui.local_system import LocalSystem

    commands: list[list[str]] = []
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        system = LocalSystem(free_port(), taken)
        system.run = lambda program, variables: commands.append(list(program))  # type: ignore[method-assign]
        assert system.start(tmp_path, "local") is None
    assert system.broker is not None
    assert system.broker.port != taken
    assert f"--mqtt-port={system.broker.port}" in commands[0]
