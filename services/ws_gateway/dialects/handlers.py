"""Handle what clients send in each dialect: students, dashboards, and clients that only listen."""

from collections.abc import Callable
from typing import Final

from neuroone.contract import topics
from ws_gateway.access import Access
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import first, v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Hello, Marker, Role, Stage, StudentReading, Watch
from ws_gateway.students.students import Student, Students
from ws_gateway.websocket.send_queue import SendQueue

STUDENTS_MAX: Final = 100
"""Students that one connection of the first dialect may be, one after the other."""
WATCH_REFUSED: Final = (
    "this server wants a token: add the ?token=... that it printed at its start to the address, "
    "or start it with --open-dashboards"
)


class NotAllowed(BadFrame):
    """The client may not do what it asked for; its connection is closed after the error."""


class Hub:
    """What the handlers of all clients share. ``link`` tells whether the broker and a recorder are there."""

    def __init__(
        self, students: Students, dashboards: Dashboards, access: Access, link: Callable[[], tuple[bool, bool]]
    ) -> None:
        self.students = students
        self.dashboards = dashboards
        self.access = access
        self.v1_clients: set[SendQueue] = set()
        self._link = link

    def add_v1_client(self, queue: SendQueue) -> None:
        """Tell a client of the new dialect whether the broker and a recorder are there, now and when it changes."""
        self.v1_clients.add(queue)
        queue.send("link", self._link_frame())

    def remove(self, queue: SendQueue) -> None:
        """Forget a client. Idempotent."""
        self.v1_clients.discard(queue)
        self.dashboards.remove(queue)

    def send_link(self) -> None:
        """Tell all clients of the new dialect whether the broker and a recorder are there."""
        frame = self._link_frame()
        for queue in self.v1_clients:
            queue.send("link", frame)

    def _link_frame(self) -> str:
        broker, recorder = self._link()
        return v1.link(broker=broker, recorder=recorder)


class _Handler:
    """What the handlers of both dialects have in common."""

    def __init__(self, hub: Hub, queue: SendQueue, token: str | None, address: str) -> None:
        self._hub = hub
        self._queue = queue
        self._token = token
        self._address = address
        self._student: Student | None = None

    def on_close(self) -> None:
        """Forget the client: its connection is closed."""
        self._hub.remove(self._queue)
        if self._student is not None:
            self._hub.students.leave(self._student)
            self._student = None


class FirstHandler(_Handler):
    """A client of the first dialect: silent at first, then a student, a dashboard, or both."""

    error_frame = staticmethod(first.error_frame)

    def __init__(self, hub: Hub, queue: SendQueue, token: str | None, address: str) -> None:
        super().__init__(hub, queue, token, address)
        self._joined = 0
        if hub.access.may_watch(token, address):
            hub.dashboards.listeners.add(queue)

    def on_message(self, message: bytes) -> None:
        """Handle one message. Raises BadFrame; NotAllowed ends the connection."""
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


class V1Handler(_Handler):
    """A client of ``neuroone.v1``: sends hello, and is a student or a dashboard from then on.

    ``on_resumed_elsewhere`` closes this connection when another one resumes its session.
    """

    error_frame = staticmethod(v1.error)

    def __init__(
        self, hub: Hub, queue: SendQueue, token: str | None, address: str, on_resumed_elsewhere: Callable[[], None]
    ) -> None:
        super().__init__(hub, queue, token, address)
        self._on_resumed_elsewhere = on_resumed_elsewhere
        self._hello: Hello | None = None

    @property
    def has_said_hello(self) -> bool:
        """True once the client has said who it is."""
        return self._hello is not None

    def on_message(self, message: bytes) -> None:
        """Handle one message. Raises BadFrame or Refused; NotAllowed and Refused end the connection."""
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
            case StudentReading():
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

    def _welcome(self, frame: str) -> None:
        self._queue.send("welcome", frame)
        self._hub.add_v1_client(self._queue)

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
        self._on_resumed_elsewhere()
