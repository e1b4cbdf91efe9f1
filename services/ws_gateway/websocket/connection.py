"""One connection in callbacks: bytes to requests and messages, and back, with its timeouts and its flow control.

What the bytes mean is the websockets library's matter (its Sans-I/O layer). Its asyncio layer costs a message a queue,
a future and a task: twice the CPU, and several times the memory of a connection (docs/decisions/0008).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ws_gateway.dialects.v1 import SUBPROTOCOL

OPEN_TIMEOUT_S: Final = 5.0
"""Who asks for nothing in this time only takes up room."""
PING_PERIOD_S: Final = 20.0
"""Below the 60 s after which reverse proxies close a silent connection. A ping is answered before the next is due."""
CLOSE_TIMEOUT_S: Final = 5.0
ROOM_BYTES: Final = 32 * 1024
"""What may wait in the connection; what is beyond it waits in the outlet, where it can be conflated."""

log = logging.getLogger(__name__)


class Guest(Protocol):
    """Who is at the other end of a WebSocket connection."""

    def hear(self, message: bytes) -> None:
        """A whole message arrived, text or not."""
        ...

    def go_on(self) -> None:
        """The connection has room again."""
        ...

    def leave(self) -> None:
        """The connection is over."""
        ...


class Host(Protocol):
    """Who receives connections."""

    def arrived(self, connection: "Connection") -> None:
        """Somebody connected."""
        ...

    def answer(self, connection: "Connection", request: Request) -> Awaitable[Response] | Response | None:
        """The answer to a request; None lets a WebSocket client in."""
        ...

    def greet(self, connection: "Connection", request: Request) -> Guest:
        """A WebSocket client is in."""
        ...

    def left(self, connection: "Connection") -> None:
        """The connection is over."""
        ...


class Dialects(ServerProtocol):
    """The WebSocket protocol, with the new dialect for those who offer it and the first one for everybody else."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """What is agreed on of what a client offers."""
        return next((each for each in subprotocols if each == SUBPROTOCOL), None)


class Connection(asyncio.Protocol):
    """One TCP connection of a host. The methods are asyncio's, the library's words are kept to this class."""

    __slots__ = (
        "_answering",
        "_guest",
        "_held",
        "_host",
        "_is_deaf",
        "_is_due",
        "_is_ending",
        "_is_full",
        "_is_pinged",
        "_loop",
        "_part",
        "_patience_s",
        "_protocol",
        "_resting",
        "_timer",
        "_transport",
        "_unsent_bytes",
        "peer",
    )

    def __init__(self, host: Host, protocol: ServerProtocol) -> None:
        self._host = host
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._guest: Guest | None = None
        self._held: list[Event] = []
        self._part: bytearray | None = None
        self._answering: asyncio.Task[None] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._is_due = False
        self._is_ending = False
        self._is_full = False
        self._is_pinged = False
        self._unsent_bytes = 0
        self._patience_s = CLOSE_TIMEOUT_S
        self.peer = ""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is State.OPEN

    @property
    def has_room(self) -> bool:
        """Whether a message that is sent now goes out without waiting for the client."""
        return not self._is_full and self._unsent_bytes < ROOM_BYTES

    @property
    def subprotocol(self) -> str | None:
        """The dialect that was agreed on; None for the first one."""
        return self._protocol.subprotocol

    def send(self, message: str) -> None:
        """Send a text message, with all others of this turn of the loop. Nothing once the connection is closing."""
        if self._protocol.state is State.OPEN:
            content = message.encode()
            self._protocol.send_text(content)
            self._unsent_bytes += len(content)
            if not self._is_due:
                self._is_due = True
                self._loop.call_soon(self._flush)

    def respond(self, status: HTTPStatus, text: str) -> Response:
        """A short answer to a request."""
        return self._protocol.reject(status, text)

    def deafen(self) -> None:
        """Hear no more."""
        self._is_deaf = True

    def close(self, code: int, reason: str = "") -> None:
        """Hear no more, and end the WebSocket connection with a code. Nothing for one that is closing."""
        self._is_deaf = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def allow(self, time_s: float) -> None:
        """An answer may take so long to be made, and so long to be taken."""
        self._patience_s = time_s
        self._time(time_s, self.abort)

    def rest(self, time_s: float) -> None:
        """Read nothing for so long; what was read already waits, too."""
        if self._resting is None:
            self._resting = self._loop.call_later(time_s, self._rested)
            self._regulate()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(ROOM_BYTES)
        peer = self._transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._timer = self._loop.call_later(OPEN_TIMEOUT_S, self.abort)
        self._host.arrived(self)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._protocol.receive_data(data)
        self._take(self._protocol.events_received())
        if not self._is_due:
            self._flush()

    def eof_received(self) -> None:  # noqa: D102
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._is_deaf = True
        self._timer.cancel()
        if self._resting is not None:
            self._resting.cancel()
        if self._answering is not None:
            self._answering.cancel()
        self._protocol.receive_eof()
        # Both hold their protocol: without them nothing is left for the garbage collector.
        self._protocol.parser.close()
        self._protocol.parser_exc = None
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.leave()
        self._host.left(self)

    def pause_writing(self) -> None:  # noqa: D102
        self._is_full = True
        self._regulate()

    def resume_writing(self) -> None:  # noqa: D102
        self._is_full = False
        self._regulate()
        if self._guest is not None:
            self._guest.go_on()

    def _take(self, events: list[Event]) -> None:
        for number, event in enumerate(events):
            if self._resting is not None:
                self._held = events[number:]
                return
            if isinstance(event, Frame):
                self._take_frame(event)
            elif isinstance(event, Request):
                self._take_request(event)

    def _take_request(self, request: Request) -> None:
        answer = self._host.answer(self, request)
        if isinstance(answer, Awaitable):
            self._timer.cancel()
            self._answering = asyncio.ensure_future(self._answer_later(request, answer))
        else:
            self._answer(request, answer)

    async def _answer_later(self, request: Request, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:  # a fault of ours ends this one connection only
            log.exception("a fault while answering a browser")
            response = self.respond(
                HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway made a mistake; its log says more.\n"
            )
        if not self._transport.is_closing():
            self._answer(request, response)

    def _answer(self, request: Request, response: Response | None) -> None:
        if self._protocol.eof_sent:  # what came behind the request was rubbish, and the library has hung up
            return
        if response is None:
            response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is State.OPEN:
            self._time(PING_PERIOD_S, self._ping)
            self._guest = self._host.greet(self, request)
        else:
            self._is_deaf = True

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._is_pinged = False
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and not self._is_deaf:
            message = frame.data
            if self._part is not None or not frame.fin:
                self._part = bytearray() if self._part is None else self._part
                self._part += message
                if not frame.fin:
                    return
                message, self._part = self._part, None
            if self._guest is not None:
                self._guest.hear(bytes(message))

    def _ping(self) -> None:
        if self._is_pinged:
            self._protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        else:
            self._is_pinged = True
            self._protocol.send_ping(b"")
            self._time(PING_PERIOD_S, self._ping)
        self._flush()

    def _flush(self) -> None:
        """Hand over what the protocol wants sent; when that is the end, the other side has to follow in time."""
        self._is_due = False
        self._unsent_bytes = 0
        writes = self._protocol.data_to_send()
        if not writes or self._transport.is_closing():
            return
        self._transport.write(writes[0] if len(writes) == 1 else b"".join(writes))
        if not writes[-1]:
            with contextlib.suppress(OSError, RuntimeError):  # it may be gone
                self._transport.write_eof()
        if self._protocol.close_expected():
            if not self._is_ending:
                self._is_deaf = self._is_ending = True
                self._time(self._patience_s, self.abort)
        elif not self._is_full and self._guest is not None:
            self._guest.go_on()

    def _time(self, time_s: float, then: Callable[[], None]) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(time_s, then)

    def _rested(self) -> None:
        self._resting = None
        held, self._held = self._held, []
        self._take(held)
        self._regulate()

    def _regulate(self) -> None:
        """Whoever takes nothing is not read either: even pongs need room."""
        if self._transport.is_closing():
            return
        if self._is_full or self._resting is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
