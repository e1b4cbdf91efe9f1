"""Encode and decode MQTT packets, 3.1.1 and 5, as a client that uses QoS 0 and 1.

Bytes only; does no I/O. References are to the OASIS standard MQTT 5.0; 3.1.1 has the same packets without properties.
Packets are msgspec Structs, not dataclasses: making a frozen one takes a tenth of the time, once for every message.
"""

import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

from msgspec import Struct

from neuroone.contract.json import PAYLOAD_MAX_BYTES
from neuroone.mqtt.packet_fields import (
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    REASON_STRING,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY,
    U16,
    Fields,
    Kind,
    decode_topic,
    decode_varint,
    encode_binary,
    encode_text,
    encode_varint,
)
from neuroone.mqtt.packet_fields import BadPacket as BadPacket

PACKET_MAX_BYTES: Final = PAYLOAD_MAX_BYTES + 4096
"""The Maximum Packet Size that CONNECT states: the contract's largest payload, with room for topic and properties."""
PACKET_MAX_BYTES_V311: Final = 2 * 1024 * 1024
"""The same for MQTT 3.1.1, where a client cannot state it: twice the largest payload of a NATS server by default.
A larger limit costs memory only; a smaller one would end the connection at each delivery of one stored message."""
RECEIVE_MAXIMUM_DEFAULT: Final = 65535
"""Messages of QoS 1 that a receiver accepts in flight when it states no number (3.1.2.11.3, 3.2.2.3.3)."""
QOS: Final = 0x03
NO_LOCAL: Final = 0x04
"""Options of a subscription (3.8.3.1): the highest QoS, and not to get back what this client publishes. MQTT 3.1.1 has
no such option."""
REFUSED: Final = 0x80
"""The lowest reason code that means failure (2.4)."""
UNSUPPORTED_VERSION: Final = (0x84, 0x01)
"""A CONNACK's reasons for "not this version of MQTT", in MQTT 5 and in 3.1.1."""


_PUBLISH_FIRST: Final = int(Kind.PUBLISH << 4)
_PUBACK_FIRST: Final = int(Kind.PUBACK << 4)
_PUBACK_HEAD: Final = bytes((_PUBACK_FIRST, 2))


class Will(Struct, frozen=True):
    """The message that the broker publishes when the connection ends without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class Connect(Struct, frozen=True, kw_only=True):
    """Open a connection. The fields from ``session_expiry_s`` to ``packet_max_bytes`` exist in MQTT 5 only."""

    client_id: str
    keep_alive_s: int
    clean_start: bool = True
    session_expiry_s: int = 0
    receive_maximum: int = RECEIVE_MAXIMUM_DEFAULT
    packet_max_bytes: int = PACKET_MAX_BYTES
    will: Will | None = None
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Connect({self.client_id!r})"  # a log must not show the password

    def encode(self, v5: bool) -> bytes:
        """Encode the packet. Raises ValueError where a text is too long for MQTT."""
        flags = self.clean_start << 1 | (self.user is not None) << 7 | (self.password is not None) << 6
        if self.will is not None:
            flags |= 0x04 | self.will.qos << 3 | self.will.retain << 5
        body = [encode_text("MQTT"), bytes((5 if v5 else 4, flags)), U16.pack(self.keep_alive_s)]
        if v5:
            limits = (RECEIVE_MAXIMUM, self.receive_maximum, MAXIMUM_PACKET_SIZE, self.packet_max_bytes)
            properties = struct.pack("!BIBHBI", SESSION_EXPIRY, self.session_expiry_s, *limits)
            body += [bytes((len(properties),)), properties]
        body.append(encode_text(self.client_id))
        if self.will is not None:
            body += [b"\0" if v5 else b"", encode_text(self.will.topic), encode_binary(self.will.payload)]
        body += [encode_text(each) for each in (self.user, self.password) if each is not None]
        return _frame(Kind.CONNECT << 4, b"".join(body))


class ConnAck(Struct, frozen=True):
    """The broker's answer to CONNECT: accepted when ``reason`` is 0, and then with the broker's limits.

    None means that the broker stated nothing: no limit of packets, our keep alive, our session expiry.
    """

    reason: int
    session_present: bool = False
    receive_maximum: int = RECEIVE_MAXIMUM_DEFAULT
    maximum_qos: int = 2
    retain_available: bool = True
    packet_max_bytes: int | None = None
    keep_alive_s: int | None = None
    session_expiry_s: int | None = None
    reason_text: str = ""


class Publish(Struct, frozen=True):
    """A message, in either direction. It has QoS 1 when ``packet_id`` is above 0, else QoS 0."""

    topic: str
    payload: bytes
    retained: bool = False
    packet_id: int = 0
    duplicate: bool = False

    def encode(self, v5: bool) -> bytes:
        """Encode the packet. The topic is one of the contract's: never too long for MQTT."""
        first = _PUBLISH_FIRST | self.retained
        topic = self.topic.encode()
        head = U16.pack(len(topic)) + topic
        if self.packet_id:
            first |= 0x02 | self.duplicate << 3
            head += U16.pack(self.packet_id)
        return _frame(first, head + b"\0" + self.payload if v5 else head + self.payload)


class PubAck(Struct, frozen=True):
    """The receiver has a message of QoS 1, or refuses it: then ``reason`` is REFUSED or more (MQTT 5 only)."""

    packet_id: int
    reason: int = 0

    def encode(self, v5: bool) -> bytes:
        """Encode the packet."""
        if v5 and self.reason:
            return _frame(_PUBACK_FIRST, U16.pack(self.packet_id) + bytes((self.reason,)))
        return _PUBACK_HEAD + U16.pack(self.packet_id)


class Subscribe(Struct, frozen=True):
    """Ask for messages: topic filters, each with the highest QoS that is wanted, and `NO_LOCAL` or not."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]

    def encode(self, v5: bool) -> bytes:
        """Encode the packet. Raises ValueError where a filter is too long for MQTT."""
        known = QOS | NO_LOCAL if v5 else QOS
        filters = b"".join(encode_text(filter) + bytes((options & known,)) for filter, options in self.filters)
        return _frame(Kind.SUBSCRIBE << 4 | 2, U16.pack(self.packet_id) + (b"\0" if v5 else b"") + filters)


class SubAck(Struct, frozen=True):
    """One reason for each filter of a SUBSCRIBE, in its order: the QoS granted, or REFUSED and more."""

    packet_id: int
    reasons: tuple[int, ...]


class Unsubscribe(Struct, frozen=True):
    """Ask for no more messages of these topic filters."""

    packet_id: int
    filters: tuple[str, ...]

    def encode(self, v5: bool) -> bytes:
        """Encode the packet. Raises ValueError where a filter is too long for MQTT."""
        filters = b"".join(map(encode_text, self.filters))
        return _frame(Kind.UNSUBSCRIBE << 4 | 2, U16.pack(self.packet_id) + (b"\0" if v5 else b"") + filters)


class UnsubAck(Struct, frozen=True):
    """One reason for each filter of an UNSUBSCRIBE, in its order; MQTT 3.1.1 has none."""

    packet_id: int
    reasons: tuple[int, ...] = ()


class PingReq(Struct, frozen=True):
    """Ask the broker for a sign of life."""

    def encode(self, v5: bool) -> bytes:
        """Encode the packet."""
        return _frame(Kind.PINGREQ << 4, b"")


class PingResp(Struct, frozen=True):
    """The broker's sign of life."""


class Disconnect(Struct, frozen=True):
    """The last packet of a connection. Only a client sends it in MQTT 3.1.1, and without a reason."""

    reason: int = 0
    reason_text: str = ""

    def encode(self, v5: bool) -> bytes:
        """Encode the packet, without its text. With reason 0 the broker drops the will."""
        return _frame(Kind.DISCONNECT << 4, bytes((self.reason,)) if v5 and self.reason else b"")


Packet = ConnAck | Publish | PubAck | SubAck | UnsubAck | PingResp | Disconnect
"""What a client receives."""


class Decoder:
    """Decode the broker's bytes, however they are cut. It holds the bytes of one incomplete packet at most."""

    def __init__(self, *, v5: bool) -> None:
        self._v5 = v5
        self._packet_max_bytes = PACKET_MAX_BYTES if v5 else PACKET_MAX_BYTES_V311
        self._rest = bytearray()
        self._needed = 0

    def feed(self, received: bytes) -> list[Packet]:
        """Return the packets that are complete now. Raises BadPacket: the connection is then of no more use."""
        if self._rest:
            self._rest += received
            if len(self._rest) < self._needed:
                return []
            received = bytes(self._rest)
        packets: list[Packet] = []
        at = 0
        while (body := self._body(received, at)) is not None:
            start, end = body
            packets.append(_decode(received, at, start, end, self._v5))
            at = end
        self._rest = bytearray(received[at:])
        return packets

    def _body(self, buffer: bytes, at: int) -> tuple[int, int] | None:
        """Return where the body of the packet at ``at`` begins and ends; None while bytes of it are missing."""
        size = len(buffer) - at
        if size < 2:
            self._needed = 2
            return None
        length, start = buffer[at + 1], at + 2
        if length >= 0x80:
            try:
                found = decode_varint(buffer, at + 1)
            except BadPacket as fault:
                raise BadPacket(f"the broker sent a packet whose length is malformed: {fault}") from None
            if found is None:
                self._needed = size + 1
                return None
            length, start = found
        end = start + length
        if end - at > self._packet_max_bytes:
            raise BadPacket(f"the broker sent a packet of {end - at} bytes; we accept {self._packet_max_bytes}")
        if end <= len(buffer):
            return start, end
        _kind(buffer[at])  # do not wait for the body of a packet that will be refused
        self._needed = end - at
        return None


def _decode(buffer: bytes, at: int, start: int, end: int, v5: bool) -> Packet:
    """Decode the packet at ``at``, whose body lies from ``start`` to ``end``."""
    first = buffer[at]
    kind = _kind(first)
    try:
        if kind is Kind.PUBLISH:
            return _publish(first, buffer, start, end, v5)
        if kind is Kind.PUBACK and end - start == 2:
            return PubAck(_packet_id(buffer, start))
        body = Fields(buffer[start:end])
        packet = _DECODERS[kind](body, v5)
        body.check_end()
        return packet
    except BadPacket as fault:
        raise BadPacket(f"the broker sent a malformed {kind.name}: {fault}") from None


def _kind(first: int) -> Kind:
    """Return the type in the first byte of a packet. Raises BadPacket where a broker must not send it."""
    kind = _KINDS.get(first)
    if kind is None:
        raise BadPacket(f"the broker sent a packet of type {first >> 4} with the flags {first & 0x0F:#x}")
    return kind


def _publish(first: int, buffer: bytes, start: int, end: int, v5: bool) -> Publish:
    at = start + 2
    if at <= end:
        at += buffer[start] << 8 | buffer[start + 1]
    if at > end:
        raise BadPacket("it ends within its topic")
    topic = decode_topic(buffer[start + 2 : at])
    packet_id = 0
    qos = first & 0x06
    if qos == 0x02:
        if at + 2 > end:
            raise BadPacket("it ends within its packet identifier")
        packet_id = _packet_id(buffer, at)
        at += 2
    elif qos:
        raise BadPacket(f"it has QoS {qos >> 1}, and we subscribe with at most 1")
    elif first & 0x08:
        raise BadPacket("it has QoS 0 and is marked as a duplicate")
    if v5:
        if at < end and not buffer[at]:
            at += 1
        else:
            body = Fields(buffer[at:end])
            body.properties(Kind.PUBLISH)
            return Publish(topic, body.rest(), bool(first & 1), packet_id, bool(first & 0x08))
    return Publish(topic, buffer[at:end], bool(first & 1), packet_id, bool(first & 0x08))


def _packet_id(buffer: bytes, at: int) -> int:
    packet_id = buffer[at] << 8 | buffer[at + 1]
    if not packet_id:
        raise BadPacket("its packet identifier is 0")
    return packet_id


def _connack(body: Fields, v5: bool) -> ConnAck:
    session_present = bool(body.switch())
    reason = body.byte()
    if v5 and body.is_at_end and reason in _REFUSED_IN_V311:
        v5 = False  # a broker that knows only 3.1.1 refuses a CONNECT of MQTT 5 in the form of 3.1.1
    _check_reason(reason, _CONNACK_REASONS if v5 else (0, *_REFUSED_IN_V311))
    if reason and session_present:
        raise BadPacket("it refuses, and speaks of a session")
    if not v5:
        return ConnAck(reason, session_present)
    stated = cast(dict[int, Any], body.properties(Kind.CONNACK))
    return ConnAck(
        reason,
        session_present,
        receive_maximum=stated.get(RECEIVE_MAXIMUM, RECEIVE_MAXIMUM_DEFAULT),
        maximum_qos=stated.get(MAXIMUM_QOS, 2),
        retain_available=bool(stated.get(RETAIN_AVAILABLE, 1)),
        packet_max_bytes=stated.get(MAXIMUM_PACKET_SIZE),
        keep_alive_s=stated.get(SERVER_KEEP_ALIVE),
        session_expiry_s=stated.get(SESSION_EXPIRY),
        reason_text=stated.get(REASON_STRING, ""),
    )


def _puback(body: Fields, v5: bool) -> PubAck:
    packet_id = body.packet_id()
    reason = 0
    if v5 and not body.is_at_end:
        reason = _check_reason(body.byte(), _PUBACK_REASONS)
        if not body.is_at_end:
            body.properties(Kind.PUBACK)
    return PubAck(packet_id, reason)


def _suback(body: Fields, v5: bool) -> SubAck:
    packet_id = body.packet_id()
    if v5:
        body.properties(Kind.SUBACK)
    return SubAck(packet_id, _reasons(body, _SUBACK_REASONS if v5 else _SUBACK_REASONS_V311))


def _unsuback(body: Fields, v5: bool) -> UnsubAck:
    packet_id = body.packet_id()
    if not v5:
        return UnsubAck(packet_id)
    body.properties(Kind.UNSUBACK)
    return UnsubAck(packet_id, _reasons(body, _UNSUBACK_REASONS))


def _reasons(body: Fields, known: Collection[int]) -> tuple[int, ...]:
    reasons = tuple(_check_reason(reason, known) for reason in body.rest())
    if not reasons:
        raise BadPacket("it has no reason code")
    return reasons


def _disconnect(body: Fields, v5: bool) -> Disconnect:
    if not v5:
        raise BadPacket("only a client sends it in MQTT 3.1.1")
    if body.is_at_end:
        return Disconnect()
    reason = _check_reason(body.byte(), _DISCONNECT_REASONS)
    stated = {} if body.is_at_end else body.properties(Kind.DISCONNECT)
    return Disconnect(reason, str(stated.get(REASON_STRING, "")))


def _check_reason(reason: int, known: Collection[int]) -> int:
    if reason not in known:
        raise BadPacket(f"its reason code {reason:#04x} is not one of the standard's")
    return reason


def _frame(first: int, body: bytes) -> bytes:
    length = len(body)
    if length < 0x80:
        return bytes((first, length)) + body
    if length < 0x4000:  # two bytes of length: nearly every message; encode_varint would take three times as long
        return bytes((first, length & 0x7F | 0x80, length >> 7)) + body
    return bytes((first,)) + encode_varint(length) + body


_REFUSED_IN_V311: Final = range(1, 6)
_CONNACK_REASONS: Final = frozenset((0, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F))
_PUBACK_REASONS: Final = frozenset((0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_SUBACK_REASONS: Final = frozenset((0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2))
_SUBACK_REASONS_V311: Final = frozenset((0, 1, 2, 0x80))
_UNSUBACK_REASONS: Final = frozenset((0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91))
_DISCONNECT_REASONS: Final = frozenset(
    (0, *range(0x80, 0x84), 0x87, 0x89, *range(0x8B, 0x91), *range(0x93, 0xA3)),
)
"""What a broker may send: the tables of 3.2.2.2, 3.4.2.1, 3.9.3, 3.11.3 and 3.14.2.1."""
_DECODERS: Final[Mapping[Kind, Callable[[Fields, bool], Packet]]] = {
    Kind.CONNACK: _connack,
    Kind.PUBACK: _puback,
    Kind.SUBACK: _suback,
    Kind.UNSUBACK: _unsuback,
    Kind.PINGRESP: lambda body, v5: PingResp(),
    Kind.DISCONNECT: _disconnect,
}
_KINDS: Final[Mapping[int, Kind]] = {
    **{kind << 4: kind for kind in _DECODERS},
    **{Kind.PUBLISH << 4 | flags: Kind.PUBLISH for flags in range(16)},
}
"""The first bytes that a broker may send: only those of a PUBLISH have flags (2.1.3)."""
