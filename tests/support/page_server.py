"""The gateway's pages without a gateway, in a folder of their address as behind a proxy; WebSockets are the test's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request

from ws_gateway.http.pages import Pages

FOLDER = "/x"
PRIVATE = ("/metrics", "/recordings", "/page/where.json")
"""Addresses that answer, and are not to be kept."""


class PageServer:
    """Serves the pages of a directory. ``is_away``: every connection is closed without an answer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.is_away = False
        self.cut: set[str] = set()
        """Paths that get no answer, once each."""
        self.port = 0
        self.read()

    def read(self) -> None:
        """Serve the files as they are now, as a gateway of another version does."""
        self._pages = Pages(self._directory)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}{FOLDER}/"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path.removeprefix(FOLDER)
        if self.is_away or path in self.cut:
            self.cut.discard(path)
            handler.close_connection = True
            return
        given = handler.path.removeprefix(FOLDER)
        page = self._pages.get(path, Request(given, Headers(handler.headers.items())))
        if page is None:
            body = b"{}" if path in PRIVATE else b""
            handler.send_response(200 if path in PRIVATE else 404)
            handler.send_header("Content-Type", "application/json")
        else:
            body = bytes(page.body or b"")
            handler.send_response(page.status_code)
            for name, value in page.headers.raw_items():
                if name not in ("Content-Length", "Connection", "Date"):
                    handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def served(directory: Path) -> Iterator[PageServer]:
    """Serve a directory of pages on a free port of localhost."""
    pages = PageServer(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages.answer(self)

        def log_message(self, *words: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # a browser asks for all modules at once

    with Server(("127.0.0.1", 0), Handler) as server:
        pages.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield pages
        server.shutdown()
