"""Accept connections: WebSocket clients, and browsers that ask for pages."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final

from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from neuroone.contract.errors import SettingsError
from ws_gateway.dialects.handlers import ClientHandler, FirstHandler, Hub, V1Handler
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.visitors import Visitor, Visitors
from ws_gateway.websocket.connection import CLOSE_TIMEOUT_S, Connection, Dialects

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
ACCEPT_QUEUE_MAX: Final = 1024
"""Connections that may wait to be accepted: a school comes back at once."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # below that it would log what clients send, and every port scan


class Server:
    """The WebSocket server. ``visitors`` judges who connects."""

    def __init__(
        self,
        hub: Hub,
        http: HttpHandler,
        *,
        clients_per_address: int,
        visitors: Visitors,
    ) -> None:
        self._hub = hub
        self._http = http
        self._clients_per_address = clients_per_address
        self._visitors = visitors
        self._addresses: Counter[str] = Counter()
        hub.connections_of = self._addresses.__getitem__
        self._connections: dict[Connection, str | None] = {}
        self._listener: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self.is_stopping = False

    @property
    def clients(self) -> int:
        """WebSocket clients that are connected now."""
        return self._addresses.total()

    async def listen(self, host: str, port: int) -> None:
        """Start to accept connections. Raises SettingsError if the address cannot be used."""
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(self, Dialects(max_size=MESSAGE_MAX_BYTES, logger=_LIBRARY_LOG)),
                host,
                port,
                backlog=ACCEPT_QUEUE_MAX,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                (f"--ws-port: cannot listen on port {port} of {host} ({reason}); choose another",)
            ) from None

    def stop_accepting(self) -> None:
        """Refuse new clients, and ignore messages from the present ones."""
        self.is_stopping = True
        for connection in self._connections:
            connection.is_ignoring = True

    async def close(self) -> None:
        """Close every connection with the code that asks clients to come again."""
        if self._listener is None:
            return
        self._listener.close()
        for connection, address in tuple(self._connections.items()):
            if address is None:
                connection.abort()
            else:
                connection.close(CloseCode.SERVICE_RESTART, "restart")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
        await self._listener.wait_closed()

    def on_connect(self, connection: Connection) -> None:
        """Register a new connection."""
        self._connections[connection] = None
        self._empty.clear()

    def on_request(self, connection: Connection, request: Request) -> Awaitable[Response] | Response | None:
        """Answer a browser, or refuse a WebSocket client that is one too many; return None to accept it."""
        visitor = self._visitor(connection, request)
        if "Upgrade" not in request.headers:
            return self._http.on_request(connection, request, visitor)
        if self.is_stopping:
            self._hub.count_refusal("stopping")
            return connection.text_response(HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n")
        if not visitor.may_connect:
            self._hub.count_refusal("wrong_origin")
            return connection.text_response(HTTPStatus.FORBIDDEN, "Pages of this site may not connect: see --origin.\n")
        address = visitor.address
        has_too_many = self._addresses[address] >= self._clients_per_address
        if has_too_many or not self._hub.access.may_connect(address):
            self._hub.counters["clients_refused"] += 1
            self._hub.count_refusal("too_many_connections" if has_too_many else "too_fast")
            return connection.text_response(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from this address.\n")
        return None

    def on_bad_handshake(self, status: int) -> None:
        """Count a WebSocket handshake with faults, which the library refuses."""
        self._hub.count_refusal("wrong_origin" if status == HTTPStatus.FORBIDDEN else "bad_handshake")

    def on_open(self, connection: Connection, request: Request) -> ClientHandler:
        """Make the handler of a WebSocket client that was accepted."""
        visitor = self._visitor(connection, request)
        self._hub.counters["clients_accepted"] += 1
        self._addresses[visitor.address] += 1
        self._connections[connection] = visitor.address
        handler = V1Handler if connection.subprotocol == SUBPROTOCOL else FirstHandler
        return handler(self._hub, connection, visitor)

    def on_close(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        address = self._connections.pop(connection)
        if not self._connections:
            self._empty.set()
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _visitor(self, connection: Connection, request: Request) -> Visitor:
        return self._visitors.identify(connection.peer, request.path, request.headers)
