"""What one client is and may do: a student, a dashboard, or somebody who only listens."""

from collections.abc import Callable
from typing import Final, Protocol

from neuroone.contract import topics
from ws_gateway.access import Access
from ws_gateway.dashboards import Dashboards, Sink
from ws_gateway.dialects import first, v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Hello, Marker, Role, Stage, StudentReading, Watch
from ws_gateway.students.students import Student, Students

STUDENTS_MAX: Final = 100
"""Students that one connection of the first dialect may become, one after the other."""

NOT_FOR_STRANGERS: Final = (
    "this server wants a token: add the ?token=... that it printed at its start to the address, "
    "or start it with --open-dashboards"
)


class NotAllowed(BadFrame):
    """A client may not do what it asked for: it is told, and its connection is closed."""


class Client(Protocol):
    """One client's side of the conversation."""

    def take(self, message: bytes) -> None:
        """What the client said. Raises BadFrame, and NotAllowed or Refused to end the connection."""
        ...

    def fault(self, fault: BadFrame) -> str:
        """The frame that tells the client of its fault."""
        ...

    def leave(self) -> None:
        """The client is gone."""
        ...


class Hub:
    """What all clients share."""

    def __init__(
        self, students: Students, audience: Dashboards, access: Access, link: Callable[[], tuple[bool, bool]]
    ) -> None:
        self.students = students
        self.audience = audience
        self.access = access
        self.link = link
        self.guests: set[Sink] = set()

    def tell_link(self) -> None:
        """The broker or the recorder came or went: clients of the new dialect hear it."""
        broker, recorder = self.link()
        frame = v1.link(broker=broker, recorder=recorder)
        for guest in self.guests:
            guest.send("link", frame)


class FirstHandler:
    """A client of the first dialect: silent at first, then a student, a dashboard, or both."""

    def __init__(self, room: Hub, outlet: Sink, token: str | None, address: str) -> None:
        self._room = room
        self._outlet = outlet
        self._token = token
        self._address = address
        self._student: Student | None = None
        self._joined = 0
        if room.access.may_watch(token, address):
            room.audience.listeners.add(outlet)

    def take(self, message: bytes) -> None:
        """What the client said. Raises BadFrame."""
        room = self._room
        room.audience.listeners.discard(self._outlet)
        if first.is_dash(message):
            if not room.access.may_watch(self._token, self._address):
                raise NotAllowed("no_token", "", NOT_FOR_STRANGERS)
            room.audience.dashboards.add(self._outlet)
            return
        frame = first.student_frame(message)
        if self._student is None or not self._student.is_who(frame.name, frame.code):
            if self._joined >= STUDENTS_MAX:
                raise NotAllowed("too_many_students", "", "one connection has sent the readings of too many students")
            if not room.access.may_join(frame.code, self._token, self._address):
                raise NotAllowed(
                    "no_join_code", "Codigo", "this class wants a join code: add ?token=... to the address"
                )
            self._joined += 1
        self._student = room.students.take(self._student, frame)

    def fault(self, fault: BadFrame) -> str:
        """The frame that tells the client of its fault."""
        return first.error_frame(fault)

    def leave(self) -> None:
        """The client is gone."""
        self._room.audience.listeners.discard(self._outlet)
        self._room.audience.dashboards.discard(self._outlet)
        if self._student is not None:
            self._room.students.leave(self._student)
            self._student = None


class V1Handler:
    """A client of ``neuroone.v1``: says hello, and is a student or a dashboard from then on.

    ``evict`` closes this connection because another one goes on with its session.
    """

    def __init__(self, room: Hub, outlet: Sink, token: str | None, address: str, evict: Callable[[], None]) -> None:
        self._room = room
        self._outlet = outlet
        self._token = token
        self._address = address
        self._evict = evict
        self._hello: Hello | None = None
        self._student: Student | None = None

    @property
    def has_said_hello(self) -> bool:
        """Whether it is known who the client is."""
        return self._hello is not None

    def take(self, message: bytes) -> None:
        """What the client said. Raises BadFrame, or Refused."""
        said = v1.said(message)
        match said:
            case Hello():
                self._greet(said)
            case _ if self._hello is None:
                raise BadFrame("no_hello", "type", "the first message must be hello")
            case Marker():
                self._mark(said)
            case Watch():
                self._room.audience.watch(self._outlet, said.group, said.source)
            case StudentReading():
                if self._student is None:
                    raise BadFrame("not_a_student", "type", "only students send readings")
                self._room.students.take_reading(self._student, said)

    def fault(self, fault: BadFrame) -> str:
        """The frame that tells the client of its fault."""
        return v1.error(fault)

    def leave(self) -> None:
        """The client is gone."""
        self._room.guests.discard(self._outlet)
        self._room.audience.remove_viewer(self._outlet)
        if self._student is not None:
            self._room.students.leave(self._student)
            self._student = None

    def _greet(self, hello: Hello) -> None:
        room = self._room
        if self._hello is not None:
            raise BadFrame("bad_value", "type", "hello is said once")
        token = hello.token if hello.token is not None else self._token
        if hello.role is Role.DASHBOARD:
            if not room.access.may_watch(token, self._address):
                raise NotAllowed("no_token", "token", NOT_FOR_STRANGERS)
            self._welcome(None)
            room.audience.add_viewer(self._outlet, None if hello.code is None else topics.group_id(hello.code))
        else:
            if not room.access.may_join(hello.code, token, self._address):
                raise NotAllowed("no_join_code", "token", "this class wants a join code")
            student = self._student = room.students.resume(hello.name, hello.code, hello.session)
            student.on_taken = self._give_up
            student.on_progress = self._tell_broker if hello.acks is Stage.BROKER else self._tell
            self._welcome(student)
        self._hello = hello

    def _welcome(self, student: Student | None) -> None:
        frame = (
            v1.welcome(session=None, group=None, source=None, next_seq=None)
            if student is None
            else v1.welcome(
                session=student.session, group=student.group, source=student.source, next_seq=student.acked + 1
            )
        )
        self._outlet.send("welcome", frame)
        broker, recorder = self._room.link()
        self._outlet.send("link", v1.link(broker=broker, recorder=recorder))
        self._room.guests.add(self._outlet)

    def _mark(self, marker: Marker) -> None:
        if self._student is not None:
            group, source = self._student.group, self._student.source
        else:
            code = marker.code or (self._hello.code if self._hello is not None else None)
            group, source = topics.group_id(code), None
        frame = v1.marker_ack(marker.id)
        self._room.students.mark(group, source, marker, lambda: self._outlet.send(f"marker {marker.id}", frame))

    def _tell(self, stage: Stage, seq: int) -> None:
        self._outlet.send(f"ack {stage}", v1.ack(stage, seq))

    def _tell_broker(self, stage: Stage, seq: int) -> None:
        if stage is Stage.BROKER:
            self._tell(stage, seq)

    def _give_up(self) -> None:
        self._student = None
        self._evict()
