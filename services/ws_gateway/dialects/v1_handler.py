"""Handle what clients of ``neuroone.v1`` send: students, dashboards and teachers."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Final

from msgspec import structs
from websockets.frames import CloseCode

from neuroone.contract import topics
from neuroone.contract.messages import EventType
from neuroone.contract.topics import ID_MAX_CHARS
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.handlers import VERDICTS, WATCH_REFUSED, ClientHandler, Hub, NotAllowed
from ws_gateway.dialects.v1 import (
    DecisionRequest,
    DoorRequest,
    Hello,
    Marker,
    RawRequest,
    RemoveRequest,
    Role,
    Stage,
    StudentRaw,
    TeacherRequest,
    Watch,
)
from ws_gateway.door.rules import Verdict
from ws_gateway.door.waiting import WaitingClient
from ws_gateway.students.student import Student, Taken
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import Connection

HELLO_TIMEOUT_S: Final = 10.0
"""A client of the new dialect that sends no hello in this time is disconnected."""
LEAVING_MAX_S: Final = 1.0
"""So long the welcome of a new session waits for the end of another one of the same student: that takes milliseconds to
be known, and longer where gateways or the broker are busy."""
LEAVING_CHECK_S: Final = 0.05
BROKER_MESSAGES: Final = 100
"""A marker counts as so many messages, for it goes to the broker, to the recorder and to every dashboard: 10 a second
of one client, and 30 at once. More of them wait. So do a change of the stream whose raw samples a dashboard wants,
which are two questions to the broker, and one of whether a lesson wants them, which goes to all of its students."""
CLOSE_CODES: Final = {
    Taken.BY_ANOTHER_CONNECTION: 4001,
    Taken.BY_ANOTHER_STUDENT: CloseCode.TRY_AGAIN_LATER,
    Taken.BY_TEACHER: CloseCode.POLICY_VIOLATION,
}
"""Close codes for a connection that has lost its student."""
MARKER_HASH_CHARS: Final = 16
"""64 bits: no two markers of a school's year meet."""


class V1Handler(ClientHandler):
    """A client of ``neuroone.v1``: sends hello, and is a student or a dashboard from then on."""

    __slots__ = ("_hello", "_is_arriving", "_timer")
    _error_frame = staticmethod(v1.error)

    def __init__(self, hub: Hub, connection: Connection, visitor: Visitor) -> None:
        super().__init__(hub, connection, visitor)
        self._hello: Hello | None = None
        self._is_arriving = False
        self._timer = asyncio.get_running_loop().call_later(
            HELLO_TIMEOUT_S, connection.close, CloseCode.POLICY_VIOLATION, "no hello"
        )

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        self._timer.cancel()
        super().on_close()

    def _handle(self, message: bytes) -> None:
        request = v1.parse(message)
        if self._is_arriving:
            self._come_in()  # it does not wait for its welcome
        match request:
            case Hello():
                self._on_hello(request)
            case _ if self._hello is None:
                raise BadFrame("no_hello", "type", "the first message must be hello")
            case Marker():
                self._on_marker(request)
            case Watch():
                self._connection.spend(BROKER_MESSAGES)
                self._hub.dashboards.watch(self._queue, request.group, request.source)
            case DoorRequest() | DecisionRequest() | RemoveRequest() | RawRequest():
                self._on_teacher_request(request)
            case StudentRaw():
                self._on_raw(request)
            case _ if self._waiting is not None:
                self._waiting.has_sent = True  # the app keeps it until it is acknowledged
            case _:
                if self._student is None:
                    raise BadFrame("not_a_student", "type", "only students send readings")
                self._hub.students.on_reading(self._student, request)

    def _on_raw(self, block: StudentRaw) -> None:
        if self._waiting is not None:  # the door keeps this student out
            self._hub.raw.counters["raw_blocks_unwanted"] += 1
        elif self._student is None:
            raise BadFrame("not_a_student", "type", "only students send raw samples")
        else:
            self._hub.raw.on_block(self._student, block)

    def _on_hello(self, hello: Hello) -> None:
        hub = self._hub
        if self._hello is not None:
            raise BadFrame("bad_value", "type", "hello is said once")
        self._token = hello.token or self._token
        if hello.role is Role.DASHBOARD:
            grant = self._get_grant()
            if grant is None:
                raise NotAllowed("no_token", "token", WATCH_REFUSED)
            group = None if hello.code is None else topics.group_id(hello.code)
            if None not in (grant.group, group) and grant.group != group:
                raise NotAllowed("no_token", "code", "this token is for another class")
            self._queue.send("welcome", v1.welcome())
            self._show_link()
            grant = replace(grant, group=grant.group or group)
            hub.dashboards.add_viewer(self._queue, grant)
            if grant.is_teacher:
                hub.entrance.board.add(self._queue, grant)
        else:
            self._check_site_key()
            if not hub.access.may_join(hello.code, self._token, self._visitor.address):
                raise NotAllowed("no_join_code", "token", "this class wants a join code")
            hello = structs.replace(hello, name=self._pseudonym_of(hello.name, "name"))
            self._check_name(hello.name, hello.code)
            waiting = self._enter((hello.name, hello.code), hello.session)
            if waiting is not None:
                self._say_verdict(waiting.verdict)
            else:
                self._is_arriving = True
        self._hello = hello
        self._timer.cancel()
        if self._is_arriving:
            self._arrive(hello, asyncio.get_running_loop().time() + LEAVING_MAX_S)

    def _arrive(self, hello: Hello, until_s: float) -> None:
        """Let a student come in, once its session before has ended."""
        loop = asyncio.get_running_loop()
        attendance = self._hub.students.attendance()
        if loop.time() < until_s and attendance.may_be_leaving((hello.name, hello.code), hello.session):
            self._timer = loop.call_later(LEAVING_CHECK_S, self._arrive, hello, until_s)
        else:
            self._come_in()

    def _come_in(self) -> None:
        self._timer.cancel()
        self._is_arriving = False
        if self._hello is not None:
            self._welcome_student(self._join(self._hello))

    def _join(self, hello: Hello) -> Student:
        student = self._student = self._hub.students.resume(hello.name, hello.code, hello.session)
        student.on_taken = self._on_taken
        student.on_progress = self._send_ack
        return student

    def _on_admitted(self, waiting: WaitingClient) -> None:
        if self._hello is None:
            return
        student = self._join(self._hello)
        self._hub.students.announce(student)  # so that every gateway knows from now on that it may come in
        if waiting.has_sent:  # before its welcome: it sends all of that again on the next connection
            self._connection.close(CloseCode.TRY_AGAIN_LATER, "admitted")
        else:
            self._welcome_student(student)

    def _say_verdict(self, verdict: Verdict) -> None:
        self._queue.send("door", v1.door(verdict))

    def _on_teacher_request(self, request: TeacherRequest) -> None:
        """Do what a teacher asks of the lesson that runs. Raises BadFrame."""
        if self._grant is None or not self._grant.is_teacher:
            raise BadFrame("not_a_teacher", "type", "only teachers open and close the door, with the teacher's token")
        requests = self._hub.entrance.requests
        own = None if self._hello is None or self._hello.code is None else topics.group_id(self._hello.code)
        match request:
            case DoorRequest():
                requests.set_door(request.group or own or topics.ALL, request.state)
            case RawRequest():
                self._connection.spend(BROKER_MESSAGES)
                self._hub.raw.set_wanted(request.group or own or topics.ALL, wanted=request.wanted)
            case DecisionRequest():
                requests.decide(request.id, request.decision)
            case RemoveRequest():
                requests.remove((request.group, request.source))

    def _welcome_student(self, student: Student) -> None:
        self._queue.send("welcome", v1.welcome(student.stream, student.acked + 1))
        self._hub.raw.join(student, lambda wanted: self._queue.send("raw_wanted", v1.raw_wanted(wanted=wanted)))
        self._show_link()

    def _show_link(self) -> None:
        stream = None if self._student is None else self._student.key
        self._hub.v1_clients[self._queue] = stream
        self._queue.send("link", self._hub.link_frame(stream))

    def _on_marker(self, marker: Marker) -> None:
        self._connection.spend(BROKER_MESSAGES)
        is_teacher = self._grant is not None and self._grant.is_teacher
        if marker.event is not EventType.MARKER and not is_teacher:
            raise BadFrame("not_a_teacher", "event", "only teachers start and stop lessons, with the teacher's token")
        frame = v1.marker_ack(marker.id)
        if self._student is not None:
            group, source, who = self._student.group, self._student.source, self._student.session
            marker = own_marker(who, marker)
        elif self._grant is not None:
            group, source, who = self._group_of(marker), None, self._token or self._visitor.address
            if self._grant.group not in (None, group):
                raise BadFrame("not_a_teacher", "code", "this token is for another class")
        else:
            raise BadFrame("not_a_teacher", "type", "only students and dashboards set markers")
        if not is_teacher and not self._hub.access.may_mark(who):
            raise BadFrame("too_fast", "type", "one marker a second")
        publisher = self._hub.students.publisher
        publisher.publish_marker(group, source, marker, lambda: self._queue.send(f"marker {marker.id}", frame))

    def _group_of(self, marker: Marker) -> str:
        """Return the group of a dashboard's marker: the one of its code, the dashboard's own, or everybody's."""
        code = marker.code or (self._hello.code if self._hello is not None else None)
        if code is None and self._grant is not None and self._grant.group is not None:
            return self._grant.group
        return topics.ALL if code is None else topics.group_id(code)

    def _send_ack(self, stage: Stage, seq: int) -> None:
        if self._hello is not None and stage in (Stage.BROKER, self._hello.acks):
            self._queue.send(f"ack {stage}", v1.ack(stage, seq))

    def _on_taken(self, why: Taken) -> None:
        student, self._student = self._student, None
        if student is not None:
            self._hub.raw.leave(student)
        if why is Taken.BY_TEACHER and student is not None:
            self._on_removed(student)
            self._queue.send("error", v1.error(BadFrame(*VERDICTS[Verdict.REMOVED])))
        self._connection.close(CLOSE_CODES[why], str(why))


def own_marker(session: str, marker: Marker) -> Marker:
    """Give a student's marker an id that no other one has: apps count their markers from 1.

    The same marker, sent again over another connection of the session, has the same id again.
    """
    digest = hashlib.sha256(f"{session}/{marker.id}".encode()).hexdigest()[:MARKER_HASH_CHARS]
    return Marker(id=f"{marker.id[: ID_MAX_CHARS - 1 - len(digest)]}-{digest}", event=marker.event, text=marker.text)
