"""Strategies that make any valid MQTT packet."""

from hypothesis import strategies as st

from neuroone.mqtt.packets import (
    ConnAck,
    Connect,
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

TOPICS = st.text(st.characters(exclude_characters="\0+#", codec="utf-8"), min_size=1, max_size=20)
PUBLISHES = st.builds(
    lambda topic, payload, retained, packet_id, duplicate: Publish(
        topic, payload, retained, packet_id, duplicate and packet_id > 0
    ),
    TOPICS,
    st.binary(max_size=300),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.booleans(),
)


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
IDS = st.integers(1, 0xFFFF)
QOS = st.integers(0, 1)
CONNECTS = st.builds(
    Connect,
    client_id=TEXTS,
    keep_alive_s=st.integers(0, 0xFFFF),
    clean_start=st.booleans(),
    session_expiry_s=st.integers(0, 0xFFFFFFFF),
    receive_maximum=IDS,
    packet_max_bytes=st.integers(1, 0xFFFFFFFF),
    will=st.none() | st.builds(Will, TOPICS, st.binary(max_size=300), QOS, st.booleans()),
    user=st.none() | TEXTS,
    password=st.none() | TEXTS,
)
CONNACKS = st.builds(
    ConnAck,
    st.just(0),
    session_present=st.booleans(),
    receive_maximum=IDS,
    maximum_qos=st.integers(0, 2),
    retain_available=st.booleans(),
    packet_max_bytes=st.none() | st.integers(1, 0xFFFFFFFF),
    keep_alive_s=st.none() | st.integers(0, 0xFFFF),
    session_expiry_s=st.none() | st.integers(0, 0xFFFFFFFF),
    reason_text=TEXTS,
)
FROM_CLIENT = st.one_of(
    PUBLISHES,
    st.builds(PubAck, IDS, st.sampled_from((0, 0x80, 0x99))),
    st.builds(Subscribe, IDS, st.lists(st.tuples(TEXTS, QOS), min_size=1).map(tuple)),
    st.builds(Unsubscribe, IDS, st.lists(TEXTS, min_size=1).map(tuple)),
    st.just(PingReq()),
    st.builds(Disconnect, st.sampled_from((0, 0x81, 0x82))),
)
FROM_BROKER = st.one_of(
    PUBLISHES,
    CONNACKS,
    st.builds(PubAck, IDS, st.sampled_from((0, 0x10, 0x97))),
    st.builds(SubAck, IDS, st.lists(st.sampled_from((0, 1, 2, 0x80, 0x87)), min_size=1).map(tuple)),
    st.builds(UnsubAck, IDS, st.lists(st.sampled_from((0, 0x11, 0x87)), min_size=1).map(tuple)),
    st.just(PingResp()),
    st.builds(Disconnect, st.sampled_from((0, 0x8E)), TEXTS),
)
PLAIN_V311 = st.one_of(
    PUBLISHES,
    st.builds(ConnAck, st.integers(1, 5)),
    st.builds(ConnAck, st.just(0), st.booleans()),
    st.builds(PubAck, IDS),
    st.builds(SubAck, IDS, st.lists(st.sampled_from((0, 1, 2, 0x80)), min_size=1).map(tuple)),
    st.builds(UnsubAck, IDS),
    st.just(PingResp()),
)
