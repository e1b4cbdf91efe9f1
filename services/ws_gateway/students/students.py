"""Publish what students send as streams on the broker.

This half knows nothing of dashboards: they show what comes back from the broker.
"""

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.json import encode
from neuroone.contract.messages import GroupEvent, Kind, Link, Reading, StreamState, StreamStatus
from neuroone.contract.topics import ID_MAX_CHARS, READING, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.replay import Stream
from neuroone.service.stream_states import clear_orphan, status_after
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import StudentFrame
from ws_gateway.dialects.v1 import Marker, Stage, StudentReading
from ws_gateway.students.rate_limit import Arrival, RateLimiter
from ws_gateway.students.stream_registry import StreamRegistry

SESSIONS_MAX: Final = 20_000
"""Sessions of the new dialect that can be resumed without sending anything twice; about 20 MB. For older ones the
recorder drops what comes twice."""
LATE_S: Final = 1.0
"""A silence check later than this means that the gateway was busy, and messages of that time are not read yet."""
CLEARED_AT_ONCE_MAX: Final = 500
"""States that are cleared on the broker at once: readings wait behind them."""
ANNOUNCED_AT_ONCE_MAX: Final = 50
"""Students announced as online between two calls of `send_waiting`; the rest follow later. A school that comes back at
once has thousands, and readings go first."""
ANONYMOUS: Final = "anonymous"
"""The source of a student without a name."""


class Refused(NeuroOneError):
    """Too much waits for the broker to accept a reading; the client must send it again later."""


Progress = Callable[[Stage, int], None]
"""Receives a stage and a seq: all readings of a student up to that seq have reached that stage."""


def _ignore(*progress: object) -> None:
    """Stand in for the callbacks of a client that wants no acks."""


@dataclass(eq=False, slots=True)
class Student:
    """One student on one connection: a stream that no other connection of this gateway has, and one session of it.

    ``seq`` is that of its next reading, ``acked`` that of the last one that the broker has; ``last_s`` is the time of
    its last message.
    """

    stream: Stream
    reading_topic: str
    name: str | None
    code: str | None
    rate_limiter: RateLimiter
    on_progress: Progress = _ignore
    on_resumed_elsewhere: Callable[[], None] = _ignore
    seq: int = 0
    acked: int = -1
    last_s: float = float("-inf")
    status: StreamStatus = StreamStatus.OFFLINE
    group: str = field(init=False)
    source: str = field(init=False)
    session: str = field(init=False)

    def __post_init__(self) -> None:
        self.group, self.source, self.session = self.stream

    def matches(self, name: str | None, code: str | None) -> bool:
        """Return True if this is the student of that name and code."""
        return (self.name, self.code) == (name, code)


class Students:
    """All students of this gateway. ``now`` is UTC, ``clock`` a steady clock in seconds."""

    def __init__(
        self,
        client: AsyncClient,
        registry: StreamRegistry,
        *,
        rate_hz: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._registry = registry
        self._rate_hz = rate_hz
        self._now = now
        self._clock = clock
        self._active: dict[tuple[str, str], Student] = {}
        self._sessions: OrderedDict[str, Student] = OrderedDict()
        self._waiting: set[Student] = set()
        self._unannounced: dict[Student, None] = {}
        self._announcements_left = ANNOUNCED_AT_ONCE_MAX
        self._checked_s = float("-inf")
        self.counters: dict[str, int] = dict.fromkeys(
            ("readings", "readings_coalesced", "readings_repeated", "readings_refused", "students_joined"), 0
        )

    def __len__(self) -> int:
        return len(self._active)

    def on_frame(self, student: Student | None, frame: StudentFrame) -> Student:
        """Publish a frame of the first dialect. Return whose it is: ``student``, or one who begins with it."""
        if student is None or not student.matches(frame.name, frame.code):
            if student is not None:
                self.leave(student)
            student = self._join(frame.name, frame.code, uuid.uuid4().hex)
        now_s = student.last_s = self._clock()
        self.counters["readings_coalesced"] += student.rate_limiter.waiting is not None
        arrival = student.rate_limiter.offer(Arrival(frame, self._now(), now_s), now_s)
        if arrival is None:
            self._waiting.add(student)
        else:
            self._publish_arrival(student, arrival)
        return student

    def resume(self, name: str | None, code: str | None, session: str | None) -> Student:
        """Resume a session of the new dialect, taking it from the connection that had it, or begin one."""
        known = None if session is None else self._sessions.get(session)
        if known is not None and known.matches(name, code):
            known.on_resumed_elsewhere()
            self.leave(known)
            student = self._join(name, code, known.session)
            student.seq, student.acked = known.seq, known.acked
        else:
            student = self._join(name, code, session or uuid.uuid4().hex)
        self._sessions[student.session] = student
        self._sessions.move_to_end(student.session)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return student

    def on_reading(self, student: Student, given: StudentReading) -> None:
        """Publish a reading of the new dialect, unless it came before. Raises BadFrame or Refused."""
        reading = v1.student_reading(
            given, session=student.session, name=student.name, code=student.code, now=self._now()
        )
        student.last_s = self._clock()
        if reading.seq >= student.seq:
            self._publish_reading(student, reading, student.last_s)
            return
        self.counters["readings_repeated"] += 1
        if reading.seq <= student.acked:
            student.on_progress(Stage.BROKER, student.acked)

    def on_acked(self, stream: Stream, seq: int) -> None:
        """Tell a student that the broker has all readings up to ``seq``."""
        student = self._sender_of(stream)
        if student is not None:
            student.acked = max(student.acked, seq)
            student.on_progress(Stage.BROKER, seq)

    def on_recorded(self, stream: Stream, seq: int) -> None:
        """Tell a student that a recorder has the readings up to ``seq`` on disk."""
        student = self._sender_of(stream)
        if student is not None:
            student.on_progress(Stage.RECORDED, seq)

    def publish_marker(self, group: str, source: str | None, marker: Marker, on_ack: Callable[[], None]) -> None:
        """Publish a marker as an event of its group. Raises Refused."""
        topic = topics.event(self._client.identity.site, group)
        event = GroupEvent(id=marker.id, time=self._now(), type=marker.event, text=marker.text, source=source)
        if not self._client.publish(topic, event, on_ack):
            raise Refused("too much waits for the broker")

    def leave(self, student: Student) -> None:
        """End the student's stream. Idempotent."""
        if self._active.get((student.group, student.source)) is not student:
            return
        self._waiting.discard(student)
        if student.rate_limiter.waiting is not None:
            self._publish_arrival(student, student.rate_limiter.waiting)
        self._unannounced.pop(student, None)
        del self._active[student.group, student.source]
        student.on_progress = student.on_resumed_elsewhere = _ignore
        if student.seq:  # a student that never sent a reading was never announced
            self._publish_state(student, StreamStatus.OFFLINE, Link.ENDED)

    def leave_all(self) -> None:
        """End the streams of all students."""
        for student in tuple(self._active.values()):
            self.leave(student)

    def send_waiting(self) -> None:
        """Publish coalesced readings that the rate allows now, and announce new students. Call often."""
        now_s = self._clock()
        self._announcements_left = ANNOUNCED_AT_ONCE_MAX
        for student in tuple(islice(self._unannounced, ANNOUNCED_AT_ONCE_MAX)):
            self._announce(student)
        for student in tuple(self._waiting):
            arrival = student.rate_limiter.release(now_s)
            if arrival is not None:
                self._waiting.discard(student)
                self._publish_arrival(student, arrival)

    def check_silence(self) -> None:
        """Publish a new state for students who have gone silent. Call about twice a second."""
        now_s, before_s = self._clock(), self._checked_s
        self._checked_s = now_s
        if now_s - before_s > LATE_S:
            return
        for student in self._active.values():
            status = status_after(now_s - student.last_s)
            if status is not student.status and student not in self._unannounced:
                self._publish_state(student, status, Link.CONNECTED)

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Remember a stream's state; correct it if it is untrue for a student who is here, or left by a dead run."""
        self._registry.on_state(topic, state)
        student = self._active.get((topic["group"], topic["source"]))
        if student is None:
            offline = clear_orphan(state, self._client.identity, self._now())
            if offline is not None:
                self._client.publish(topic, offline)
        elif state.status is not StreamStatus.ONLINE and state.run != self._client.identity.run:
            # The student came from another gateway, which noticed only now that the old connection is gone.
            self._publish_online_again(student)

    def on_state_cleared(self, topic: Topic) -> None:
        """Publish a state again that was cleared although its student is here."""
        self._registry.on_state_cleared(topic)
        student = self._active.get((topic["group"], topic["source"]))
        if student is not None:
            self._publish_online_again(student)

    def clear_outdated(self) -> None:
        """Clear the states of students who left long ago; those that cannot be sent are tried again next time."""
        site = self._client.identity.site
        for group, source in islice(self._registry.outdated(self._now()), CLEARED_AT_ONCE_MAX):
            self._client.put(Outgoing(str(topics.stream_state(site, group, source)), b"", qos=1, retained=True))

    def _join(self, name: str | None, code: str | None, session: str) -> Student:
        group = topics.group_id(code)
        wanted = topics.id_from_text(name) if name else ANONYMOUS
        source, number = wanted, 1
        while (group, source) in self._active or self._registry.is_elsewhere(group, source, session):
            number += 1
            source = f"{wanted[: ID_MAX_CHARS - 1 - len(str(number))]}-{number}"
        topic = str(topics.reading(self._client.identity.site, group, source))
        limiter = RateLimiter(self._rate_hz, self._clock())
        student = Student((group, source, session), topic, name, code, limiter)
        self._active[group, source] = student
        self.counters["students_joined"] += 1
        return student

    def _publish_online_again(self, student: Student) -> None:
        """Contradict a state, but only for a student who is online: two gateways must not go on contradicting."""
        if student.status is StreamStatus.ONLINE:
            self._publish_state(student, StreamStatus.ONLINE, Link.CONNECTED)

    def _sender_of(self, stream: Stream) -> Student | None:
        """Return the student of the new dialect who sends this stream now."""
        student = self._sessions.get(stream[2])
        return student if student is not None and student.stream == stream else None

    def _publish_arrival(self, student: Student, arrival: Arrival) -> None:
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
        with contextlib.suppress(Refused):  # counted; this dialect cannot tell the client
            self._publish_reading(student, reading, arrival.arrived_s)

    def _publish_reading(self, student: Student, reading: Reading, arrived_s: float) -> None:
        outgoing = Outgoing(
            student.reading_topic,
            encode(reading),
            READING.qos,
            READING.retained,
            reading=(student.stream, reading.seq),
            arrived_s=arrived_s,
        )
        if not self._client.put(outgoing):
            self.counters["readings_refused"] += 1
            raise Refused("too much waits for the broker")
        student.seq = reading.seq + 1
        self.counters["readings"] += 1
        if student.status is not StreamStatus.ONLINE:
            self._announce(student)

    def _announce(self, student: Student) -> None:
        if self._announcements_left:
            self._announcements_left -= 1
            self._unannounced.pop(student, None)
            self._publish_state(student, StreamStatus.ONLINE, Link.CONNECTED)
        else:
            self._unannounced[student] = None

    def _publish_state(self, student: Student, status: StreamStatus, link: Link) -> None:
        student.status = status
        identity = self._client.identity
        self._client.publish(
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
                run=identity.run,
                counters={"readings": student.seq, "readings_coalesced": student.rate_limiter.coalesced},
            ),
        )
