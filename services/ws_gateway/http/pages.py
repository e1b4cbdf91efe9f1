"""What a browser gets over plain HTTP: the teacher's page, the student's test page and what was recorded."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from ws_gateway.access import token_given
from ws_gateway.http.recordings import NotListed, Recordings, TooLarge

PAGE: Final = Path(__file__).parents[1] / "page"
CLIENT: Final = "neuroone.js"
CHECKOUT: Final = Path(__file__).parents[3] / "clients"
"""Where the one copy of the client lies in a checkout; an installed package has it among the page's files."""
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
DOORS: Final = {"/": "/page/index.html", "/student": "/page/student.html"}
SAFE: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""For every answer: nothing from elsewhere, nothing inline, and the token in the address goes nowhere."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: HTTPStatus
    headers: Mapping[str, str]
    body: bytes


class Pages:
    """The files of the page. An unchanged one is not sent again: its ETag is a hash of it."""

    def __init__(self) -> None:
        files = {f"/page/{file.relative_to(PAGE).as_posix()}": file for file in PAGE.rglob("*") if file.suffix in TYPES}
        files.setdefault(f"/page/{CLIENT}", CHECKOUT / CLIENT)
        self._pages = {path: _static(file) for path, file in files.items()}

    def get(self, path: str, etag: str | None) -> Page | None:
        """The page at a path, or that it is unchanged; None where there is none."""
        page = self._pages.get(DOORS.get(path, path))
        if page is not None and etag is not None and page.headers["ETag"] in etag:
            return Page(HTTPStatus.NOT_MODIFIED, page.headers, b"")
        return page


class Downloads:
    """What was recorded, for whoever may watch: ``/recordings`` lists it, below it are the files and sessions.

    ``recordings`` is None where this gateway does not see the recorder's directory.
    """

    def __init__(self, recordings: Recordings | None, may_watch: Callable[[str | None, str], bool]) -> None:
        self._recordings = recordings
        self._may_watch = may_watch

    def refuse(self, target: str, authorization: str | None, address: str) -> Page | None:
        """The answer to who may not have anything; None for who may."""
        if not self._may_watch(token_given(target, authorization), address):
            return _words(HTTPStatus.UNAUTHORIZED, "This server wants a token.\n", {"WWW-Authenticate": "Bearer"})
        if self._recordings is None:
            return _words(HTTPStatus.NOT_FOUND, "Recordings are not available here.\n")
        return None

    def load(self, path: str) -> Page:
        """The answer to who may. Reads files: for a thread of its own."""
        if self._recordings is None:
            return _NOTHING
        try:
            match unquote(path, errors="strict").split("/")[2:]:
                case []:
                    return _page(HTTPStatus.OK, "application/json", self._recordings.listing())
                case ["files", name]:
                    return _saved("text/csv; charset=utf-8", name, self._recordings.file(name))
                case ["sessions", date, name] if name.endswith(".zip"):
                    return _saved("application/zip", f"{date}_{name}", self._recordings.session(date, name[:-4]))
        except (NotListed, UnicodeDecodeError):
            pass
        except TooLarge as error:
            return _words(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{error}\n")
        except OSError as error:
            return _words(HTTPStatus.INTERNAL_SERVER_ERROR, f"It cannot be read ({error.strerror}).\n")
        return _NOTHING


def _static(file: Path) -> Page:
    body = file.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return _page(HTTPStatus.OK, TYPES[file.suffix], body, {"Cache-Control": "no-cache", "ETag": etag})


def _saved(kind: str, name: str, body: bytes) -> Page:
    return _page(HTTPStatus.OK, kind, body, {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"})


def _words(status: HTTPStatus, text: str, more: Mapping[str, str] | None = None) -> Page:
    return _page(status, "text/plain; charset=utf-8", text.encode(), more)


def _page(status: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] | None = None) -> Page:
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    return Page(status, {"Cache-Control": "no-store", **SAFE, **headers, **(more or {})}, body)


_NOTHING: Final = _words(HTTPStatus.NOT_FOUND, "There is no such recording.\n")
