"""Serve ``/metrics`` and ``/healthz`` on a port of their own, for services without a web server.

It runs in the service's event loop, and no client can hold that up: each has one connection for a short time, and they
are let in one after the other (docs/decisions/0013).
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from neuroone.contract.errors import SettingsError
from neuroone.service.metrics import CONTENT_TYPE

CONNECTIONS_MAX: Final = 16
"""Connections at a time. One more ends the oldest: clients that stay silent keep nobody out."""
BACKLOG: Final = 128
"""Connections that wait in the system for their turn; at ACCEPT_PERIOD_S the last one waits 3 s."""
ACCEPT_PERIOD_S: Final = 0.02
"""Time between two connections: a flood of them takes 4 % of a core."""
ACCEPT_AGAIN_S: Final = 1.0
"""Time until the next try when the system has no handle for a connection."""
TIMEOUT_S: Final = 5.0
"""For a connection from its first byte to its last; Prometheus gives up after 10 s."""
HEAD_MAX_BYTES: Final = 8 * 1024
"""Bytes of a request; Prometheus sends about 300."""
TEXT: Final = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class MetricsServer:
    """Answer GET and HEAD. ``make_page`` makes the metrics of a moment; a fault in it is the answer's alone."""

    def __init__(self, host: str, port: int, make_page: Callable[[], bytes]) -> None:
        self._host = host
        self._port = port
        self._make_page = make_page
        self._listener: socket.socket
        self._connections: dict[asyncio.Task[None], None] = {}
        self._has_logged = False

    def listen(self) -> None:
        """Begin to listen. Raises SettingsError if the address cannot be used."""
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # a host: below 0
            raise SettingsError(
                (f"--metrics-port: cannot listen on port {self._port} of {self._host} ({reason}); choose another",)
            ) from None
        self._listener.setblocking(False)

    async def serve(self) -> None:
        """Answer until it is cancelled. Call `listen` before."""
        try:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:
                    log.warning("a reader of the metrics cannot be let in (%s)", error.strerror)
                    await asyncio.sleep(ACCEPT_AGAIN_S)
                    continue
                task = asyncio.create_task(self._serve(connection))
                self._connections[task] = None
                task.add_done_callback(lambda task: self._connections.pop(task, None))
                if len(self._connections) > CONNECTIONS_MAX:
                    next(iter(self._connections)).cancel()
                await asyncio.sleep(ACCEPT_PERIOD_S)
        finally:
            self._listener.close()
            for task in tuple(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        """Read one request and answer it."""
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError):  # the client is gone, or too slow: TimeoutError is an OSError
            async with asyncio.timeout(TIMEOUT_S):
                head = b""
                while b"\r\n\r\n" not in head and len(head) <= HEAD_MAX_BYTES:
                    received = await loop.sock_recv(connection, HEAD_MAX_BYTES)
                    if not received:
                        return
                    head += received
                await loop.sock_sendall(connection, self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        method, *words = head.partition(b"\r\n")[0].split(b" ")
        if len(head) > HEAD_MAX_BYTES:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(words) != 2 or not words[1].startswith(b"HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, more="Allow: GET, HEAD\r\n")
        match words[0].partition(b"?")[0]:
            case b"/metrics":
                response = self._page()
            case b"/healthz":
                response = _response(HTTPStatus.OK, b"ok\n")
            case _:
                response = _response(HTTPStatus.NOT_FOUND)
        return response if method == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _page(self) -> bytes:
        try:
            return _response(HTTPStatus.OK, self._make_page(), CONTENT_TYPE)
        except Exception:  # the service goes on without its metrics
            if not self._has_logged:
                self._has_logged = True
                log.exception("a fault while making the page of metrics")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)


def _response(status: HTTPStatus, body: bytes | None = None, kind: str = TEXT, more: str = "") -> bytes:
    content = f"{status.phrase}\n".encode() if body is None else body
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + content
