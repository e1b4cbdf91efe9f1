"""The student's page in Chromium: from a headset's bytes, through gateway and recorder, to the files."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium
from tests.support.gateways import GatewayProgram, Peer, running_gateway
from tests.support.recorder_process import RecorderProcess
from tests.support.student_page import enter, student_page
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]


@dataclass
class School:
    """Everything that runs for this module."""

    gateway: GatewayProgram
    peer: Peer
    folder: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.gateway.port}/student"


@pytest.fixture(scope="module")
def school(one_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("recordings")
    with running_gateway(one_broker) as (gateway, peer), RecorderProcess(one_broker.url, folder):
        wait_for(lambda: peer.services("csv_recorder"), "birth of the recorder")
        yield School(gateway, peer, folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_a_browser_without_a_way_to_headsets_is_told_what_works(school, browser):
    with student_page(browser, school.url, ()) as page:
        enter(page, "Ana")
        expect(page.locator("#ways")).to_be_hidden()
        expect(page.locator("#no-way")).to_contain_text("Use o Chrome ou o Edge")
