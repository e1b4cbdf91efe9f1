"""The inbound half: from students' frames to streams on the broker.

It knows nothing of dashboards: what they see is what came back from the broker.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from neuroone.contract import codec, topics
from neuroone.contract.messages import Kind, Link, Reading, StreamState, StreamStatus
from neuroone.contract.topics import ID_MAX_CHARS, Topic
from neuroone.runtime.bus import Bus
from neuroone.runtime.outbox import Outgoing
from neuroone.runtime.streams import left_behind, status_after
from ws_gateway.ledger import Ledger
from ws_gateway.pace import Arrival, Pace
from ws_gateway.wire import StudentFrame

ANONYMOUS: Final = "anonymous"
"""The source of a student without a name."""


class Carrier(Bus, Protocol):
    """The Bus as the students need it: it takes messages that are encoded already."""

    def put(self, outgoing: Outgoing) -> bool:
        """Send a message; False when it was dropped."""
        ...


class Student:
    """One student on one connection: a stream that no other connection of this gateway has, and one session of it."""

    __slots__ = ("code", "group", "last_s", "name", "pace", "seq", "session", "source", "status")

    def __init__(self, group: str, source: str, frame: StudentFrame, pace: Pace, session: str) -> None:
        self.group = group
        self.source = source
        self.name = frame.name
        self.code = frame.code
        self.pace = pace
        self.session = session
        self.seq = 0
        self.last_s = 0.0
        self.status = StreamStatus.OFFLINE

    def is_who(self, frame: StudentFrame) -> bool:
        """Whether a frame is of this student."""
        return (self.name, self.code) == (frame.name, frame.code)


class Students:
    """All students of this gateway. ``now`` is UTC, ``clock`` a steady clock in seconds."""

    def __init__(
        self, bus: Carrier, ledger: Ledger, *, rate_hz: float, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._rate_hz = rate_hz
        self._now = now
        self._clock = clock
        self._held: dict[tuple[str, str], Student] = {}
        self._waiting: set[Student] = set()
        self.counters: dict[str, int] = dict.fromkeys(("readings", "readings_coalesced", "students_joined"), 0)

    def __len__(self) -> int:
        return len(self._held)

    def take(self, student: Student | None, frame: StudentFrame) -> Student:
        """A frame came on a connection whose student so far was ``student``; returns whose it is now."""
        if student is None or not student.is_who(frame):
            if student is not None:
                self.leave(student)
            student = self._join(frame)
        now_s = student.last_s = self._clock()
        coalesced = student.pace.coalesced
        arrival = student.pace.offer(Arrival(frame, self._now()), now_s)
        self.counters["readings_coalesced"] += student.pace.coalesced - coalesced
        if arrival is None:
            self._waiting.add(student)
        else:
            self._publish(student, arrival)
        return student

    def leave(self, student: Student) -> None:
        """The student's connection is gone, or is somebody else's now. Nothing for one who has left before."""
        if self._held.get((student.group, student.source)) is not student:
            return
        self._waiting.discard(student)
        if student.pace.waiting is not None:
            self._publish(student, student.pace.waiting)
        del self._held[student.group, student.source]
        self._say(student, StreamStatus.OFFLINE, Link.ENDED)

    def leave_all(self) -> None:
        """The gateway stops."""
        for student in tuple(self._held.values()):
            self.leave(student)

    def send_waiting(self) -> None:
        """Send the coalesced readings whose turn has come. Call often."""
        now_s = self._clock()
        for student in tuple(self._waiting):
            arrival = student.pace.take(now_s)
            if arrival is not None:
                self._waiting.discard(student)
                self._publish(student, arrival)

    def look(self) -> None:
        """Notice who went silent, and who left without a word. Call about twice a second."""
        now_s = self._clock()
        for student in self._held.values():
            status = status_after(now_s - student.last_s)
            if status is not student.status:
                self._say(student, status, Link.CONNECTED)

    def take_state(self, topic: Topic, state: StreamState) -> None:
        """A stream's retained state came from the broker: clear it when a dead run of this gateway left it."""
        if (topic["group"], topic["source"]) in self._held:
            return
        offline = left_behind(state, self._bus.identity, self._now())
        if offline is not None:
            self._bus.publish(topic, offline)

    def _join(self, frame: StudentFrame) -> Student:
        group = topics.group_id(frame.code)
        wanted = topics.id_from_text(frame.name) if frame.name else ANONYMOUS
        source, number = wanted, 1
        while (group, source) in self._held:
            number += 1
            source = f"{wanted[: ID_MAX_CHARS - 1 - len(str(number))]}-{number}"
        student = Student(group, source, frame, Pace(self._rate_hz), uuid.uuid4().hex)
        self._held[group, source] = student
        self.counters["students_joined"] += 1
        return student

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
        self._send(student, reading)

    def _send(self, student: Student, reading: Reading) -> None:
        topic = topics.reading(self._bus.identity.site, student.group, student.source)

        def on_ack() -> None:
            if student.name is not None:  # no recorder covers a student without a name
                self._ledger.acked((student.group, student.source, student.session), reading.seq, outgoing)

        outgoing = Outgoing(str(topic), codec.encode(reading), topic.rule.qos, topic.rule.retained, on_ack)
        self._bus.put(outgoing)
        student.seq = reading.seq + 1
        self.counters["readings"] += 1
        if student.status is not StreamStatus.ONLINE:
            self._say(student, StreamStatus.ONLINE, Link.CONNECTED)

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
