"""Answers browsers that ask for a page or a download on the port of the WebSocket server."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ws_gateway.http.pages import Downloads, Page, Pages
from ws_gateway.websocket.connection import Connection

DOWNLOADS_MAX: Final = 2
"""Downloads at a time, each of which is held in memory; more of them wait."""
DOWNLOAD_TIMEOUT_S: Final = 300.0
"""64 MiB over a classroom's Wi-Fi at 2 Mbit/s."""


class HttpHandler:
    """Everyone who comes without a WebSocket."""

    def __init__(self, pages: Pages, downloads: Downloads) -> None:
        self._pages = pages
        self._downloads = downloads
        self._room = asyncio.Semaphore(DOWNLOADS_MAX)

    def answer(
        self, connection: Connection, request: Request, path: str, address: str
    ) -> Awaitable[Response] | Response | None:
        """The answer to a request; None where there is no such page."""
        if path.split("/", 2)[1:2] == ["recordings"]:
            refusal = self._downloads.refuse(request.path, request.headers.get("Authorization"), address)
            return self._load(connection, request, path) if refusal is None else _response(refusal, request)
        page = self._pages.get(path, request.headers.get("If-None-Match"))
        return None if page is None else _response(page, request)

    async def _load(self, connection: Connection, request: Request, path: str) -> Response:
        connection.allow(DOWNLOAD_TIMEOUT_S)
        async with self._room:
            page = await asyncio.to_thread(self._downloads.load, path)
        return _response(page, request)


def _response(page: Page, request: Request) -> Response:
    body = b"" if request.method == "HEAD" else page.body
    return Response(page.status, HTTPStatus(page.status).phrase, Headers(page.headers), body)
