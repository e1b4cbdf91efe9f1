"""The gateway's connections on real sockets in the loop of the test, with a server that records what it gets."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import cast

from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from tests.support.gateways import happens
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.handshake import Dialects
from ws_gateway.websocket.paced_reading import Turns
from ws_gateway.websocket.server import Server
from ws_gateway.websocket.tls import TlsTransport

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8A
MORE = 0x7F
"""Mask of a first byte without the bit that says that the message ends with this frame."""
MESSAGE_MAX_BYTES = 1000


def frame(head: int, content: bytes = b"") -> bytes:
    """Make a client's frame whose mask is zero."""
    size = len(content)
    if size < 126:
        return bytes((head, 0x80 | size)) + bytes(4) + content
    return bytes((head, 0x80 | 126)) + size.to_bytes(2, "big") + bytes(4) + content


class Watched(Connection):
    """A connection with a public transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        super().connection_made(transport)


class FakeServer:
    """Accepts every client and records what it gets."""

    def __init__(self) -> None:
        self.connection: Watched
        self.protocol: weakref.ref[Dialects]
        self.turns = Turns()
        self.alive: weakref.WeakSet[Watched] = weakref.WeakSet()
        self.has_client = False
        self.messages: list[bytes] = []
        self.connects = 0
        self.requests = 0
        self.first_messages = 0
        self.closes = 0
        self.resumes = 0
        self.bad_handshakes: list[int] = []
        self.bad_tls = 0
        self.paced: list[Hashable] = []
        self.paces_new = False
        self.page: Callable[[], Awaitable[Response] | Response | None] = lambda: None
        self.on_message: Callable[[bytes], None] = self.messages.append

    def make(self) -> Watched:
        protocol = Dialects(
            max_size=MESSAGE_MAX_BYTES, subprotocols=[Subprotocol(SUBPROTOCOL)], origins=[Origin("http://own"), None]
        )
        self.protocol = weakref.ref(protocol)
        self.connection = Watched(cast(Server, self), protocol, self.turns)
        self.alive.add(self.connection)
        return self.connection

    def count_turns(self) -> None:
        """Note in ``paced`` whose connection waits for its turn, each time."""
        wait = self.turns.wait

        def count(then: Callable[[], None], owner: Hashable = None) -> None:
            self.paced.append(owner)
            wait(then, owner)

        self.turns.wait = count  # type: ignore[method-assign]

    def abort_all(self) -> None:
        """Drop all connections."""
        for connection in tuple(self.alive):
            connection.abort()

    def on_connect(self, connection: Connection) -> None:
        assert connection is self.connection
        self.connects += 1
        connection.is_paced |= self.paces_new

    def on_request(self, connection: Connection, request: Request) -> Awaitable[Response] | Response | None:
        self.requests += 1
        return self.page()

    def on_bad_handshake(self, status: int) -> None:
        self.bad_handshakes.append(status)

    def on_bad_tls(self) -> None:
        self.bad_tls += 1

    def on_open(self, connection: Connection, request: Request) -> "FakeClient":
        self.has_client = True
        return FakeClient(self)

    def on_first_message(self, connection: Connection) -> None:
        self.first_messages += 1

    def on_close(self, connection: Connection) -> None:
        self.closes += 1
        if connection is self.connection:
            del self.connection


class FakeClient:
    """The handler of the server's client."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def on_message(self, message: bytes) -> None:
        self.server.on_message(message)

    def resume(self) -> None:
        self.server.resumes += 1

    def on_close(self) -> None:
        self.server.has_client = False


@asynccontextmanager
async def listening_server(
    context: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[tuple[FakeServer, int]]:
    """Run a fake server that listens, over TLS if there is a ``context``, and yield its port with it."""
    server = FakeServer()

    def accept() -> asyncio.BaseProtocol:
        return server.make() if context is None else TlsTransport(server.make(), context, server.turns)

    listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    yield server, listener.sockets[0].getsockname()[1]
    await happens(lambda: server.closes == server.connects)
    listener.close()
    await asyncio.get_running_loop().shutdown_default_executor()  # downloads are read in threads


async def open_raw(
    port: int, request: bytes = HANDSHAKE, *, trust: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, over TLS if ``trust`` is given, and, if there is a request, complete the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(request)
    if request:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer
