"""The monitor against a real broker, offscreen."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroone.contract.messages import Reading, ServiceState, ServiceStatus
from tests.support.brokers import Broker
from tests.support.bus_listener import Listener, listening

pytestmark = [pytest.mark.gui]


def wait_until(listener: Listener, status: ServiceStatus) -> None:
    """Wait until the monitor publishes this status."""
    listener.wait_for(
        ServiceState,
        lambda topic, state: topic["service"] == "monitor_gui" and state.status is status,
        timeout_s=20,
    )


def test_takes_a_picture_of_a_simulated_headset(broker: Broker, tmp_path: Path) -> None:
    """--screenshot writes a picture of the live plots and the program ends with 0."""
    picture = tmp_path / "monitor.png"
    bridge = subprocess.Popen([sys.executable, "-m", "serial_bridge", "run", "--port", "sim", "--broker", broker.url])
    try:
        with listening(broker.url) as listener:
            listener.wait_for(Reading, timeout_s=20)
            options = ["--stream", "no-group/sim", "--screenshot", str(picture), "--after", "4"]
            ended = subprocess.run(
                [sys.executable, "-m", "monitor_gui", "--broker", broker.url, *options], timeout=50, check=False
            )
    finally:
        bridge.terminate()
        bridge.wait(10)
    assert ended.returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be sent there")
def test_sigterm_ends_the_monitor_in_order(start_broker: Callable[[str], Broker]) -> None:
    """The window closes, the offline state is published, and the exit code is 0."""
    broker = start_broker("nats")
    with listening(broker.url) as listener:
        monitor = subprocess.Popen([sys.executable, "-m", "monitor_gui", "--broker", broker.url])
        try:
            wait_until(listener, ServiceStatus.ONLINE)
            monitor.send_signal(signal.SIGTERM)
            assert monitor.wait(10) == 0
        finally:
            monitor.kill()
            monitor.wait(10)
        wait_until(listener, ServiceStatus.OFFLINE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bring what Qt needs")
@pytest.mark.parametrize(
    ("language", "platform", "lacks", "words"),
    [
        ("en", "xcb", "libxcb-cursor.so.0", "Qt lacks libxcb-cursor.so.0"),
        ("pt_BR", "xcb", "libxcb-icccm.so.4", "faltam ao Qt libxcb-icccm.so.4"),
        ("en", "xcb", "", "found no screen"),
        ("pt_BR", "no-such-platform", "", "não encontrou uma tela"),
    ],
)
def test_a_window_that_cannot_open_says_what_is_missing(
    language: str, platform: str, lacks: str, words: str, tmp_path: Path
) -> None:
    """Qt itself aborts. The libraries are those that `ldd` does not find."""
    ldd = tmp_path / "ldd"
    ldd.write_text(f"#!/bin/sh\n[ -z '{lacks}' ] || echo '\t{lacks} => not found'\n")
    ldd.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environ |= {"QT_QPA_PLATFORM": platform, "PATH": f"{tmp_path}:{environ['PATH']}"}
    command = [sys.executable, "-m", "monitor_gui", "--language", language]
    ended = subprocess.run(command, env=environ, capture_output=True, encoding="utf-8", timeout=50, check=False)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_qt_that_cannot_be_imported_is_explained(tmp_path: Path) -> None:
    """An import fails where libEGL or libGL is missing."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'PySide6.QtGui':\n"
        "            raise ImportError('libEGL.so.1: cannot open shared object file: No such file or directory')\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "monitor_gui", "--language", "en"]
    ended = subprocess.run(command, env=environ, capture_output=True, encoding="utf-8", timeout=50, check=False)
    assert ended.returncode == 1
    assert "window cannot open" in ended.stderr
    assert "libEGL.so.1" in ended.stderr
    assert "Traceback" not in ended.stderr
