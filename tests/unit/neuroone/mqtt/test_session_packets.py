"""A session that gets any sequence of well-formed packets."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.packets import BadPacket, ConnAck, Publish
from neuroone.mqtt.presence import Replaced
from neuroone.mqtt.reasons import ConnectionLost
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.session import Sent, Session
from tests.support.messages import GOLDEN, reading
from tests.support.packet_strategies import FROM_BROKER

ME = Identity("local", "csv_recorder", "main", "0.1.0", epoch=1000, run="0123456789abcdef")
READING = topics.reading("local", "ABC123", "Joao_Silva")
OWN = [
    str(topics.service_state("local", "csv_recorder", "main")),
    str(topics.health("local", "csv_recorder", "main")),
    str(topics.recorded("local", "main")),
]
PAYLOADS = st.binary(max_size=20) | st.sampled_from([encode(message) for message in GOLDEN.values()])
STEPS = st.one_of(
    FROM_BROKER,
    st.builds(Publish, st.sampled_from(OWN), PAYLOADS, st.booleans(), st.integers(0, 3)),
    st.sampled_from(["publish", "tick", "pause"]),
    st.just(ConnAck(0, receive_maximum=2)),
)


@given(st.lists(st.tuples(st.booleans(), st.lists(STEPS, max_size=12)), max_size=5), st.booleans())
def test_no_sequence_of_packets_raises_anything_but_the_end_of_the_connection(connections, durable):
    now_s, seq = 0.0, 0
    session = Session(
        BrokerAddresses.parse("mqtt://a,mqtt://b"),
        ME,
        wall_clock=lambda: 0.0,
        subscriptions={"a/#": 1},
        durable=durable,
        replay=ReplayBuffer(lambda: now_s),
    )
    for is_accepted, steps in connections:
        sent: list[Sent] = []
        session.open(sent.append, lambda: True, now_s)
        try:
            for step in [*([ConnAck(0)] if is_accepted else []), *steps]:
                now_s += 0.3
                if step == "publish":
                    session.publications.publish(READING, reading(seq=seq))
                    seq += 1
                elif isinstance(step, str):
                    session.tick(now_s, is_paused=step == "pause")
                else:
                    session.receive([step], now_s)
        except (ConnectionLost, BadPacket) as fault:
            session.lost(fault)
        except Replaced:
            return
        else:
            session.lost(ConnectionLost("the test ends it"))
        assert not session.is_connected
        assert session.publications.outbox.gauges()["outbox_bytes"] >= 0
        assert all(packet.encode(v5) for packet in sent for v5 in (True, False))
    with contextlib.suppress(ConnectionLost):
        session.tick(now_s)
