"""The line to the district: what is said of it, and what its broker refuses."""

from pathlib import Path

import pytest

from neuroone.contract import topics
from neuroone.forward import line as line_module
from neuroone.forward import refusals as refusals_module
from neuroone.forward.line import AWAY_S, LOGIN, NO_ECHO, NOT_TAKEN, Line
from neuroone.forward.refusals import NOT_AUTHORIZED, REMEMBERED_S, TRIES_MAX, Refusals
from neuroone.forward.service import Service
from neuroone.forward.settings import ForwardSettings
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.reasons import LoginRefused
from neuroone.mqtt.session import Session
from neuroone.service.lifecycle import Stop

PAYLOAD_INVALID = 0x99
QUOTA_EXCEEDED = 0x97


class Clock:
    """A steady clock that tests set."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (line_module, refusals_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


def line_of(tmp_path: Path) -> Line:
    """A line whose spool has one message that waits."""
    given = ForwardSettings(district=BrokerAddresses.parse("mqtt://district"), spool=tmp_path)
    service = Service(given, Stop())
    service._spool.open()
    return service._line


def wait_one(line: Line) -> None:
    line._spool.add([Delivery("neuroone/v1/local/groups/a/event", b"{}", False, 1, 1)])


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_district_that_acknowledges_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, is_connected: bool
) -> None:
    """Also one that hangs up on each message, so that every connection is a new one."""
    monkeypatch.setattr(AsyncClient, "is_connected", is_connected)
    monkeypatch.setattr(Session, "has_states", is_connected)
    line = line_of(tmp_path)
    clock.now_s += AWAY_S
    assert line.fault() == (None if is_connected else NOT_TAKEN)  # nothing waits
    wait_one(line)
    clock.now_s += AWAY_S
    line._on_link(False)
    line._on_link(True)
    assert line.fault() == NOT_TAKEN
    line.send()
    line._on_progress()
    assert line.fault() is None
    line._spool.close()


def test_a_wrong_login_and_one_that_may_not_publish_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    line = line_of(tmp_path)
    line.client.fault = LoginRefused("it refuses us: Not authorized (0x87)")
    assert line.fault() == LOGIN
    monkeypatch.setattr(AsyncClient, "is_connected", True)
    assert line.fault() is None
    clock.now_s += AWAY_S
    assert line.fault() == NO_ECHO
    assert line.gauges()["district_connected"] == 0
    line._spool.close()


def test_a_refused_reading_waits_and_a_refused_state_holds_nothing_up(clock: Clock) -> None:
    refusals = Refusals()
    for _ in range(TRIES_MAX * 2):
        assert not refusals.note(topics.READING, NOT_AUTHORIZED)
    assert not refusals.withholds(topics.READING)
    for _ in range(TRIES_MAX):
        assert not refusals.withholds(topics.STREAM_STATE)
        assert not refusals.note(topics.STREAM_STATE, NOT_AUTHORIZED)
    assert refusals.withholds(topics.STREAM_STATE)
    assert refusals.words == (
        "the district's broker refuses streams/{group}/{source}/reading (Not authorized (0x87)), "
        "streams/{group}/{source}/state (Not authorized (0x87))"
    )
    clock.now_s += REMEMBERED_S
    assert not refusals.withholds(topics.STREAM_STATE)  # it is tried again
    assert refusals.words is None
    assert not refusals.note(topics.STREAM_STATE, NOT_AUTHORIZED)
    assert refusals.withholds(topics.STREAM_STATE)
    assert not refusals.note(topics.READING, NOT_AUTHORIZED)
    refusals.accepted(topics.STREAM_STATE)
    refusals.accepted(topics.READING)
    assert refusals.words is None


def test_a_message_that_itself_is_refused_is_given_up_and_one_over_quota_is_not(clock: Clock) -> None:
    refusals = Refusals()
    for number in range(1, TRIES_MAX + 1):
        assert refusals.note(topics.EVENT, PAYLOAD_INVALID) == (number == TRIES_MAX)
    refusals.accepted(topics.EVENT)
    assert not any(refusals.note(topics.EVENT, QUOTA_EXCEEDED) for _ in range(TRIES_MAX * 2))
