"""Handle one client connection: enforce limits, dispatch to its dialect, close it on protocol errors."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from websockets.frames import CloseCode

from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.handlers import FirstHandler, Hub, NotAllowed, V1Handler
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.students.students import Refused
from ws_gateway.token_bucket import TokenBucket
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.send_queue import SendQueue

HELLO_TIMEOUT_S: Final = 10.0
"""A client of the new dialect that sends no hello in this time is disconnected."""
BAD_IN_A_ROW_MAX: Final = 10
"""A client that sends so many bad messages without a good one between does not speak this dialect."""
MESSAGES_RATE_HZ: Final = 1000.0
"""One client's messages; an app that sends every packet of a headset sends 513 a second. Faster ones wait."""
MESSAGES_BURST: Final = 3000.0
"""A phone sends again what it kept while it was away: 50 minutes of readings."""
RESUMED_ELSEWHERE: Final = 4001
"""Close code: another connection has resumed this session."""

log = logging.getLogger(__name__)


class ClientHandler:
    """One WebSocket client. ``counters`` are the server's."""

    __slots__ = ("_bad_in_a_row", "_bucket", "_clock", "_connection", "_counters", "_dialect", "_hello_timer", "_queue")

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        token: str | None,
        address: str,
        counters: dict[str, int],
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._clock = clock
        self._queue = SendQueue(connection)
        self._bucket = TokenBucket(MESSAGES_RATE_HZ, MESSAGES_BURST, clock())
        self._bad_in_a_row = 0
        self._hello_timer: asyncio.TimerHandle | None = None
        self._dialect: FirstHandler | V1Handler
        if connection.subprotocol == SUBPROTOCOL:
            self._dialect = dialect = V1Handler(
                hub, self._queue, token, address, lambda: connection.close(RESUMED_ELSEWHERE, "resumed elsewhere")
            )
            self._hello_timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._check_hello, dialect)
        else:
            self._dialect = FirstHandler(hub, self._queue, token, address)

    def on_message(self, message: bytes) -> None:
        """Handle one message; a client that is too fast is read more slowly."""
        self._counters["frames_received"] += 1
        wait_s = self._bucket.spend(self._clock())
        if wait_s:
            self._connection.pause_reading(wait_s)
        try:
            self._dialect.on_message(message)
        except BadFrame as fault:
            self._counters["frames_bad"] += 1
            self._bad_in_a_row += 1
            self._queue.send("error", self._dialect.error_frame(fault))
            if isinstance(fault, NotAllowed):
                self._connection.close(CloseCode.POLICY_VIOLATION, "not allowed")
            elif self._bad_in_a_row >= BAD_IN_A_ROW_MAX:
                self._connection.close(CloseCode.POLICY_VIOLATION, "too many bad messages")
        except Refused:
            self._connection.close(CloseCode.TRY_AGAIN_LATER, "too busy")
        except Exception:  # a fault of ours ends this one connection only
            self._counters["faults"] += 1
            log.exception("a fault while serving a client")
            self._connection.close(CloseCode.INTERNAL_ERROR)
        else:
            self._bad_in_a_row = 0

    def resume(self) -> None:
        """Send what waits: the connection has room again."""
        self._queue.resume()

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._queue.stop()
        self._dialect.on_close()
        self._counters["frames_conflated"] += self._queue.conflated
        self._counters["clients_evicted"] += self._queue.was_too_slow

    def _check_hello(self, dialect: V1Handler) -> None:
        if not dialect.has_said_hello:
            self._connection.close(CloseCode.POLICY_VIOLATION, "no hello")
