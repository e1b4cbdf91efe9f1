"""The WebSocket edge: who connects, what they say, and what they hear. Also answers health checks over HTTP."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from neuroone.contract.errors import SettingsError
from ws_gateway.access import Network, client_address, is_here, token_given
from ws_gateway.dialects.handlers import Hub
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.websocket.connection import CLOSE_TIMEOUT_S, Connection, Dialects
from ws_gateway.websocket.handler import ClientHandler

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a school comes back at once."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # below that it would log what clients say, and every port scan


class Gateway:
    """The WebSocket server. ``metrics`` makes the page of that name, ``is_ready`` says whether the broker is there.

    ``trusted_proxies`` are believed when they say whom they serve.
    """

    def __init__(
        self,
        room: Hub,
        *,
        clock: Callable[[], float],
        is_ready: Callable[[], bool],
        metrics: Callable[[], bytes],
        browsers: HttpHandler,
        clients_per_address: int,
        trusted_proxies: Sequence[Network],
    ) -> None:
        self._room = room
        self._clock = clock
        self._is_ready = is_ready
        self._metrics = metrics
        self._browsers = browsers
        self._clients_per_address = clients_per_address
        self._trusted_proxies = trusted_proxies
        self._addresses: Counter[str] = Counter()
        self._origins: list[Origin | None] | None = None
        self._connections: set[Connection] = set()
        self._clients: dict[Connection, str] = {}
        self._listener: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "clients_accepted",
                "clients_refused",
                "clients_evicted",
                "frames_received",
                "frames_bad",
                "frames_conflated",
                "faults",
            ),
            0,
        )

    @property
    def clients(self) -> int:
        """Clients that are connected now."""
        return len(self._clients)

    async def listen(self, host: str, port: int, origins: Sequence[str]) -> None:
        """Start to accept clients. Raises SettingsError when the address is not to be had."""
        self._origins = [*map(Origin, origins), None] if origins else None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._connection, host, port, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                (f"--ws-port: cannot listen on port {port} of {host} ({reason}); choose another",)
            ) from None

    def stop_listening(self) -> None:
        """Turn new clients away and ignore what the present ones say from now on."""
        self._stopping = True
        for connection in self._clients:
            connection.deafen()

    async def close(self) -> None:
        """Close every connection with the code that asks clients to come again."""
        if self._listener is None:
            return
        self._listener.close()
        for connection in tuple(self._connections):
            if connection in self._clients:
                connection.close(CloseCode.SERVICE_RESTART, "restart")
            else:
                connection.abort()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
        await self._listener.wait_closed()

    def arrived(self, connection: Connection) -> None:
        """Somebody connected."""
        self._connections.add(connection)
        self._empty.clear()

    def answer(self, connection: Connection, request: Request) -> Awaitable[Response] | Response | None:
        """Answer a browser or a health check; turn away whom there is no room for; None lets a client in."""
        address = self._address_of(connection, request)
        if "Upgrade" not in request.headers:
            return self._page(connection, request, address)
        if self._stopping:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n")
        if self._addresses[address] >= self._clients_per_address or not self._room.access.may_connect(address):
            self.counters["clients_refused"] += 1
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from this address.\n")
        return None

    def greet(self, connection: Connection, request: Request) -> ClientHandler:
        """A client is in."""
        address = self._address_of(connection, request)
        self.counters["clients_accepted"] += 1
        self._addresses[address] += 1
        self._clients[connection] = address
        return ClientHandler(
            self._room, connection, self._token_of(connection, request), address, self.counters, self._clock
        )

    def left(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
        address = self._clients.pop(connection, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _connection(self) -> Connection:
        return Connection(
            self,
            Dialects(
                origins=self._origins,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                max_size=MESSAGE_MAX_BYTES,
                logger=_LIBRARY_LOG,
            ),
        )

    def _page(self, connection: Connection, request: Request, address: str) -> Awaitable[Response] | Response:
        path = urlsplit(request.path).path
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            if self._stopping or not self._is_ready():
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The broker is not there.\n")
            return connection.respond(HTTPStatus.OK, "ready\n")
        if path == "/metrics":
            page = self._metrics()
            headers = Headers({"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Connection": "close"})
            headers["Content-Length"] = str(len(page))
            return Response(HTTPStatus.OK, "OK", headers, page)
        return self._browsers.answer(connection, request, path, address) or connection.respond(
            HTTPStatus.UPGRADE_REQUIRED, "There is no such page. This is a WebSocket server: connect to ws://.\n"
        )

    def _token_of(self, connection: Connection, request: Request) -> str | None:
        headers = request.headers
        is_forwarded = "X-Forwarded-For" in headers or "Forwarded" in headers
        return self._room.access.token_of(
            token_given(request.path, headers.get("Authorization")),
            is_here=is_here(connection.peer, headers.get("Origin"), is_forwarded=is_forwarded),
        )

    def _address_of(self, connection: Connection, request: Request) -> str:
        return client_address(connection.peer, request.headers.get_all("X-Forwarded-For"), self._trusted_proxies)
