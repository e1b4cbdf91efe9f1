"""Take deliveries into the inbox: what is acknowledged, and when.

Everything is worked out on copies, which replace what is in memory only after the transaction is committed. No file
but the inbox is touched here, so no other file can refuse a batch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from csv_recorder.live.dead_letters import letter_of
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.lessons import Lesson, Lessons
from csv_recorder.live.rows import Kind, Row
from csv_recorder.live.sessions import NOTHING, SEQ_JUMP_MAX, About, Key, Progress, Session, Sessions
from neuroone.contract.errors import BadMessage, ContractError
from neuroone.contract.files import event_row, file_key, group_events_path, raw_row, reading_row, time_text
from neuroone.contract.messages import EventType, GroupEvent, RawBlock, Reading, StreamState, StreamStatus
from neuroone.contract.messages import Kind as SourceKind
from neuroone.contract.topics import ALL, Topic
from neuroone.mqtt.delivery import Delivery

COUNTERS: Final = ("rows", "raw_blocks", "events", "duplicates", "gaps", "unnamed", "dead_letters", "sessions_opened")
RAW_WAITING_MAX_BLOCKS: Final = 16
"""Raw blocks of a session without a reading yet: 2 s, where a headset sends a reading each second."""
RAW_SEQS_MAX_SESSIONS: Final = 10_000
"""Sessions whose newest raw block is known: a bridge sends its last ones again after an outage of the broker."""
RAW_WAITING_MAX_SESSIONS: Final = 500
"""Sessions with such blocks: 500 headsets that start in one second hold 3 MB."""
COUNTER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""


@dataclass(slots=True)
class RawChanges:
    """What deliveries change of raw blocks: those of sessions without a reading yet, and which sessions got one.

    ``seqs`` has the newest block of each session.
    """

    waiting: dict[Key, list[RawBlock]] = field(default_factory=dict)
    claimed: list[Key] = field(default_factory=list)
    seqs: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """What deliveries change: rows to write, and the new state of what they touch.

    ``progress`` is by session; ``sessions`` are copies of those of which more has changed. ``next_seqs`` has the seq
    that each session expected before; ``streams`` (group, source, session) are to hear what became durable. ``lessons``
    are all of them, once one has ``changed``.
    """

    rows: list[Row] = field(default_factory=list)
    progress: dict[int, Progress] = field(default_factory=dict)
    sessions: dict[Key, Session] = field(default_factory=dict)
    described: dict[int, Session] = field(default_factory=dict)
    lessons: Lessons | None = None
    changed: list[Lesson] = field(default_factory=list)
    streams: dict[tuple[str, str, str], None] = field(default_factory=dict)
    next_seqs: dict[int, int] = field(default_factory=dict)
    raw: RawChanges = field(default_factory=RawChanges)
    duplicates: dict[int, list[int]] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    faults: list[ContractError] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    number: int = 0
    size_bytes: int = 0


class Intake:
    """Works out batches and stores them. ``running_s`` is the steady time that recorders have run here.

    Raw samples of students are recorded, and ``with_headsets`` those of headsets too.
    """

    def __init__(
        self,
        inbox: Inbox,
        sessions: Sessions,
        steady: Callable[[], float],
        running_s: Callable[[], float],
        *,
        with_headsets: bool = True,
    ) -> None:
        self._inbox = inbox
        self._sessions = sessions
        self._steady = steady
        self._running_s = running_s
        self._with_headsets = with_headsets
        self._raw_waiting: dict[Key, list[RawBlock]] = {}
        self._raw_seqs: dict[int, int] = {}
        self.lessons = Lessons()
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def load(self) -> None:
        """Begin with what the inbox has."""
        self.lessons = self._inbox.lessons()

    def accept(self, deliveries: Iterable[Delivery]) -> Batch:
        """Make deliveries durable: when this returns, they may be acknowledged.

        Raises sqlite3.Error if the inbox refuses; then nothing has changed, and the same ones may be given again.
        """
        batch = Batch()
        self._inbox.begin()
        for delivery in deliveries:
            self._accept_one(delivery, batch)
        return self._store(batch)

    def set_aside(self, delivery: Delivery, error: Exception) -> Batch:
        """Keep a delivery that cannot be recorded as an invalid one. Raises sqlite3.Error."""
        batch = Batch()
        self._inbox.begin()
        _set_aside(delivery, BadMessage("", f"cannot be recorded ({type(error).__name__})"), batch)
        return self._store(batch)

    def note(self, rows: list[Row]) -> Batch:
        """Make events of the recording itself durable. Raises sqlite3.Error."""
        self._inbox.begin()
        return self._store(Batch(rows=rows))

    def _store(self, batch: Batch) -> Batch:
        if batch.rows:
            batch.number, batch.size_bytes = self._inbox.put(batch.rows)
        for lesson in batch.changed:
            self._inbox.note_lesson(lesson)
        if batch.described:
            self._inbox.describe(batch.described.values())
        self._inbox.commit()
        for session in batch.sessions.values():
            self._sessions.put(session)
        self._sessions.advance(batch.progress, self._steady())
        self.lessons = batch.lessons or self.lessons
        self._keep_raw(batch)
        for counter, count in batch.counters.items():
            self.counters[counter] = min(COUNTER_MAX, self.counters[counter] + count)
        return batch

    def _accept_one(self, delivery: Delivery, batch: Batch) -> None:
        if not delivery.payload and delivery.topic.endswith(("/state", "/lesson")):  # a gateway took it off the broker
            return
        try:
            topic, message = delivery.open()
            match message:
                case Reading():
                    self._accept_reading(topic, message, batch)
                case RawBlock():
                    self._accept_raw(topic, message, batch)
                case StreamState():
                    self._accept_state(topic, message, batch)
                case GroupEvent():
                    self._accept_event(topic.ids[0], message, batch)
        except ContractError as error:
            _set_aside(delivery, error, batch)

    def _accept_reading(self, topic: Topic, reading: Reading, batch: Batch) -> None:
        group, source = topic.ids
        key = (group, reading.session)
        session = self._known(key, batch) or self._stored(key, batch)
        before = NOTHING if session is None else batch.progress.get(session.id, session.progress)
        seq = reading.seq
        jump = seq - before.seq - 1
        if jump > SEQ_JUMP_MAX:
            raise BadMessage("seq", f"is more than {SEQ_JUMP_MAX} ahead of the session")
        if session is None:
            session = batch.sessions[key] = self._inbox.add_session(f"{group}/{source}", reading.session)
        batch.streams[group, source, reading.session] = None
        batch.next_seqs.setdefault(session.id, before.seq + 1)
        after = before.with_reading(seq)
        if after is None:
            batch.progress[session.id] = before.with_duplicate()
            batch.counters["duplicates"] += 1
            batch.duplicates.setdefault(session.id, []).append(seq)
            return
        batch.progress[session.id] = after
        batch.rows.append(Row(session.id, Kind.READING, seq, reading_row(reading)))
        about = session.about
        if about is None or not session.open or not about.kind:
            self._begin(self._own(session, batch), reading, before.seq + 1, batch)
            batch.raw.claimed.append(key)
            for block in [*self._raw_waiting.get(key, ()), *batch.raw.waiting.pop(key, ())]:
                self._write_raw(session.id, reading.kind, block, batch)
        counters = batch.counters
        counters["rows"] += 1
        if jump > 0:
            counters["gaps"] += jump
        if reading.name is None:
            counters["unnamed"] += 1

    def _accept_raw(self, topic: Topic, block: RawBlock, batch: Batch) -> None:
        """Accept a raw block. Raw blocks come with QoS 0, and wait until their session has a reading."""
        key = topic.ids[0], block.session
        session = self._known(key, batch)
        if session is not None and session.is_recording and session.about is not None:
            self._write_raw(session.id, session.about.kind, block, batch)
        else:
            batch.raw.waiting.setdefault(key, []).append(block)

    def _write_raw(self, session_id: int, kind: str, block: RawBlock, batch: Batch) -> None:
        """Write a raw block, unless it has come before: they come in order, and again from the last one on."""
        if kind == SourceKind.HEADSET and not self._with_headsets:
            return
        if block.seq <= batch.raw.seqs.get(session_id, self._raw_seqs.get(session_id, -1)):
            return
        batch.raw.seqs[session_id] = block.seq
        batch.rows.append(Row(session_id, Kind.RAW, -1, raw_row(block)))
        batch.counters["raw_blocks"] += 1

    def _keep_raw(self, batch: Batch) -> None:
        """Keep the newest raw blocks of the sessions that wait for their first reading."""
        for key in batch.raw.claimed:
            self._raw_waiting.pop(key, None)
        for key, blocks in batch.raw.waiting.items():
            waiting = [*self._raw_waiting.pop(key, ()), *blocks]
            self._raw_waiting[key] = waiting[-RAW_WAITING_MAX_BLOCKS:]
        for session_id, seq in batch.raw.seqs.items():
            self._raw_seqs.pop(session_id, None)
            self._raw_seqs[session_id] = seq
        while len(self._raw_seqs) > RAW_SEQS_MAX_SESSIONS:
            del self._raw_seqs[next(iter(self._raw_seqs))]
        while len(self._raw_waiting) > RAW_WAITING_MAX_SESSIONS:
            del self._raw_waiting[next(iter(self._raw_waiting))]

    def _accept_state(self, topic: Topic, state: StreamState, batch: Batch) -> None:
        if state.status is StreamStatus.OFFLINE:
            batch.released.append("/".join(topic.ids))
        session = self._known((topic.ids[0], state.session), batch)
        if session is None or not session.is_recording or session.status is state.status:
            return
        session = self._own(session, batch)
        session.status, session.has_ended = state.status, state.status is StreamStatus.OFFLINE
        batch.rows.append(Row(session.id, Kind.EVENT, -1, event_row(state.time, str(state.status))))

    def _accept_event(self, group: str, event: GroupEvent, batch: Batch) -> None:
        if not self._inbox.is_new_event(event.id, self._running_s()):
            batch.counters["duplicates"] += 1
            return
        batch.counters["events"] += 1
        content = event_row(event.time, str(event.type), text=event.text)
        batch.rows.append(Row(self._group_file(group_events_path(event.time, group)), Kind.GROUP_EVENT, -1, content))
        if event.type is not EventType.MARKER:
            self._change_lesson(group, event, batch)
        for session in {**{each.key: each for each in self._sessions}, **batch.sessions}.values():
            in_group, _, source = session.stream.partition("/")
            is_meant = group in (ALL, in_group) and event.source in (None, source)
            if not session.open or session.about is None or not is_meant:
                continue
            batch.rows.append(Row(session.id, Kind.EVENT, -1, content))
            if event.type is not EventType.MARKER:
                started = group if event.type is EventType.SESSION_START else None
                self._take_part(session, session.about, batch, started=started)

    def _change_lesson(self, group: str, event: GroupEvent, batch: Batch) -> None:
        """Begin or end a lesson."""
        lessons = batch.lessons or self.lessons
        changed = lessons.on_event(group, event.type, event.text, time_text(event.time))
        if changed:
            batch.lessons = batch.lessons or lessons.copy()
            batch.changed += changed
            for lesson in changed:
                batch.lessons.note(lesson)

    def _take_part(self, session: Session, about: About, batch: Batch, *, started: str | None) -> None:
        """Put an open session into the lesson that runs now, and out of every other one.

        The class of a session is the lesson of the group that ``started`` one, or its first one.
        """
        lessons, group = batch.lessons or self.lessons, session.stream.partition("/")[0]
        lesson, class_ = lessons.of(group), about.class_
        if lesson is not None and (class_ is None or lesson.group == started):
            class_ = lesson.name
        next_seq = batch.progress.get(session.id, session.progress).seq + 1
        parts = lessons.next_parts(about.lessons, group, next_seq)
        if (parts, class_) != (about.lessons, about.class_):
            session = self._own(session, batch)
            session.about = msgspec.structs.replace(about, class_=class_, lessons=parts)
            batch.described[session.id] = session

    def _begin(self, session: Session, reading: Reading, next_seq: int, batch: Batch) -> None:
        """Begin a session with its first reading, or reopen one that was closed."""
        session.open, session.has_ended, session.status = True, False, StreamStatus.ONLINE
        group, about = session.stream.partition("/")[0], session.about
        lessons = batch.lessons or self.lessons
        if about is not None and about.kind:
            batch.rows.append(Row(session.id, Kind.EVENT, -1, event_row(reading.time, "online")))
            parts = lessons.next_parts(about.lessons, group, next_seq)
            class_ = about.class_ if about.class_ is not None or not parts else parts[-1].name
            session.about = msgspec.structs.replace(about, class_=class_, lessons=parts)
        elif about is not None:  # an inbox that was rebuilt without a sidecar does not know whose it is
            kind, name, code = str(reading.kind), reading.name, reading.code
            simulated, start = reading.simulated is True, about.start or time_text(reading.time)
            parts = about.lessons if about.start else lessons.first_parts(group, start)
            class_ = about.class_ or (parts[-1].name if parts and not about.start else None)
            session.about = msgspec.structs.replace(
                about,
                kind=kind,
                name=name,
                code=code,
                simulated=simulated,
                start=start,
                lessons=parts,
                class_=class_,
            )
        else:
            batch.counters["sessions_opened"] += 1
            start = time_text(reading.time)
            parts = lessons.first_parts(group, start)
            session.about = About(
                kind=str(reading.kind),
                name=reading.name,
                code=reading.code,
                start=start,
                class_=parts[-1].name if parts else None,
                lessons=parts,
                simulated=reading.simulated is True,
            )
        batch.described[session.id] = session

    def _known(self, key: Key, batch: Batch) -> Session | None:
        return batch.sessions.get(key) or self._sessions.by_key(key)

    def _stored(self, key: Key, batch: Batch) -> Session | None:
        """Return a session that is not in memory, as it is stored."""
        session = self._inbox.session(*key)
        if session is not None:
            batch.sessions[key] = session
        return session

    def _own(self, session: Session, batch: Batch) -> Session:
        """Return the copy of a session that this batch may change."""
        return batch.sessions.setdefault(session.key, session.copy())

    def _group_file(self, path: str) -> int:
        """Return the number of a file of a group's events, stored if it is new; the writer makes it."""
        key = file_key(path)
        return (self._inbox.file_by_key(key) or self._inbox.add_file(key, path, None, None, -1)).id


def _set_aside(delivery: Delivery, error: ContractError, batch: Batch) -> None:
    batch.counters["dead_letters"] += 1
    batch.faults.append(error)
    batch.rows.append(Row(0, Kind.LETTER, -1, letter_of(delivery, error)))
