"""What a busy or hostile connection may cost the others: nothing."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import pytest
import pytest_asyncio
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Response

from tests.support.connections import (
    CONT,
    MORE,
    PING,
    PONG,
    TEXT,
    FakeServer,
    Watched,
    frame,
    listening_server,
    open_raw,
)
from tests.support.gateways import happens
from tests.support.refusals import LARGE, PARSED, request
from ws_gateway.websocket import connection as edge
from ws_gateway.websocket.connection import StreamedResponse
from ws_gateway.websocket.paced_reading import Turns, share_of_time

FLOODS = {
    "empty pings": frame(PING),
    "full pings": frame(PING, bytes(125)),
    "pongs": frame(PONG),
    "empty fragments": frame(CONT & MORE),
    "empty messages": frame(TEXT),
    "short messages": frame(TEXT, b"x"),
}
FLOOD_FRAMES = 30_000
GET = b"GET /x HTTP/1.1\r\nHost: test\r\n\r\n"
PIECE = bytes(64 * 1024)


@pytest_asyncio.fixture
async def listening() -> AsyncIterator[tuple[FakeServer, int]]:
    """A fake server that listens, and its port."""
    async with listening_server() as listening:
        yield listening


@pytest.mark.parametrize("connections", [1, 20])
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_does_not_hold_up_others(listening, monkeypatch, kind, connections):
    """While little of it was handled, another client is let in and its message arrives."""
    handled = 0

    def count(self: Watched, frame: Frame) -> int:
        nonlocal handled
        handled += 1
        return original(self, frame)

    original = Watched._on_frame
    monkeypatch.setattr(Watched, "_on_frame", count)
    server, port = listening
    floods = [await open_raw(port) for _ in range(connections)]
    for _, writer in floods:
        if "fragments" in kind:
            writer.write(frame(TEXT & MORE))
        writer.write(FLOODS[kind] * FLOOD_FRAMES)
    _, other = await open_raw(port)
    other.write(frame(TEXT, b"other"))
    await happens(lambda: b"other" in server.messages)
    assert handled < 3500 * connections
    server.abort_all()
    for _, writer in (*floods, (None, other)):
        writer.transport.abort()


async def test_little_is_read_at_once_of_a_connection(listening):
    """What a client sent beyond that waits in the operating system, not in our memory."""
    server, port = listening
    reader, writer = await open_raw(port)
    connection = server.connection
    writer.write(frame(PING) * FLOOD_FRAMES)
    await reader.readexactly(2)
    assert len(connection._unread) <= 4096
    server.abort_all()
    writer.transport.abort()


async def test_the_requests_of_who_connects_too_often_take_turns(listening):
    """Others are served before them, and then everything of the client is served at once."""
    server, port = listening
    server.paces_new = True
    server.count_turns()
    _, writer = await open_raw(port)
    assert server.paced == ["127.0.0.1"]
    writer.write(frame(TEXT, b"hello"))
    await happens(lambda: server.messages == [b"hello"])
    assert len(server.paced) == 1
    writer.transport.abort()


async def test_what_costs_much_counts_for_more(listening):
    server, port = listening
    _, writer = await open_raw(port)
    connection = server.connection

    def handle(message: bytes) -> None:
        server.messages.append(message)
        connection.spend(2000)

    server.on_message = handle
    writer.write(b"".join(frame(TEXT, each * 900) for each in (b"a", b"b", b"c")))
    await happens(lambda: len(server.messages) >= 2)
    await happens(lambda: not connection.transport.is_reading())
    assert len(server.messages) == 2
    writer.transport.abort()


@pytest.mark.parametrize("kind", PARSED)
async def test_a_refused_request_is_answered_and_leaves_nothing(listening, monkeypatch, kind):
    """Also a large one; what it left behind would be freed only by the garbage collector."""
    monkeypatch.setattr(edge, "CLOSE_TIMEOUT_S", 0.5)
    server, port = listening
    status, line, headers = PARSED[kind]
    gc.disable()
    try:
        reader, writer = await open_raw(port, b"")
        writer.write(request(line, headers, LARGE))
        answer = await reader.read()
        writer.close()
        await happens(lambda: server.closes == 1 and server.protocol() is None)
    finally:
        gc.enable()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (server.bad_handshakes, server.has_client) == ([status], False)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert b"\r\nAllow: GET" in answer


async def test_the_headers_of_a_browser_fit(listening):
    """With nearly 8 kB of cookies, the most that common servers take."""
    _, port = listening
    good = request("GET / HTTP/1.1", "Cookie: " + "c" * 8000 + "\r\nUser-Agent: " + "u" * 500 + "\r\n")
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    _, writer = await open_raw(port, good[:-2] + upgrade + key)
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", frame(TEXT, b"x")[:3], frame(TEXT & MORE, b"x"), frame(TEXT, b"x")])
@pytest.mark.parametrize("is_read", [True, False])
async def test_a_half_closed_connection_ends(listening, monkeypatch, caplog, sent, is_read):
    """Also one that takes nothing any more, and nothing fails in it later."""
    monkeypatch.setattr(edge, "CLOSE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(edge, "PING_PERIOD_S", 0.3)
    server, port = listening
    is_client = sent[:1] not in (b"", b"G")
    reader, writer = await open_raw(port, *([] if is_client else [b""]))
    await happens(lambda: server.connects == 1)
    if is_client and not is_read:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        while server.connection.has_room:
            server.connection.send("x" * 100_000)
            await asyncio.sleep(0)
    server.connection.transport.resume_reading()
    writer.write(sent)
    writer.write_eof()
    await happens(lambda: server.closes == 1)
    writer.transport.abort()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def download(pieces: Iterator[bytes]) -> StreamedResponse:
    return StreamedResponse(200, "OK", Headers({"Connection": "close"}), pieces=pieces)


async def test_a_download_that_is_not_read_is_not_loaded_and_ends(listening, monkeypatch):
    monkeypatch.setattr(edge, "PROGRESS_TIMEOUT_S", 0.3)
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(2000):  # noqa: B007
            yield PIECE

    async def answer() -> Response:
        return download(pieces())

    server, port = listening
    server.page = answer
    reader, writer = await open_raw(port, b"")
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(GET)
    await happens(lambda: server.closes == 1)
    assert taken < 500  # the buffers of the operating system hold some MB
    writer.transport.abort()


@pytest.mark.parametrize("is_half_closed", [False, True])
async def test_a_download_arrives_whole(listening, is_half_closed):
    """Also at a client that closes its end after its request."""

    async def answer() -> Response:
        return download(iter([PIECE] * 50))

    server, port = listening
    server.page = answer
    reader, writer = await open_raw(port, b"")
    writer.write(GET)
    if is_half_closed:
        writer.write_eof()
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == PIECE * 50
    assert server.first_messages == 1  # it is no connection without a request, which makes room for others
    writer.close()


async def test_a_fault_in_a_download_drops_the_connection(listening, caplog):
    """The client sees that the end is missing; only this connection ends."""

    def pieces() -> Iterator[bytes]:
        yield PIECE
        raise OSError("the disk is gone")

    async def answer() -> Response:
        return download(pieces())

    server, port = listening
    server.page = answer
    _, writer = await open_raw(port, b"")
    writer.write(GET)
    await happens(lambda: server.closes == 1)
    assert "the disk is gone" in caplog.text
    writer.close()


async def test_a_head_request_gets_no_body(listening):
    server, port = listening
    server.page = lambda: server.connection.text_response(HTTPStatus.OK, "body")
    reader, writer = await open_raw(port, b"")
    writer.write(GET.replace(b"GET", b"HEAD"))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"Content-Length: 4" in head
    assert body == b""
    writer.close()


async def test_a_fault_while_judging_a_request_is_status_500(listening, caplog):
    def fail() -> Response:
        raise ZeroDivisionError

    server, port = listening
    server.page = fail
    reader, writer = await open_raw(port, b"")
    writer.write(GET)
    assert b" 500 " in await reader.readline()
    assert "ZeroDivisionError" in caplog.text
    writer.close()


async def test_owners_of_busy_connections_take_turns() -> None:
    """However many connections one of them has."""
    turns, order = Turns(), list[str]()
    for _ in range(100):
        turns.wait(lambda: order.append("many"), "a")
    turns.wait(lambda: order.append("one"), "b")
    await happens(lambda: len(order) == 101)
    assert order.index("one") <= 1


async def test_who_has_used_up_its_share_of_the_time_takes_turns(listening):
    """Also with a short message, and nobody else does."""
    server, port = listening
    share = share_of_time()
    _, flood = await open_raw(port)
    server.count_turns()
    server.connection.belong_to("a site", share)
    for _ in range(2):
        share.spend(time.monotonic(), 1.0)
        flood.write(frame(TEXT, b"flood"))
        await happens(lambda: b"flood" in server.messages)
        server.messages.clear()
    _, other = await open_raw(port)
    other.write(frame(TEXT, b"other"))
    await happens(lambda: server.messages == [b"other"])
    assert server.paced == ["a site"] * 2
    server.abort_all()
    for writer in (flood, other):
        writer.transport.abort()
