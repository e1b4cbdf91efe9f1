"""Do what teachers ask of the door: open or close it, admit and refuse who waits, remove who is there."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import REMOVED_MAX, Admission, Decision, Removed
from neuroone.contract.messages import Door as DoorState
from neuroone.contract.students import stem_of
from neuroone.mqtt.client import AsyncClient
from ws_gateway.dialects.first import BadFrame
from ws_gateway.door.board import DoorBoard
from ws_gateway.door.door import Door
from ws_gateway.lessons import Lessons
from ws_gateway.students.sources import sources_of
from ws_gateway.students.stream_registry import Key
from ws_gateway.students.student import Who

NO_LESSON: Final = "the door works while a lesson runs"


class DoorRequests:
    """The requests of teachers, and those that came to another gateway. Raise BadFrame."""

    def __init__(
        self,
        door: Door,
        board: DoorBoard,
        lessons: Lessons,
        client: AsyncClient,
        *,
        who_has: Callable[[Key], Who | None],
        now: Callable[[], datetime],
    ) -> None:
        self._door = door
        self._board = board
        self._lessons = lessons
        self._client = client
        self._who_has = who_has
        self._now = now

    def set_door(self, group: str, state: DoorState) -> None:
        """Open or close the door of a group's lesson."""
        if self._lessons.of(group).began is None:
            raise BadFrame("no_lesson", "group", NO_LESSON)
        self._lessons.update(group, door=state)

    def remove(self, key: Key) -> None:
        """End a student's stream, and keep the student out for the rest of the lesson."""
        if self._who_has(key) is None:
            raise BadFrame("bad_value", "source", "no student has this source")
        self._block(Removed(group=key[0], source=key[1]))
        self._door.count_removed()

    def decide(self, id: str, decision: Decision) -> None:
        """Admit or refuse a student who waits, at any gateway, or let one who was removed come again."""
        group, slash, source = id.partition("/")
        if slash:
            self._unblock(group, lambda each: each.source == source)
        elif not self.on_decision(id, decision):
            instance = self._board.instance_of(id)
            if instance is None or instance == self._client.identity.instance:
                raise BadFrame("not_waiting", "id", "nobody waits under this id any more")
            topic = topics.admission(self._client.identity.site, instance)
            self._client.publish(topic, Admission(time=self._now(), id=id, decision=decision))

    def on_decision(self, id: str, decision: Decision) -> bool:
        """Admit or refuse a student who waits here; return False if nobody waits here under this id."""
        waiting = self._door.find(id)
        if waiting is None:
            return False
        candidate = waiting.candidate
        if decision is Decision.REFUSE:
            self._block(Removed(group=candidate.group, source=next(sources_of(candidate.who[0]))))
            self._door.refuse(waiting)
        else:
            self._unblock(candidate.group, lambda each: stem_of(each.source) == candidate.stem)
            self._door.admit(waiting)
        return True

    def _block(self, student: Removed) -> None:
        """Put a student on the list of those who were removed."""
        group, lesson = self._lessons.taking_in(student.group)
        if lesson.began is None:
            raise BadFrame("no_lesson", "group", NO_LESSON)
        if student in lesson.removed:
            return
        if len(lesson.removed) >= REMOVED_MAX:
            raise BadFrame("too_many_removed", "", "too many students are removed: close the door instead")
        self._lessons.update(group, removed=(*lesson.removed, student))

    def _unblock(self, group: str, is_meant: Callable[[Removed], bool]) -> None:
        """Remove these students of a group from the list of those who were removed."""
        lesson_group, lesson = self._lessons.taking_in(group)
        left = tuple(each for each in lesson.removed if each.group != group or not is_meant(each))
        if left != lesson.removed:
            self._lessons.update(lesson_group, removed=left)
