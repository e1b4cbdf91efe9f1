"""Answer browsers, health checks and Prometheus on the port of the WebSocket server."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.http11 import Request, Response

from neuroone.service.metrics import CONTENT_TYPE
from ws_gateway.http import responses
from ws_gateway.http.invitations import Invitations
from ws_gateway.http.pages import Downloads, Pages
from ws_gateway.http.trust import Trust
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import StreamedResponse

DOWNLOADS_MAX: Final = 32
"""Downloads at a time; each takes up to 1 MB of memory, most of them 0.2 MB. More are asked to come again."""
THREADS_MAX: Final = 8
"""Threads that read files, of each site for itself: what hangs or takes long at one keeps no other waiting. Two of them
may wait for workbooks and reports."""


class HttpHandler:
    """Answer requests without a WebSocket. ``readiness`` answers ``/readyz``, ``metrics`` makes ``/metrics``.

    ``sites`` lists the sites of the district that a visitor may open. ``refuse_counts`` returns the answer to one who
    may not see how many students there are.
    """

    def __init__(
        self,
        pages: Pages,
        downloads: Downloads,
        invitations: Invitations,
        trust: Trust,
        *,
        readiness: Callable[[], tuple[HTTPStatus, str]],
        metrics: Callable[[], bytes],
        sites: Callable[[Visitor], list[dict[str, Any]]],
    ) -> None:
        self._pages = pages
        self._sites = sites
        self.refuse_counts: Callable[[Visitor], Response | None] = lambda visitor: None
        self._downloads = downloads
        self._invitations = invitations
        self._trust = trust
        self._drawing = asyncio.Lock()
        """One QR code is drawn at a time: it takes 50 ms of CPU, a very long one 600 ms."""
        self.counters = downloads.converter.counters
        self._readiness = readiness
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS_MAX, "files")
        self._loading = 0
        self._streaming: weakref.WeakSet[StreamedResponse] = weakref.WeakSet()

    def on_request(self, request: Request, visitor: Visitor) -> Awaitable[Response] | Response:
        """Answer a request; a download is loaded in the background."""
        refused = responses.unless_page(request)
        if refused is not None:
            return refused
        path = urlsplit(request.path).path
        if path == "/healthz":
            return responses.of_text(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            return self.refuse_counts(visitor) or responses.of_text(*self._readiness())
        if path == "/metrics":
            return self.refuse_counts(visitor) or responses.of_bytes(HTTPStatus.OK, CONTENT_TYPE, self._metrics())
        if path == "/sites":
            return responses.of_json(self._sites(visitor))
        if path.split("/", 2)[1:2] == ["recordings"]:
            return self._downloads.refuse(visitor) or self._load(request, visitor)
        if path == "/invitation":
            return self._invitations.refuse(visitor) or self._invite(request, visitor)
        about_https = self._trust.get(path, request, visitor)
        if about_https is not None:
            return about_https
        return self._pages.get(path, request) or responses.of_text(HTTPStatus.NOT_FOUND, "There is no such page.\n")

    def close(self) -> None:
        """End what is being made for downloads."""
        self._downloads.close()

    async def _invite(self, request: Request, visitor: Visitor) -> Response:
        async with self._drawing:
            return await self._in_thread(self._invitations.make, request, visitor)

    async def _load(self, request: Request, visitor: Visitor) -> Response:
        if self._loading + len(self._streaming) >= DOWNLOADS_MAX:
            later = {"Retry-After": "30"}
            return responses.of_text(HTTPStatus.SERVICE_UNAVAILABLE, "Too many downloads: try again.\n", later)
        self._loading += 1
        try:
            response = await self._in_thread(self._downloads.load_noted, request, visitor)
        finally:
            self._loading -= 1
        if isinstance(response, StreamedResponse):
            self._streaming.add(response)
            response.threads = self._threads
            if "Content-Length" not in response.headers and request.protocol == "HTTP/1.1":
                response.headers["Transfer-Encoding"] = "chunked"
                response.pieces = _chunked(response.pieces)
        return response

    async def _in_thread(
        self, call: Callable[[Request, Visitor], Response], request: Request, visitor: Visitor
    ) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, request, visitor)


def _chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Frame pieces of a body of unknown length, so that the client notices when its end is missing."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
