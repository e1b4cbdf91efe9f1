"""The fields that MQTT packets are made of: integers, strings and the properties of MQTT 5.

Bytes only; does no I/O. References are to the OASIS standard MQTT 5.0.
"""

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.topics import TOPICS_MAX


class BadPacket(NeuroOneError):
    """The broker broke the rules of MQTT, or sent a packet that this client never asked for."""


class Kind(IntEnum):
    """The packet types that are sent or received here (2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


Value = int | str | bytes | tuple[str, str]

SESSION_EXPIRY: Final = 0x11
SERVER_KEEP_ALIVE: Final = 0x13
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
MAXIMUM_QOS: Final = 0x24
RETAIN_AVAILABLE: Final = 0x25
MAXIMUM_PACKET_SIZE: Final = 0x27
_SUBSCRIPTION_ID: Final = 0x0B
_USER_PROPERTY: Final = 0x26

U16: Final = struct.Struct("!H")
_CONTINUES: Final = 0x80
"""The bit of a variable byte integer that says that another byte follows (1.5.5)."""
_VARINT_MAX_BITS: Final = 28
TOPIC_BYTES: Final = 256
"""Topics of the contract are shorter, and decoded only once. Others have up to 64 KiB: kept, they would fill 2 GB."""


def encode_varint(number: int) -> bytes:
    """Encode a variable byte integer (1.5.5)."""
    encoded = bytearray()
    while number >= _CONTINUES:
        encoded.append(number & 0x7F | _CONTINUES)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode_varint(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Return a variable byte integer and where it ends, or None while bytes of it are missing. Raises BadPacket."""
    number = shift = 0
    while at < len(buffer):
        byte = buffer[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            if not byte and shift:
                raise BadPacket("it has more bytes than it needs")
            return number, at
        shift += 7
        if shift == _VARINT_MAX_BITS:
            raise BadPacket("it has more than four bytes")
    return None


def encode_binary(data: bytes) -> bytes:
    """Encode bytes with their length in front (1.5.6). Raises ValueError for more than 65,535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"an MQTT field holds at most 65535 bytes, this one has {len(data)}")
    return U16.pack(len(data)) + data


def encode_text(text: str) -> bytes:
    """Encode a string (1.5.4). Raises ValueError where MQTT cannot carry it."""
    if "\0" in text:
        raise ValueError("an MQTT string cannot hold U+0000")
    return encode_binary(text.encode())


def decode_text(utf8: bytes) -> str:
    """Decode a string (1.5.4). Raises BadPacket."""
    try:
        text = utf8.decode()
    except UnicodeDecodeError:
        raise BadPacket("a string is not UTF-8") from None
    if "\0" in text:
        raise BadPacket("a string holds U+0000")
    return text


def decode_topic(utf8: bytes) -> str:
    """Decode the topic of a message (4.7). Raises BadPacket."""
    return _decode_once(utf8) if len(utf8) < TOPIC_BYTES else _decode_topic(utf8)


def _decode_topic(utf8: bytes) -> str:
    topic = decode_text(utf8)
    if not topic:
        raise BadPacket("its topic is empty")  # a topic alias could stand for it: we allow none
    if "#" in topic or "+" in topic:
        raise BadPacket("its topic holds a wildcard")
    return topic


_decode_once = lru_cache(maxsize=TOPICS_MAX)(_decode_topic)


class Fields:
    """The body of one packet, read field by field. Every method raises BadPacket where a field is malformed."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """True when every byte has been read."""
        return self._at == len(self._body)

    def check_end(self) -> None:
        """Refuse bytes behind the last field."""
        if not self.is_at_end:
            raise BadPacket("bytes follow its last field")

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self._bytes(len(self._body) - self._at)

    def byte(self) -> int:
        """Read one byte."""
        return self._bytes(1)[0]

    def switch(self) -> int:
        """Read a byte that must be 0 or 1."""
        if (value := self.byte()) > 1:
            raise BadPacket(f"a byte is {value}, not 0 or 1")
        return value

    def u16(self) -> int:
        """Read two bytes as a number."""
        return int.from_bytes(self._bytes(2))

    def u32(self) -> int:
        """Read four bytes as a number."""
        return int.from_bytes(self._bytes(4))

    def packet_id(self) -> int:
        """Read a packet identifier, which is never 0 (2.2.1)."""
        return _above_zero(self.u16(), "packet identifier")

    def varint(self) -> int:
        """Read a variable byte integer."""
        found = decode_varint(self._body, self._at)
        if found is None:
            raise BadPacket("it ends too early")
        number, self._at = found
        return number

    def binary(self) -> bytes:
        """Read bytes that follow their length."""
        return self._bytes(self.u16())

    def text(self) -> str:
        """Read a string."""
        return decode_text(self.binary())

    def pair(self) -> tuple[str, str]:
        """Read two strings."""
        return self.text(), self.text()

    def section(self) -> "Fields":
        """Read the length of the properties, and return their bytes."""
        return Fields(self._bytes(self.varint()))

    def properties(self, kind: Kind) -> dict[int, Value]:
        """Read the properties of a packet of this kind: each is known, allowed there, in its range and there once."""
        section = self.section()
        found: dict[int, Value] = {}
        while not section.is_at_end:
            identifier = section.varint()
            name, read, kinds = _PROPERTIES.get(identifier, (f"property {identifier:#04x}", Fields.rest, ()))
            if kind not in kinds:
                raise BadPacket(f"{name} must not stand in it")
            if identifier in found and not (identifier == _USER_PROPERTY or identifier == _SUBSCRIPTION_ID):
                raise BadPacket(f"{name} stands in it twice")
            try:
                found[identifier] = read(section)
            except BadPacket as fault:
                raise BadPacket(f"{name}: {fault}") from None
        return found

    def _bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._body):
            raise BadPacket("it ends too early")
        found = self._body[self._at : end]
        self._at = end
        return found


def _above_zero(number: int, name: str = "it") -> int:
    if not number:
        raise BadPacket(f"{name} is 0")
    return number


_ACKS: Final = (Kind.CONNACK, Kind.PUBACK, Kind.SUBACK, Kind.UNSUBACK, Kind.DISCONNECT)
_PROPERTIES: Final[Mapping[int, tuple[str, Callable[[Fields], Value], tuple[Kind, ...]]]] = {
    0x01: ("Payload Format Indicator", Fields.switch, (Kind.PUBLISH,)),
    0x02: ("Message Expiry Interval", Fields.u32, (Kind.PUBLISH,)),
    0x03: ("Content Type", Fields.text, (Kind.PUBLISH,)),
    0x08: ("Response Topic", lambda fields: decode_topic(fields.binary()), (Kind.PUBLISH,)),
    0x09: ("Correlation Data", Fields.binary, (Kind.PUBLISH,)),
    _SUBSCRIPTION_ID: ("Subscription Identifier", lambda fields: _above_zero(fields.varint()), (Kind.PUBLISH,)),
    SESSION_EXPIRY: ("Session Expiry Interval", Fields.u32, (Kind.CONNACK,)),
    0x12: ("Assigned Client Identifier", Fields.text, (Kind.CONNACK,)),
    SERVER_KEEP_ALIVE: ("Server Keep Alive", Fields.u16, (Kind.CONNACK,)),
    0x15: ("Authentication Method", Fields.text, ()),  # we never name one in CONNECT (4.12)
    0x16: ("Authentication Data", Fields.binary, ()),
    0x1A: ("Response Information", Fields.text, (Kind.CONNACK,)),
    0x1C: ("Server Reference", Fields.text, (Kind.CONNACK, Kind.DISCONNECT)),
    REASON_STRING: ("Reason String", Fields.text, _ACKS),
    RECEIVE_MAXIMUM: ("Receive Maximum", lambda fields: _above_zero(fields.u16()), (Kind.CONNACK,)),
    0x22: ("Topic Alias Maximum", Fields.u16, (Kind.CONNACK,)),
    0x23: ("Topic Alias", Fields.u16, ()),  # our Topic Alias Maximum is 0 (3.1.2.11.5)
    MAXIMUM_QOS: ("Maximum QoS", Fields.switch, (Kind.CONNACK,)),
    RETAIN_AVAILABLE: ("Retain Available", Fields.switch, (Kind.CONNACK,)),
    _USER_PROPERTY: ("User Property", Fields.pair, (*_ACKS, Kind.PUBLISH)),
    MAXIMUM_PACKET_SIZE: ("Maximum Packet Size", lambda fields: _above_zero(fields.u32()), (Kind.CONNACK,)),
    0x28: ("Wildcard Subscription Available", Fields.switch, (Kind.CONNACK,)),
    0x29: ("Subscription Identifiers Available", Fields.switch, (Kind.CONNACK,)),
    0x2A: ("Shared Subscription Available", Fields.switch, (Kind.CONNACK,)),
}
"""Name, reader and allowed packets of each property that a broker may send (2.2.2.2)."""
