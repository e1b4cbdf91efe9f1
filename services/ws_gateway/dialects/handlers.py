"""Handle what clients send in each dialect: students, dashboards, and clients that only listen."""

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace
from websockets.frames import CloseCode

from neuroone.service.pseudonyms import NotListed, Pseudonyms
from ws_gateway.access import Access, Grant
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import first
from ws_gateway.dialects.first import BadFrame
from ws_gateway.door.entrance import Entrance
from ws_gateway.door.rules import Candidate, Verdict
from ws_gateway.door.waiting import DoorIsFull, WaitingClient
from ws_gateway.followers import Follow, follow_in
from ws_gateway.students.publisher import Refused
from ws_gateway.students.raw_samples import RawSamples
from ws_gateway.students.student import Student, Taken, Who
from ws_gateway.students.students import Students
from ws_gateway.visitors import Page, Visitor
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.send_queue import SendQueue

BAD_IN_A_ROW_MAX: Final = 10
"""A client that sends so many bad messages without a good one between does not speak this dialect."""
STUDENTS_MAX: Final = 100
"""Students that one connection of the first dialect may be, one after the other."""
WATCH_REFUSED: Final = (
    "this server wants a token: add the ?token=... that it printed at its start to the address, "
    "or start it with --open-dashboards"
)
SILENT_AFTER_S: Final = 10.0
"""A student's app sends every second; a page that is silent for so long waits for frames that it will not get."""
SAID_EVERY_S: Final = 60.0
"""The log says no more often that a page hears nothing, or that one watches from a file."""

VERDICTS: Final = {
    Verdict.ASK: ("waiting", "", "a lesson runs: this student is let in when the teacher says so"),
    Verdict.CLOSED: ("door_closed", "", "a lesson runs, and nobody is let in any more"),
    Verdict.REMOVED: ("removed", "", "the teacher has removed this student from the lesson"),
}
"""Code, field and words of the error that tells a client that its student is not in."""
REFUSALS: Final = (
    "bad_handshake",
    "bad_json",
    "bad_tls",
    "bad_value",
    "door_is_full",
    "no_hello",
    "no_join_code",
    "no_lesson",
    "no_token",
    "not_a_student",
    "not_a_teacher",
    "not_listed",
    "not_waiting",
    "plain_on_tls",
    "silent_page",
    "stopping",
    "too_busy",
    "too_fast",
    "too_many_connections",
    "too_many_names",
    "too_many_removed",
    "too_many_students",
    "wrong_origin",
)
"""The reasons for which a connection or a message is refused; those of messages are the ``code`` of their error."""

log = logging.getLogger(__name__)


class TooManyNames(Refused):
    """One address brings many more names than it has connections; the client may come again."""

    reason = "too_many_names"


class NotAllowed(BadFrame):
    """The client may not do what it asked for; its connection is closed after the error."""


class Hub:
    """What all clients share.

    ``link_frame`` makes the new dialect's frame about the broker and the recorder of a student's stream (group and
    source), for a dashboard (None) about all recorders. ``connections_of``, which the server sets, counts the
    connections of an address. With ``pseudonyms`` students come in under theirs.
    """

    def __init__(
        self,
        students: Students,
        dashboards: Dashboards,
        access: Access,
        entrance: Entrance,
        raw: RawSamples,
        link_frame: Callable[[tuple[str, str] | None], str],
    ) -> None:
        self.students = students
        self.dashboards = dashboards
        self.access = access
        self.entrance = entrance
        self.raw = raw
        self.link_frame = link_frame
        self.v1_clients: dict[SendQueue, tuple[str, str] | None] = {}
        """Clients of the new dialect, each with its stream; None for dashboards."""
        self.watchers: set[ClientHandler] = set()
        self.connections_of: Callable[[str], int] = lambda address: 0
        self.pseudonyms: Pseudonyms | None = None
        self._said_s: dict[str, float] = {}
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

    def on_tokens_changed(self) -> None:
        """End the clients that watch by a token that is no longer valid."""
        for watcher in tuple(self.watchers):
            watcher.check_grant()

    def say(self, text: str) -> None:
        """Write a line to the log, at most once in a while: whoever connects decides how often this is called."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(text, float("-inf")) >= SAID_EVERY_S:
            self._said_s[text] = now_s
            log.warning("%s", text)

    def send_link(self) -> None:
        """Tell all clients of the new dialect whether the broker and a recorder are there."""
        for queue, stream in self.v1_clients.items():
            queue.send("link", self.link_frame(stream))


class ClientHandler:
    """One WebSocket client: enforce limits, and close the connection on protocol errors. A subclass has a dialect."""

    __slots__ = (
        "_bad_in_a_row",
        "_connection",
        "_grant",
        "_hub",
        "_queue",
        "_student",
        "_token",
        "_visitor",
        "_waiting",
    )
    _error_frame: Callable[[BadFrame], str]

    def __init__(self, hub: Hub, connection: Connection, visitor: Visitor) -> None:
        self._hub = hub
        self._connection = connection
        self._visitor = visitor
        self._token = visitor.token
        self._grant: Grant | None = None
        self._queue = SendQueue(connection)
        self._bad_in_a_row = 0
        self._student: Student | None = None
        self._waiting: WaitingClient | None = None

    def on_message(self, message: bytes) -> None:
        """Handle one message."""
        counters = self._hub.counters
        counters["frames_received"] += 1
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
        except Refused as refused:
            self._hub.count_refusal(refused.reason)
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

    def check_grant(self) -> None:
        """Let the client watch no longer if its token was revoked, and close its connection if it only watched."""
        if self._hub.access.grant_of(self._visitor, self._token) == self._grant:
            return
        self._grant = None
        self._watch_no_longer()
        if self._student is None:
            self._say_revoked()
            self._connection.close(CloseCode.POLICY_VIOLATION, "not allowed")

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        self._queue.stop()
        self._hub.v1_clients.pop(self._queue, None)
        self._watch_no_longer()
        self._stop_waiting()
        if self._student is not None:
            self._hub.raw.leave(self._student)
            self._hub.students.leave(self._student)
            self._student = None
        self._hub.counters["frames_conflated"] += self._queue.conflated
        self._hub.counters["clients_evicted"] += self._queue.was_too_slow

    def _watch_no_longer(self) -> None:
        self._hub.watchers.discard(self)
        self._hub.dashboards.remove(self._queue)
        self._hub.entrance.board.remove(self._queue)

    def _enter(self, who: Who, session: str | None = None) -> WaitingClient | None:
        """Bring a student to the door; return None if it may come in, else what waits there. Raises DoorIsFull."""
        candidate = Candidate(who, self._visitor.address, session)
        self._waiting = self._hub.entrance.door.enter(candidate, self._on_verdict)
        return self._waiting

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._hub.entrance.door.leave(waiting)

    def _on_verdict(self) -> None:
        """Do what the door says to the student who waits."""
        waiting = self._waiting
        if waiting is None:
            return
        if waiting.verdict is Verdict.COME_IN:
            self._waiting = None
            try:
                self._on_admitted(waiting)
            except Exception:  # a fault of ours ends this one connection only
                self._hub.counters["faults"] += 1
                log.exception("a fault while letting a student in")
                self._connection.close(CloseCode.INTERNAL_ERROR)
        elif waiting.verdict is Verdict.FULL:
            self._waiting = None
            self._hub.count_refusal(DoorIsFull.reason)
            self._connection.close(CloseCode.TRY_AGAIN_LATER, "too many students wait")
        else:
            self._say_verdict(waiting.verdict)

    def _on_removed(self, student: Student) -> None:
        """Note from which address a student came whom a teacher has removed."""
        self._hub.entrance.door.rules.on_removed(Candidate(student.who, self._visitor.address))

    @abstractmethod
    def _on_admitted(self, waiting: WaitingClient) -> None:
        """Let the student in."""

    @abstractmethod
    def _say_verdict(self, verdict: Verdict) -> None:
        """Tell the client why its student is not in."""

    def _check_site_key(self) -> None:
        """Raise NotAllowed for a student whose address lacks the site's key, unless a token shows who it is."""
        if not self._visitor.has_site_key and self._hub.access.grant_of(self._visitor, self._token) is None:
            raise NotAllowed("no_join_code", "", "the address must end in this school's key: ws://.../ws/KEY")

    def _pseudonym_of(self, name: str | None, field: str, check: Callable[[], None] = lambda: None) -> str | None:
        """Return what a student is called from here on. Raises NotAllowed for a name that is not listed."""
        try:
            return name if self._hub.pseudonyms is None else self._hub.pseudonyms.of(name)
        except NotListed:
            check()  # who may not come in at all does not learn which names are listed
            self._hub.say("a student was refused: the name is not in the file of --pseudonyms")
            raise NotAllowed("not_listed", field, "this name is not in the school's list: ask the teacher") from None

    def _check_name(self, name: str | None, code: str | None, *, is_first: bool = True) -> None:
        """Raise TooManyNames if the client's address may not bring this student now."""
        address = self._visitor.address
        connections = self._hub.connections_of(address) if is_first else None
        if not self._hub.access.may_bring(name, code, address, connections):
            raise TooManyNames("too many new names from one address")

    def _get_grant(self) -> Grant | None:
        """Ask what the client may watch, and remember it."""
        grant = self._grant = self._hub.access.grant_of(self._visitor, self._token)
        if grant is not None:
            self._hub.watchers.add(self)
            if self._visitor.page is Page.FILE and self._visitor.is_here and not self._token:
                self._hub.say("a page from a file of this machine watches without a token (--no-open-here forbids it)")
        return grant

    def _say_revoked(self) -> None:
        """Tell a client that its token was revoked."""
        self._queue.send("error", self._error_frame(NotAllowed("no_token", "", "this token was revoked")))

    @abstractmethod
    def _handle(self, message: bytes) -> None:
        """Handle one message. Raises BadFrame or Refused; NotAllowed and Refused end the connection."""


class FirstHandler(ClientHandler):
    """A client of the first dialect: silent at first, then a student, a dashboard, or both."""

    __slots__ = ("_is_dashboard", "_joined", "_said", "_silence_timer")
    _error_frame = staticmethod(first.error_frame)

    def __init__(self, hub: Hub, connection: Connection, visitor: Visitor) -> None:
        super().__init__(hub, connection, visitor)
        self._joined = 0
        self._is_dashboard = False
        self._said: Verdict | None = None
        self._silence_timer: asyncio.TimerHandle | None = None
        grant = self._get_grant()
        try:
            follow = follow_in(visitor.query)
            if follow is not None:
                self._start_following(follow, grant)
        except BadFrame as fault:
            hub.count_refusal(fault.code)
            self._queue.send("error", first.error_frame(fault))
            connection.close(CloseCode.POLICY_VIOLATION, "not allowed")
            return
        if follow is None and grant is not None:
            hub.dashboards.listeners[self._queue] = grant
        elif follow is not None or not visitor.page.is_trusted:
            self._silence_timer = asyncio.get_running_loop().call_later(SILENT_AFTER_S, self._on_silence)

    def _start_following(self, follow: Follow, grant: Grant | None) -> None:
        """Let the client follow a student. Raises NotAllowed."""
        if grant is None:
            raise NotAllowed("no_token", "follow", WATCH_REFUSED)
        if not self._hub.dashboards.followers.add(self._queue, follow, grant):
            raise NotAllowed("no_token", "follow", "this token is for another class or another student")

    def on_close(self) -> None:
        """Release everything: the connection is closed."""
        self._stop_silence_timer()
        super().on_close()

    def _stop_silence_timer(self) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def _on_silence(self) -> None:
        if self._grant is not None:
            if not self._hub.dashboards.followers.has_heard(self._queue):
                self._hub.say(
                    "a client follows a student of whom nothing comes: are the code and the name in its address right?"
                )
            return
        self._hub.count_refusal("silent_page")
        self._hub.say(
            "a page from a file or from another site is silent and hears nothing: it shows no token in its address, "
            "and --origin does not name its site"
        )

    def _say_revoked(self) -> None:
        # A client that only listens gets frames with the ten keys and nothing else.
        if self._is_dashboard:
            super()._say_revoked()

    def _handle(self, message: bytes) -> None:
        hub = self._hub
        self._stop_silence_timer()
        hub.dashboards.stop_listening(self._queue)
        if first.is_dash(message):
            grant = self._get_grant()
            if grant is None:
                raise NotAllowed("no_token", "", WATCH_REFUSED)
            hub.dashboards.first_dashboards[self._queue] = grant
            self._is_dashboard = True
            return
        frame = first.student_frame(message)
        if hub.pseudonyms is not None:
            name = self._pseudonym_of(frame.name, "Nome", partial(self._check_student, frame))
            frame = replace(frame, name=name)
        student = self._student
        if (student is None or student.who != (frame.name, frame.code)) and not self._may_come_in(frame):
            return
        self._student = hub.students.on_frame(student, frame)
        if self._student is not student:
            self._student.on_taken = self._on_taken

    def _may_come_in(self, frame: first.StudentFrame) -> bool:
        """Return True if the student of a frame may come in; leave the frame at the door otherwise."""
        who = (frame.name, frame.code)
        if self._waiting is None or self._waiting.candidate.who != who:
            self._check_student(frame)
            self._stop_waiting()
            if self._enter(who) is None:
                self._said = None
                return True
            if self._student is not None:
                self._hub.students.leave(self._student)
                self._student = None
        if self._waiting is not None:
            self._hub.entrance.door.keep(self._waiting, frame)
            self._say_verdict(self._waiting.verdict)
        return False

    def _check_student(self, frame: first.StudentFrame) -> None:
        """Raise NotAllowed or TooManyNames if this connection may not send a student's frames."""
        if self._joined >= STUDENTS_MAX:
            raise NotAllowed("too_many_students", "", "one connection has sent the readings of too many students")
        self._check_site_key()
        if not self._hub.access.may_join(frame.code, self._token, self._visitor.address):
            raise NotAllowed("no_join_code", "Codigo", "this class wants a join code: add ?token=... to the address")
        self._check_name(frame.name, frame.code, is_first=not self._joined)
        self._joined += 1

    def _on_admitted(self, waiting: WaitingClient) -> None:
        self._said = None
        kept = self._hub.entrance.door.kept(waiting)
        if kept:
            self._student = self._hub.students.admit(waiting.candidate.who, kept)
            self._student.on_taken = self._on_taken

    def _say_verdict(self, verdict: Verdict) -> None:
        # Once only: these clients expect no answer.
        words = VERDICTS.get(verdict)
        if verdict is not self._said and words is not None:
            self._said = verdict
            self._queue.send("error", first.error_frame(BadFrame(*words)))

    def _on_taken(self, why: Taken) -> None:
        student, self._student = self._student, None
        if why is Taken.BY_TEACHER and student is not None:
            self._on_removed(student)
            self._say_verdict(Verdict.REMOVED)
