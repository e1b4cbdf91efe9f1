"""Hold what the broker delivered, and tell late states."""

from typing import Final

from msgspec import Struct

from neuroone.contract.json import decode
from neuroone.contract.messages import Message
from neuroone.contract.topics import TOPICS, Topic, parse

STATES: Final = tuple({f"/{rule.shape.rpartition('/')[2]}" for rule in TOPICS if rule.retained})
"""How the topics of retained messages end."""
LIVE_MAX_TOPICS: Final = 20_000
"""Topics that are remembered: each student has one, and the broker sends what it has retained within seconds. 3 MB."""


class Delivery(Struct, frozen=True):
    """One message that the broker delivered. ``packet_id`` and ``connection`` are for `Session.ack`."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int
    connection: int

    def open(self) -> tuple[Topic, Message]:
        """Return the topic taken apart and the message that travels on it. Raises BadTopic or BadMessage."""
        topic = parse(self.topic)
        return topic, decode(topic.rule.message, self.payload)


class LiveStates:
    """Know which states came live on one connection: a retained one of their topic is older.

    NATS reads what it has retained while new messages pass: the end of a service's earlier run may come after the birth
    of the next one. ``counters`` get ``late_states``, and ``live_states_forgotten`` beyond `LIVE_MAX_TOPICS`.
    """

    def __init__(self, counters: dict[str, int]) -> None:
        self._counters = counters
        self._topics: set[str] = set()

    def is_late(self, topic: str, *, retained: bool) -> bool:
        """Return True if a newer state has come; note a live one."""
        if retained:
            is_late = topic in self._topics
            self._counters["late_states"] += is_late
            return is_late
        if topic.endswith(STATES):
            if len(self._topics) < LIVE_MAX_TOPICS:
                self._topics.add(topic)
            else:
                self._counters["live_states_forgotten"] += topic not in self._topics
        return False
