"""Make responses, all with the same headers."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from http import HTTPStatus
from itertools import chain
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ws_gateway.access import Grant
from ws_gateway.http.conditions import Version, select
from ws_gateway.websocket.connection import StreamedResponse
from ws_gateway.websocket.handshake import METHODS

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Nothing from elsewhere, nothing inline, and the token in the address is sent nowhere."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def policy(inline: bytes) -> str:
    """Return the content security policy of pages in which this one script may stand (CSP level 2, hash-source)."""
    digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
    return POLICY.replace("script-src 'self'", f"script-src 'self' 'sha256-{digest}'")


def of_bytes(status: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] | None = None) -> Response:
    """Answer with a body of one type."""
    content = {"Content-Type": kind, "Content-Length": str(len(body))}
    return Response(status, status.phrase, _headers(content, more), body)


def of_text(status: HTTPStatus, text: str, more: Mapping[str, str] | None = None) -> Response:
    """Answer with a text for people."""
    return of_bytes(status, "text/plain; charset=utf-8", text.encode(), more)


def of_json(content: object) -> Response:
    """Answer with JSON that is good for this moment only."""
    body = json.dumps(content).encode()
    return of_bytes(HTTPStatus.OK, "application/json", body, {"Cache-Control": "no-store"})


def unless_page(request: Request) -> Response | None:
    """Return the answer to what asks for no page; None to a proper request of one."""
    if request.method not in METHODS:
        allow = {"Allow": ", ".join(METHODS)}
        return of_text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are allowed.\n", allow)
    if "Host" not in request.headers and request.protocol == "HTTP/1.1":
        return of_text(HTTPStatus.BAD_REQUEST, "The header Host is missing.\n")
    if "Sec-WebSocket-Key" in request.headers:  # a proxy on the way has taken the header Upgrade off
        upgrade = {"Upgrade": "websocket"}
        return of_text(HTTPStatus.UPGRADE_REQUIRED, "The header Upgrade is missing.\n", upgrade)
    return None


def unless_granted(grant: Grant | None) -> Response | None:
    """Return the answer to a client that shows no valid token; None to any other."""
    more = {"WWW-Authenticate": "Bearer"}
    return None if grant else of_text(HTTPStatus.UNAUTHORIZED, "This server wants a token.\n", more)


def unless_teacher(grant: Grant | None, denied: str) -> Response | None:
    """Return the answer to a client that is no teacher: ``denied`` to one that only watches; None to a teacher."""
    if grant is None:
        return unless_granted(grant)
    return None if grant.is_teacher else of_text(HTTPStatus.FORBIDDEN, denied)


def to_https(request: Request) -> Response:
    """Lead a browser that spoke http to the port of https; tell everybody else what is spoken there."""
    text = "This port speaks https and wss: write https:// or wss:// in the address.\n"
    host = request.headers.get_all("Host")
    is_clear = len(host) == 1 and _HOST.fullmatch(host[0]) and request.path.startswith("/")
    if "Upgrade" in request.headers or not is_clear:
        return of_text(HTTPStatus.BAD_REQUEST, text)
    return of_text(HTTPStatus.TEMPORARY_REDIRECT, text, {"Location": f"https://{host[0]}{request.path}"})


def of_pieces(
    kind: str,
    pieces: Iterator[bytes],
    size_bytes: int | None = None,
    more: Mapping[str, str] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> StreamedResponse:
    """Answer with a body that is sent in pieces. Raises OSError if the first one cannot be read."""
    first = next(pieces, b"")  # a file that cannot be read is noticed before the answer begins
    size = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
    all_pieces = chain((first,) if first else (), pieces)
    headers = _headers({"Content-Type": kind, **size}, more)
    return StreamedResponse(status, status.phrase, headers, pieces=all_pieces)


def of_version(
    request: Request,
    version: Version,
    answer: Callable[[HTTPStatus, slice, Mapping[str, str]], Response],
    more: Mapping[str, str],
) -> Response:
    """Answer with what a request gets of a file; ``answer`` makes the response with a part of it."""
    found = select(request, version)
    headers = {**version.headers, **more}
    match found.status:
        case HTTPStatus.NOT_MODIFIED:
            return Response(found.status, found.status.phrase, _headers({}, headers))
        case HTTPStatus.PRECONDITION_FAILED:
            return of_text(found.status, "The file has changed: load it from its beginning.\n", version.headers)
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            size = {"Content-Range": f"bytes */{version.size_bytes}"}
            return of_text(found.status, "The file has no such bytes.\n", {**version.headers, **size})
        case HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {found.start}-{found.stop - 1}/{version.size_bytes}"
    return answer(found.status, slice(found.start, found.stop), headers)


def _headers(content: Mapping[str, str], more: Mapping[str, str] | None) -> Headers:
    always = {"Date": formatdate(usegmt=True), "Connection": "close", "Cache-Control": "no-store"}
    return Headers({**always, **SECURITY_HEADERS, **content, **(more or {})})
