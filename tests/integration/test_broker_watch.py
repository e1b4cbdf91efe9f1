"""What restarts a server's broker that hangs: with real brokers that are stopped."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from neuroone.up.broker_watch import PROGRAM
from neuroone.up.brokers import MOSQUITTO
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.broker, pytest.mark.skipif(sys.platform != "linux", reason="for Linux servers")]

QUICK = """
import sys
from neuroone.up import broker_check, broker_watch
broker_check.TRY_EVERY_S = 0.1
broker_check.FAILING_S = 0.5
broker_check.ENDING_S = 0.5
broker_watch.CONNECT_TIMEOUT_S = 0.5
broker_watch.STEP_S = 0.1
sys.exit(broker_watch.main())
"""
"""The watch with the patience of a test."""


def _is_beyond(count: Callable[[], int], number: int) -> bool:
    return count() > number


def test_a_broker_that_hangs_is_ended_and_no_other(start_broker: Callable[..., Broker]) -> None:
    """It had answered before. One that is started again is watched anew. Its second listener is for web pages."""
    broker = start_broker(MOSQUITTO, "log_type all", f"listener {free_port()} {LOOPBACK}", "protocol websockets")
    bystander = psutil.Process(start_broker(MOSQUITTO).pid)
    command = [sys.executable, "-c", QUICK, str(broker.log_file.with_name("mosquitto.conf"))]

    def tries() -> int:
        return broker.log_file.read_text(encoding="utf-8").count(PROGRAM)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watch:
        try:
            bystander.suspend()
            for _ in range(2):
                before = tries()
                wait_for(partial(_is_beyond, tries, before + 3), "tries that are answered")
                psutil.Process(broker.pid).suspend()
                broker.wait()
                broker.start()
            assert bystander.status() == psutil.STATUS_STOPPED
        finally:
            bystander.resume()
            watch.terminate()
        said = watch.communicate(timeout=20)[1]
    assert watch.returncode == 0
    assert said.count("the broker mosquitto runs, but does not answer: restarting it") == 2


def test_a_file_that_is_no_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "mosquitto.conf").write_text("allow_anonymous false\n", encoding="utf-8")
    command = [sys.executable, "-m", "neuroone.up.broker_watch", str(tmp_path / "mosquitto.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mosquitto.conf is no configuration of a server's Mosquitto ('listener')" in done.stderr
