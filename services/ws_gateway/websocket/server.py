"""Accept connections: WebSocket clients, and browsers that ask for pages."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import Final

from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Origin

from neuroone.contract.errors import SettingsError
from ws_gateway.access import Network, client_address, is_here, token_given
from ws_gateway.dialects.handlers import ClientHandler, FirstHandler, Hub, V1Handler
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.websocket.connection import CLOSE_TIMEOUT_S, Connection, Dialects

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
ACCEPT_QUEUE_MAX: Final = 1024
"""Connections that may wait to be accepted: a school comes back at once."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # below that it would log what clients send, and every port scan


class Server:
    """The WebSocket server. ``trusted_proxies`` are the reverse proxies whose X-Forwarded-For header is believed."""

    def __init__(
        self,
        hub: Hub,
        http: HttpHandler,
        *,
        clients_per_address: int,
        trusted_proxies: Sequence[Network],
    ) -> None:
        self._hub = hub
        self._http = http
        self._clients_per_address = clients_per_address
        self._trusted_proxies = trusted_proxies
        self._addresses: Counter[str] = Counter()
        self._connections: dict[Connection, str | None] = {}
        self._listener: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self.is_stopping = False

    @property
    def clients(self) -> int:
        """WebSocket clients that are connected now."""
        return self._addresses.total()

    async def listen(self, host: str, port: int, origins: Sequence[str]) -> None:
        """Start to accept connections. Raises SettingsError if the address cannot be used."""
        allowed = [*map(Origin, origins), None] if origins else None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(self, Dialects(origins=allowed, max_size=MESSAGE_MAX_BYTES, logger=_LIBRARY_LOG)),
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
        address = self._address_of(connection, request)
        if "Upgrade" not in request.headers:
            return self._http.on_request(connection, request, address)
        if self.is_stopping:
            self._hub.count_refusal("stopping")
            return connection.text_response(HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n")
        has_too_many = self._addresses[address] >= self._clients_per_address
        if has_too_many or not self._hub.access.may_connect(address):
            self._hub.counters["clients_refused"] += 1
            self._hub.count_refusal("too_many_connections" if has_too_many else "too_fast")
            return connection.text_response(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from this address.\n")
        return None

    def on_bad_handshake(self, status: int) -> None:
        """Count a WebSocket handshake that the library refuses: of a page of another site, or one with faults."""
        self._hub.count_refusal("wrong_origin" if status == HTTPStatus.FORBIDDEN else "bad_handshake")

    def on_open(self, connection: Connection, request: Request) -> ClientHandler:
        """Make the handler of a WebSocket client that was accepted."""
        address = self._address_of(connection, request)
        self._hub.counters["clients_accepted"] += 1
        self._addresses[address] += 1
        self._connections[connection] = address
        handler = V1Handler if connection.subprotocol == SUBPROTOCOL else FirstHandler
        return handler(self._hub, connection, self._token_of(connection, request), address)

    def on_close(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        address = self._connections.pop(connection)
        if not self._connections:
            self._empty.set()
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _token_of(self, connection: Connection, request: Request) -> str | None:
        headers = request.headers
        is_forwarded = "X-Forwarded-For" in headers or "Forwarded" in headers
        return self._hub.access.token_of(
            token_given(request.path, headers.get("Authorization")),
            is_here=is_here(connection.peer, headers.get("Origin"), is_forwarded=is_forwarded),
        )

    def _address_of(self, connection: Connection, request: Request) -> str:
        return client_address(connection.peer, request.headers.get_all("X-Forwarded-For"), self._trusted_proxies)
