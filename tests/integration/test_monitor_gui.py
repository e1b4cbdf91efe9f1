"""The monitor against a real broker, offscreen."""

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
