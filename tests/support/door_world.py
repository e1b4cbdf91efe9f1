"""The door of a gateway over a fake client, with a lesson and a clock that are set by hand."""

from datetime import timedelta
from typing import Any

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import Door as DoorState
from neuroone.contract.messages import LessonState, Removed, StreamStatus
from tests.support.messages import NOON
from tests.support.student_world import World, elsewhere, frame
from ws_gateway.door.door import Door
from ws_gateway.door.rules import Candidate, DoorRules, Verdict
from ws_gateway.door.waiting import WaitingClient
from ws_gateway.students.student import Student

LESSON = LessonState(name="Ciências", began=NOON - timedelta(minutes=10), door=DoorState.ASK)


class DoorWorld(World):
    """A lesson, its door, and the students of one gateway."""

    def __init__(self, **lesson: Any) -> None:
        super().__init__()
        self.lesson = replace(LESSON, **lesson)
        rules = DoorRules(lambda group: self.lesson, self.students.attendance())
        self.door = Door(rules, 5.0, now=lambda: NOON + timedelta(seconds=self.now_s - 100), clock=lambda: self.now_s)
        self.told: list[tuple[str | None, Verdict]] = []
        self.check_silence()

    def set_lesson(self, **changes: Any) -> None:
        """Change the lesson, as a teacher does."""
        self.lesson = replace(self.lesson, **changes)
        self.door.on_lessons([self.lesson])
        self.door.visit()

    def verdict_on(self, name: str | None, code: str, address: str = "10.0.0.9", session: str | None = None) -> Verdict:
        """Let a student come to the door; return what it says."""
        waiting = self.wait(name, code, address, session)
        return Verdict.COME_IN if waiting is None else waiting.verdict

    def wait(
        self, name: str | None, code: str, address: str = "10.0.0.9", session: str | None = None
    ) -> WaitingClient | None:
        """Let a student come to the door; return the client that waits, if it has to."""
        waiting = self.door.enter(Candidate((name, code), address, session), lambda: self._tell(waiting))
        return waiting

    def _tell(self, waiting: WaitingClient | None) -> None:
        assert waiting is not None
        self.told.append((waiting.candidate.who[0], waiting.verdict))

    def join(self, name: str | None, code: str, address: str = "10.0.0.9") -> Student:
        """Let a phone come in and send a frame, whatever the door says."""
        self.door.rules.on_join(Candidate((name, code), address))
        student = self.students.on_frame(None, frame(name, code))
        self._hear_state(student, StreamStatus.ONLINE)
        return student

    def end(self, student: Student) -> None:
        """End a student's connection."""
        self.students.leave(student)
        self._hear_state(student, StreamStatus.OFFLINE)

    def _hear_state(self, student: Student, status: StreamStatus) -> None:
        """Receive the state that this gateway has published."""
        name, code = student.who
        state = elsewhere(instance="host", run="now", session=student.session, status=status, name=name, code=code)
        self.registry.on_state(topics.stream_state("local", student.group, student.source), state)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, with all timers."""
        for _ in range(round(seconds * 20)):
            self.now_s += 0.05
            self.students.check_silence()
            self.door.visit()


def removed(*keys: tuple[str, str]) -> tuple[Removed, ...]:
    return tuple(Removed(group=group, source=source) for group, source in keys)
