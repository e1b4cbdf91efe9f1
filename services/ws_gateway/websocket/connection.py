"""Serve one TCP connection in callbacks: bytes to requests and messages and back, timeouts, flow control.

The WebSocket protocol itself is the websockets library's (its Sans-I/O layer). The library's asyncio layer costs a
queue, a future and a task for each message: twice the CPU, and several times the memory of a connection
(docs/decisions/0008).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from ws_gateway.websocket.handshake import Dialects, refusal_response, without_body
from ws_gateway.websocket.messages import FragmentedMessage
from ws_gateway.websocket.paced_reading import CONTROL_MESSAGES, PacedReader, Turns

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

PROGRESS_TIMEOUT_S: Final = 30.0
"""A download of which the client has taken nothing (one piece of it, 64 KiB) for so long ends."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class StreamedResponse(Response):
    """A response whose body comes in pieces, as fast as the client takes them. Each is made in one of ``threads``."""

    pieces: Iterator[bytes] = field(default_factory=lambda: iter(()))
    threads: Executor | None = None
    __hash__ = object.__hash__  # so that those under way can be counted


class Connection(PacedReader):
    """One TCP connection of the server, in asyncio's callbacks. While ``is_ignoring``, messages are dropped.

    ``is_plain_on_tls`` is True for a client that speaks plain HTTP where TLS is spoken. A connection comes to the front
    of the gateway; from its request on, ``server`` may be that of a site.
    """

    __slots__ = (
        "_answer",
        "_client",
        "_drained",
        "_fragmented",
        "_is_closing",
        "_is_pinged",
        "_protocol",
        "_timer",
        "_unsent_bytes",
        "is_ignoring",
        "is_plain_on_tls",
        "is_silent",
        "server",
    )

    def __init__(self, server: "Server", protocol: Dialects, turns: Turns) -> None:
        super().__init__(turns)
        self.server = server
        self._protocol = protocol
        self._client: ClientHandler | None = None
        self._fragmented: FragmentedMessage | None = None
        self._answer: asyncio.Task[None] | None = None
        self._drained: asyncio.Event | None = None
        self.is_ignoring = False
        self.is_plain_on_tls = False
        self.is_silent = True
        self._is_closing = False
        self._is_pinged = False
        self._unsent_bytes = 0

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
        return refusal_response(self._protocol, status, text)

    def close(self, code: int, reason: str = "") -> None:
        """Drop all messages from now on, and close the WebSocket connection with a code. Idempotent."""
        self.is_ignoring = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()

    def end(self, code: int, reason: str) -> None:
        """Close the WebSocket connection with a code, and do not wait for the client to close its end."""
        self.close(code, reason)
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def move_to(self, server: "Server") -> None:
        """Belong to a site from now on: to its server, its turns and its share of the time."""
        self.server = server
        self.belong_to(server, server.share)

    def on_bad_tls(self) -> None:
        """Count that the handshake of TLS failed."""
        self.server.on_bad_tls()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        super().connection_made(transport)
        self._transport.set_write_buffer_limits(SEND_BUFFER_BYTES)
        self._timer = asyncio.get_running_loop().call_later(OPEN_TIMEOUT_S, self.abort)
        self.belong_to(self.peer)
        self.server.on_connect(self)

    def eof_received(self) -> bool:  # noqa: D102
        if self._answer is not None and not self._answer.done():
            return True  # a client that has asked for a download and closed its end; the answer ends the connection
        self._protocol.receive_eof()
        self._flush()
        self._end_soon()  # the transport closes itself once it has sent everything, which a client may never take
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        super().connection_lost(exc)
        self.is_ignoring = True
        self._timer.cancel()
        if self._answer is not None:
            self._answer.cancel()
        self._protocol.receive_eof()
        # Both refer back to their protocol: without them no cycle is left for the garbage collector.
        self._protocol.parser.close()
        self._protocol.parser_exc = None
        self._release_client()
        self.server.on_close(self)

    def resume_writing(self) -> None:  # noqa: D102
        super().resume_writing()
        if self._drained is not None:
            self._drained.set()
        if self._client is not None:
            self._client.resume()

    def _on_piece(self, piece: bytes) -> int:
        protocol = self._protocol
        if protocol.eof_sent:  # the connection is at its end: nothing of it counts any more
            return CONTROL_MESSAGES
        was_open = protocol.state is State.OPEN
        protocol.receive_data(piece)
        messages = self._handle_events()
        if not was_open and protocol.state is State.OPEN:  # frames may have come together with the handshake
            protocol.receive_data(b"")
            messages += self._handle_events()
        if protocol.refused_status is not None:  # then this was the last piece
            self.server.on_bad_handshake(protocol.refused_status)
        if protocol.writes and not self._unsent_bytes:
            self._flush()
        return messages or CONTROL_MESSAGES

    def _handle_events(self) -> int:
        """Handle the request and the frames that the protocol has read; return as how many messages they count."""
        messages = 0
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                messages += self._on_frame(event)
            elif isinstance(event, Request):
                self._on_request(event)
        return messages

    def _on_request(self, request: Request) -> None:
        answer: Awaitable[Response | None] | Response | None
        try:
            answer = self.server.on_request(self, request)
        except Exception:  # a fault of ours ends this one connection only
            log.exception("a fault while answering a request")
            answer = self._fault_response()
        if isinstance(answer, Awaitable):
            self._timer.cancel()
            self._answer = asyncio.ensure_future(self._respond_later(request, answer))
        else:
            self._respond(request, answer)

    async def _respond_later(self, request: Request, answer: Awaitable[Response | None]) -> None:
        try:
            response = await answer
        except Exception:  # a fault of ours ends this one connection only
            log.exception("a fault while answering a request")
            response = self._fault_response()
        if self._transport.is_closing() or self._protocol.eof_sent:
            return
        if isinstance(response, StreamedResponse) and request.method != "HEAD":
            await self._stream(response)
        else:
            self._respond(request, response)

    async def _stream(self, response: StreamedResponse) -> None:
        """Send a response with its body; drop the connection if the client takes too little of it, or on a fault."""
        self._drained = asyncio.Event()
        self.server.on_first_message(self)  # it makes room for nobody: a download that is not taken ends by itself
        self._protocol.send_response(response)
        head, *_ = self._protocol.data_to_send()  # what follows would close our end before the body
        self._transport.write(head)
        try:
            while piece := await asyncio.get_running_loop().run_in_executor(
                response.threads, next, response.pieces, b""
            ):
                self._transport.write(piece)
                await self._drain()
        except TimeoutError:
            log.info("a client took nothing of a download for %.0f s", PROGRESS_TIMEOUT_S)
            self.abort()
            return
        except OSError as error:
            # A file that is gone, shorter or unreadable: the client notices that the end is missing.
            log.warning("a download ended early: %s", error.strerror or error)
            self.abort()
            return
        except Exception:
            log.exception("a fault ended a download")
            self.abort()
            return
        if not self._transport.is_closing():
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write_eof()
            self._end_soon()

    async def _drain(self) -> None:
        """Wait until the client has taken most of what was written. Raises TimeoutError."""
        while self._is_full and self._drained is not None:
            self._drained.clear()
            async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                await self._drained.wait()

    def _fault_response(self) -> Response:
        return self.text_response(HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway made a mistake; its log says more.\n")

    def _respond(self, request: Request, response: Response | None) -> None:
        if self._protocol.eof_sent:  # invalid bytes followed the request, and the library has closed the connection
            return
        if response is None:
            response = self._protocol.accept(request)
            if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                self.server.on_bad_handshake(response.status_code)
        if request.method == "HEAD":
            response = without_body(response)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is State.OPEN:
            self._start_timer(PING_PERIOD_S, self._ping)
            self.is_paced = False
            self._client = self.server.on_open(self, request)
        else:
            self.is_ignoring = True

    def _on_frame(self, frame: Frame) -> int:
        """Handle a frame; return as how many messages it counts."""
        is_whole = frame.fin and (frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY)
        if frame.opcode is Opcode.PONG:
            self._is_pinged = False
        elif frame.opcode is Opcode.CLOSE:  # nothing follows; the client's next connection may be quicker than its end
            self._release_client()
        elif frame.opcode <= Opcode.BINARY and not self.is_ignoring:
            try:
                message = self._message_of(frame) if is_whole else self._add_fragment(frame)
            except UnicodeDecodeError:
                self.is_ignoring = True
                self._protocol.fail(CloseCode.INVALID_DATA, "text must be UTF-8")
            else:
                if message is not None and self._client is not None:
                    if self.is_silent:
                        self.is_silent = False
                        self.server.on_first_message(self)
                    self._client.on_message(message)
        return 1 if is_whole else CONTROL_MESSAGES

    def _release_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_close()

    def _message_of(self, frame: Frame) -> bytes:
        """Return the message of a frame that is all of it. Raises UnicodeDecodeError."""
        message = bytes(frame.data)
        if frame.opcode is Opcode.TEXT:
            message.decode()
        return message

    def _add_fragment(self, frame: Frame) -> bytes | None:
        """Return the message that ends with this frame, if one does. Raises UnicodeDecodeError."""
        if frame.opcode is not Opcode.CONT:
            self._fragmented = FragmentedMessage(frame.opcode)
        if self._fragmented is None:  # the message began while messages were ignored
            return None
        message = self._fragmented.add(frame)
        if frame.fin:
            self._fragmented = None
        return message

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
            self._end_soon()
        elif not self._is_full and self._client is not None:
            self._client.resume()

    def _end_soon(self) -> None:
        """Give the other side time to take what was sent and to close its end."""
        if not self._is_closing:
            self.is_ignoring = self._is_closing = True
            self._start_timer(CLOSE_TIMEOUT_S, self.abort)

    def _start_timer(self, time_s: float, then: Callable[[], None]) -> None:
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(time_s, then)
