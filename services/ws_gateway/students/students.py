"""The inbound half: from students' frames to streams on the broker.

It knows nothing of dashboards: what they see is what came back from the broker.
"""

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Final

from neuroone.contract import codec, topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Kind, Link, Reading, StreamState, StreamStatus
from neuroone.contract.topics import ID_MAX_CHARS, READING, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.replay import ReplayBuffer, Stream
from neuroone.service.stream_states import left_behind, status_after
from ws_gateway.dialects.first import StudentFrame
from ws_gateway.dialects.v1 import Marker, Stage, StudentReading, group_event
from ws_gateway.students.rate_limit import Arrival, RateLimiter
from ws_gateway.students.recent import Recent
from ws_gateway.students.stream_registry import StreamRegistry

SESSIONS_MAX: Final = 20_000
"""Sessions of the new dialect that can go on without sending anything twice; about 20 MB. A recorder sorts out the
rest."""
LATE_S: Final = 1.0
"""Between two looks; after longer than that we were busy, and what students said in that time is not read yet."""
FORGOTTEN_AT_ONCE_MAX: Final = 500
"""StreamRegistry that are taken off the broker in one go: readings wait behind them."""
ARRIVALS_AT_ONCE_MAX: Final = 50
"""Students who are said to be there between two calls of `send_waiting`; more of them later. A school that comes
back at once has thousands, and readings go first."""
ANONYMOUS: Final = "anonymous"
"""The source of a student without a name."""


class Refused(NeuroOneError):
    """So much waits for the broker that a reading cannot be taken; it must come again later."""


Progress = Callable[[Stage, int], None]
"""Is told how far the readings of a student are: all up to a seq are at the broker, or on disk."""


def _nobody_asks(*progress: object) -> None:
    """Stand in for a client that asks for no acks."""


class Student:
    """One student on one connection: a stream that no other connection of this gateway has, and one session of it."""

    __slots__ = (
        "acked",
        "code",
        "group",
        "last_s",
        "name",
        "on_progress",
        "on_taken",
        "pace",
        "reading_topic",
        "seq",
        "session",
        "source",
        "status",
    )

    def __init__(
        self, group: str, source: str, name: str | None, code: str | None, pace: RateLimiter, session: str
    ) -> None:
        self.group = group
        self.source = source
        self.name = name
        self.code = code
        self.acked = -1
        self.reading_topic = ""
        self.on_progress: Progress = _nobody_asks
        self.on_taken: Callable[[], None] = _nobody_asks
        self.pace = pace
        self.session = session
        self.seq = 0
        self.last_s = float("-inf")
        self.status = StreamStatus.OFFLINE

    def is_who(self, name: str | None, code: str | None) -> bool:
        """Whether this is the student of that name and code."""
        return (self.name, self.code) == (name, code)


class Students:
    """All students of this gateway. ``now`` is UTC, ``clock`` a steady clock in seconds."""

    def __init__(
        self,
        bus: AsyncClient,
        ledger: ReplayBuffer,
        recent: Recent,
        states: StreamRegistry,
        *,
        rate_hz: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._recent = recent
        self._states = states
        self._rate_hz = rate_hz
        self._now = now
        self._clock = clock
        self._held: dict[tuple[str, str], Student] = {}
        self._sessions: OrderedDict[str, Student] = OrderedDict()
        self._waiting: set[Student] = set()
        self._arrived: dict[Student, None] = {}
        self._arrivals_left = ARRIVALS_AT_ONCE_MAX
        self._looked_s = float("-inf")
        self.counters: dict[str, int] = dict.fromkeys(
            ("readings", "readings_coalesced", "readings_repeated", "readings_refused", "students_joined"), 0
        )

    def __len__(self) -> int:
        return len(self._held)

    def take(self, student: Student | None, frame: StudentFrame) -> Student:
        """A frame came on a connection whose student so far was ``student``; returns whose it is now."""
        if student is None or not student.is_who(frame.name, frame.code):
            if student is not None:
                self.leave(student)
            student = self._join(frame.name, frame.code, uuid.uuid4().hex)
        now_s = student.last_s = self._clock()
        coalesced = student.pace.coalesced
        arrival = student.pace.offer(Arrival(frame, self._now()), now_s)
        self.counters["readings_coalesced"] += student.pace.coalesced - coalesced
        if arrival is None:
            self._waiting.add(student)
        else:
            self._publish(student, arrival)
        return student

    def resume(self, name: str | None, code: str | None, session: str | None) -> Student:
        """A client of the new dialect says who it is; its session goes on where it was, on whatever connection."""
        known = None if session is None else self._sessions.get(session)
        if known is not None and known.is_who(name, code):
            known.on_taken()
            self.leave(known)  # nothing where its connection was gone already
            student = self._join(name, code, known.session)
            student.seq, student.acked = known.seq, known.acked
        else:
            student = self._join(name, code, session or uuid.uuid4().hex)
        self._sessions[student.session] = student
        self._sessions.move_to_end(student.session)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return student

    def take_reading(self, student: Student, said: StudentReading) -> None:
        """A reading of the new dialect; one that came before is not sent again. Raises BadFrame or Refused."""
        reading = said.reading(session=student.session, name=student.name, code=student.code, now=self._now())
        student.last_s = self._clock()
        if reading.seq >= student.seq:
            self._send(student, reading)
            return
        self.counters["readings_repeated"] += 1
        if reading.seq <= student.acked:
            student.on_progress(Stage.BROKER, student.acked)

    def take_acked(self, outgoing: Outgoing) -> None:
        """The broker has a reading."""
        if outgoing.reading is None:
            return
        stream, seq = outgoing.reading
        self._ledger.acked(stream, seq, outgoing)
        student = self._of(stream)
        if student is not None:
            student.acked = max(student.acked, seq)
            student.on_progress(Stage.BROKER, seq)

    def take_covered(self, stream: Stream, seq: int) -> None:
        """A recorder has a stream's readings up to ``seq`` on disk."""
        student = self._of(stream)
        if student is not None:
            student.on_progress(Stage.RECORDED, seq)

    def mark(self, group: str, source: str | None, marker: Marker, on_ack: Callable[[], None]) -> None:
        """Somebody marks a moment in a group. Raises Refused."""
        topic = topics.event(self._bus.identity.site, group)
        if not self._bus.publish(topic, group_event(marker, self._now(), source), on_ack):
            raise Refused("too much waits for the broker")

    def leave(self, student: Student) -> None:
        """The student's connection is gone, or is somebody else's now. Nothing for one who has left before."""
        if self._held.get((student.group, student.source)) is not student:
            return
        self._waiting.discard(student)
        if student.pace.waiting is not None:
            self._publish(student, student.pace.waiting)
        self._arrived.pop(student, None)
        del self._held[student.group, student.source]
        student.on_progress = student.on_taken = _nobody_asks
        if student.seq:  # who never said a thing was never there
            self._say(student, StreamStatus.OFFLINE, Link.ENDED)

    def leave_all(self) -> None:
        """The gateway stops."""
        for student in tuple(self._held.values()):
            self.leave(student)

    def send_waiting(self) -> None:
        """Send the coalesced readings whose turn has come, and say who has arrived. Call often."""
        now_s = self._clock()
        self._arrivals_left = ARRIVALS_AT_ONCE_MAX
        for student in tuple(islice(self._arrived, ARRIVALS_AT_ONCE_MAX)):
            self._say_arrived(student)
        for student in tuple(self._waiting):
            arrival = student.pace.take(now_s)
            if arrival is not None:
                self._waiting.discard(student)
                self._publish(student, arrival)

    def look(self) -> None:
        """Notice who went silent, and who left without a word. Call about twice a second."""
        now_s, before_s = self._clock(), self._looked_s
        self._looked_s = now_s
        if now_s - before_s > LATE_S:
            return
        for student in self._held.values():
            status = status_after(now_s - student.last_s)
            if status is not student.status and student not in self._arrived:
                self._say(student, status, Link.CONNECTED)

    def take_state(self, topic: Topic, state: StreamState) -> None:
        """A stream's state came from the broker: it must not speak against a student who is here."""
        self._states.take_state(topic, state)
        held = self._held.get((topic["group"], topic["source"]))
        if held is None:
            offline = left_behind(state, self._bus.identity, self._now())
            if offline is not None:
                self._bus.publish(topic, offline)
        elif state.status is not StreamStatus.ONLINE and not self._is_ours(state):
            # The student came here from another gateway, which noticed later that the old connection was gone.
            self._insist(held)

    def take_forgotten(self, topic: Topic) -> None:
        """A stream's state was taken off the broker."""
        self._states.take_forgotten(topic)
        held = self._held.get((topic["group"], topic["source"]))
        if held is not None:
            self._insist(held)

    def forget(self) -> None:
        """Take states of students who left long ago off the broker; those that do not go are tried again next time."""
        site = self._bus.identity.site
        for group, source in islice(self._states.outdated(self._now()), FORGOTTEN_AT_ONCE_MAX):
            self._bus.put(Outgoing(str(topics.stream_state(site, group, source)), b"", qos=1, retained=True))

    def _join(self, name: str | None, code: str | None, session: str) -> Student:
        group = topics.group_id(code)
        wanted = topics.id_from_text(name) if name else ANONYMOUS
        source, number = wanted, 1
        while (group, source) in self._held or self._states.has_another(group, source, session):
            number += 1
            source = f"{wanted[: ID_MAX_CHARS - 1 - len(str(number))]}-{number}"
        student = Student(group, source, name, code, RateLimiter(self._rate_hz), session)
        student.reading_topic = str(topics.reading(self._bus.identity.site, group, source))
        self._held[group, source] = student
        self.counters["students_joined"] += 1
        return student

    def _is_ours(self, state: StreamState) -> bool:
        identity = self._bus.identity
        return (state.service, state.instance, state.epoch) == (identity.service, identity.instance, identity.epoch)

    def _insist(self, student: Student) -> None:
        """Say again that the student is there. Only then: two who contradict each other must come to an end."""
        if student.status is StreamStatus.ONLINE:
            self._say(student, StreamStatus.ONLINE, Link.CONNECTED)

    def _of(self, stream: Stream) -> Student | None:
        """Who sends a stream now, of those who may ask for acks."""
        student = self._sessions.get(stream[2])
        return student if student is not None and (student.group, student.source) == stream[:2] else None

    def _publish(self, student: Student, arrival: Arrival) -> None:
        reading = Reading(
            session=student.session,
            seq=student.seq,
            time=arrival.time,
            kind=Kind.CLIENT,
            name=student.name,
            code=student.code,
            poor_signal=None,
            **arrival.frame.values,
        )
        with contextlib.suppress(Refused):  # counted; this dialect has no word for it
            self._send(student, reading)

    def _send(self, student: Student, reading: Reading) -> None:
        payload = codec.encode(reading)
        self._recent.put(payload, reading)
        stream = (student.group, student.source, student.session)
        outgoing = Outgoing(
            student.reading_topic, payload, READING.qos, READING.retained, reading=(stream, reading.seq)
        )
        if not self._bus.put(outgoing):
            self.counters["readings_refused"] += 1
            raise Refused("too much waits for the broker")
        student.seq = reading.seq + 1
        self.counters["readings"] += 1
        if student.status is not StreamStatus.ONLINE:
            self._say_arrived(student)

    def _say_arrived(self, student: Student) -> None:
        if self._arrivals_left:
            self._arrivals_left -= 1
            self._arrived.pop(student, None)
            self._say(student, StreamStatus.ONLINE, Link.CONNECTED)
        else:
            self._arrived[student] = None

    def _say(self, student: Student, status: StreamStatus, link: Link) -> None:
        student.status = status
        identity = self._bus.identity
        self._bus.publish(
            topics.stream_state(identity.site, student.group, student.source),
            StreamState(
                status=status,
                session=student.session,
                time=self._now(),
                kind=Kind.CLIENT,
                name=student.name,
                code=student.code,
                link=link,
                hint=None,
                device=None,
                service=identity.service,
                instance=identity.instance,
                epoch=identity.epoch,
                counters={"readings": student.seq, "readings_coalesced": student.pace.coalesced},
            ),
        )
