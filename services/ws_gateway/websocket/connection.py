"""Serve one TCP connection in callbacks: bytes to requests and messages and back, timeouts, flow control.

The WebSocket protocol itself is the websockets library's (its Sans-I/O layer). The library's asyncio layer costs a
queue, a future and a task for each message: twice the CPU, and several times the memory of a connection
(docs/decisions/0008).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ws_gateway.dialects.v1 import SUBPROTOCOL

if TYPE_CHECKING:  # these two import this module
    from ws_gateway.dialects.handlers import ClientHandler
    from ws_gateway.websocket.server import Server

OPEN_TIMEOUT_S: Final = 5.0
"""A connection without a complete request in this time is closed."""
PING_PERIOD_S: Final = 20.0
"""Below the 60 s after which reverse proxies close a silent connection. A ping must be answered before the next one."""
CLOSE_TIMEOUT_S: Final = 5.0
"""How long the other side may take to close its end."""
SEND_BUFFER_BYTES: Final = 32 * 1024
"""What may wait in the connection; the rest waits in the send queue, where it can be conflated."""

log = logging.getLogger(__name__)


class Dialects(ServerProtocol):
    """The WebSocket protocol: the new dialect for clients that offer it, the first one for all others."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the new dialect if the client offers it."""
        return next((each for each in subprotocols if each == SUBPROTOCOL), None)


class Connection(asyncio.Protocol):
    """One TCP connection of the server, in asyncio's callbacks. While ``is_ignoring``, messages are dropped."""

    __slots__ = (
        "_answer",
        "_client",
        "_close_timeout_s",
        "_fragments",
        "_held_events",
        "_is_closing",
        "_is_full",
        "_is_pinged",
        "_pause",
        "_protocol",
        "_server",
        "_timer",
        "_transport",
        "_unsent_bytes",
        "is_ignoring",
    )

    def __init__(self, server: "Server", protocol: ServerProtocol) -> None:
        self._server = server
        self._protocol = protocol
        self._client: ClientHandler | None = None
        self._held_events: list[Event] = []
        self._fragments = b""
        self._answer: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self.is_ignoring = False
        self._is_closing = False
        self._is_full = False
        self._is_pinged = False
        self._unsent_bytes = 0
        self._close_timeout_s = CLOSE_TIMEOUT_S

    @property
    def peer(self) -> str:
        """The address of the other end; empty for one that has none."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def is_open(self) -> bool:
        """True while messages can be sent."""
        return self._protocol.state is State.OPEN

    @property
    def has_room(self) -> bool:
        """True if a message sent now does not wait for the client."""
        return not self._is_full and self._unsent_bytes < SEND_BUFFER_BYTES

    @property
    def subprotocol(self) -> str | None:
        """The dialect agreed on; None for the first one."""
        return self._protocol.subprotocol

    def send(self, message: str) -> None:
        """Send a text message, in one write with all others of this turn of the loop. Ignored while closing."""
        if self._protocol.state is State.OPEN:
            content = message.encode()
            self._protocol.send_text(content)
            if not self._unsent_bytes:
                asyncio.get_running_loop().call_soon(self._flush)
            self._unsent_bytes += len(content) + 1

    def text_response(self, status: HTTPStatus, text: str) -> Response:
        """Make a short answer to a request."""
        return self._protocol.reject(status, text)

    def close(self, code: int, reason: str = "") -> None:
        """Drop all messages from now on, and close the WebSocket connection with a code. Idempotent."""
        self.is_ignoring = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def extend_timeout(self, time_s: float) -> None:
        """Allow this long to make the answer, and again to send it."""
        self._close_timeout_s = time_s
        self._start_timer(time_s, self.abort)

    def pause_reading(self, time_s: float) -> None:
        """Read nothing for this long, and handle nothing that was read already."""
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(time_s, self._resume_reading)
            self._update_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(SEND_BUFFER_BYTES)
        self._timer = asyncio.get_running_loop().call_later(OPEN_TIMEOUT_S, self.abort)
        self._server.on_connect(self)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._protocol.receive_data(data)
        self._on_events(self._protocol.events_received())
        if not self._unsent_bytes:
            self._flush()

    def eof_received(self) -> None:  # noqa: D102
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self.is_ignoring = True
        self._timer.cancel()
        if self._pause is not None:
            self._pause.cancel()
        if self._answer is not None:
            self._answer.cancel()
        self._protocol.receive_eof()
        # Both refer back to their protocol: without them no cycle is left for the garbage collector.
        self._protocol.parser.close()
        self._protocol.parser_exc = None
        client, self._client = self._client, None
        if client is not None:
            client.on_close()
        self._server.on_close(self)

    def pause_writing(self) -> None:  # noqa: D102
        self._is_full = True
        self._update_reading()

    def resume_writing(self) -> None:  # noqa: D102
        self._is_full = False
        self._update_reading()
        if self._client is not None:
            self._client.resume()

    def _on_events(self, events: list[Event]) -> None:
        for number, event in enumerate(events):
            if self._pause is not None:
                self._held_events = events[number:]
                return
            if isinstance(event, Frame):
                self._on_frame(event)
            elif isinstance(event, Request):
                self._on_request(event)

    def _on_request(self, request: Request) -> None:
        answer = self._server.on_request(self, request)
        if isinstance(answer, Awaitable):
            self._timer.cancel()
            self._answer = asyncio.ensure_future(self._respond_later(request, answer))
        else:
            self._respond(request, answer)

    async def _respond_later(self, request: Request, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:  # a fault of ours ends this one connection only
            log.exception("a fault while answering a browser")
            response = self.text_response(
                HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway made a mistake; its log says more.\n"
            )
        if not self._transport.is_closing():
            self._respond(request, response)

    def _respond(self, request: Request, response: Response | None) -> None:
        if self._protocol.eof_sent:  # invalid bytes followed the request, and the library has closed the connection
            return
        if response is None:
            response = self._protocol.accept(request)
            if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                self._server.on_bad_handshake(response.status_code)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is State.OPEN:
            self._start_timer(PING_PERIOD_S, self._ping)
            self._client = self._server.on_open(self, request)
        else:
            self.is_ignoring = True

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._is_pinged = False
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and not self.is_ignoring:
            message = self._fragments + bytes(frame.data)
            self._fragments = b"" if frame.fin else message
            if frame.fin and self._client is not None:
                self._client.on_message(message)

    def _ping(self) -> None:
        if self._is_pinged:
            self._protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        else:
            self._is_pinged = True
            self._protocol.send_ping(b"")
            self._start_timer(PING_PERIOD_S, self._ping)
        self._flush()

    def _flush(self) -> None:
        """Write what the protocol has to send; if that ends the connection, give the other side time to close."""
        self._unsent_bytes = 0
        writes = self._protocol.data_to_send()
        if not writes or self._transport.is_closing():
            return
        self._transport.write(writes[0] if len(writes) == 1 else b"".join(writes))
        if not writes[-1]:
            with contextlib.suppress(OSError, RuntimeError):  # the other end may be gone
                self._transport.write_eof()
        if self._protocol.close_expected():
            if not self._is_closing:
                self.is_ignoring = self._is_closing = True
                self._start_timer(self._close_timeout_s, self.abort)
        elif not self._is_full and self._client is not None:
            self._client.resume()

    def _start_timer(self, time_s: float, then: Callable[[], None]) -> None:
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(time_s, then)

    def _resume_reading(self) -> None:
        self._pause = None
        held, self._held_events = self._held_events, []
        self._on_events(held)
        self._update_reading()

    def _update_reading(self) -> None:
        """Stop reading while the client takes nothing (even pongs need room) or while paused."""
        if self._transport.is_closing():
            return
        if self._is_full or self._pause is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
