"""MQTT packets as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.mqtt import packets
from neuroone.mqtt.packets import BadPacket, ConnAck, Decoder, Disconnect, PubAck, Publish


@given(
    v5=st.booleans(),
    messages=st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=300), st.integers(0, 1), st.booleans())),
    cut=st.integers(1, 50),
)
def test_what_is_encoded_is_decoded_however_it_is_cut(v5, messages, cut):
    """A PUBLISH survives its way, in pieces of any size."""
    sent = b"".join(
        packets.publish(topic, payload, v5=v5, qos=qos, retain=retain, packet_id=7)
        for topic, payload, qos, retain in messages
    )
    decoder = Decoder(v5=v5)
    received = [packet for at in range(0, len(sent), cut) for packet in decoder.feed(sent[at : at + cut])]
    assert received == [Publish(topic, payload, retain, 7 * qos) for topic, payload, qos, retain in messages]


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_packets_or_bad(received, v5):
    """Bytes of a broken broker raise BadPacket and nothing else."""
    try:
        Decoder(v5=v5).feed(received)
    except BadPacket:
        pass


def test_a_connack_of_mqtt_5_says_what_the_broker_takes():
    """The receive maximum is found among the other properties."""
    answer = bytes.fromhex("20 0c 00 00 09 22 00 0a 13 00 14 21 01 f4")
    assert Decoder(v5=True).feed(answer) == [ConnAck(0, 500)]


def test_a_connack_without_properties():
    """A broker that speaks 3.1.1 only answers a CONNECT of 5 in its own words."""
    assert Decoder(v5=True).feed(bytes.fromhex("20 02 00 01")) == [ConnAck(1, 65535)]


def test_acks_and_goodbyes():
    """PUBACK with and without a reason, DISCONNECT, and packets that say nothing new."""
    received = bytes.fromhex("40 02 00 07  40 03 00 08 10  d0 00  90 04 00 01 00 01  e0 02 8e 00")
    assert Decoder(v5=True).feed(received) == [PubAck(7), PubAck(8, 0x10), Disconnect(0x8E)]


def test_a_connect_has_will_and_login():
    """CONNECT of 3.1.1, byte by byte."""
    packet = packets.connect(
        v5=False,
        client_id="c",
        keepalive_s=20,
        receive_maximum=500,
        session_expiry_s=0,
        will_topic="t",
        will_payload=b"w",
        user="u",
        password="p",
    )
    assert packet == bytes.fromhex("10 19 0004 4d515454 04 ee 0014 0001 63 0001 74 0001 77 0001 75 0001 70")


def test_a_packet_that_is_too_long_is_refused():
    """No broker makes the gateway wait for a megabyte."""
    with pytest.raises(BadPacket):
        Decoder(v5=True).feed(bytes.fromhex("30 ff ff ff 7f"))
