"""What every connection to the broker has in common, whatever carries it."""

from dataclasses import dataclass
from typing import Final

from neuroone.contract.json import open_delivery
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic

KEEPALIVE_S: Final = 20
"""A broker that is silent for 1.5 times this is gone; the same as the WebSocket pings."""
RECEIVE_MAXIMUM: Final = 500
"""QoS 1 messages the broker may send before our acks: bounds what waits between a recorder's network and its disk."""
REFUSED: Final = 0x80
"""The least reason code with which a broker of MQTT 5 refuses something (MQTT 5.0, 2.4)."""
ACK_TIMEOUT_S: Final = 30.0
"""A broker that leaves a message unacknowledged for so long has lost the connection without saying so."""
SESSION_EXPIRY_S: Final = 7 * 24 * 3600
"""How long the broker keeps messages for a durable service that is away: a week of holidays."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that the broker delivered. ``packet_id`` and ``connection`` are for `AsyncClient.ack`."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int
    connection: int

    def needs_ack_of(self, connection: int) -> bool:
        """Return True if the broker waits on this connection for an ack: not for QoS 0, nor on a later connection."""
        return self.packet_id != 0 and self.connection == connection

    def open(self) -> tuple[Topic, Message]:
        """Return the topic taken apart and its message. Raises ContractError."""
        return open_delivery(self.topic, self.payload)
