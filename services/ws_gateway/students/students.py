"""Know the students: which connection has which stream, and what their readings have reached.

This half knows nothing of dashboards: ``on_reading`` gets every reading that goes to the broker.
"""

import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import Link, Reading, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.replay import ReplayBuffer, Stream
from neuroone.service.stream_states import STALE_AFTER_S, clear_orphan, status_after
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import BadFrame, StudentFrame
from ws_gateway.dialects.v1 import Stage, StudentReading
from ws_gateway.students.attendance import AttendanceList
from ws_gateway.students.newcomers import HELD_MAX, Newcomers
from ws_gateway.students.publisher import StudentPublisher
from ws_gateway.students.rate_limit import Arrival, RateLimiter
from ws_gateway.students.sources import NAMESAKES_MAX, sources_of
from ws_gateway.students.stream_registry import Key, StreamRegistry
from ws_gateway.students.student import Student, Taken, Who

SESSIONS_MAX: Final = 20_000
"""Sessions of students who have left that can be resumed without sending anything twice; about 20 MB. For older ones
the recorder drops what comes twice."""
LEFT_MAX: Final = 5000
"""Sessions of the first dialect that have ended, of which the broker may still send readings back; about 1 MB."""
LATE_S: Final = 1.0
"""A silence check later than this means that the gateway was busy, and messages of that time are not read yet."""
ABSENT_MAX: Final = 1000
"""Readings that a connection of the new dialect may leave out and send later; apps leave out none."""
CLEARED_AT_ONCE_MAX: Final = 500
"""States that are cleared on the broker at once: readings wait behind them."""


class Students:
    """All students of this gateway. ``now`` is UTC, ``clock`` a steady clock in seconds.

    Students who are connected are never forgotten; of the new dialect's sessions that have ended the newest are kept.
    """

    def __init__(
        self,
        client: AsyncClient,
        registry: StreamRegistry,
        replay: ReplayBuffer,
        on_reading: Callable[[Topic, Reading], None],
        *,
        rate_hz: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._registry = registry
        self._replay = replay
        self._now = now
        self._clock = clock
        self._active: dict[Key, Student] = {}
        self._sessions: dict[str, Student] = {}
        self._ended: OrderedDict[str, Student] = OrderedDict()
        self._left: OrderedDict[str, int] = OrderedDict()
        self._waiting: set[Student] = set()
        self.newcomers = Newcomers(registry, self._active)
        self._checked_s = float("-inf")
        self._is_on_time = False
        self.publisher = StudentPublisher(client, on_reading, rate_hz=rate_hz, now=now)
        self.counters: dict[str, int] = self.publisher.counters
        self.counters.update(
            dict.fromkeys(("readings_coalesced", "readings_held", "readings_repeated", "students_joined"), 0)
        )

    def __len__(self) -> int:
        return len(self._active) - sum(newcomer.has_left for _, newcomer in self.newcomers)

    # --- the first dialect -----------------------------------------------------------------------

    def on_frame(self, student: Student | None, frame: StudentFrame) -> Student:
        """Publish a frame of the first dialect. Return whose it is.

        That is ``student``, or one who begins with it, or one whose connection has been silent for 3 s.
        """
        now_s = self._clock()
        if student is None or student.who != (frame.name, frame.code):
            if student is not None:
                self.leave(student)
            student = self._begin((frame.name, frame.code), now_s)
        student.last_s = now_s
        limiter = student.limiter
        self.counters["readings_coalesced"] += limiter.waiting is not None
        arrival = limiter.offer(Arrival(frame, self._now(), now_s), now_s)
        if arrival is None:
            self._waiting.add(student)
        else:
            self._accept(student, arrival)
        return student

    def _accept(self, student: Student, arrival: Arrival) -> None:
        """Publish a reading, or hold it back while it is not known whose it is."""
        if student.newcomer is not None and len(student.newcomer.held) >= HELD_MAX:
            self._release(student)
        if student.newcomer is not None:
            student.newcomer.held.append(arrival)
            self.counters["readings_held"] += 1
        else:
            self.publisher.publish_arrival(student, arrival)

    def admit(self, who: Who, arrivals: Sequence[Arrival]) -> Student:
        """Begin a student of the first dialect with the frames that were kept while it waited."""
        student = self._begin(who, self._clock())
        for arrival in arrivals:
            self._accept(student, arrival)
        student.last_s = self._clock()
        return student

    def _begin(self, who: Who, now_s: float) -> Student:
        """Begin a student of the first dialect, or give the new connection a silent namesake's stream.

        A phone that lost its network comes back on a new connection, long before the old one is known to be dead.
        """
        group, session = topics.group_id(who[1]), uuid.uuid4().hex
        can_judge, has_name = self._can_judge(now_s), who[0] is not None
        free, rivals = None, list[Student | Key]()
        sources = sources_of(who[0])
        for number, source in enumerate(sources, 1):
            key = (group, source)
            there = self._active.get(key)
            if there is not None:
                if has_name and there.who == who and not there.is_resumable:
                    if there.has_left or (can_judge and now_s - there.last_s >= STALE_AFTER_S):
                        return _hand_over(there)
                    rivals.append(there)
            elif self._registry.is_elsewhere(key, session):
                if has_name and self._registry.who_has(key) == who:
                    if self._registry.is_silent(key):
                        return self._join(who, (group, source, session), now_s)
                    rivals.append(key)
            else:
                free = free or source
                if key not in self._registry or number >= NAMESAKES_MAX:
                    break
        student = self._join(who, (group, free or next(sources), session), now_s)
        self.newcomers.add(student, rivals, now_s)
        return student

    def _settle_newcomers(self, now_s: float) -> None:
        """Publish what was held back of the newcomers, under the stream of the namesake whose phone each of them is."""
        for student, newcomer in self.newcomers:
            namesake = self.newcomers.identify(student, newcomer, now_s)
            if isinstance(namesake, Student):
                self._continue(student, namesake)
            elif namesake is not None:
                self._move(student, namesake)
            if namesake is not None or not newcomer.rivals:
                self._release(student)

    def _continue(self, student: Student, namesake: Student) -> None:
        """Let a newcomer go on with the stream of a namesake, which parts from its connection."""
        if namesake.limiter.waiting is not None:
            self.publisher.publish_arrival(namesake, namesake.limiter.waiting)
        self._remove(namesake, Taken.BY_ANOTHER_CONNECTION)
        self._move(student, namesake.key)
        student.stream, student.seq, student.status = namesake.stream, namesake.seq, namesake.status
        student.limiter.continue_counts(namesake.limiter)

    def _move(self, student: Student, key: Key) -> None:
        """Give a student of whom nothing is published yet another stream."""
        del self._active[student.key]
        student.stream = (*key, student.session)
        student.topic = self._topic_of(key)
        self._active[key] = student

    def _release(self, student: Student) -> None:
        """Publish what was held back, and end the stream if the connection has ended meanwhile."""
        newcomer = self.newcomers.discard(student)
        if newcomer is not None:
            for arrival in newcomer.held:
                self.publisher.publish_arrival(student, arrival)
            if newcomer.has_left:
                self._end(student)

    # --- the new dialect -------------------------------------------------------------------------

    def resume(self, name: str | None, code: str | None, session: str | None) -> Student:
        """Resume a session of the new dialect, taking it from the connection that had it, or begin one.

        A session belongs to who began it: anybody else gets a new one.
        """
        who = (name, code)
        session = session or uuid.uuid4().hex
        known = self._sessions.get(session) or self._ended.get(session)
        had = self._registry.stream_of(session)
        if (known is not None and known.who != who) or (known is None and had is not None and had[1] != who):
            known, had, session = None, None, uuid.uuid4().hex
        if known is not None and self._active.get(known.key) is known:
            known.has_begun = False
            return _hand_over(known)
        key = known.key if known is not None else had[0] if had is not None else None
        if key is None or key in self._active or self._registry.is_elsewhere(key, session):
            key = self._free_place(who, session)
        student = self._join(who, (*key, session), self._clock(), is_resumable=True)
        if known is not None:
            del self._ended[session]
            student.seq, student.acked, student.absent, student.raw = known.seq, known.acked, known.absent, known.raw
        self._sessions[session] = student
        return student

    def attendance(self) -> AttendanceList:
        """Make the list of who was here."""
        sessions = (self._sessions, self._ended)
        return AttendanceList(self._registry, self._active, sessions, clock=self._clock, can_judge=self._can_judge)

    def announce(self, student: Student) -> None:
        """Tell all gateways that a student is here, before the first reading."""
        student.last_s = self._clock()
        self.publisher.publish_state(student, StreamStatus.ONLINE)

    def _free_place(self, who: Who, session: str) -> Key:
        group, sources = topics.group_id(who[1]), sources_of(who[0])
        key = (group, next(sources))
        while key in self._active or self._registry.is_elsewhere(key, session):
            key = (group, next(sources))
        return key

    def on_reading(self, student: Student, given: StudentReading) -> None:
        """Publish a reading of the new dialect, unless it came before. Raises BadFrame or Refused."""
        name, code = student.who
        try:
            reading = v1.student_reading(given, session=student.session, name=name, code=code, now=self._now())
        except BadFrame:
            self._leave_out(student, given.get("seq"))
            raise
        seq, now_s = reading.seq, self._clock()
        student.last_s = now_s
        if not student.has_begun:
            # An app begins with the oldest reading that it still has.
            student.has_begun = True
            if student.absent:
                gone = frozenset(each for each in student.absent if each < seq)
                student.absent -= gone
                self._replay.do_without(student.stream, gone)
        elif seq > student.seq:
            self._expect(student, seq)
        if seq >= student.seq:
            self.publisher.publish_reading(student, reading, now_s)
        elif seq in student.absent:
            self._replay.expect(student.stream, (seq,))
            self.publisher.publish_reading(student, reading, now_s)
            student.absent -= {seq}
        else:
            self.counters["readings_repeated"] += 1
            if seq <= student.acked:
                student.on_progress(Stage.BROKER, student.acked)

    def _expect(self, student: Student, seq: int) -> None:
        """Note that readings were left out: until they come, no ack goes beyond them. Raises BadFrame."""
        if len(student.absent) + seq - student.seq > ABSENT_MAX:
            raise BadFrame("bad_value", "seq", f"seq must rise by one; {student.seq} comes next")
        left_out = range(student.seq, seq)
        student.absent |= frozenset(left_out)
        self._replay.expect(student.stream, left_out)

    def _leave_out(self, student: Student, seq: object) -> None:
        """Let acks go beyond a reading that was refused as bad: apps do not send it again."""
        if type(seq) is not int:
            return
        if seq == student.seq and len(student.absent) < ABSENT_MAX:
            student.seq += 1
            student.absent |= {seq}
        elif seq in student.absent:
            self._replay.do_without(student.stream, (seq,))

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

    def _sender_of(self, stream: Stream) -> Student | None:
        """Return the student of the new dialect whose stream this is."""
        student = self._sessions.get(stream[2]) or self._ended.get(stream[2])
        return student if student is not None and student.stream == stream else None

    def has_sent(self, topic: Topic, reading: Reading) -> bool:
        """Return True if a reading that the broker delivers went out here: MQTT 3.1.1 brokers send it back."""
        student = self._active.get((topic.ids[0], topic.ids[1]))
        if student is None or student.session != reading.session:
            student = self._ended.get(reading.session)
        if student is None:
            return reading.seq < self._left.get(reading.session, 0)
        return reading.seq < student.seq and reading.seq not in student.absent

    # --- coming and going ------------------------------------------------------------------------

    def _join(self, who: Who, stream: Stream, now_s: float, *, is_resumable: bool = False) -> Student:
        limiter = RateLimiter(self.publisher.rate_hz, now_s)
        topic = self._topic_of(stream[:2])
        student = self._active[stream[:2]] = Student(who, stream, topic, limiter, is_resumable)
        self.counters["students_joined"] += 1
        return student

    def _topic_of(self, key: Key) -> str:
        return str(topics.reading(self._client.identity.site, *key))

    def leave(self, student: Student) -> None:
        """End the student's stream, as soon as it is known which one that is. Idempotent."""
        if self._active.get(student.key) is not student:
            return
        if student.newcomer is not None:
            student.newcomer.has_left = True
            student.let_go()
        else:
            self._end(student)

    def _end(self, student: Student) -> None:
        if student.limiter.waiting is not None:
            self.publisher.publish_arrival(student, student.limiter.waiting)
        self.publisher.report_coalesced(student, is_last=True)
        self._remove(student)
        if student.seq or student.status is not StreamStatus.OFFLINE:  # otherwise it was never announced
            self.publisher.publish_state(student, StreamStatus.OFFLINE, Link.ENDED)

    def leave_all(self) -> None:
        """End the streams of all students."""
        for student, _ in self.newcomers:
            self._release(student)
        for student in tuple(self._active.values()):
            self.leave(student)

    def _remove(self, student: Student, why: Taken | None = None) -> None:
        """Forget a student, or keep only the session to resume; ``why`` is for a connection that does not know."""
        del self._active[student.key]
        self._waiting.discard(student)
        self.publisher.forget(student)
        self.newcomers.discard(student)
        student.let_go(why)
        if student.is_resumable:
            del self._sessions[student.session]
            self._ended[student.session] = student
            if len(self._ended) > SESSIONS_MAX:
                self._ended.popitem(last=False)
        else:
            self._left[student.session] = student.seq
            if len(self._left) > LEFT_MAX:
                self._left.popitem(last=False)

    # --- timers ----------------------------------------------------------------------------------

    def send_waiting(self) -> None:
        """Publish coalesced readings that the rate allows now, and announce new students. Call often."""
        now_s = self._clock()
        self.publisher.announce_waiting()
        for student in tuple(self._waiting):
            arrival = student.limiter.release(now_s)
            if arrival is not None:
                self._waiting.discard(student)
                self._accept(student, arrival)

    def check_silence(self) -> None:
        """Settle newcomers, publish who has gone silent and what was coalesced. Call about twice a second."""
        now_s, before_s = self._clock(), self._checked_s
        self._checked_s = now_s
        self._is_on_time = now_s - before_s <= LATE_S
        if not self._is_on_time:
            return
        self._settle_newcomers(now_s)
        for student in self._active.values():
            if student.newcomer is not None:
                continue
            status = status_after(now_s - student.last_s)
            if status is not student.status and not self.publisher.is_unannounced(student):
                self.publisher.publish_state(student, status)
            self.publisher.report_coalesced(student)

    def _can_judge(self, now_s: float) -> bool:
        """Return True if a silence is one: False while what came in a busy time is not read yet."""
        return self._is_on_time and now_s - self._checked_s <= LATE_S

    # --- states on the broker --------------------------------------------------------------------

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Remember a stream's state; correct it if it is untrue for a student who is here, or left by a dead run."""
        self._registry.on_state(topic, state)
        student = self._active.get((topic["group"], topic["source"]))
        if student is None:
            offline = clear_orphan(state, self._client.identity, self._now())
            if offline is not None:
                self._client.publish(topic, offline)
        elif state.run == self._client.identity.run:
            return
        elif state.status is not StreamStatus.ONLINE:
            # The student came from another gateway, which noticed only now that the old connection is gone.
            self.publisher.publish_online_again(student)
        elif not self._registry.is_elsewhere(student.key, student.session):
            return
        elif student.newcomer is not None:
            self._move(student, self._free_place(student.who, student.session))
        else:
            self._yield_or_stay(student, state)

    def _yield_or_stay(self, student: Student, theirs: StreamState) -> None:
        """Give up a stream that another service has begun to use, or keep it: one of the two must.

        A silent connection gives up: its phone is at the other gateway now. Of two that speak, the one at the service
        of the greater name does.
        """
        identity = self._client.identity
        if self._clock() - student.last_s >= STALE_AFTER_S or (theirs.service, theirs.instance) < (
            identity.service,
            identity.instance,
        ):
            self._remove(student, Taken.BY_ANOTHER_STUDENT)
        else:
            self.publisher.publish_online_again(student)

    def on_state_cleared(self, topic: Topic) -> None:
        """Publish a state again that was cleared although its student is here; any other one never again."""
        self._registry.on_state_cleared(topic)
        self._client.leave_to_broker(topic)
        student = self._active.get((topic["group"], topic["source"]))
        if student is not None:
            self.publisher.publish_online_again(student)

    def clear_outdated(self) -> None:
        """Clear the states of students who left long ago; those that cannot be sent are tried again next time."""
        site = self._client.identity.site
        for group, source in islice(self._registry.outdated(self._now()), CLEARED_AT_ONCE_MAX):
            self._client.put(Outgoing(str(topics.stream_state(site, group, source)), b"", qos=1, retained=True))


def _hand_over(student: Student) -> Student:
    """Take a student from its connection, for a new one."""
    student.let_go(Taken.BY_ANOTHER_CONNECTION)
    if student.newcomer is not None:
        student.newcomer.has_left = False
    return student
