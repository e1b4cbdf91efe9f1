"""Clear the stream states that an earlier run of this bridge left online when it died."""

from datetime import UTC, datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.messages import StreamState
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.stream_states import clear_orphan

DELIVERY_S: Final = 5.0
"""Time for the broker to deliver the retained states; later ones are those of running services."""


class OrphanedStates:
    """Read the retained states on the broker once; publish offline for streams of an earlier run of this instance.

    ``ours`` are the streams, by group and source, whose states this run publishes anyway.
    """

    def __init__(self, bus: ThreadedClient, ours: set[tuple[str, str]]) -> None:
        self._bus = bus
        self._ours = ours
        self._until_s: float | None = None

    def tick(self, now_s: float) -> None:
        """Unsubscribe when the broker had its time; call it often."""
        if self._bus.is_connected and self._until_s is None:
            self._until_s = now_s + DELIVERY_S
        elif self._until_s is not None and now_s >= self._until_s:
            self._until_s = float("inf")
            self._bus.unsubscribe(topics.every(topics.STREAM_STATE, self._bus.identity.site))

    def on_delivery(self, delivery: Delivery) -> None:
        """Publish offline if this is a retained state that an earlier run left online."""
        try:
            topic, state = delivery.open()
        except ContractError:
            return
        if delivery.retained and isinstance(state, StreamState) and topic.ids not in self._ours:
            ended = clear_orphan(state, self._bus.identity, datetime.now(UTC))
            if ended is not None:
                self._bus.publish(topic, ended)
