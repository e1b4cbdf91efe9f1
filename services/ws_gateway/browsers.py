"""Answers browsers that ask for a page or a download on the port of the WebSocket server."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ws_gateway.pages import Downloads, Page, Pages

OPEN_TIMEOUT_S: Final = 5.0
DOWNLOADS_MAX: Final = 2
"""Downloads at a time, each of which is held in memory; more of them wait."""
DOWNLOAD_TIMEOUT_S: Final = 300.0
"""64 MiB over a classroom's Wi-Fi at 2 Mbit/s."""


class Connection(ServerConnection):
    """Hangs up on who asks for nothing in time; the answer to a browser may take longer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 (asyncio's name)
        super().connection_made(transport)
        self._patience = self.loop.call_later(OPEN_TIMEOUT_S, self.transport.abort)

    def process_event(self, event: Any) -> None:  # noqa: D102 (websockets' name)
        self._patience.cancel()
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102 (asyncio's name)
        self._patience.cancel()
        super().connection_lost(exc)

    def allow(self, time_s: float) -> None:
        """From now on the connection may take so long to end."""
        self.close_timeout = time_s
        self._patience = self.loop.call_later(time_s, self.transport.abort)


class Browsers:
    """Everyone who comes without a WebSocket."""

    def __init__(self, pages: Pages, downloads: Downloads) -> None:
        self._pages = pages
        self._downloads = downloads
        self._room = asyncio.Semaphore(DOWNLOADS_MAX)
        self._loading: set[Connection] = set()

    def answer(
        self, connection: ServerConnection, request: Request, path: str, address: str
    ) -> Awaitable[Response] | Response | None:
        """The answer to a request; None where there is no such page."""
        if path.split("/", 2)[1:2] == ["recordings"]:
            refusal = self._downloads.refuse(request.path, request.headers.get("Authorization"), address)
            return (
                self._load(cast(Connection, connection), request, path)
                if refusal is None
                else _response(refusal, request)
            )
        page = self._pages.get(path, request.headers.get("If-None-Match"))
        return None if page is None else _response(page, request)

    def hang_up(self) -> None:
        """The gateway stops: it waits for no download."""
        for connection in self._loading:
            connection.transport.abort()

    async def _load(self, connection: Connection, request: Request, path: str) -> Response:
        connection.allow(DOWNLOAD_TIMEOUT_S)
        self._loading.add(connection)
        connection.connection_lost_waiter.add_done_callback(lambda _: self._loading.discard(connection))
        async with self._room:
            page = await asyncio.to_thread(self._downloads.load, path)
        return _response(page, request)


def _response(page: Page, request: Request) -> Response:
    body = b"" if request.method == "HEAD" else page.body
    return Response(page.status, HTTPStatus(page.status).phrase, Headers(page.headers), body)
