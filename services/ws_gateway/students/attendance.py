"""Tell who was here since a time: from the students of this gateway, and from the retained states of all gateways."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum

from neuroone.contract import topics
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.students.sources import NAMESAKES_MAX, sources_of
from ws_gateway.students.stream_registry import Key, StreamRegistry
from ws_gateway.students.student import Student, Who


class Attendance(Enum):
    """Whether a student has been here."""

    NEVER = "has not been here"
    GONE = "was here, and is silent now"
    PRESENT = "is here, and the connection works"


class AttendanceList:
    """Who was here.

    ``active`` has the students of this gateway by their stream, ``sessions`` those of the new dialect by their session;
    ``can_judge`` says whether a silence is one now.
    """

    def __init__(
        self,
        registry: StreamRegistry,
        active: Mapping[Key, Student],
        sessions: Sequence[Mapping[str, Student]],
        *,
        clock: Callable[[], float],
        can_judge: Callable[[float], bool],
    ) -> None:
        self._registry = registry
        self._active = active
        self._sessions = sessions
        self._clock = clock
        self._can_judge = can_judge

    def of(self, who: Who, since: datetime) -> Attendance:
        """Return whether a student of this name and code was here since a time."""
        group, found = topics.group_id(who[1]), Attendance.NEVER
        for number, source in enumerate(sources_of(who[0]), 1):
            key = (group, source)
            if self.who_has(key) == who:
                attendance = self._at(key, since)
                if attendance is Attendance.PRESENT:
                    return attendance
                found = attendance if found is Attendance.NEVER else found
            elif number >= NAMESAKES_MAX or (key not in self._active and key not in self._registry):
                break
        return found

    def of_name(self, name: str, since: datetime) -> Attendance:
        """Return whether the last student of this name, of any code, was here since a time."""
        key = self._registry.last_of(name)
        return Attendance.NEVER if key is None else self._at(key, since)

    def has_session(self, session: str | None, who: Who) -> bool:
        """Return True if a session was begun by this student, at any gateway."""
        if session is None:
            return False
        for students in self._sessions:
            if session in students:
                return students[session].who == who
        had = self._registry.stream_of(session)
        return had is not None and had[1] == who

    def may_be_leaving(self, who: Who, session: str | None) -> bool:
        """Return True if a new session's place is that of another session of the same student, which may be over.

        An app that begins anew, or a page that is loaded again, comes back before its end is known: the old connection
        may be at another gateway.
        """
        if who[0] is None or self.has_session(session, who):
            return False
        key = (topics.group_id(who[1]), next(sources_of(who[0])))
        return self.who_has(key) == who and (key in self._active or self._registry.is_elsewhere(key, ""))

    def student_at(self, key: Key) -> Student | None:
        """Return the student of this gateway who has a stream."""
        return self._active.get(key)

    def who_has(self, key: Key) -> Who | None:
        """Return the student of a stream, of any gateway."""
        student = self._active.get(key)
        return self._registry.who_has(key) if student is None else student.who

    def _at(self, key: Key, since: datetime) -> Attendance:
        """Return whether the student of a stream was here since a time."""
        student = self._active.get(key)
        if student is not None:
            now_s = self._clock()
            is_silent = self._can_judge(now_s) and now_s - student.last_s >= STALE_AFTER_S
            is_gone = student.has_left or (is_silent and not student.is_resumable)
            return Attendance.GONE if is_gone else Attendance.PRESENT
        if not self._registry.was_there(key, since):
            return Attendance.NEVER
        is_present = self._registry.is_elsewhere(key, "") and not self._registry.is_silent(key)
        return Attendance.PRESENT if is_present else Attendance.GONE
