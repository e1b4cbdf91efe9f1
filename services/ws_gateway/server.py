"""The WebSocket edge: who connects, what they say, and what they hear."""

import logging
from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from neuroone.contract.errors import SettingsError
from ws_gateway import wire
from ws_gateway.audience import Audience
from ws_gateway.outlet import ROOM_BYTES, Outlet
from ws_gateway.students import Student, Students

MESSAGE_MAX_BYTES: Final = 8 * 1024
"""A reading has 200 bytes; the rest is room for a long name."""
QUEUE_MAX_MESSAGES: Final = 16
"""Messages of one client that may wait for us before its socket is no longer read."""
OPEN_TIMEOUT_S: Final = 5.0
PING_PERIOD_S: Final = 20.0
"""Below the 60 s after which reverse proxies close a silent connection."""
PING_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 5.0
BAD_IN_A_ROW_MAX: Final = 10
"""A client that is wrong so often without one good message between does not speak this dialect."""

_LIBRARY_LOG: Final = logging.getLogger("ws_gateway.websockets")
_LIBRARY_LOG.setLevel(logging.WARNING)  # below that it would log what the clients say


class Gateway:
    """The WebSocket server: hands students' frames to the inbound half and puts listeners before the outbound half."""

    def __init__(self, students: Students, audience: Audience) -> None:
        self._students = students
        self._audience = audience
        self._server: Server | None = None
        self._stopping = False
        self.counters: dict[str, int] = dict.fromkeys(
            ("clients_accepted", "frames_received", "frames_bad", "deliveries_bad"), 0
        )

    @property
    def clients(self) -> int:
        """Clients that are connected now."""
        return 0 if self._server is None else len(self._server.connections)

    async def listen(self, host: str, port: int) -> None:
        """Start to accept clients. Raises SettingsError when the address is not to be had."""
        try:
            self._server = await serve(
                self._talk,
                host,
                port,
                process_request=self._admit,
                compression=None,
                max_size=MESSAGE_MAX_BYTES,
                max_queue=QUEUE_MAX_MESSAGES,
                write_limit=ROOM_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_PERIOD_S,
                ping_timeout=PING_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                server_header=None,
                logger=_LIBRARY_LOG,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                (f"--ws-port: cannot listen on port {port} of {host} ({reason}); choose another",)
            ) from None

    def stop_listening(self) -> None:
        """Turn new clients away and ignore what the present ones say from now on."""
        self._stopping = True

    async def close(self) -> None:
        """Close every connection with the code that asks clients to come again."""
        if self._server is not None:
            self._server.close(code=CloseCode.SERVICE_RESTART, reason="restart")
            await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._stopping:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        self.counters["clients_accepted"] += 1
        outlet = Outlet(connection)
        client = _Client(self._students, self._audience, outlet)
        self._audience.listeners.add(outlet)
        try:
            while True:
                message = await connection.recv(decode=False)
                if self._stopping:
                    continue
                self.counters["frames_received"] += 1
                try:
                    client.take(message)
                except wire.BadFrame as fault:
                    self.counters["frames_bad"] += 1
                    await connection.send(wire.error_frame(fault))
                    if client.bad_in_a_row >= BAD_IN_A_ROW_MAX:
                        await connection.close(CloseCode.POLICY_VIOLATION, "too many bad messages")
        except ConnectionClosed:
            pass
        finally:
            client.leave()
            await outlet.close()


class _Client:
    """One client of the first dialect: silent at first, then a student, a dashboard, or both."""

    __slots__ = ("_audience", "_outlet", "_student", "_students", "bad_in_a_row")

    def __init__(self, students: Students, audience: Audience, outlet: Outlet) -> None:
        self._students = students
        self._audience = audience
        self._outlet = outlet
        self._student: Student | None = None
        self.bad_in_a_row = 0

    def take(self, message: bytes) -> None:
        """What the client said. Raises BadFrame."""
        self._audience.listeners.discard(self._outlet)
        if wire.is_dash(message):
            self._audience.dashboards.add(self._outlet)
        else:
            self.bad_in_a_row += 1
            frame = wire.student_frame(message)
            self._student = self._students.take(self._student, frame)
        self.bad_in_a_row = 0

    def leave(self) -> None:
        """The client is gone."""
        self._audience.listeners.discard(self._outlet)
        self._audience.dashboards.discard(self._outlet)
        if self._student is not None:
            self._students.leave(self._student)
            self._student = None
