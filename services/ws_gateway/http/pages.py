"""Serve the teacher's page, the student's test page and downloads of recordings."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from websockets.datastructures import Headers
from websockets.http11 import Response

from ws_gateway.access import Grant
from ws_gateway.http.pieces import of_file
from ws_gateway.http.recordings import Recordings, wanted
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import StreamedResponse

PAGE: Final = Path(__file__).parents[1] / "page"
CLIENT: Final = "neuroone.js"
CHECKOUT: Final = Path(__file__).parents[3] / "clients"
"""Folder of the client in a checkout; an installed package has it among the page's files."""
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
ENTRANCES: Final = {"/": "/page/index.html", "/student": "/page/student.html"}
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer: nothing from elsewhere, nothing inline, and the token in the address is sent nowhere."""


class Pages:
    """The page's files, in memory. An unchanged one is not sent again: its ETag is its hash."""

    def __init__(self) -> None:
        files = {f"/page/{file.relative_to(PAGE).as_posix()}": file for file in PAGE.rglob("*") if file.suffix in TYPES}
        files.setdefault(f"/page/{CLIENT}", CHECKOUT / CLIENT)
        self._pages = {path: _static_page(file) for path, file in files.items()}

    def get(self, path: str, etag: str | None) -> Response | None:
        """Return the page at a path, or that it is unchanged; None if there is no such page."""
        page = self._pages.get(ENTRANCES.get(path, path))
        if page is not None and etag is not None and page.headers["ETag"] in etag:
            return Response(HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_MODIFIED.phrase, page.headers)
        return page


class Downloads:
    """Recordings, for teachers: ``/recordings`` lists them, the files and sessions are below it.

    ``recordings`` is None if this gateway cannot read the recorder's directory; ``grant_of`` tells what a visitor may.
    """

    def __init__(self, recordings: Recordings | None, grant_of: Callable[[Visitor], Grant | None]) -> None:
        self._recordings = recordings
        self._grant_of = grant_of

    def refuse(self, visitor: Visitor) -> Response | None:
        """Return the answer to a client that may not download; None for one that may."""
        grant = self._grant_of(visitor)
        if grant is None:
            return _text_page(HTTPStatus.UNAUTHORIZED, "This server wants a token.\n", {"WWW-Authenticate": "Bearer"})
        if not grant.is_teacher:
            return _text_page(HTTPStatus.FORBIDDEN, "Only the teacher's token opens recordings.\n")
        return None

    def load(self, target: str) -> Response:
        """Return what a client that may download asks for. Reads files: call it in a thread."""
        path, _, query = target.partition("#")[0].partition("?")
        if self._recordings is None:
            return _text_page(HTTPStatus.NOT_FOUND, "Recordings are not available here.\n")
        try:
            match unquote(path, errors="strict").split("/")[2:]:
                case []:
                    return self._list(self._recordings, query)
                case ["files", name]:
                    size_bytes, pieces = self._recordings.file(name)
                    return _streamed("text/csv; charset=utf-8", pieces, size_bytes, name)
                case ["sessions", date, name] if name.endswith(".zip"):
                    pieces = self._recordings.session(date, name[:-4])
                    return _streamed("application/zip", pieces, name=f"{date}_{name}")
        except (KeyError, UnicodeDecodeError):
            pass
        except OSError as error:
            return _text_page(HTTPStatus.INTERNAL_SERVER_ERROR, f"It cannot be read ({error.strerror}).\n")
        return _text_page(HTTPStatus.NOT_FOUND, "There is no such recording.\n")

    def _list(self, recordings: Recordings, query: str) -> Response:
        try:
            of_page = wanted(query)
        except ValueError as error:
            return _text_page(HTTPStatus.BAD_REQUEST, f"{error}\n")
        body = recordings.listing() if of_page is None else recordings.page(of_page)
        return _streamed("application/json", of_file(io.BytesIO(body), len(body)), len(body))


def _static_page(file: Path) -> Response:
    body = file.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return _page(HTTPStatus.OK, TYPES[file.suffix], body, {"Cache-Control": "no-cache", "ETag": etag})


def _streamed(kind: str, pieces: Iterator[bytes], size_bytes: int | None = None, name: str | None = None) -> Response:
    first = next(pieces, b"")  # a file that cannot be read is noticed before the answer begins
    page = _page(HTTPStatus.OK, kind, b"")
    del page.headers["Content-Length"]
    if size_bytes is not None:
        page.headers["Content-Length"] = str(size_bytes)
    if name is not None:
        page.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    all_pieces = chain((first,) if first else (), pieces)
    return StreamedResponse(page.status_code, page.reason_phrase, page.headers, pieces=all_pieces)


def _text_page(status: HTTPStatus, text: str, more: Mapping[str, str] | None = None) -> Response:
    return _page(status, "text/plain; charset=utf-8", text.encode(), more)


def _page(status: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] | None = None) -> Response:
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    all_headers = {"Cache-Control": "no-store", **SECURITY_HEADERS, **headers, **(more or {})}
    return Response(status, status.phrase, Headers(all_headers), body)
