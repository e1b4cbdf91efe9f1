"""Accept connections: WebSocket clients, and browsers that ask for pages."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from neuroone.contract.errors import SettingsError
from ws_gateway.dialects.handlers import ClientHandler, FirstHandler, Hub
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.dialects.v1_handler import V1Handler
from ws_gateway.http import responses
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.http.front_pages import FrontPages
from ws_gateway.token_bucket import TokenBucket
from ws_gateway.visitors import Visitor, Visitors
from ws_gateway.websocket.admission import FILES_RESERVED, Admission
from ws_gateway.websocket.certificate import Https
from ws_gateway.websocket.connection import CLOSE_TIMEOUT_S, Connection
from ws_gateway.websocket.handshake import Dialects
from ws_gateway.websocket.paced_reading import Turns
from ws_gateway.websocket.tls import TlsTransport

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
ACCEPT_QUEUE_MAX: Final = 4096
"""Connections that may wait to be accepted: a school comes back at once. Linux allows no more by default."""
ALL_IPV6: Final = "::"
ALL: Final = ("0.0.0.0", ALL_IPV6)  # noqa: S104 (what people may name)
"""Addresses that stand for all addresses of their family."""
SINGLE_HEADERS: Final = (
    *("Host", "Origin", "Authorization", "Sec-WebSocket-Key"),
    *("Range", "If-Range", "If-Modified-Since", "If-Unmodified-Since"),
)
"""Headers that a request may have once; with two of one it is not clear what the client means."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # below that it would log what clients send, and every port scan


class Server:
    """The WebSocket server of a site.

    ``connections`` are all of the gateway's; ``visitors`` judges who connects; ``https`` has the port and the
    certificate of TLS. ``share`` is the time that the clients of this site have before they take turns; None is all.
    """

    def __init__(
        self,
        hub: Hub,
        http: HttpHandler | FrontPages,
        *,
        connections: Admission,
        visitors: Visitors,
        https: Https,
        share: TokenBucket | None = None,
    ) -> None:
        self._hub = hub
        self.http = http
        self.https = https
        self._visitors = visitors
        self._turns = Turns()
        self.share = share
        self._admission = connections
        hub.connections_of = partial(self._admission.clients_of, self)
        self._listeners: list[asyncio.Server] = []
        self.is_stopping = False

    @property
    def clients(self) -> int:
        """WebSocket clients that are connected here now."""
        return self._admission.clients_at(self)

    async def listen(self, hosts: Sequence[str], port: int, files_max: int) -> None:
        """Start to accept connections, each of which is one open file, and on another port those over TLS.

        Raises SettingsError if an address cannot be used.
        """
        self._admission.connections_max = max(1, files_max - FILES_RESERVED)
        wanted: list[tuple[socket.socket, Callable[[], asyncio.BaseProtocol]]] = [
            (each, self._accept) for each in listening_sockets(hosts, port)
        ]
        if self.https.port is not None and self.https.certificate is not None:
            accept_tls = partial(self._accept_tls, self.https.certificate.context)
            wanted += [(each, accept_tls) for each in listening_sockets(hosts, self.https.port, "--tls-port")]
        for each, accept in wanted:
            listener = await asyncio.get_running_loop().create_server(accept, sock=each, backlog=ACCEPT_QUEUE_MAX)
            self._listeners.append(listener)

    def _accept(self) -> Connection:
        return Connection(self, Dialects(max_size=MESSAGE_MAX_BYTES, logger=_LIBRARY_LOG), self._turns)

    def _accept_tls(self, context: Callable[[], ssl.SSLContext]) -> TlsTransport:
        return TlsTransport(self._accept(), context, self._turns)

    def stop_accepting(self) -> None:
        """Refuse new clients, and ignore messages from the present ones."""
        self.is_stopping = True
        self.http.close()
        for connection in self._admission:
            connection.is_ignoring = True

    async def close(self) -> None:
        """Close every connection with the code that asks clients to come again."""
        for listener in self._listeners:
            listener.close()
        for connection in self._admission:
            if self._admission.is_client(connection):
                connection.close(CloseCode.SERVICE_RESTART, "restart")
            else:
                connection.abort()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._admission.is_empty.wait()
        except TimeoutError:
            for connection in self._admission:
                connection.abort()
        for listener in self._listeners:
            await listener.wait_closed()

    def on_connect(self, connection: Connection) -> None:
        """Register a new connection; where there is no room for it, an idle one makes room.

        Where an address connects too often, its requests take turns like everything of a busy connection.
        """
        connection.is_paced = not self._hub.access.is_at_once(connection.peer)
        leaving = self._admission.add(connection)
        if leaving is not None:
            self._hub.count_refusal("too_many_connections")
            leaving.abort()

    def on_request(self, connection: Connection, request: Request) -> Awaitable[Response | None] | Response | None:
        """Answer a browser, or refuse a WebSocket client that is one too many; None accepts it."""
        if not _is_clear(request):
            self._hub.count_refusal("bad_handshake")
            return connection.text_response(HTTPStatus.BAD_REQUEST, "This is no valid HTTP request.\n")
        if connection.is_plain_on_tls:
            self._hub.count_refusal("plain_on_tls")
            return responses.to_https(request)
        visitor = self._visitor(connection, request)
        if not is_handshake(request.headers):
            return self.http.on_request(request, visitor)
        if self.is_stopping:
            self._hub.count_refusal("stopping")
            return connection.text_response(HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n")
        if not visitor.may_connect:
            self._hub.count_refusal("wrong_origin")
            return connection.text_response(HTTPStatus.FORBIDDEN, "Pages of this site may not connect: see --origin.\n")
        address = visitor.address
        has_room, leaving = self._admission.make_room(self, address)
        if leaving is not None:
            leaving.server.let_go(leaving)
        if not has_room:
            self._hub.counters["clients_refused"] += 1
            self._hub.count_refusal("too_many_connections")
            return connection.text_response(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from this address.\n")
        return None if self._hub.entrance.is_ready else self._hub.entrance.wait_until_ready()

    def on_bad_handshake(self, status: int) -> None:
        """Count a WebSocket handshake with faults, which the library refuses."""
        self._hub.count_refusal("wrong_origin" if status == HTTPStatus.FORBIDDEN else "bad_handshake")

    def on_bad_tls(self) -> None:
        """Count a handshake of TLS that failed: other bytes, or a device without trust in it."""
        self._hub.count_refusal("bad_tls")

    def on_open(self, connection: Connection, request: Request) -> ClientHandler:
        """Make the handler of a WebSocket client that was accepted."""
        visitor = self._visitor(connection, request)
        self._hub.counters["clients_accepted"] += 1
        self._admission.open(connection, self, visitor.address)
        handler = V1Handler if connection.subprotocol == SUBPROTOCOL else FirstHandler
        return handler(self._hub, connection, visitor)

    def on_first_message(self, connection: Connection) -> None:
        """Note that a client has sent something."""
        self._admission.on_first_message(connection)

    def on_close(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._admission.remove(connection)

    def let_go(self, client: Connection) -> None:
        """Tell a client to come again later: another one needs its place."""
        self._hub.count_refusal("too_many_connections")
        self._admission.release(client)
        client.end(CloseCode.TRY_AGAIN_LATER, "too many connections")

    def _visitor(self, connection: Connection, request: Request) -> Visitor:
        return self._visitors.identify(connection.peer, request.path, request.headers)


def listening_sockets(hosts: Sequence[str], port: int, flag: str = "--ws-port") -> list[socket.socket]:
    """Open the sockets to listen on; ``::`` listens on all IPv4 addresses too. Raises SettingsError."""
    sockets: list[socket.socket] = []
    host = ""
    try:
        found: dict[tuple[Any, Any], str] = {}
        for host in hosts:
            for family, _, _, _, address in socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                found.setdefault((family, address), host)
        whole = {family for family, address in found if address[0] in ALL}
        is_dual = ALL_IPV6 in hosts and socket.AF_INET not in whole and socket.has_dualstack_ipv6()
        whole |= {socket.AF_INET} if is_dual else set()
        for (family, address), host in found.items():
            if family not in whole or address[0] in ALL:  # all others are among all of their family
                sockets.append(
                    socket.create_server(
                        address, family=family, backlog=ACCEPT_QUEUE_MAX, dualstack_ipv6=is_dual and host == ALL_IPV6
                    )
                )
    except OSError as error:
        for each in sockets:
            each.close()
        reason = error.strerror or str(error)
        raise SettingsError((f"{flag}: cannot listen on port {port} of {host} ({reason}); choose another",)) from None
    return sockets


def is_handshake(headers: Headers) -> bool:
    """Return True for a WebSocket client; a program that offers another protocol (h2c) is answered over HTTP/1.1."""
    offered = headers.get_all("Upgrade")
    return bool(offered) and ("Sec-WebSocket-Key" in headers or "websocket" in ",".join(offered).lower())


def _is_clear(request: Request) -> bool:
    """Return True if the address can be parsed, and no header that may be there once is there twice."""
    try:
        urlsplit(request.path)
    except ValueError:
        return False
    return all(len(request.headers.get_all(name)) < 2 for name in SINGLE_HEADERS)
