"""Connections over TLS on real sockets: the limits of those without hold here too."""

import asyncio
import gc
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.http11 import Response

from neuroone.certificates.files import CertificateFiles
from tests.support.certificates import made_in, trusting
from tests.support.connections import HANDSHAKE, PING, TEXT, FakeServer, Watched, frame, listening_server, open_raw
from tests.support.gateways import happens
from ws_gateway.http import responses
from ws_gateway.websocket import connection as edge
from ws_gateway.websocket import tls
from ws_gateway.websocket.certificate import Certificate
from ws_gateway.websocket.paced_reading import CONTROL_MESSAGES

GET = b"GET /x HTTP/1.1\r\nHost: test\r\n\r\n"
PIECE = bytes(64 * 1024)
HELLO_OF_64_KB = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(16380)
"""The first record of a ClientHello that goes on for 64 KiB."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(files: CertificateFiles) -> Certificate:
    return Certificate(files.server, files.server)


@pytest_asyncio.fixture
async def listening(certificate) -> AsyncIterator[tuple[FakeServer, int]]:
    """A fake server that listens over TLS, and its port."""
    async with listening_server(certificate.context) as listening:
        yield listening


async def open_tls(
    files: CertificateFiles, port: int, request: bytes = HANDSHAKE
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await open_raw(port, request, trust=trusting(files))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_arrive_whole_and_in_order_both_ways(listening, files, version):
    server, port = listening
    trust = trusting(files)
    trust.maximum_version = version
    async with connect(f"wss://127.0.0.1:{port}", ssl=trust) as client:
        for number in range(300):
            await client.send(f"é{number}")
        await happens(lambda: len(server.messages) == 300)
        assert server.messages == [f"é{number}".encode() for number in range(300)]
        for number in range(300):
            server.connection.send(f"{number} " + "x" * 900)
        assert [(await client.recv()).split()[0] for _ in range(300)] == [str(number) for number in range(300)]


@pytest.mark.parametrize("is_paced", [False, True])
@pytest.mark.parametrize("cut_bytes", [1, 7])
async def test_bytes_may_be_cut_anywhere(listening, files, cut_bytes, is_paced, monkeypatch):
    """Also where a handshake waits for its turn."""
    monkeypatch.setattr(tls, "HANDSHAKE_READS_MAX", 10_000)
    server, port = listening
    if is_paced:
        later = asyncio.get_running_loop().call_later
        monkeypatch.setattr(server.turns, "wait", lambda then, owner: later(0.02, then))
        monkeypatch.setattr(Watched, "is_paced", property(lambda self: True, lambda self, given: None), raising=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(files).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")

    async def until_done(step: Callable[[], Any]) -> Any:
        while True:
            is_done = True
            try:
                done = step()
            except ssl.SSLWantReadError:
                is_done = False
            while piece := outgoing.read(cut_bytes):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if is_done:
                return done
            incoming.write(await reader.read(cut_bytes))

    await until_done(client.do_handshake)
    await until_done(lambda: client.write(HANDSHAKE))
    assert b" 101 " in await until_done(lambda: client.read(500))
    for number in range(3):
        await until_done(lambda number=number: client.write(frame(TEXT, b"%d" % number)))  # type: ignore[misc]
    await happens(lambda: server.messages == [b"0", b"1", b"2"])
    writer.transport.abort()


async def test_a_handshake_that_does_not_begin_counts_and_ends(listening, monkeypatch):
    """Whoever opens connections and says nothing takes a place like anybody else, for as long as a request may take."""
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 0.2)
    server, port = listening
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await happens(lambda: server.connects == 1)
    writer.write(b"\x16\x03\x01\x02\x00")  # the head of a record that never comes
    assert await _until_end(reader) == b""
    await happens(lambda: server.closes == 1)
    writer.close()


@pytest.mark.parametrize("sent", ["much", "in many pieces"])
async def test_an_endless_handshake_is_ended(listening, monkeypatch, sent):
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 1000)
    monkeypatch.setattr(tls, "HANDSHAKE_READS_MAX", 10_000 if sent == "much" else 2)
    server, port = listening
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HELLO_OF_64_KB * (4 if sent == "much" else 1))
    assert await _until_end(reader) == b""
    await happens(lambda: server.closes == 1)
    writer.transport.abort()


@pytest.mark.parametrize("other", [b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 5000])
async def test_bytes_that_are_no_tls_end_the_connection_and_are_counted(listening, caplog, other):
    server, port = listening
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(other)
    await _until_end(reader)
    await happens(lambda: server.closes == 1)
    assert server.bad_tls == 1
    assert not caplog.records
    writer.transport.abort()


async def test_a_device_without_trust_is_counted(listening):
    server, port = listening
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())
    await happens(lambda: server.bad_tls == 1)


async def test_plain_http_is_handed_through_and_named_so(listening):
    """The real server leads browsers to https then."""
    server, port = listening
    server.page = lambda: responses.of_text(HTTPStatus.OK, str(server.connection.is_plain_on_tls))
    reader, writer = await open_raw(port, b"")
    for piece in (GET[:3], GET[3:]):
        writer.write(piece)
        await writer.drain()
    assert (await reader.read()).endswith(b"True")
    writer.close()


async def test_tls_on_the_plain_port_is_answered_and_ends(files):
    async with listening_server() as (server, port):
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting(files))
        await happens(lambda: server.closes == 1)


async def test_handshakes_of_who_connects_too_often_take_turns(listening, files):
    server, port = listening
    server.paces_new = True
    server.count_turns()
    _, writer = await open_tls(files, port)
    assert len(server.paced) >= 3  # both steps of the handshake, and the request
    writer.transport.abort()


async def test_little_is_read_at_once_of_a_flood_and_others_are_served(listening, files):
    """What was sent beyond that waits in the operating system."""
    server, port = listening
    reader, writer = await open_tls(files, port)
    flooded = server.connection
    writer.write(frame(PING) * 30_000)
    await reader.readexactly(2)
    assert len(flooded._unread) <= 4096
    assert flooded.transport._incoming.pending <= 4096 + 16 * 1024 + 300
    _, other = await open_tls(files, port)
    other.write(frame(TEXT, b"other"))
    await happens(lambda: b"other" in server.messages)
    server.abort_all()
    for each in (writer, other):
        each.transport.abort()


async def test_what_is_no_whole_record_costs_a_connection_its_rate(listening, files, monkeypatch):
    """A record in pieces of one byte: each costs as much as a piece of a frame without TLS does."""
    _, port = listening
    _, writer = await open_tls(files, port)
    counted: list[bytes] = []

    def count(self: Watched, piece: bytes) -> int:
        counted.append(piece)
        return CONTROL_MESSAGES

    monkeypatch.setattr(Watched, "_on_piece", count)
    for sent in range(20):
        os.write(writer.transport.get_extra_info("socket").fileno(), b"\x17\x03\x03\x40\x00"[sent : sent + 1] or b"x")
        await happens(lambda sent=sent: len(counted) > sent)  # type: ignore[misc]
    assert counted == [b""] * 20
    monkeypatch.undo()
    writer.transport.abort()


def download(pieces: Iterator[bytes]) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return responses.of_pieces("text/plain", pieces, len(PIECE) * 50)

    return answer


async def test_a_download_arrives_whole_and_ends_with_the_end_of_tls(listening, files):
    server, port = listening
    server.page = download(iter([PIECE] * 50))
    reader, writer = await open_tls(files, port, b"")
    writer.write(GET)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == PIECE * 50
    writer.close()


async def test_a_download_that_is_not_read_is_not_loaded(listening, files):
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield PIECE

    server, port = listening
    server.page = download(pieces())
    reader, writer = await open_tls(files, port, b"")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(GET)
    await happens(lambda: taken and server.connection._is_full)
    assert taken < 500  # the buffers of the operating system hold some MB
    server.abort_all()
    writer.transport.abort()
    assert reader is not None


@pytest.mark.parametrize("end", ["in order", "abrupt", "in the handshake"])
async def test_a_connection_leaves_nothing_for_the_garbage_collector(listening, files, end):
    server, port = listening
    gc.disable()
    try:
        if end == "in the handshake":
            _, writer = await open_raw(port, b"")
            writer.write(b"\x16\x03\x01\x02\x00")
            await happens(lambda: server.connects)
        else:
            reader, writer = await open_tls(files, port)
        protocol = server.protocol
        if end == "in order":
            writer.write(b"\x88\x80" + bytes(4))
            await reader.read()
            writer.close()
        else:
            writer.transport.abort()
        await happens(lambda: server.closes == 1 and protocol() is None)
    finally:
        gc.enable()


async def test_new_connections_get_a_renewed_certificate_and_old_ones_stay(tmp_path: Path):
    first, second = made_in(tmp_path / "1"), made_in(tmp_path / "2")
    certificate = Certificate(first.server, first.server)
    async with listening_server(certificate.context) as (server, port):
        _, old = await open_tls(first, port)
        first.server.write_bytes(second.server.read_bytes())
        certificate.refresh()
        _, new = await open_tls(second, port)
        old.write(frame(TEXT, b"old"))
        await happens(lambda: server.messages == [b"old"])
        for each in (old, new):
            each.transport.abort()


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
