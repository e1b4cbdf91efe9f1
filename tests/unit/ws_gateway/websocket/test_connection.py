"""Connections on real sockets, in the loop of the test: what they pass on, what they wait for, and how they end."""

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.gateways import happens
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.websocket import connection as edge
from ws_gateway.websocket.connection import Connection, Dialects

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING = b"\x89\xfd" + bytes(4) + bytes(125)


class Watched(Connection):
    """A connection whose transport can be looked at."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        super().connection_made(transport)


class Inn:
    """A host of one guest, which writes down what it hears."""

    def __init__(self) -> None:
        self.connection: Watched
        self.protocol: weakref.ref[Dialects]
        self.is_in = False
        self.heard: list[bytes] = []
        self.arrived_times = 0
        self.left_times = 0
        self.made_room = 0
        self.page: Callable[[], Awaitable[Response] | Response | None] = lambda: None

    def make(self) -> Watched:
        protocol = Dialects(max_size=1000, subprotocols=[Subprotocol(SUBPROTOCOL)])
        self.protocol = weakref.ref(protocol)
        self.connection = Watched(self, protocol)
        return self.connection

    def arrived(self, connection: Connection) -> None:
        assert connection is self.connection
        self.arrived_times += 1

    def answer(self, connection: Connection, request: Request) -> Awaitable[Response] | Response | None:
        return self.page()

    def greet(self, connection: Connection, request: Request) -> "Inn":
        self.is_in = True
        return self

    def hear(self, message: bytes) -> None:
        self.heard.append(message)

    def go_on(self) -> None:
        self.made_room += 1

    def leave(self) -> None:
        self.is_in = False

    def left(self, connection: Connection) -> None:
        self.left_times += 1
        del self.connection


@pytest_asyncio.fixture
async def inn() -> AsyncIterator[tuple[Inn, int]]:
    """A host that listens, and its port."""
    host = Inn()
    server = await asyncio.get_running_loop().create_server(host.make, "127.0.0.1", 0)
    yield host, server.sockets[0].getsockname()[1]
    await happens(lambda: host.left_times == host.arrived_times)
    server.close()


async def knock(port: int, said: bytes = HANDSHAKE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that does only what it is told to; its handshake is over when this returns."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    if said:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def test_messages_arrive_whole(inn):
    """Text, binary, and in fragments with a ping among them."""
    host, port = inn
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await client.send("text")
        await client.send(b"binary")
        await client.send(iter(["in ", "", "three ", "pieces"]))
        await client.ping()
        await happens(lambda: host.heard == [b"text", b"binary", b"in three pieces"])


async def test_what_is_sent_in_one_turn_arrives_in_order(inn):
    """And in one piece of writing."""
    host, port = inn
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await happens(lambda: host.is_in)
        for number in range(5):
            host.connection.send(f"é{number}")
        assert [await client.recv() for _ in range(5)] == [f"é{number}" for number in range(5)]


@pytest.mark.parametrize(("offered", "agreed"), [([SUBPROTOCOL, "x"], SUBPROTOCOL), (["x"], None), (None, None)])
async def test_the_new_dialect_is_for_those_who_offer_it(inn, offered, agreed):
    """Everybody else speaks the first one, whatever they offer."""
    _, port = inn
    async with connect(f"ws://127.0.0.1:{port}", subprotocols=offered) as client:
        assert client.subprotocol == agreed


async def test_a_message_that_is_too_long_ends_the_connection(inn):
    """In fragments, too."""
    host, port = inn
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await client.send(iter(["x" * 600, "y" * 600]))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == CloseCode.MESSAGE_TOO_BIG
    assert host.heard == []


async def test_who_says_nothing_is_hung_up_on(inn, monkeypatch):
    """Half a request is nothing."""
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 0.1)
    host, port = inn
    reader, writer = await knock(port, b"")
    writer.write(b"GET / HT")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    await happens(lambda: host.left_times == 1)
    writer.close()


async def test_who_answers_no_ping_is_hung_up_on(inn, monkeypatch):
    """And who answers stays."""
    monkeypatch.setattr(edge, "PING_PERIOD_S", 0.1)
    host, port = inn
    async with connect(f"ws://127.0.0.1:{port}") as client:
        reader, writer = await knock(port)
        silent = host.connection
        assert (await reader.read()).startswith(b"\x89\x00\x88")  # a ping, and then a close frame
        writer.close()
        await happens(lambda: host.left_times == 1)
        assert not silent.is_open
        await client.send("still here")
        await happens(lambda: host.heard == [b"still here"])


async def test_who_takes_nothing_is_not_read_either(inn):
    """A flood of pings is no way to fill our memory with pongs."""
    host, port = inn
    reader, writer = await knock(port)
    flood = 200_000
    writer.write(PING * flood)
    await happens(lambda: not host.connection.has_room and not host.connection.transport.is_reading())
    assert host.connection.transport.get_write_buffer_size() < 1_000_000
    await reader.readexactly(127 * flood)
    await happens(lambda: host.connection.has_room and host.connection.transport.is_reading())
    assert host.made_room
    writer.close()


async def test_a_rest_ends(inn):
    """What was said in it is heard after it, and what was read already waits, too."""
    host, port = inn
    _, writer = await knock(port)
    rests: list[int] = []

    def hear(message: bytes) -> None:
        host.heard.append(message)
        rests.append(len(host.heard))
        host.connection.rest(0.05)

    host.hear = hear
    writer.write(b"".join(b"\x81\x81" + bytes(4) + each for each in (b"a", b"b", b"c")))
    await happens(lambda: host.heard == [b"a"])
    assert not host.connection.transport.is_reading()
    writer.write(b"\x81\x81" + bytes(4) + b"d")
    await happens(lambda: host.heard == [b"a", b"b", b"c", b"d"])
    writer.close()


async def test_rubbish_behind_a_request_ends_the_connection(inn, caplog):
    """A body, which no request of a browser to us has."""
    host, port = inn
    host.page = lambda: host.connection.respond(HTTPStatus.OK, "")
    reader, writer = await knock(port, b"")
    writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\na=b&c=d&e")
    await reader.read()
    writer.close()
    await happens(lambda: host.left_times == 1)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_close_says_why_and_ends_in_time(inn, monkeypatch):
    """Also for a client that does not close and talks on; nothing of that is heard."""
    monkeypatch.setattr(edge, "CLOSE_TIMEOUT_S", 0.2)
    host, port = inn
    async with connect(f"ws://127.0.0.1:{port}") as client:
        await happens(lambda: host.is_in)
        host.connection.close(4001, "elsewhere")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "elsewhere")
    _, writer = await knock(port)
    host.connection.close(4001)
    while host.left_times < 2:
        writer.write(PING + b"\x81\x81" + bytes(4) + b"x")
        await asyncio.sleep(0.01)
    assert host.heard == []
    writer.close()


async def test_a_fault_of_an_answer_is_said(inn, caplog):
    """The browser hears it, and the log says more."""

    async def fail() -> Response:
        raise ZeroDivisionError

    host, port = inn
    host.page = fail
    reader, writer = await knock(port, b"")
    writer.write(b"GET /recordings/x HTTP/1.1\r\nHost: test\r\n\r\n")
    assert b" 500 " in await reader.readline()
    assert "ZeroDivisionError" in caplog.text
    writer.close()


async def test_an_answer_may_take_its_time(inn, monkeypatch):
    """Longer than a request may."""
    monkeypatch.setattr(edge, "OPEN_TIMEOUT_S", 0.05)
    host, port = inn

    async def load() -> Response:
        host.connection.allow(10)
        await asyncio.sleep(0.2)  # longer than OPEN_TIMEOUT_S: the point of the test
        response: Response = host.connection.respond(HTTPStatus.OK, "at last")
        return response

    host.page = load
    reader, writer = await knock(port, b"")
    writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (await reader.read()).endswith(b"at last")
    writer.close()


@pytest.mark.parametrize("is_abrupt", [False, True])
async def test_a_connection_leaves_nothing_for_the_garbage_collector(inn, is_abrupt):
    """A school that comes and goes makes no garbage: while it is collected, everybody waits."""
    host, port = inn
    gc.disable()
    try:
        reader, writer = await knock(port)
        protocol = host.protocol
        assert protocol() is not None
        if is_abrupt:
            writer.transport.abort()
        else:
            writer.write(b"\x88\x80" + bytes(4))
            await reader.read()
            writer.close()
        await happens(lambda: host.left_times == 1 and protocol() is None)
    finally:
        gc.enable()
