"""The bytes of a connection to the broker: when they are written."""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from neuroone.mqtt import client
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.packets import PubAck
from neuroone.mqtt.reasons import ConnectionLost, HungUp, NoAnswer
from tests.support.bus_listener import identity
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


def test_the_authority_of_brokers_is_read_once_and_again_when_its_file_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each reading takes the event loop 20 ms; a site whose broker is away would do it at each try."""
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: object())
    file = tmp_path / "ca.crt"
    file.write_text("old")
    first = client._tls_of(file)
    assert client._tls_of(file) is first
    os.utime(file, (1, 1))
    assert client._tls_of(file) is not first
    file.unlink()
    with pytest.raises(FileNotFoundError):
        client._tls_of(file)


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


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1)], ids=["one broker", "two brokers"])
async def test_an_idle_connection_to_one_of_several_brokers_is_probed(
    count: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asyncio.get_running_loop().create_future()
    made = client._Connection.connection_made

    def keep(connection: client._Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        found.set_result(transport)

    monkeypatch.setattr(client._Connection, "connection_made", keep)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = BrokerAddress("127.0.0.1", server.getsockname()[1])
        service = client.AsyncClient([address] * count, identity("doctor"))
        service.start()
        opened = (await found).get_extra_info("socket")
        await happens(lambda: bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == bool(expected))
        await service.close(0)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not say what was confirmed")
def test_a_broker_that_reads_nothing_is_not_cut_off_and_says_what_it_confirmed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(bytes(65536))
        assert not client.is_cut_off(connection)
    assert not client.is_cut_off(connection), "it is closed"


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not say what was confirmed")
@pytest.mark.parametrize(
    ("retransmits", "unacked", "silent_ms", "expected"),
    [(4, 2, 2000, True), (3, 2, 1900, False), (0, 2, 2000, False), (4, 0, 6000, False)],
    ids=["cut off", "not yet", "one ack is late", "it reads nothing: the window is shut"],
)
def test_a_machine_is_cut_off_when_it_confirms_nothing_for_two_seconds(
    retransmits: int, unacked: int, silent_ms: int, expected: bool
) -> None:
    """By the fields of linux/tcp.h."""
    info = bytes((1, 0, retransmits, 0, 0, 0, 0, 0)) + struct.pack("=13I", *[7] * 4, unacked, *[7] * 7, silent_ms)

    class Socket:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            return info[:size]

    assert client.is_cut_off(cast(Any, Socket())) == expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(110, "Connection timed out"), NoAnswer),
        (OSError(113, "No route to host"), NoAnswer),
        (ConnectionResetError(104, "Connection reset by peer"), HungUp),
        (None, HungUp),
    ],
    ids=["nothing confirmed", "no route", "reset", "end"],
)
async def test_the_end_of_a_connection_says_whether_the_broker_was_silent(
    error: OSError | None, kind: type[ConnectionLost]
) -> None:
    connection = client._Connection(lambda packets: None, lambda: None, lambda: True, v5=True)
    connection.connection_lost(error)
    with pytest.raises(kind):
        connection.lost.result()
