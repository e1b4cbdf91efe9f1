"""What the forwarder's state says of the line to the district."""

import time
from pathlib import Path

import pytest

from neuroone.forward.service import AWAY_S, NOT_TAKEN, Service
from neuroone.forward.settings import ForwardSettings
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.service.lifecycle import Stop


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_district_that_acknowledges_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_connected: bool
) -> None:
    """Also one that hangs up on each message, so that every connection is a new one."""
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(AsyncClient, "is_connected", is_connected)
    service = Service(ForwardSettings(district=BrokerAddresses.parse("mqtt://district"), spool=tmp_path), Stop())
    service._spool.open()
    now_s += AWAY_S
    assert service._fault_of_line() == (None if is_connected else NOT_TAKEN)  # nothing waits
    service._spool.add([Delivery("neuroone/v1/local/groups/a/event", b"{}", False, 1, 1)])
    now_s += AWAY_S
    service._on_link(False)
    service._on_link(True)
    assert service._fault_of_line() == NOT_TAKEN
    service._unacked[1] = None
    service._on_ack(1)
    assert service._fault_of_line() is None
    service._spool.close()
