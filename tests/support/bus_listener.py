"""A subscriber that keeps what the broker delivers, and waits for it."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.waiting import WITHIN_S, wait_for

M = TypeVar("M", bound=Message)


def identity(service: str, instance: str = "test") -> Identity:
    """Make the identity of a run that starts now."""
    return Identity("local", service, instance, "0.1.0", int(time.time() * 1000), uuid.uuid4().hex)


class Listener:
    """Everything that was delivered, in order."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def of(self, kind: type[M]) -> list[tuple[Topic, M]]:
        """Return the messages of one kind so far, with their topics."""
        opened = (delivery.open() for delivery in list(self.deliveries))
        return [(topic, message) for topic, message in opened if isinstance(message, kind)]

    def wait_for(
        self,
        kind: type[M],
        condition: Callable[[Topic, M], bool] = lambda topic, message: True,
        timeout_s: float = WITHIN_S,
    ) -> tuple[Topic, M]:
        """Wait for the first message of that kind that meets the condition."""

        def first() -> tuple[Topic, M] | None:
            return next((each for each in self.of(kind) if condition(*each)), None)

        found = wait_for(first, kind.__name__, timeout_s)
        assert found is not None
        return found


@contextmanager
def listening(url: str, instance: str = "listener", *filters: str) -> Iterator[Listener]:
    """Listen to these filters, or to everything of the site ``local``, on the broker at ``url``."""
    listener = Listener()
    bus = ThreadedClient(
        BrokerAddresses.parse(url),
        identity("test", instance),
        subscriptions=dict.fromkeys(filters or ("neuroone/v1/local/#",), 1),
        on_delivery=listener.deliveries.append,
    )
    bus.start()
    try:
        # The birth is acknowledged after the subscription: a reading before that would be heard by nobody.
        wait_for(lambda: bus.is_connected and not bus.waiting, "subscription")
        yield listener
    finally:
        bus.close()


@contextmanager
def client_on(url: str, service: str, **options: Any) -> Iterator[ThreadedClient]:
    """Connect a started client, and close it at the end."""
    client = ThreadedClient(BrokerAddresses.parse(url), identity(service), **options)
    client.start()
    try:
        wait_for(lambda: client.is_connected, "connection")
        yield client
    finally:
        client.close()
