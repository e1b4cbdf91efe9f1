"""What is said on one connection: within its limits, in one dialect, with a way to end it when it is none."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from websockets.frames import CloseCode

from ws_gateway.access import Bucket
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.handlers import Client, FirstHandler, Hub, NotAllowed, V1Handler
from ws_gateway.dialects.v1 import SUBPROTOCOL
from ws_gateway.students.students import Refused
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.send_queue import SendQueue

HELLO_TIMEOUT_S: Final = 10.0
"""A client of the new dialect that does not say who it is only takes up room."""
BAD_IN_A_ROW_MAX: Final = 10
"""A client that is wrong so often without one good message between does not speak this dialect."""
MESSAGES_RATE_HZ: Final = 1000.0
"""One client's messages; a headset's app that sends every packet sends 513 a second. Beyond it we read no faster."""
MESSAGES_BURST: Final = 3000.0
"""A phone sends again what it kept while it was away: 50 minutes of readings."""
RESUMED_ELSEWHERE: Final = 4001
"""Close code: another connection goes on with this session."""

log = logging.getLogger(__name__)


class ClientHandler:
    """A client of a room on its connection. ``counters`` are those of the gateway."""

    __slots__ = ("_bad_in_a_row", "_bucket", "_client", "_clock", "_connection", "_counters", "_outlet", "_waiting")

    def __init__(
        self,
        room: Hub,
        connection: Connection,
        token: str | None,
        address: str,
        counters: dict[str, int],
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._clock = clock
        self._outlet = SendQueue(connection)
        self._bucket = Bucket(MESSAGES_RATE_HZ, MESSAGES_BURST, clock())
        self._bad_in_a_row = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._client: Client
        if connection.subprotocol == SUBPROTOCOL:
            self._client = client = V1Handler(
                room, self._outlet, token, address, lambda: connection.close(RESUMED_ELSEWHERE, "resumed elsewhere")
            )
            self._waiting = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._insist_on_hello, client)
        else:
            self._client = FirstHandler(room, self._outlet, token, address)

    def hear(self, message: bytes) -> None:
        """A message arrived."""
        self._counters["frames_received"] += 1
        wait_s = self._bucket.take(self._clock())
        if wait_s:
            self._connection.rest(wait_s)
        try:
            self._client.take(message)
        except BadFrame as fault:
            self._counters["frames_bad"] += 1
            self._bad_in_a_row += 1
            self._outlet.send("error", self._client.fault(fault))
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

    def go_on(self) -> None:
        """The connection has room again."""
        self._outlet.go_on()

    def leave(self) -> None:
        """The connection is over."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._outlet.stop()
        self._client.leave()
        self._counters["frames_conflated"] += self._outlet.conflated
        self._counters["clients_evicted"] += self._outlet.was_too_slow

    def _insist_on_hello(self, client: V1Handler) -> None:
        if not client.has_said_hello:
            self._connection.close(CloseCode.POLICY_VIOLATION, "no hello")
