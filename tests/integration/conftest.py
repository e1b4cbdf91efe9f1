"""Fixtures that tests of several programs share."""

from collections.abc import Iterator

import pytest

from tests.support.brokers import Broker
from tests.support.gateways import Peer


@pytest.fixture
def peer(broker: Broker) -> Iterator[Peer]:
    """Everybody else on the broker, connected."""
    peer = Peer(broker)
    assert peer.bus.wait_connected(10)
    yield peer
    peer.bus.close()
