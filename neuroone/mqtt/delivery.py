"""Hold what the broker delivered."""

from dataclasses import dataclass

from neuroone.contract.json import open_delivery
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that the broker delivered. ``packet_id`` and ``connection`` are for `Session.ack`."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int
    connection: int

    def open(self) -> tuple[Topic, Message]:
        """Return the topic taken apart and its message. Raises ContractError."""
        return open_delivery(self.topic, self.payload)
