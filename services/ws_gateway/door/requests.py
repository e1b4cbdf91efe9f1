"""Do what teachers ask of the door: open or close it, admit and refuse who waits, remove who is there."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import REMOVED_MAX, Admission, Decision, LessonState, Removed
from neuroone.contract.messages import Door as DoorState
from neuroone.mqtt.client import AsyncClient
from ws_gateway.dialects.first import BadFrame
from ws_gateway.door.board import DoorBoard
from ws_gateway.door.door import Door
from ws_gateway.lessons import Lessons
from ws_gateway.students.sources import sources_of, stem_of
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
        group, lesson = self._lessons.taking_in(key[0])
        if lesson.began is None:
            raise BadFrame("no_lesson", "group", NO_LESSON)
        if self._who_has(key) is None:
            raise BadFrame("bad_value", "source", "no student has this source")
        self._door.count_removed()
        self._add(group, lesson, Removed(group=key[0], source=key[1]))

    def decide(self, id: str, decision: Decision) -> None:
        """Admit or refuse a student who waits, at any gateway, or let one who was removed come again."""
        group, slash, source = id.partition("/")
        if slash:
            self._forgive(group, lambda each: each.source == source)
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
        comer = waiting.comer
        if decision is Decision.REFUSE:
            source = next(sources_of(comer.who[0]))
            self._add(*self._lessons.taking_in(comer.group), Removed(group=comer.group, source=source))
            self._door.refuse(waiting)
        else:
            self._forgive(comer.group, lambda each: stem_of(each.source) == comer.stem)
            self._door.admit(waiting)
        return True

    def _add(self, group: str, lesson: LessonState, removed: Removed) -> None:
        if removed in lesson.removed:
            return
        if len(lesson.removed) >= REMOVED_MAX:
            raise BadFrame("too_many_removed", "", "too many students are removed: close the door instead")
        self._lessons.update(group, removed=(*lesson.removed, removed))

    def _forgive(self, group: str, is_meant: Callable[[Removed], bool]) -> None:
        """Remove these students of a group from the list of those who were removed."""
        lesson_group, lesson = self._lessons.taking_in(group)
        left = tuple(each for each in lesson.removed if each.group != group or not is_meant(each))
        if left != lesson.removed:
            self._lessons.update(lesson_group, removed=left)
