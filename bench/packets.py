"""What encoding and decoding a reading's MQTT packets costs, beside the library mqttium where it is installed.

    python -m bench.packets [ROUNDS]

mqttium is no dependency: `pip install mqttium` into an environment of your own (decision 0005 has figures). CPU us a
packet, the median of rounds in turn: the two meet the same load of the machine.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.mqtt.packets import Decoder, PubAck, Publish
from tests.support.messages import reading

PACKETS = 20_000
READ_BYTES = 65_536
"""What a busy socket gives at once."""

TOPIC = str(topics.reading("local", "ABC123", "Joao_Silva"))
PAYLOAD = encode(reading())


def packets_a_read(packet: bytes) -> bytes:
    return packet * (READ_BYTES // len(packet))


PUBLISHES = packets_a_read(Publish(TOPIC, PAYLOAD, packet_id=7).encode(True))
PUBACKS = packets_a_read(PubAck(7).encode(True))


def ours() -> dict[str, Callable[[], int]]:
    def encode_all() -> int:
        for packet_id in range(1, PACKETS + 1):
            Publish(TOPIC, PAYLOAD, packet_id=packet_id).encode(True)
        return PACKETS

    def decode(read: bytes) -> int:
        decoder, packets = Decoder(v5=True), 0
        while packets < PACKETS:
            packets += len(decoder.feed(read))
        return packets

    return {
        "encode PUBLISH": encode_all,
        "decode PUBLISH": lambda: decode(PUBLISHES),
        "decode PUBACK": lambda: decode(PUBACKS),
    }


def mqttium() -> dict[str, Callable[[], int]]:
    """The functions that its engine calls for each packet, not the slower classes of its packets."""
    from mqttium.codec import IncrementalDecoder
    from mqttium.enums import QoS
    from mqttium.packets._ack import decode_puback_v5
    from mqttium.packets._publish import decode_publish_fields_v5, encode_publish_item_v5

    qos = QoS.AT_LEAST_ONCE

    def encode_all() -> int:
        for packet_id in range(1, PACKETS + 1):
            encode_publish_item_v5(TOPIC, PAYLOAD, qos=qos, retain=False, dup=False, mid=packet_id, properties=None)
        return PACKETS

    def decode(read: bytes, decode_one: Callable) -> int:
        decoder, packets = IncrementalDecoder(), 0
        while packets < PACKETS:
            decoder.feed(read)
            while (raw := decoder.next_packet()) is not None:
                decode_one(raw)
                packets += 1
        return packets

    return {
        "encode PUBLISH": encode_all,
        "decode PUBLISH": lambda: decode(PUBLISHES, lambda raw: decode_publish_fields_v5(raw, qos)),
        "decode PUBACK": lambda: decode(PUBACKS, lambda raw: decode_puback_v5(raw.remaining)),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    peers = {"packets.py": ours()}
    with contextlib.suppress(ImportError):
        peers["mqttium"] = mqttium()
    costs: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for peer, works in peers.items():
            for name, work in works.items():
                began_s = time.process_time()
                packets = work()
                costs.setdefault((name, peer), []).append((time.process_time() - began_s) / packets * 1e6)
    for (name, peer), values in sorted(costs.items()):
        print(f"{name:16}{peer:12}{statistics.median(values):6.2f} us ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
