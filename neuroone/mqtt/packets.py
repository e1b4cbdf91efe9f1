"""MQTT packets, 3.1.1 and 5, as far as the services need them: QoS 0 and 1, as a client.

Bytes only; does no I/O. References are to the OASIS standard MQTT 5.0; 3.1.1 has the same packets without properties.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from neuroone.contract.errors import NeuroOneError

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

PACKET_MAX_BYTES: Final = 1024 * 1024
"""Far above the contract's largest message: a broker that announces more is none of ours."""
RECEIVE_MAXIMUM_DEFAULT: Final = 65535
"""What a broker takes in flight when it does not say (3.2.2.3.3)."""

_SESSION_EXPIRY: Final = 0x11
_RECEIVE_MAXIMUM: Final = 0x21
_U16: Final = struct.Struct("!H")
_LENGTHS: Final[Mapping[int, int]] = {
    **dict.fromkeys((0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22), 2),
    **dict.fromkeys((0x11, 0x27), 4),
}
"""Bytes of the fixed-size properties of a CONNACK (2.2.2.2)."""
_STRINGS: Final[Mapping[int, int]] = {**dict.fromkeys((0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), 1), 0x26: 2}
"""How many length-prefixed strings the other properties of a CONNACK have."""


class BadPacket(NeuroOneError):
    """The broker sent what is no MQTT, or what we never asked for."""


@dataclass(frozen=True, slots=True)
class ConnAck:
    """The broker's answer to CONNECT; ``reason`` 0 is yes."""

    reason: int
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A message from the broker; ``packet_id`` is 0 for QoS 0."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int


@dataclass(frozen=True, slots=True)
class PubAck:
    """The broker has a message of QoS 1, or refuses it: then ``reason`` is 0x80 or more (MQTT 5 only)."""

    packet_id: int
    reason: int = 0


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The broker ends the connection and says why (MQTT 5 only)."""

    reason: int


Packet = ConnAck | Publish | PubAck | Disconnect


def connect(
    *,
    v5: bool,
    client_id: str,
    keepalive_s: int,
    receive_maximum: int,
    session_expiry_s: int,
    will_topic: str,
    will_payload: bytes,
    user: str | None,
    password: str | None,
) -> bytes:
    """CONNECT with a retained Last Will of QoS 1; without a session that outlives it when ``session_expiry_s`` is 0."""
    flags = (
        (0 if session_expiry_s else 0x02)
        | 0x04
        | 0x08
        | 0x20
        | (0x80 if user is not None else 0)
        | (0x40 if password is not None else 0)
    )
    properties = (
        _properties(struct.pack("!BIBH", _SESSION_EXPIRY, session_expiry_s, _RECEIVE_MAXIMUM, receive_maximum))
        if v5
        else b""
    )
    body = [_string(b"MQTT"), bytes((5 if v5 else 4, flags)), _U16.pack(keepalive_s), properties]
    body += [_string(client_id.encode()), b"\0" if v5 else b"", _string(will_topic.encode()), _string(will_payload)]
    body += [_string(each.encode()) for each in (user, password) if each is not None]
    return _packet(CONNECT << 4, b"".join(body))


def publish(topic: str, payload: bytes, *, v5: bool, qos: int, retain: bool, packet_id: int) -> bytes:
    """PUBLISH; ``packet_id`` counts for QoS 1 only."""
    name = topic.encode()
    head = _U16.pack(len(name)) + name + (_U16.pack(packet_id) if qos else b"") + (b"\0" if v5 else b"")
    return _packet(PUBLISH << 4 | qos << 1 | retain, head + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK: a message of QoS 1 is safe here."""
    return _packet(PUBACK << 4, _U16.pack(packet_id))


def subscribe(packet_id: int, filters: Iterable[tuple[str, int]], *, v5: bool) -> bytes:
    """SUBSCRIBE to filters, each with the highest QoS that is wanted."""
    topics = b"".join(_string(filter.encode()) + bytes((qos,)) for filter, qos in filters)
    return _packet(SUBSCRIBE << 4 | 2, _U16.pack(packet_id) + (b"\0" if v5 else b"") + topics)


def unsubscribe(packet_id: int, filters: Iterable[str], *, v5: bool) -> bytes:
    """UNSUBSCRIBE from filters."""
    topics = b"".join(_string(filter.encode()) for filter in filters)
    return _packet(UNSUBSCRIBE << 4 | 2, _U16.pack(packet_id) + (b"\0" if v5 else b"") + topics)


def pingreq() -> bytes:
    """PINGREQ: are you there?"""
    return bytes((PINGREQ << 4, 0))


def disconnect() -> bytes:
    """DISCONNECT in good order: the broker drops the Last Will."""
    return bytes((DISCONNECT << 4, 0))


class Decoder:
    """Bytes from the broker to packets, however the bytes are cut."""

    def __init__(self, *, v5: bool) -> None:
        self._v5 = v5
        self._rest = b""

    def feed(self, received: bytes) -> list[Packet]:
        """The packets that are complete now. Raises BadPacket."""
        buffer = self._rest + received if self._rest else received
        packets: list[Packet] = []
        at = 0
        while (frame := _frame(buffer, at)) is not None:
            start, end = frame
            try:
                packet = self._packet(buffer[at], buffer, start, end)
            except (IndexError, KeyError, ValueError, struct.error):
                raise BadPacket("the broker sent a packet that is no MQTT") from None
            if packet is not None:
                packets.append(packet)
            at = end
        self._rest = buffer[at:]
        return packets

    def _packet(self, first: int, buffer: bytes, start: int, end: int) -> Packet | None:
        kind = first >> 4
        if kind == PUBLISH:
            return self._publish(first, buffer, start, end)
        if kind == PUBACK:
            return PubAck(_U16.unpack_from(buffer, start)[0], buffer[start + 2] if end > start + 2 else 0)
        if kind == CONNACK:
            # A broker that knows only 3.1.1 says no in the words of 3.1.1, without properties.
            return ConnAck(buffer[start + 1], _receive_maximum(buffer[start + 2 : end]))
        if kind == DISCONNECT:
            return Disconnect(buffer[start] if end > start else 0)
        if kind in (SUBACK, UNSUBACK, PINGRESP):
            return None
        raise BadPacket(f"the broker sent a packet of type {kind}")

    def _publish(self, first: int, buffer: bytes, start: int, end: int) -> Publish:
        at = start + 2 + _U16.unpack_from(buffer, start)[0]
        topic = buffer[start + 2 : at].decode()
        packet_id = 0
        if first & 0x06:
            packet_id = _U16.unpack_from(buffer, at)[0]
            at += 2
        if self._v5:
            length, at = _varint(buffer, at)
            at += length
        if at > end:
            raise ValueError("a packet ends within its own head")
        return Publish(topic, buffer[at:end], bool(first & 1), packet_id)


def _frame(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the packet at ``at`` has its body; None while it is incomplete. Raises BadPacket."""
    if len(buffer) < at + 2:
        return None
    try:
        length, start = _varint(buffer, at + 1)
    except IndexError:
        return None
    if length > PACKET_MAX_BYTES:
        raise BadPacket("the broker sent a packet that is too long")
    return (start, start + length) if start + length <= len(buffer) else None


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer and where it ends (1.5.5)."""
    value = 0
    for shift in (0, 7, 14, 21):
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadPacket("the broker sent a length of more than four bytes")


def _receive_maximum(properties: bytes) -> int:
    if not properties:
        return RECEIVE_MAXIMUM_DEFAULT
    length, at = _varint(properties, 0)
    end = at + length
    while at < end:
        property_id = properties[at]
        at += 1
        if property_id == _RECEIVE_MAXIMUM:
            return int(_U16.unpack_from(properties, at)[0])
        at += _LENGTHS.get(property_id, 0)
        for _ in range(0 if property_id in _LENGTHS else _STRINGS[property_id]):
            at += 2 + _U16.unpack_from(properties, at)[0]
    return RECEIVE_MAXIMUM_DEFAULT


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    if length < 0x80:
        return bytes((first, length)) + body
    head = bytearray((first,))
    while length:
        length, low = length >> 7, length & 0x7F
        head.append(low | (0x80 if length else 0))
    return bytes(head) + body


def _string(text: bytes) -> bytes:
    return _U16.pack(len(text)) + text


def _properties(properties: bytes) -> bytes:
    return bytes((len(properties),)) + properties
