"""Answer browsers, health checks and Prometheus on the port of the WebSocket server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from neuroone.service.metrics import CONTENT_TYPE
from ws_gateway.http.pages import Downloads, Pages
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import Connection

DOWNLOADS_MAX: Final = 2
"""Downloads at a time, each of which is held in memory; others wait."""
DOWNLOAD_TIMEOUT_S: Final = 300.0
"""64 MiB over a classroom's Wi-Fi at 2 Mbit/s."""


class HttpHandler:
    """Answer requests without a WebSocket. ``readiness`` answers ``/readyz``, ``metrics`` makes ``/metrics``."""

    def __init__(
        self,
        downloads: Downloads,
        *,
        readiness: Callable[[], tuple[HTTPStatus, str]],
        metrics: Callable[[], bytes],
    ) -> None:
        self._pages = Pages()
        self._downloads = downloads
        self._readiness = readiness
        self._metrics = metrics
        self._download_slots = asyncio.Semaphore(DOWNLOADS_MAX)

    def on_request(self, connection: Connection, request: Request, visitor: Visitor) -> Awaitable[Response] | Response:
        """Answer a request; a download is loaded in the background."""
        path = urlsplit(request.path).path
        if path == "/healthz":
            return connection.text_response(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            return connection.text_response(*self._readiness())
        if path == "/metrics":
            text = self._metrics()
            headers = Headers({"Content-Type": CONTENT_TYPE, "Connection": "close", "Content-Length": str(len(text))})
            return Response(HTTPStatus.OK, "OK", headers, text)
        if path.split("/", 2)[1:2] == ["recordings"]:
            refusal = self._downloads.refuse(visitor)
            return self._load(connection, request) if refusal is None else _for_method(refusal, request)
        page = self._pages.get(path, request.headers.get("If-None-Match"))
        if page is not None:
            return _for_method(page, request)
        return connection.text_response(
            HTTPStatus.UPGRADE_REQUIRED, "There is no such page. This is a WebSocket server: connect to ws://.\n"
        )

    async def _load(self, connection: Connection, request: Request) -> Response:
        connection.extend_timeout(DOWNLOAD_TIMEOUT_S)
        async with self._download_slots:
            return _for_method(await asyncio.to_thread(self._downloads.load, request.path), request)


def _for_method(page: Response, request: Request) -> Response:
    return replace(page, body=b"") if request.method == "HEAD" else page
