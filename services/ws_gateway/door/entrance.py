"""Connect the door with those who use it: clients, teachers, lessons and the other gateways."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import Admission, LessonState
from neuroone.mqtt.client import AsyncClient
from ws_gateway.dialects.first import BadFrame
from ws_gateway.door.board import DoorBoard
from ws_gateway.door.door import Door
from ws_gateway.door.requests import DoorRequests
from ws_gateway.door.rules import DoorRules
from ws_gateway.lessons import Lessons
from ws_gateway.students.student import Taken
from ws_gateway.students.students import Students

STARTING_MAX_S: Final = 3.0
"""A gateway that has no broker so long after its start lets students in: their readings wait for the broker."""


class Entrance:
    """The door of a gateway, the board on which teachers see who waits, and what they ask of it."""

    def __init__(
        self,
        client: AsyncClient,
        students: Students,
        lessons: Lessons,
        *,
        rate_hz: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._students = students
        self.lessons = lessons
        self._clock = clock
        self._ready = asyncio.Event()
        self._ready_at_s = clock() + STARTING_MAX_S
        self._attendance = students.attendance()
        rules = DoorRules(lambda group: lessons.taking_in(group)[1], self._attendance)
        self.door = Door(rules, rate_hz, now=now, clock=clock)
        self.board = DoorBoard(lessons.running, now=now, clock=clock)
        self.requests = DoorRequests(self.door, self.board, lessons, client, who_has=self._attendance.who_has, now=now)

    @property
    def is_ready(self) -> bool:
        """True once the broker has said which lessons run, or is not there."""
        return self._ready.is_set()

    async def wait_until_ready(self) -> None:
        """Let a client wait until this gateway, which has just started, knows which lessons run."""
        await self._ready.wait()

    def on_lesson(self, state: LessonState) -> None:
        """Follow a lesson that has changed: end the streams of students who were removed, and judge who waits anew."""
        for each in state.removed:
            student = self._attendance.student_at((each.group, each.source))
            if student is not None:
                tell = student.on_taken
                self._students.leave(student)
                tell(Taken.BY_TEACHER)
        self.door.on_lessons(self.lessons.running())
        self.board.send()

    def on_admission(self, admission: Admission) -> None:
        """Do what a teacher at another gateway has decided about a student who waits here."""
        with contextlib.suppress(BadFrame):  # the list of removed students is full: the student goes on waiting
            self.requests.on_decision(admission.id, admission.decision)

    def visit(self) -> None:
        """Judge some of those who wait again. Call 20 times a second."""
        if not self._ready.is_set() and (self._client.session.has_states or self._clock() >= self._ready_at_s):
            self._ready.set()
        self.door.visit()

    def publish(self) -> None:
        """Publish who waits here, if that is due. Call once a second."""
        waiting = self.door.waiting()
        if waiting is not None:
            self._client.publish(topics.waiting(self._client.identity.site, self._client.identity.instance), waiting)
        self.board.forget_outdated()
