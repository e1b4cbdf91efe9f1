"""Fixtures that tests of several programs share."""

from collections.abc import Callable, Iterator

import pytest

from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.gateways import GatewayProgram, Peer
from tests.support.waiting import wait_for


@pytest.fixture
def peer(broker: Broker) -> Iterator[Peer]:
    """Everybody else on the broker, connected."""
    peer = Peer(broker)
    wait_for(lambda: peer.bus.is_connected, "connection")
    yield peer
    peer.bus.close()


@pytest.fixture
def start_gateway(broker: Broker, peer: Peer) -> Iterator[Callable[..., GatewayProgram]]:
    """Give a function that starts a gateway: words for its command, its ``instance``. End them all after the test."""
    started: list[GatewayProgram] = []

    def start(*words: str, instance: str = "one") -> GatewayProgram:
        program = GatewayProgram(broker, *words, instance=instance)
        program.start(peer)
        started.append(program)
        return program

    yield start
    for program in started:
        program.finish()


@pytest.fixture
def gateways(start_gateway: Callable[..., GatewayProgram]) -> list[GatewayProgram]:
    """Start two gateways on the broker."""
    return [start_gateway(instance=name) for name in ("one", "two")]


@pytest.fixture(scope="module")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start one broker for the tests of a module, which do not depend on its kind."""
    kind = next(kind for kind in brokers.KINDS if brokers.find(kind))
    broker = Broker(kind, tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start one Mosquitto for the tests of a module, each of which has a site of its own."""
    broker = Broker(brokers.MOSQUITTO, tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    yield broker
    broker.stop()
