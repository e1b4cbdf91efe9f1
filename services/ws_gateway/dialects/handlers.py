"""Handle what clients send in each dialect: students, dashboards, and clients that only listen."""

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from websockets.frames import CloseCode

from neuroone.contract import topics
from ws_gateway.access import Access
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import first, v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Hello, Marker, Role, Stage, Watch
from ws_gateway.students.students import Refused, Student, Students
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
STUDENTS_MAX: Final = 100
"""Students that one connection of the first dialect may be, one after the other."""
WATCH_REFUSED: Final = (
    "this server wants a token: add the ?token=... that it printed at its start to the address, "
    "or start it with --open-dashboards"
)

REFUSALS: Final = (
    "bad_handshake",
    "bad_json",
    "bad_value",
    "no_hello",
    "no_join_code",
    "no_token",
    "not_a_student",
    "stopping",
    "too_busy",
    "too_fast",
    "too_many_connections",
    "too_many_students",
    "wrong_origin",
)
"""The reasons for which a connection or a message is refused; those of messages are the ``code`` of their error."""

log = logging.getLogger(__name__)


class NotAllowed(BadFrame):
    """The client may not do what it asked for; its connection is closed after the error."""


class Hub:
    """What all clients share. ``link_frame`` makes the new dialect's frame about the broker and the recorder."""

    def __init__(
        self, students: Students, dashboards: Dashboards, access: Access, link_frame: Callable[[], str]
    ) -> None:
        self.students = students
        self.dashboards = dashboards
        self.access = access
        self.link_frame = link_frame
        self.v1_clients: set[SendQueue] = set()
        self.counters = dict.fromkeys(
            (
                "clients_accepted",
                "clients_refused",
                "clients_evicted",
                "frames_received",
                "frames_bad",
                "frames_conflated",
                "faults",
            ),
            0,
        )
        self.refusals = dict.fromkeys(REFUSALS, 0)

    def count_refusal(self, reason: str) -> None:
        """Count that a connection or a message was refused."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def send_link(self) -> None:
        """Tell all clients of the new dialect whether the broker and a recorder are there."""
        frame = self.link_frame()
        for queue in self.v1_clients:
            queue.send("link", frame)


class ClientHandler:
    """One WebSocket client: enforce limits, and close the connection on protocol errors. A subclass has a dialect."""

    __slots__ = ("_address", "_bad_in_a_row", "_bucket", "_connection", "_hub", "_queue", "_student", "_token")
    _error_frame: Callable[[BadFrame], str]

    def __init__(self, hub: Hub, connection: Connection, token: str | None, address: str) -> None:
        self._hub = hub
        self._connection = connection
        self._token = token
        self._address = address
        self._queue = SendQueue(connection)
        self._bucket = TokenBucket(MESSAGES_RATE_HZ, MESSAGES_BURST, time.monotonic())
        self._bad_in_a_row = 0
        self._student: Student | None = None

    def on_message(self, message: bytes) -> None:
        """Handle one message; a client that is too fast is read more slowly."""
        counters = self._hub.counters
        counters["frames_received"] += 1
        wait_s = self._bucket.spend(time.monotonic())
        if wait_s:
            self._connection.pause_reading(wait_s)
        try:
            self._handle(message)
        except BadFrame as fault:
            counters["frames_bad"] += 1
            self._hub.count_refusal(fault.code)
            self._bad_in_a_row += 1
            self._queue.send("error", self._error_frame(fault))
            if isinstance(fault, NotAllowed):
                self._connection.close(CloseCode.POLICY_VIOLATION, "not allowed")
            elif self._bad_in_a_row >= BAD_IN_A_ROW_MAX:
                self._connection.close(CloseCode.POLICY_VIOLATION, "too many bad messages")
        except Refused:
            self._hub.count_refusal("too_busy")
            self._connection.close(CloseCode.TRY_AGAIN_LATER, "too busy")
        except Exception:  # a fault of ours ends this one connection only
            counters["faults"] += 1
            log.exception("a fault while serving a client")
            self._connection.close(CloseCode.INTERNAL_ERROR)
        else:
            self._bad_in_a_row = 0

    def resume(self) -> None:
        """Send what waits: the connection has room again."""
        self._queue.resume()

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        self._queue.stop()
        self._hub.v1_clients.discard(self._queue)
        self._hub.dashboards.remove(self._queue)
        if self._student is not None:
            self._hub.students.leave(self._student)
            self._student = None
        self._hub.counters["frames_conflated"] += self._queue.conflated
        self._hub.counters["clients_evicted"] += self._queue.was_too_slow

    @abstractmethod
    def _handle(self, message: bytes) -> None:
        """Handle one message. Raises BadFrame or Refused; NotAllowed and Refused end the connection."""


class FirstHandler(ClientHandler):
    """A client of the first dialect: silent at first, then a student, a dashboard, or both."""

    __slots__ = ("_joined",)
    _error_frame = staticmethod(first.error_frame)

    def __init__(self, hub: Hub, connection: Connection, token: str | None, address: str) -> None:
        super().__init__(hub, connection, token, address)
        self._joined = 0
        if hub.access.may_watch(token, address):
            hub.dashboards.listeners.add(self._queue)

    def _handle(self, message: bytes) -> None:
        hub = self._hub
        hub.dashboards.listeners.discard(self._queue)
        if first.is_dash(message):
            if not hub.access.may_watch(self._token, self._address):
                raise NotAllowed("no_token", "", WATCH_REFUSED)
            hub.dashboards.first_dashboards.add(self._queue)
            return
        frame = first.student_frame(message)
        if self._student is None or not self._student.matches(frame.name, frame.code):
            if self._joined >= STUDENTS_MAX:
                raise NotAllowed("too_many_students", "", "one connection has sent the readings of too many students")
            if not hub.access.may_join(frame.code, self._token, self._address):
                raise NotAllowed(
                    "no_join_code", "Codigo", "this class wants a join code: add ?token=... to the address"
                )
            self._joined += 1
        self._student = hub.students.on_frame(self._student, frame)


class V1Handler(ClientHandler):
    """A client of ``neuroone.v1``: sends hello, and is a student or a dashboard from then on."""

    __slots__ = ("_hello", "_hello_timer")
    _error_frame = staticmethod(v1.error)

    def __init__(self, hub: Hub, connection: Connection, token: str | None, address: str) -> None:
        super().__init__(hub, connection, token, address)
        self._hello: Hello | None = None
        self._hello_timer = asyncio.get_running_loop().call_later(
            HELLO_TIMEOUT_S, connection.close, CloseCode.POLICY_VIOLATION, "no hello"
        )

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        self._hello_timer.cancel()
        super().on_close()

    def _handle(self, message: bytes) -> None:
        request = v1.parse(message)
        match request:
            case Hello():
                self._on_hello(request)
            case _ if self._hello is None:
                raise BadFrame("no_hello", "type", "the first message must be hello")
            case Marker():
                self._on_marker(request)
            case Watch():
                self._hub.dashboards.watch(self._queue, request.group, request.source)
            case _:
                if self._student is None:
                    raise BadFrame("not_a_student", "type", "only students send readings")
                self._hub.students.on_reading(self._student, request)

    def _on_hello(self, hello: Hello) -> None:
        hub = self._hub
        if self._hello is not None:
            raise BadFrame("bad_value", "type", "hello is said once")
        token = hello.token if hello.token is not None else self._token
        if hello.role is Role.DASHBOARD:
            if not hub.access.may_watch(token, self._address):
                raise NotAllowed("no_token", "token", WATCH_REFUSED)
            self._welcome(v1.welcome())
            hub.dashboards.add_viewer(self._queue, None if hello.code is None else topics.group_id(hello.code))
        else:
            if not hub.access.may_join(hello.code, token, self._address):
                raise NotAllowed("no_join_code", "token", "this class wants a join code")
            student = self._student = hub.students.resume(hello.name, hello.code, hello.session)
            student.on_resumed_elsewhere = self._give_up
            student.on_progress = self._send_ack
            self._welcome(v1.welcome(student.stream, student.acked + 1))
        self._hello = hello
        self._hello_timer.cancel()

    def _welcome(self, frame: str) -> None:
        self._queue.send("welcome", frame)
        self._hub.v1_clients.add(self._queue)
        self._queue.send("link", self._hub.link_frame())

    def _on_marker(self, marker: Marker) -> None:
        if self._student is not None:
            group, source = self._student.group, self._student.source
        else:
            code = marker.code or (self._hello.code if self._hello is not None else None)
            group, source = topics.group_id(code), None
        frame = v1.marker_ack(marker.id)
        self._hub.students.publish_marker(group, source, marker, lambda: self._queue.send(f"marker {marker.id}", frame))

    def _send_ack(self, stage: Stage, seq: int) -> None:
        if self._hello is not None and stage in (Stage.BROKER, self._hello.acks):
            self._queue.send(f"ack {stage}", v1.ack(stage, seq))

    def _give_up(self) -> None:
        self._student = None
        self._connection.close(RESUMED_ELSEWHERE, "resumed elsewhere")
