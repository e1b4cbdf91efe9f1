"""MQTT packets as a broker sees them: the inverse of `neuroone.mqtt.packets`, for tests."""

import struct
from collections.abc import Mapping

from neuroone.mqtt import packet_fields
from neuroone.mqtt.packet_fields import (
    U16,
    BadPacket,
    Fields,
    Kind,
    decode_varint,
    encode_text,
    encode_varint,
)
from neuroone.mqtt.packets import (
    PACKET_MAX_BYTES,
    RECEIVE_MAXIMUM_DEFAULT,
    ConnAck,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)

Sent = Connect | Publish | PubAck | Subscribe | Unsubscribe | PingReq | Disconnect
"""What a client sends."""

WIDTHS = {
    packet_fields.SESSION_EXPIRY: "!BI",
    packet_fields.SERVER_KEEP_ALIVE: "!BH",
    packet_fields.RECEIVE_MAXIMUM: "!BH",
    packet_fields.MAXIMUM_QOS: "!BB",
    packet_fields.RETAIN_AVAILABLE: "!BB",
    packet_fields.MAXIMUM_PACKET_SIZE: "!BI",
}


def properties(values: Mapping[int, int | str | None]) -> bytes:
    """Encode properties; those that are None are left out."""
    encoded = b"".join(
        bytes((identifier,)) + encode_text(value)
        if isinstance(value, str)
        else struct.pack(WIDTHS[identifier], identifier, value)
        for identifier, value in values.items()
        if value is not None
    )
    return encode_varint(len(encoded)) + encoded


def frame(first: int, body: bytes) -> bytes:
    """Encode a packet's fixed header in front of its body."""
    return bytes((first,)) + encode_varint(len(body)) + body


def connack(answer: ConnAck, v5: bool) -> bytes:
    """Encode CONNACK; what the answer leaves at its default is not stated."""
    head = bytes((answer.session_present, answer.reason))
    stated = properties(
        {
            packet_fields.SESSION_EXPIRY: answer.session_expiry_s,
            packet_fields.SERVER_KEEP_ALIVE: answer.keep_alive_s,
            packet_fields.REASON_STRING: answer.reason_text or None,
            packet_fields.RECEIVE_MAXIMUM: _unless(RECEIVE_MAXIMUM_DEFAULT, answer.receive_maximum),
            packet_fields.MAXIMUM_QOS: _unless(2, answer.maximum_qos),
            packet_fields.RETAIN_AVAILABLE: _unless(1, int(answer.retain_available)),
            packet_fields.MAXIMUM_PACKET_SIZE: answer.packet_max_bytes,
        }
    )
    return frame(Kind.CONNACK << 4, head + stated if v5 else head)


def encode(packet: Packet, v5: bool) -> bytes:
    """Encode any packet that a broker sends."""
    if isinstance(packet, ConnAck):
        return connack(packet, v5)
    if isinstance(packet, SubAck | UnsubAck):
        kind = Kind.SUBACK if isinstance(packet, SubAck) else Kind.UNSUBACK
        return frame(kind << 4, U16.pack(packet.packet_id) + (b"\0" if v5 else b"") + bytes(packet.reasons))
    if isinstance(packet, Disconnect) and packet.reason_text:
        stated = properties({packet_fields.REASON_STRING: packet.reason_text})
        return frame(Kind.DISCONNECT << 4, bytes((packet.reason,)) + stated)
    if isinstance(packet, PingResp):
        return frame(Kind.PINGRESP << 4, b"")
    return packet.encode(v5)


class ClientDecoder:
    """Decode a client's bytes, however they are cut. ``v5`` is known once CONNECT is there."""

    def __init__(self) -> None:
        self.v5 = True
        self._rest = b""

    def feed(self, received: bytes) -> list[Sent]:
        """Return the packets that are complete now. Raises BadPacket."""
        self._rest += received
        packets: list[Sent] = []
        while len(self._rest) >= 2 and (found := decode_varint(self._rest, 1)) is not None:
            length, start = found
            if len(self._rest) < start + length:
                break
            packet, self._rest = self._rest[: start + length], self._rest[start + length :]
            packets.append(self._decode(packet, packet[start:]))
        return packets

    def _decode(self, packet: bytes, body: bytes) -> Sent:
        first, fields = packet[0], Fields(body)
        if first >> 4 == Kind.PUBLISH or first == Kind.PUBACK << 4 or (first == Kind.DISCONNECT << 4 and self.v5):
            [decoded] = Decoder(v5=self.v5).feed(packet)  # these have one form in both directions
            assert isinstance(decoded, Publish | PubAck | Disconnect)
            return decoded
        if first == Kind.CONNECT << 4:
            decoded_connect = self._connect(fields)
            fields.check_end()
            return decoded_connect
        if first in (Kind.PINGREQ << 4, Kind.DISCONNECT << 4):
            fields.check_end()
            return PingReq() if first == Kind.PINGREQ << 4 else Disconnect()
        if first not in (Kind.SUBSCRIBE << 4 | 2, Kind.UNSUBSCRIBE << 4 | 2):
            raise BadPacket(f"a client must not send {first:#04x}")
        packet_id = fields.packet_id()
        if self.v5 and fields.byte():
            raise BadPacket("our clients send no properties here")
        filters = []
        while not fields.is_at_end:
            filters.append((fields.text(), fields.byte() if first == Kind.SUBSCRIBE << 4 | 2 else 0))
        if first == Kind.SUBSCRIBE << 4 | 2:
            return Subscribe(packet_id, tuple(filters))
        return Unsubscribe(packet_id, tuple(filter for filter, _ in filters))

    def _connect(self, fields: Fields) -> Connect:
        if fields.text() != "MQTT" or (level := fields.byte()) not in (4, 5):
            raise BadPacket("it is not MQTT 3.1.1 or 5")
        self.v5 = level == 5
        flags, keep_alive_s = fields.byte(), fields.u16()
        stated = self._connect_properties(fields) if self.v5 else {}
        client_id = fields.text()
        will = None
        if flags & 0x04:
            if self.v5 and fields.byte():
                raise BadPacket("our clients send no properties here")
            will = Will(fields.text(), fields.binary(), flags >> 3 & 3, bool(flags & 0x20))
        return Connect(
            client_id=client_id,
            keep_alive_s=keep_alive_s,
            clean_start=bool(flags & 0x02),
            session_expiry_s=stated.get(packet_fields.SESSION_EXPIRY, 0),
            receive_maximum=stated.get(packet_fields.RECEIVE_MAXIMUM, RECEIVE_MAXIMUM_DEFAULT),
            packet_max_bytes=stated.get(packet_fields.MAXIMUM_PACKET_SIZE, PACKET_MAX_BYTES),
            will=will,
            user=fields.text() if flags & 0x80 else None,
            password=fields.text() if flags & 0x40 else None,
        )

    @staticmethod
    def _connect_properties(fields: Fields) -> dict[int, int]:
        section = fields.section()
        stated: dict[int, int] = {}
        while not section.is_at_end:
            identifier = section.byte()
            stated[identifier] = section.u16() if WIDTHS[identifier] == "!BH" else section.u32()
        return stated


def _unless(default: int, value: int) -> int | None:
    return None if value == default else value
