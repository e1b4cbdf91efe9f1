"""The monitor as a folder that runs without Python."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.brokers import Broker

SPEC = Path(__file__).parents[2] / "services" / "monitor_gui" / "packaging" / "neuroone-monitor.spec"
BUILD_TIMEOUT_S = 400


@pytest.mark.gui
@pytest.mark.packaging
@pytest.mark.timeout(BUILD_TIMEOUT_S + 100)
@pytest.mark.skipif(
    not os.environ.get("NEUROONE_TEST_PACKAGING"), reason="builds for a minute: set NEUROONE_TEST_PACKAGING=1"
)
def test_the_packaged_monitor_takes_a_picture(start_broker: Callable[[str], Broker], tmp_path: Path) -> None:
    """PyInstaller builds the folder; the program in it starts, connects, takes a picture and ends with 0."""
    folders = ["--distpath", str(tmp_path / "dist"), "--workpath", str(tmp_path / "build")]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *folders, str(SPEC)],
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )
    program = tmp_path / "dist" / "neuroone-monitor" / "neuroone-monitor"
    picture = tmp_path / "picture.png"
    broker = start_broker("nats")
    options = ["--language", "pt_BR", "--screenshot", str(picture), "--after", "2"]
    subprocess.run([program, "--broker", broker.url, *options], check=True, timeout=60)
    assert picture.read_bytes().startswith(b"\x89PNG")
