"""Requests that a gateway refuses, one of each kind."""

from typing import Final

_UPGRADE: Final = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
_KEY: Final = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
_VERSION: Final = "Sec-WebSocket-Version: 13\r\n"
_GOOD: Final = _UPGRADE + _KEY + _VERSION
_GET: Final = "GET / HTTP/1.1"

PARSED: Final[dict[str, tuple[int, str, str]]] = {
    "many headers": (431, _GET, _GOOD + "a: b\r\n" * 200),
    "long header": (431, _GET, _GOOD + "a: " + "x" * 9000 + "\r\n"),
    "headers of 0.8 MB": (431, _GET, _GOOD + "".join(f"X-{n}: {'x' * 8000}\r\n" for n in range(100))),
    "long address": (414, "GET /" + "x" * 9000 + " HTTP/1.1", _GOOD),
    "method only": (400, "GET", _GOOD),
    "other protocol": (400, "GET / SIP/2.0", _GOOD),
    "other version": (505, "GET / HTTP/2.0", _GOOD),
    "address that is not ASCII": (400, "GET /\xe9 HTTP/1.1", _GOOD),
    "header without colon": (400, _GET, _GOOD + "no colon\r\n"),
    "body": (400, _GET, _GOOD + "Content-Length: 5\r\n"),
    "chunks": (400, _GET, _GOOD + "Transfer-Encoding: chunked\r\n"),
    "POST with a body": (405, "POST / HTTP/1.1", _GOOD + "Content-Length: 5\r\n"),
    "POST": (405, "POST / HTTP/1.1", _GOOD),
    "HTTP/1.0": (505, "GET / HTTP/1.0", _GOOD),
    "no connection": (426, _GET, "Upgrade: websocket\r\n" + _KEY + _VERSION),
    "other upgrade": (426, _GET, "Upgrade: h2c\r\nConnection: Upgrade\r\n" + _KEY + _VERSION),
    "bad upgrade": (400, _GET, "Upgrade: a b c\r\nConnection: Upgrade\r\n" + _KEY + _VERSION),
    "bad connection": (400, _GET, "Upgrade: websocket\r\nConnection: a b\r\n" + _KEY + _VERSION),
    "no key": (400, _GET, _UPGRADE + _VERSION),
    "bad key": (400, _GET, _UPGRADE + _VERSION + "Sec-WebSocket-Key: x\r\n"),
    "short key": (400, _GET, _UPGRADE + _VERSION + "Sec-WebSocket-Key: AAAA\r\n"),
    "no version": (400, _GET, _UPGRADE + _KEY),
    "old version": (400, _GET, _UPGRADE + _KEY + "Sec-WebSocket-Version: 8\r\n"),
    "two versions": (400, _GET, _GOOD + _VERSION),
    "bad subprotocol": (400, _GET, _GOOD + "Sec-WebSocket-Protocol: a b\r\n"),
}
"""Status, first line and headers of those that the handshake refuses."""
JUDGED: Final[dict[str, tuple[int, str, str]]] = {
    "two keys": (400, _GET, _GOOD + _KEY),
    "two origins": (400, _GET, _GOOD + "Origin: http://a\r\nOrigin: http://b\r\n"),
    "two tokens": (400, _GET, _GOOD + "Authorization: a\r\nAuthorization: b\r\n"),
    "two tokens of a browser": (400, "GET /recordings HTTP/1.1", "Authorization: a\r\nAuthorization: b\r\n"),
    "bad address": (400, "GET //[ HTTP/1.1", _GOOD),
    "bad address of a browser": (400, "GET //[ HTTP/1.1", ""),
    "two ranges": (400, "GET / HTTP/1.1", "Range: bytes=0-1\r\nRange: bytes=2-3\r\n"),
    "unknown page": (404, "GET /none HTTP/1.1", ""),
    "PUT": (405, "PUT / HTTP/1.1", ""),
    "DELETE": (405, "DELETE /recordings/files/Ana.csv HTTP/1.1", ""),
    "a proxy that takes off Upgrade": (426, _GET, _KEY + _VERSION),
}
"""The same of those that the server refuses."""
LARGE: Final = "".join(f"X-{number}: {'x' * 7000}\r\n" for number in range(4))
"""Headers that nearly fill a request."""


def request(line: str, headers: str, more: str = "") -> bytes:
    """Make the bytes of a request."""
    return f"{line}\r\nHost: x\r\n{more}{headers}\r\n".encode("latin-1")
