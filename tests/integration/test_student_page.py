"""The student's page in Chromium: from a headset's bytes, through gateway and recorder, to the files."""

import csv
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser

from serial_bridge.captures.files import EXAMPLE
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium
from tests.support.captures import BASELINE, needs_captures
from tests.support.fake_headsets import KEYS
from tests.support.gateways import GatewayProgram, Peer, running_gateway
from tests.support.recorder_process import RecorderProcess
from tests.support.student_page import record_with_losses
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

COLUMNS: Final = "Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma".split(",")


@dataclass
class School:
    """Everything that runs for this module."""

    gateway: GatewayProgram
    peer: Peer
    folder: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.gateway.port}/student"

    def sessions(self, name: str) -> list[Path]:
        return list(self.folder.glob(f"sessions/*/*_{name}-*/readings.csv"))

    def of_sessions(self, name: str) -> list[dict[str, Any]]:
        """Return the readings in a student's session files, the oldest first."""
        rows = [row for file in self.sessions(name) for row in _rows(file)]
        rows.sort(key=lambda row: row["time"])
        return [{key: int(row[key]) for key in KEYS} for row in rows]

    def of_student(self, name: str) -> list[dict[str, int]]:
        """Return the readings in the `{Nome}.csv`, without the quality, which it does not have."""
        rows = _rows(self.folder / f"{name}.csv")
        return [{key: int(row[column]) for key, column in zip(KEYS[1:], COLUMNS, strict=True)} for row in rows]


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened_file:
        return list(csv.DictReader(opened_file))


@pytest.fixture(scope="module")
def school(one_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("recordings")
    with running_gateway(one_broker) as (gateway, peer), RecorderProcess(one_broker.url, folder):
        wait_for(lambda: peer.services("csv_recorder"), "birth of the recorder")
        yield School(gateway, peer, folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(is_whole=True) as browser:
        yield browser


@pytest.mark.parametrize("capture", [EXAMPLE, pytest.param(BASELINE, marks=needs_captures)], ids=["example", "real"])
def test_every_reading_of_a_capture_is_recorded_once(school, browser, capture):
    """Over Bluetooth, where the link is lost; then at a port, while the gateway is killed and the page loaded anew."""
    name = f"Ana {capture.stem}".replace("_", " ")
    gateway, peer = school.gateway, school.peer
    expected = record_with_losses(
        browser,
        school.url,
        name,
        capture,
        kill=lambda: gateway.end(signal.SIGKILL),
        start=lambda: gateway.start(peer),
    )
    wait_for(lambda: len(school.of_sessions(name.replace(" ", "-"))) >= len(expected), "all readings")
    assert school.of_sessions(name.replace(" ", "-")) == expected
    assert school.of_student(name) == [{key: each[key] for key in KEYS[1:]} for each in expected]
    assert len(school.sessions(name.replace(" ", "-"))) >= 3
