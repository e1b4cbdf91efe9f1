"""MQTT packets as bytes."""

import contextlib
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract.json import PAYLOAD_MAX_BYTES
from neuroone.mqtt.packet_fields import encode_varint
from neuroone.mqtt.packets import (
    NO_LOCAL,
    PACKET_MAX_BYTES,
    PACKET_MAX_BYTES_V311,
    BadPacket,
    ConnAck,
    Connect,
    Decoder,
    Disconnect,
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
from tests.support import broker_packets
from tests.support.broker_packets import ClientDecoder
from tests.support.packet_strategies import CONNECTS, FROM_BROKER, FROM_CLIENT, PLAIN_V311


def in_pieces(encoded, cut):
    return [encoded[at : at + cut] for at in range(0, len(encoded), cut)]


@given(
    st.tuples(st.just(True), st.lists(FROM_BROKER)) | st.tuples(st.just(False), st.lists(PLAIN_V311)),
    st.integers(1, 50),
)
def test_decoding_is_the_inverse_of_encoding_however_the_bytes_are_cut(case, cut):
    v5, sent = case
    decoder = Decoder(v5=v5)
    encoded = b"".join(broker_packets.encode(packet, v5) for packet in sent)
    assert [packet for piece in in_pieces(encoded, cut) for packet in decoder.feed(piece)] == sent


@given(CONNECTS, st.lists(FROM_CLIENT), st.integers(1, 50))
def test_a_broker_reads_what_a_client_sends_in_mqtt_5(connect, packets, cut):
    decoder = ClientDecoder()
    encoded = b"".join(packet.encode(True) for packet in (connect, *packets))
    assert [packet for piece in in_pieces(encoded, cut) for packet in decoder.feed(piece)] == [connect, *packets]


@given(CONNECTS, st.lists(FROM_CLIENT))
def test_a_broker_reads_what_a_client_sends_in_mqtt_3_1_1(connect, packets):
    received = ClientDecoder().feed(b"".join(packet.encode(False) for packet in (connect, *packets)))
    stated_in_v5 = {"session_expiry_s": 0, "receive_maximum": 65535, "packet_max_bytes": PACKET_MAX_BYTES}
    plain = [
        msgspec.structs.replace(packet, reason=0) if isinstance(packet, PubAck | Disconnect) else packet
        for packet in packets
    ]
    assert received == [msgspec.structs.replace(connect, **stated_in_v5), *plain]


def test_a_connack_of_mqtt_5_states_the_brokers_limits():
    answer = bytes.fromhex(
        "20 29 01 00 26  21 01f4  22 000a  13 0004  24 00  25 00  27 000003e8  11 0000000a"
        "12 0001 61  1f 0002 6869  28 01 29 01 2a 01"
    )
    assert Decoder(v5=True).feed(answer) == [
        ConnAck(
            0,
            session_present=True,
            receive_maximum=500,
            maximum_qos=0,
            retain_available=False,
            packet_max_bytes=1000,
            keep_alive_s=4,
            session_expiry_s=10,
            reason_text="hi",
        )
    ]


def test_a_connack_that_states_nothing_leaves_everything_to_the_client():
    assert Decoder(v5=True).feed(bytes.fromhex("20 03 00 00 00")) == [ConnAck(0)]
    assert ConnAck(0).receive_maximum == 65535
    assert ConnAck(0).maximum_qos == 2
    assert ConnAck(0).retain_available


def test_a_broker_of_3_1_1_refuses_mqtt_5_in_its_own_form():
    assert Decoder(v5=True).feed(bytes.fromhex("20 02 00 01")) == [ConnAck(1)]


def test_acks_pings_and_disconnect():
    received = bytes.fromhex(
        "40 02 0007  40 03 0008 10  40 07 0009 97 03 1f0000  d000  90 05 0001 00 01 80  b0 05 0002 00 00 11"
        "e000  e0 01 8e  e0 07 98 05 1f 0002 6279"
    )
    assert Decoder(v5=True).feed(received) == [
        PubAck(7),
        PubAck(8, 0x10),
        PubAck(9, 0x97),
        PingResp(),
        SubAck(1, (1, 0x80)),
        UnsubAck(2, (0, 0x11)),
        Disconnect(),
        Disconnect(0x8E),
        Disconnect(0x98, "by"),
    ]


def test_acks_of_mqtt_3_1_1():
    received = bytes.fromhex("20 02 01 00  40 02 0007  90 04 0001 02 80  b0 02 0002")
    assert Decoder(v5=False).feed(received) == [ConnAck(0, True), PubAck(7), SubAck(1, (2, 0x80)), UnsubAck(2)]


def test_properties_of_a_message_are_skipped():
    properties = bytes.fromhex("01 01  02 00000001  03 0001 61  08 0001 62  09 0001 00  0b 01 0b 8001  26 0001 63 0000")
    body = bytes.fromhex("0001 74") + bytes((len(properties),)) + properties + b"payload"
    assert Decoder(v5=True).feed(bytes((0x30, len(body))) + body) == [Publish("t", b"payload")]


def test_a_connect_of_3_1_1_has_will_and_login():
    packet = Connect(client_id="c", keep_alive_s=20, will=Will("t", b"w"), user="u", password="p").encode(False)
    assert packet == bytes.fromhex("10 19 0004 4d515454 04 ee 0014 0001 63 0001 74 0001 77 0001 75 0001 70")


def test_a_connect_of_mqtt_5_states_our_limits():
    packet = Connect(
        client_id="c",
        keep_alive_s=20,
        clean_start=False,
        session_expiry_s=7,
        receive_maximum=500,
        packet_max_bytes=70000,
        will=Will("t", b"w", qos=0, retain=False),
    ).encode(True)
    assert packet == bytes.fromhex(
        "10 22 0004 4d515454 05 04 0014 0d 11 00000007 21 01f4 27 00011170 0001 63 00 0001 74 0001 77"
    )


def test_subscribe_and_its_opposite():
    assert Subscribe(1, (("a/#", 1), ("b", 0))).encode(True) == bytes.fromhex("82 0d 0001 00 0003 612f23 01 0001 62 00")
    assert Subscribe(1, (("b", 1),)).encode(False) == bytes.fromhex("82 06 0001 0001 62 01")
    assert Subscribe(1, (("b", NO_LOCAL | 1),)).encode(True) == bytes.fromhex("82 07 0001 00 0001 62 05")
    assert Subscribe(1, (("b", NO_LOCAL | 1),)).encode(False) == bytes.fromhex("82 06 0001 0001 62 01")
    assert Unsubscribe(2, ("a", "b")).encode(True) == bytes.fromhex("a2 09 0002 00 0001 61 0001 62")
    assert Unsubscribe(2, ("a",)).encode(False) == bytes.fromhex("a2 05 0002 0001 61")


def test_short_packets():
    assert PingReq().encode(True) == bytes.fromhex("c000")
    assert Disconnect().encode(True) == Disconnect().encode(False) == bytes.fromhex("e000")
    assert Disconnect(0x82).encode(True) == bytes.fromhex("e001 82")
    assert PubAck(7).encode(True) == bytes.fromhex("4002 0007")
    assert PubAck(7, 0x99).encode(True) == bytes.fromhex("4003 0007 99")


@pytest.mark.parametrize(("text", "fault"), [("a\0b", r"U\+0000"), ("a" * 65536, "65535 bytes")])
def test_a_text_that_mqtt_cannot_carry_is_refused_in_words(text, fault):
    with pytest.raises(ValueError, match=fault):
        Connect(client_id=text, keep_alive_s=20).encode(True)


MALFORMED_IN_BOTH = {
    "type 0": "00 00",
    "a packet that only a client sends: CONNECT": "10 00",
    "SUBSCRIBE": "82 00",
    "UNSUBSCRIBE": "a2 00",
    "PINGREQ": "c0 00",
    "AUTH": "f0 00",
    "QoS 2 acks: PUBREC": "50 02 0001",
    "PUBREL": "62 02 0001",
    "PUBCOMP": "70 02 0001",
    "flags of CONNACK": "21 02 0000",
    "flags of PUBACK": "42 02 0001",
    "flags of PINGRESP": "d1 00",
    "flags of SUBACK": "92 03 0001 00",
    "a length with more bytes than it needs": "d0 80 00",
    "a length of five bytes": "30 80 80 80 80 01",
    "an empty PUBACK": "40 00",
    "a PUBACK of one byte, with the next packet behind it": "40 01 00 40 02 00 07",
    "PUBACK with packet identifier 0": "40 02 0000",
    "PINGRESP with a body": "d0 01 00",
    "an empty CONNACK": "20 00",
    "a CONNACK of one byte": "20 01 00",
    "CONNACK with reserved flags": "20 03 02 00 00",
    "an empty PUBLISH": "30 00",
    "PUBLISH that ends within the length of its topic": "30 01 00",
    "PUBLISH that ends within its topic": "30 04 0003 6161",
    "PUBLISH that ends within its packet identifier": "32 04 0001 61 00",
    "PUBLISH with packet identifier 0": "32 06 0001 61 0000 00",
    "PUBLISH of QoS 2": "34 06 0001 61 0001 00",
    "PUBLISH of QoS 3": "36 06 0001 61 0001 00",
    "a duplicate of QoS 0": "38 04 0001 61 00",
    "topic without a character": "30 03 0000 00",
    "topic with #": "30 04 0001 23 00",
    "topic with +": "30 06 0003 612f2b 00",
    "topic with U+0000": "30 04 0001 00 00",
    "topic that is not UTF-8": "30 04 0001 ff 00",
    "topic with a surrogate": "30 06 0003 eda080 00",
    "topic with an overlong form": "30 05 0002 c080 00",
    "an empty SUBACK": "90 00",
    "an empty UNSUBACK": "b0 00",
    "UNSUBACK with packet identifier 0": "b0 04 0000 00 00",
}
MALFORMED_IN_V5 = {
    "CONNACK without properties": "20 02 00 00",
    "CONNACK with a reason of 3.1.1 and properties": "20 03 00 01 00",
    "CONNACK with an unknown reason": "20 03 00 8b 00",
    "CONNACK that refuses and speaks of a session": "20 03 01 87 00",
    "CONNACK with bytes behind its properties": "20 04 00 00 00 00",
    "properties longer than the packet": "20 03 00 00 05",
    "length of properties with more bytes than it needs": "20 04 00 00 80 00",
    "unknown property": "20 05 00 00 02 7f 00",
    "property of another packet": "20 05 00 00 02 01 00",
    "property cut short": "20 05 00 00 02 21 00",
    "Receive Maximum 0": "20 06 00 00 03 21 0000",
    "Maximum Packet Size 0": "20 08 00 00 05 27 00000000",
    "Maximum QoS 2": "20 05 00 00 02 24 02",
    "Retain Available 2": "20 05 00 00 02 25 02",
    "Wildcard Subscription Available 255": "20 05 00 00 02 28 ff",
    "Server Keep Alive twice": "20 09 00 00 06 13 0004 13 0004",
    "Reason String that is not UTF-8": "20 07 00 00 04 1f 0001 ff",
    "User Property with U+0000": "20 09 00 00 06 26 0001 00 0000",
    "Authentication Method that we never named": "20 07 00 00 04 15 0001 61",
    "PUBACK with an unknown reason": "40 03 0001 01",
    "PUBACK with properties cut short": "40 04 0001 00 01",
    "PUBACK with bytes behind its properties": "40 05 0001 00 00 00",
    "PUBLISH without properties": "30 03 0001 61",
    "topic alias": "30 07 0001 61 03 23 0001",
    "topic alias instead of a topic": "30 06 0000 03 23 0001",
    "Payload Format Indicator 2": "30 06 0001 61 02 01 02",
    "Content Type twice": "30 0c 0001 61 08 03 0001 61 03 0001 61",
    "Response Topic with a wildcard": "30 08 0001 61 04 08 0001 23",
    "Subscription Identifier 0": "30 06 0001 61 02 0b 00",
    "SUBACK without a reason": "90 03 0001 00",
    "SUBACK with an unknown reason": "90 04 0001 00 03",
    "SUBACK with packet identifier 0": "90 04 0000 00 00",
    "UNSUBACK without a reason": "b0 03 0001 00",
    "UNSUBACK with an unknown reason": "b0 04 0001 00 01",
    "flags of DISCONNECT": "e1 00",
    "DISCONNECT with a client's reason": "e0 01 04",
    "DISCONNECT with Session Expiry Interval": "e0 07 00 05 11 00000000",
    "DISCONNECT with an unknown reason": "e0 01 01",
}
MALFORMED_IN_V311 = {
    "CONNACK with properties": "20 03 00 00 00",
    "CONNACK with an unknown reason": "20 02 00 06",
    "CONNACK that refuses and speaks of a session": "20 02 01 05",
    "PUBACK with a reason": "40 03 0001 00",
    "SUBACK without a reason": "90 02 0001",
    "SUBACK with a reason of MQTT 5": "90 03 0001 87",
    "UNSUBACK with a reason": "b0 03 0001 00",
    "DISCONNECT": "e0 00",
}
MALFORMED = [
    *((True, *each) for each in (MALFORMED_IN_BOTH | MALFORMED_IN_V5).items()),
    *((False, *each) for each in (MALFORMED_IN_BOTH | MALFORMED_IN_V311).items()),
]


@pytest.mark.parametrize(
    ("v5", "packet"), [pytest.param(v5, packet, id=f"{5 if v5 else 311}-{fault}") for v5, fault, packet in MALFORMED]
)
def test_a_malformed_packet_is_refused_in_words(v5, packet):
    with pytest.raises(BadPacket, match=r"^the broker sent a "):
        Decoder(v5=v5).feed(bytes.fromhex(packet))


def feed(received: bytes, v5: bool, cut: int) -> None:
    """Decode the bytes in pieces of this size, until a packet is bad."""
    decoder = Decoder(v5=v5)
    with contextlib.suppress(BadPacket):
        for at in range(0, len(received), cut):
            decoder.feed(received[at : at + cut])


@given(st.binary(max_size=100), st.booleans(), st.integers(1, 100))
def test_any_bytes_are_packets_or_bad(received, v5, cut):
    feed(received, v5, cut)


WELL_FORMED = [
    "20 06 01 00 03 21 01f4",
    "20 07 00 00 04 1f 0001 61",
    "40 02 0007",
    "40 07 0009 97 03 1f0000",
    "90 05 0001 00 01 80",
    "b0 05 0002 00 00 11",
    "d0 00",
    "e0 07 98 05 1f 0002 6279",
    "3a 10 0003 612f62 0005 07 26 0001 61 0001 62 00",
    "31 05 0001 61 00 00",
]


@given(
    st.lists(st.sampled_from(WELL_FORMED).map(bytes.fromhex), min_size=1, max_size=4).map(b"".join),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3),
    st.booleans(),
    st.integers(1, 60),
)
def test_packets_with_changed_bytes_are_packets_or_bad(valid, changes, v5, cut):
    changed = bytearray(valid)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    feed(bytes(changed), v5, cut)


@pytest.mark.parametrize("v5", [True, False])
def test_a_packet_longer_than_we_accept_is_refused_at_its_length(v5):
    with pytest.raises(BadPacket, match="bytes; we accept"):
        Decoder(v5=v5).feed(bytes.fromhex("30 ff ff ff 7f"))


def test_the_longest_payload_of_the_contract_fits():
    largest = Publish("t" * 1000, bytes(PAYLOAD_MAX_BYTES), packet_id=1)
    encoded = largest.encode(True)
    assert len(encoded) <= PACKET_MAX_BYTES
    decoder = Decoder(v5=True)
    assert decoder.feed(encoded[:-1]) == []
    assert decoder.feed(encoded[-1:]) == [largest]


@pytest.mark.parametrize("v5", [True, False])
def test_a_decoder_holds_no_more_than_the_longest_packet(v5):
    decoder = Decoder(v5=v5)
    longest = PACKET_MAX_BYTES if v5 else PACKET_MAX_BYTES_V311
    decoder.feed(b"\x30" + encode_varint(longest - 4))
    for _ in range((longest - 4) // 1000):
        assert decoder.feed(bytes(1000)) == []
    assert len(decoder._rest) <= longest
    with pytest.raises(BadPacket, match="its topic is empty"):
        decoder.feed(bytes(1000))


def test_a_decoder_keeps_no_long_topics():
    """Anybody who may publish can fill one with 64 KiB."""
    decoder = Decoder(v5=True)
    tracemalloc.start()
    try:
        for number in range(100):
            decoder.feed(Publish(f"{number}/" + "x" * 60_000, b"").encode(True))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_000_000


def test_a_packet_that_will_be_refused_is_refused_before_its_body_is_there():
    with pytest.raises(BadPacket, match="type 4 with the flags 0x8"):
        Decoder(v5=True).feed(b"HTTP/1.1 400 ")
