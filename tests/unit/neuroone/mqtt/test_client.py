"""The bytes of a connection to the broker: when they are written."""

import asyncio
import socket
from typing import Any, cast

import pytest

from neuroone.mqtt import client
from neuroone.mqtt.packets import PubAck
from tests.support.gateways import happens


class Transport:
    """Keeps each write, and the loop's time of it."""

    def __init__(self) -> None:
        self.writes: list[tuple[float, bytes]] = []

    def write(self, data: bytes) -> None:
        self.writes.append((asyncio.get_running_loop().time(), data))

    def is_closing(self) -> bool:
        return False


async def test_packets_of_a_moment_go_out_in_one_write_and_a_lone_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FLUSH_PERIOD_S", 0.5)  # long enough for a busy machine
    transport = Transport()
    connection = client._Connection(lambda packets: None, lambda: None, lambda: True, v5=True)
    connection.connection_made(cast(Any, transport))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    connection.write(PubAck(1))
    await happens(lambda: len(transport.writes) == 1)
    for packet_id in range(2, 12):
        connection.write(PubAck(packet_id))
        await asyncio.sleep(0)
    await happens(lambda: len(transport.writes) == 2)
    (first_s, first), (second_s, second) = transport.writes
    assert first == PubAck(1).encode(True)
    assert second == b"".join(PubAck(packet_id).encode(True) for packet_id in range(2, 12))
    assert first_s - began_s < client.FLUSH_PERIOD_S <= second_s - first_s + 0.001  # the loop's clock has whole ms


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1883)"), "Connection refused"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1883, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 1883)"
            ),
            "Connection refused",
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (TimeoutError(), "no answer"),
    ],
    ids=["one address", "two addresses", "no such name", "no answer"],
)
def test_why_there_is_no_connection_is_said_in_plain_words(error: OSError, words: str) -> None:
    """asyncio names the address as Python writes it, uvloop does not: the log's line is the same."""
    assert client.words_of(error) == words
