"""The WebSocket edge: who connects, what they say, and what they hear. Also answers health checks over HTTP."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from neuroone.contract.errors import SettingsError
from ws_gateway.access import Bucket, Network, client_address, is_here, token_given
from ws_gateway.browsers import Browsers, Connection
from ws_gateway.clients import Client, NewClient, NotAllowed, OldClient, Room
from ws_gateway.outlet import ROOM_BYTES, Outlet
from ws_gateway.students import Refused
from ws_gateway.wire import BadFrame
from ws_gateway.wire_v1 import SUBPROTOCOL

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
QUEUE_MAX_MESSAGES: Final = 16
"""Messages of one client that may wait for us before its socket is no longer read."""
HELLO_TIMEOUT_S: Final = 10.0
"""A client of the new dialect that does not say who it is only takes up room."""
PING_PERIOD_S: Final = 20.0
"""Below the 60 s after which reverse proxies close a silent connection."""
PING_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 5.0
BAD_IN_A_ROW_MAX: Final = 10
"""A client that is wrong so often without one good message between does not speak this dialect."""
MESSAGES_RATE_HZ: Final = 1000.0
"""One client's messages; a headset's app that sends every packet sends 513 a second. Beyond it we read no faster."""
MESSAGES_BURST: Final = 3000.0
"""A phone sends again what it kept while it was away: 50 minutes of readings."""
RESUMED_ELSEWHERE: Final = 4001
"""Close code: another connection goes on with this session."""
BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a school comes back at once."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL)  # below that it would log what clients say, and every port scan

log = logging.getLogger(__name__)


class Gateway:
    """The WebSocket server. ``metrics`` makes the page of that name, ``is_ready`` says whether the broker is there.

    ``trusted_proxies`` are believed when they say whom they serve.
    """

    def __init__(
        self,
        room: Room,
        *,
        clock: Callable[[], float],
        is_ready: Callable[[], bool],
        metrics: Callable[[], bytes],
        browsers: Browsers,
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
        self._connections: set[ServerConnection] = set()
        self._server: Server | None = None
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
        return len(self._connections)

    async def listen(self, host: str, port: int, origins: Sequence[str]) -> None:
        """Start to accept clients. Raises SettingsError when the address is not to be had."""
        try:
            self._server = await serve(
                self._talk,
                host,
                port,
                origins=[*map(Origin, origins), None] if origins else None,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                select_subprotocol=_subprotocol,
                process_request=self._admit,
                compression=None,
                max_size=MESSAGE_MAX_BYTES,
                max_queue=QUEUE_MAX_MESSAGES,
                write_limit=ROOM_BYTES,
                create_connection=Connection,
                open_timeout=None,  # Connection has one, which ends with the request
                ping_interval=PING_PERIOD_S,
                ping_timeout=PING_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                server_header=None,
                logger=_LIBRARY_LOG,
                backlog=BACKLOG,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                (f"--ws-port: cannot listen on port {port} of {host} ({reason}); choose another",)
            ) from None

    def stop_listening(self) -> None:
        """Turn new clients away and ignore what the present ones say from now on."""
        self._stopping = True

    async def close(self) -> None:
        """Close every connection with the code that asks clients to come again."""
        self._browsers.hang_up()
        if self._server is not None:
            self._server.close(code=CloseCode.SERVICE_RESTART, reason="restart")
            # The library waits without end for those whom it has hung up on before and who do not hang up themselves.
            cut = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._cut)
            await self._server.wait_closed()
            cut.cancel()

    def _cut(self) -> None:
        for connection in self._connections:
            connection.transport.abort()

    def _admit(self, connection: ServerConnection, request: Request) -> Awaitable[Response] | Response | None:
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

    def _page(self, connection: ServerConnection, request: Request, address: str) -> Awaitable[Response] | Response:
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

    async def _talk(self, connection: ServerConnection) -> None:
        request = cast(Request, connection.request)
        address = self._address_of(connection, request)
        self.counters["clients_accepted"] += 1
        self._addresses[address] += 1
        self._connections.add(connection)
        outlet = Outlet(connection)
        client: Client | None = None
        try:
            token = self._token_of(connection, request)
            if connection.subprotocol == SUBPROTOCOL:
                client = new_client = NewClient(
                    self._room, outlet, token, address, lambda: outlet.end(RESUMED_ELSEWHERE, "resumed elsewhere")
                )
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    while not new_client.has_said_hello:
                        await self._hear(connection, client, None)
            else:
                client = OldClient(self._room, outlet, token, address)
            await self._listen_to(connection, client)
        except ConnectionClosed:
            pass
        except TimeoutError:
            await connection.close(CloseCode.POLICY_VIOLATION, "no hello")
        except NotAllowed:
            await connection.close(CloseCode.POLICY_VIOLATION, "not allowed")
        except Refused:
            await connection.close(CloseCode.TRY_AGAIN_LATER, "too busy")
        except Exception:  # a fault of ours ends this one connection only
            self.counters["faults"] += 1
            log.exception("a fault while serving a client")
            await connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._connections.discard(connection)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
            self.counters["frames_conflated"] += outlet.conflated
            self.counters["clients_evicted"] += outlet.was_too_slow
            if client is not None:
                client.leave()
            await outlet.close()

    async def _listen_to(self, connection: ServerConnection, client: Client) -> None:
        bucket = Bucket(MESSAGES_RATE_HZ, MESSAGES_BURST, self._clock())
        bad_in_a_row = 0
        while bad_in_a_row < BAD_IN_A_ROW_MAX:
            bad_in_a_row = 0 if await self._hear(connection, client, bucket) else bad_in_a_row + 1
        await connection.close(CloseCode.POLICY_VIOLATION, "too many bad messages")

    async def _hear(self, connection: ServerConnection, client: Client, bucket: Bucket | None) -> bool:
        """One message of a client; whether it was a good one."""
        message = await connection.recv(decode=False)
        if self._stopping:
            return True
        self.counters["frames_received"] += 1
        if bucket is not None and (wait_s := bucket.take(self._clock())):
            await asyncio.sleep(wait_s)
        try:
            client.take(message)
        except BadFrame as fault:
            self.counters["frames_bad"] += 1
            await connection.send(client.fault(fault))
            if isinstance(fault, NotAllowed):
                raise
            return False
        return True

    def _token_of(self, connection: ServerConnection, request: Request) -> str | None:
        headers = request.headers
        is_forwarded = "X-Forwarded-For" in headers or "Forwarded" in headers
        return self._room.access.token_of(
            token_given(request.path, headers.get("Authorization")),
            is_here=is_here(_peer(connection), headers.get("Origin"), is_forwarded=is_forwarded),
        )

    def _address_of(self, connection: ServerConnection, request: Request) -> str:
        return client_address(_peer(connection), request.headers.get_all("X-Forwarded-For"), self._trusted_proxies)


def _peer(connection: ServerConnection) -> str:
    remote = connection.remote_address
    return str(remote[0]) if isinstance(remote, tuple) else ""


def _subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The new dialect for those who offer it, the first one for everybody else, whatever they offer."""
    return next((each for each in offered if each == SUBPROTOCOL), None)
