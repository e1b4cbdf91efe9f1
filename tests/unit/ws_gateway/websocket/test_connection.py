"""Connections on real sockets, in the loop of the test."""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Response

from tests.support.connections import CLOSE, HANDSHAKE, PING, TEXT, FakeServer, frame, listening_server, open_raw
from tests.support.gateways import happens
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.websocket import connection as edge
from ws_gateway.websocket import paced_reading

PING_FRAME = frame(PING, bytes(125))
SEND_BUFFER_BYTES = 128 * 1024


@pytest_asyncio.fixture
async def listening() -> AsyncIterator[tuple[FakeServer, int]]:
    """A fake server that listens, and its port."""
    async with listening_server() as listening:
        yield listening


async def test_messages_arrive_whole(listening):
    """Text, binary, and in fragments with a ping among them."""
    server, port = listening
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await client.send("text")
        await client.send(b"binary")
        await client.send(iter(["in ", "", "three ", "pieces"]))
        await client.ping()
        await happens(lambda: server.messages == [b"text", b"binary", b"in three pieces"])


async def test_messages_sent_in_one_turn_arrive_in_order(listening):
    server, port = listening
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await happens(lambda: server.has_client)
        for number in range(5):
            server.connection.send(f"é{number}")
        assert [await client.recv() for _ in range(5)] == [f"é{number}" for number in range(5)]


@pytest.mark.parametrize(("offered", "agreed"), [([SUBPROTOCOL, "x"], SUBPROTOCOL), (["x"], None), (None, None)])
async def test_only_clients_that_offer_the_new_dialect_get_it(listening, offered, agreed):
    _, port = listening
    async with connect(f"ws://127.0.0.1:{port}", subprotocols=offered) as client:
        assert client.subprotocol == agreed


async def test_a_refused_handshake_is_told_to_the_server(listening):
    server, port = listening
    reader, writer = await open_raw(port, b"")
    writer.write(HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X"))
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert (server.bad_handshakes, server.has_client) == ([400], False)


async def test_a_message_that_is_too_long_ends_the_connection(listening):
    """In fragments, too."""
    server, port = listening
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await client.send(iter(["x" * 600, "y" * 600]))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == CloseCode.MESSAGE_TOO_BIG
    assert server.messages == []


async def test_a_connection_without_a_request_is_closed(listening, monkeypatch):
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 0.1)
    server, port = listening
    reader, writer = await open_raw(port, b"")
    writer.write(b"GET / HT")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    await happens(lambda: server.closes == 1)
    writer.close()


async def test_a_client_that_answers_no_ping_is_closed(listening, monkeypatch):
    """One that answers stays."""
    monkeypatch.setattr(edge, "PING_PERIOD_S", 0.1)
    server, port = listening
    async with connect(f"ws://127.0.0.1:{port}") as client:
        reader, writer = await open_raw(port)
        silent = server.connection
        assert (await reader.read()).startswith(b"\x89\x00\x88")  # a ping, and then a close frame
        writer.close()
        await happens(lambda: server.closes == 1)
        assert not silent.is_open
        await client.send("still here")
        await happens(lambda: server.messages == [b"still here"])


async def test_a_client_that_takes_nothing_is_not_read(listening, monkeypatch):
    """A flood of pings is no way to fill our memory with pongs."""
    monkeypatch.setattr(paced_reading, "MESSAGES_BURST", 1e9)  # only its not taking anything slows it down
    monkeypatch.setattr(edge, "PING_PERIOD_S", 600)  # a busy machine takes long, and this client answers no ping
    server, port = listening
    reader, writer = await open_raw(port)
    for transport in (writer.transport, server.connection.transport):  # the system would buffer megabytes of pongs
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    flood = 0

    def is_read_no_more() -> bool:
        nonlocal flood
        if writer.transport.get_write_buffer_size() < 1_000_000:
            writer.write(PING_FRAME * 2000)
            flood += 2000
        return not server.connection.has_room and not server.connection.transport.is_reading()

    await happens(is_read_no_more)
    assert server.connection.transport.get_write_buffer_size() < 1_000_000
    await reader.readexactly(127 * flood)
    await happens(lambda: server.connection.has_room and server.connection.transport.is_reading())
    assert server.resumes
    writer.close()


async def test_a_connection_above_its_rate_rests(listening, monkeypatch):
    """Nothing is read of it meanwhile, what was read already waits, and nothing is lost."""
    monkeypatch.setattr(paced_reading, "MESSAGES_BURST", 2.0)
    server, port = listening
    _, writer = await open_raw(port)
    await happens(lambda: server.has_client)
    writer.write(b"".join(frame(TEXT, b"%d" % number) for number in range(300)))
    await happens(lambda: server.messages)
    assert 1 < len(server.messages) < 300
    assert not server.connection.transport.is_reading()
    await happens(lambda: server.messages == [b"%d" % number for number in range(300)])
    await happens(server.connection.transport.is_reading)
    writer.close()


async def test_a_body_after_a_request_ends_the_connection(listening, caplog):
    server, port = listening
    server.page = lambda: server.connection.text_response(HTTPStatus.OK, "")
    reader, writer = await open_raw(port, b"")
    writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\na=b&c=d&e")
    await reader.read()
    writer.close()
    await happens(lambda: server.closes == 1)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_close_has_code_and_reason_and_ends_in_time(listening, monkeypatch):
    """Also for a client that sends on instead of closing; its messages are dropped."""
    monkeypatch.setattr(edge, "CLOSE_TIMEOUT_S", 0.2)
    server, port = listening
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await happens(lambda: server.has_client)
        server.connection.close(4001, "elsewhere")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "elsewhere")
    _, writer = await open_raw(port)
    server.connection.close(4001)
    while server.closes < 2:
        writer.write(PING_FRAME + b"\x81\x81" + bytes(4) + b"x")
        await asyncio.sleep(0.01)
    assert server.messages == []
    writer.close()


async def test_a_client_that_says_goodbye_is_gone_at_once(listening):
    """Its next connection may come before this one has ended: it is the same student then, not a second one."""
    server, port = listening
    _, writer = await open_raw(port)
    writer.write(frame(TEXT, b"hello") + frame(CLOSE, b"\x03\xe8"))
    await happens(lambda: server.messages == [b"hello"] and not server.has_client)
    assert server.closes == 0
    writer.close()


async def test_a_fault_in_an_answer_is_status_500(listening, caplog):

    async def fail() -> Response:
        raise ZeroDivisionError

    server, port = listening
    server.page = fail
    reader, writer = await open_raw(port, b"")
    writer.write(b"GET /recordings/x HTTP/1.1\r\nHost: test\r\n\r\n")
    assert b" 500 " in await reader.readline()
    assert "ZeroDivisionError" in caplog.text
    writer.close()


async def test_an_answer_may_take_longer_than_a_request(listening, monkeypatch):
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 0.05)
    server, port = listening

    async def load() -> Response:
        await asyncio.sleep(0.2)  # longer than OPEN_TIMEOUT_S: the point of the test
        response: Response = server.connection.text_response(HTTPStatus.OK, "at last")
        return response

    server.page = load
    reader, writer = await open_raw(port, b"")
    writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (await reader.read()).endswith(b"at last")
    writer.close()


@pytest.mark.parametrize("is_abrupt", [False, True])
async def test_a_connection_leaves_nothing_for_the_garbage_collector(listening, is_abrupt):
    server, port = listening
    gc.disable()
    try:
        reader, writer = await open_raw(port)
        protocol = server.protocol
        assert protocol() is not None
        if is_abrupt:
            writer.transport.abort()
        else:
            writer.write(b"\x88\x80" + bytes(4))
            await reader.read()
            writer.close()
        await happens(lambda: server.closes == 1 and protocol() is None)
    finally:
        gc.enable()


GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
AFTER = {"a second request": GET, "an empty line": b"\r\n", "a body": b"a=b&c=d&e", "a frame": frame(TEXT, b"x")}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("is_slow", [False, True])
async def test_bytes_behind_a_request_do_not_take_its_answer_away(listening, after, is_slow):
    """Also those that come while the answer is made; the header Connection says that only one request is answered."""
    server, port = listening
    may_answer = asyncio.Event()

    async def load() -> Response:
        await may_answer.wait()
        response: Response = server.connection.text_response(HTTPStatus.OK, "at last")
        return response

    server.page = load if is_slow else lambda: server.connection.text_response(HTTPStatus.OK, "at last")
    reader, writer = await open_raw(port, b"")
    writer.write(GET + AFTER[after])
    if is_slow:
        await happens(lambda: server.requests == 1)
        writer.write(AFTER[after] * 1000)
        await writer.drain()
        may_answer.set()
    answer = await reader.read()
    assert (answer.count(b"HTTP/1.1 200"), answer.endswith(b"at last")) == (1, True)
    assert (server.requests, server.messages) == (1, [])
    writer.close()


async def test_messages_that_come_with_the_handshake_arrive(listening):
    server, port = listening
    _, writer = await open_raw(port, HANDSHAKE + frame(TEXT, b"a") + frame(TEXT, b"b"))
    await happens(lambda: server.messages == [b"a", b"b"])
    writer.close()


async def test_an_empty_line_before_a_request_is_ignored(listening):
    """Some clients end a request with one too many."""
    server, port = listening
    server.page = lambda: server.connection.text_response(HTTPStatus.OK, "")
    reader, writer = await open_raw(port, b"")
    writer.write(b"\r\n" + GET)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "refused",
    [
        b"HEAD / HTTP/1.1\r\nno colon\r\n\r\n",
        b"HEAD / HTTP/3.0\r\n\r\n",
        b"HEAD /" + b"x" * 9000,
        b"HEAD / HTTP/1.1\r\nCookie: " + b"x" * 9000,
        HANDSHAKE.replace(b"GET", b"HEAD"),
    ],
)
async def test_no_answer_to_head_has_a_body(listening, refused):
    _, port = listening
    reader, writer = await open_raw(port, b"")
    writer.write(refused)
    head, body = (await reader.read()).split(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: 0" not in head
    writer.close()


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), OSError("shorter"), OSError(5, "I/O error")])
async def test_a_file_that_fails_during_its_download_ends_the_connection(listening, caplog, error):
    """The client notices that the end is missing; the log has a line and no traceback."""

    def pieces() -> Iterator[bytes]:
        yield b"begin"
        raise error

    async def load() -> Response:
        return edge.StreamedResponse(200, "OK", Headers({"Content-Length": "9"}), pieces=pieces())

    server, port = listening
    server.page = load
    reader, writer = await open_raw(port, b"")
    writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert len((await reader.read()).partition(b"\r\n\r\n")[2]) < 9
    await happens(lambda: server.closes == 1)
    writer.close()
    assert "a download ended early" in caplog.text
    assert "Traceback" not in caplog.text
