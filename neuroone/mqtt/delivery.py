"""Hold what the broker delivered."""

from msgspec import Struct

from neuroone.contract.json import decode
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic, parse


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
