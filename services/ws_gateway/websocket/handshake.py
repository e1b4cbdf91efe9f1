"""Read a client's request within limits, answer every faulty one, and keep nothing of those that are refused."""

import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from websockets.exceptions import (
    HeaderLineTooLong,
    RequestLineTooLong,
    SecurityError,
    TooManyHeaders,
    WebSocketException,
)
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ws_gateway.dialects.v1 import SUBPROTOCOL

REQUEST_MAX_BYTES: Final = 32 * 1024
"""A request with all its headers, as in nginx; one line has at most the library's 8 KiB, as in most servers. Browsers
send 1 kB, and up to some kB of cookies that other pages of the same host have set."""
METHODS: Final = ("GET", "HEAD")
_OTHER_VERSION: Final = re.compile(rb" HTTP/(?!1\.[01]\r)\d\.\d\r\n$")


class RequestTooLarge(SecurityError):
    """The request has more than REQUEST_MAX_BYTES."""


class Dialects(ServerProtocol):
    """The WebSocket protocol: the new dialect for clients that offer it, the first one for all others.

    ``refused_status`` is the status of the answer to a request that could not be parsed.
    """

    refused_status: HTTPStatus | None = None

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the new dialect if the client offers it."""
        return next((each for each in subprotocols if each == SUBPROTOCOL), None)

    def accept(self, request: Request) -> Response:
        """Answer a handshake. Of a refused one no traceback is kept: it would hold the request in a cycle."""
        response = super().accept(request)
        error: BaseException | None = self.handshake_exc
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__
        return response

    def parse(self) -> Generator[None]:
        """Parse the request, then frames. The library would close the connection of a faulty request in silence."""
        if self.state is State.CONNECTING:
            lines = _Lines(self)
            request = None
            try:
                request = yield from Request.parse(lines.read)
            except (EOFError, ValueError, NotImplementedError, WebSocketException) as error:
                refusal = _refusal(error, lines.first)
            if request is None:
                if self.reader.eof and not lines.size_bytes:  # a port scan: nothing was asked
                    self.send_eof()
                    self.parser = self.discard()
                    next(self.parser)
                else:
                    self.refused_status, text = refusal
                    response = refusal_response(self, self.refused_status, text)
                    if (lines.first or self.reader.buffer).startswith(b"HEAD "):
                        response = without_body(response)
                    self.send_response(response)
                yield
                return
            self.events.append(request)
            yield  # what came with the request counts only for a WebSocket: see Connection
            while self.state is State.CONNECTING:  # an answer that takes its time: what comes meanwhile is not for us
                self.reader.discard()
                yield
        yield from Protocol.parse(self)


class _Lines:
    """The lines of a request, within its limit."""

    def __init__(self, protocol: ServerProtocol) -> None:
        self._reader = protocol.reader
        self.first = b""
        self.size_bytes = 0

    def read(self, most: int, too_long: type[Exception] = RuntimeError) -> Generator[None, None, bytearray]:
        """Read a line of at most ``most`` bytes. Raises RequestTooLarge, ``too_long``, EOFError."""
        line = yield from self._reader.read_line(most, too_long)
        if line == b"\r\n" and not self.size_bytes:  # some clients end a request with one more (RFC 9112, 2.2)
            self.size_bytes += len(line)
            line = yield from self._reader.read_line(most, too_long)
        self.first = self.first or bytes(line)
        self.size_bytes += len(line)
        if self.size_bytes > REQUEST_MAX_BYTES:
            raise RequestTooLarge
        return line


def refusal_response(protocol: ServerProtocol, status: HTTPStatus, text: str) -> Response:
    """Make a short answer; it names the methods to one that is not allowed."""
    response = protocol.reject(status, text)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(METHODS)
    return response


def without_body(response: Response) -> Response:
    """Return the answer to HEAD: all headers of the answer to GET, and no body."""
    return replace(response, body=b"")


def _refusal(error: Exception, first_line: bytes) -> tuple[HTTPStatus, str]:
    """Return the status and the text of the answer to a faulty request."""
    method, _, rest = first_line.partition(b" ")
    if isinstance(error, RequestLineTooLong):
        return HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long.\n"
    if isinstance(error, HeaderLineTooLong | TooManyHeaders | RequestTooLarge):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too long: delete this site's cookies.\n"
    if _OTHER_VERSION.search(rest):
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This server speaks HTTP/1.1.\n"
    if rest.endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")) and method.isalpha() and method.decode() not in METHODS:
        return HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are allowed.\n"
    return HTTPStatus.BAD_REQUEST, "This is no valid HTTP request.\n"
