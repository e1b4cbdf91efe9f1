"""Fixtures that tests of several programs share."""

from collections.abc import Iterator

import pytest

from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.gateways import Peer
from tests.support.waiting import wait_for


@pytest.fixture
def peer(broker: Broker) -> Iterator[Peer]:
    """Everybody else on the broker, connected."""
    peer = Peer(broker)
    wait_for(lambda: peer.bus.is_connected, "connection")
    yield peer
    peer.bus.close()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start one Mosquitto for the tests of a module, each of which has a site of its own."""
    broker = Broker(brokers.MOSQUITTO, tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    yield broker
    broker.stop()
