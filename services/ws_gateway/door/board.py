"""Show teachers who waits at the doors of all gateways, and who is removed."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from neuroone.contract.messages import LessonState, Waiting, WaitingStudent
from ws_gateway.access import Grant
from ws_gateway.dialects import v1
from ws_gateway.websocket.send_queue import SendQueue

EXPIRES_S: Final = 15.0
"""A gateway that has not published its list for so long, three times its period, is gone."""
GATEWAYS_MAX: Final = 100
"""Gateways whose lists are remembered; the one that came first is forgotten first. A large site has ten. 6 MB."""

NOBODY: Final = v1.waiting([], 0, [])
"""What a dashboard sees that has been told nothing yet."""


@dataclass(frozen=True, slots=True)
class _List:
    """The list of one gateway: its students and since when each waits, how many more, and when it was heard."""

    students: list[tuple[datetime, WaitingStudent]]
    more: int
    heard_s: float


class DoorBoard:
    """What teachers' dashboards see of the door.

    ``lessons`` returns those that run; ``now`` is UTC, ``clock`` a steady clock in seconds.
    """

    def __init__(
        self, lessons: Callable[[], Iterable[LessonState]], *, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        self._lessons = lessons
        self._now = now
        self._clock = clock
        self._lists: OrderedDict[str, _List] = OrderedDict()
        self._viewers: dict[SendQueue, Grant] = {}
        self._shown: dict[SendQueue, str] = {}

    def add(self, viewer: SendQueue, grant: Grant) -> None:
        """Add a teacher's dashboard, and show it who waits, if anybody does."""
        self._viewers[viewer] = grant
        self._shown[viewer] = NOBODY
        self._show(viewer, self._frame(grant))

    def remove(self, viewer: SendQueue) -> None:
        """Forget a dashboard. Idempotent."""
        self._viewers.pop(viewer, None)
        self._shown.pop(viewer, None)

    def on_waiting(self, instance: str, waiting: Waiting) -> None:
        """Follow the list of a gateway."""
        self._lists.pop(instance, None)
        if waiting.students or waiting.more:
            now = self._now()
            students = [(now - timedelta(seconds=each.waits_s), each) for each in waiting.students]
            self._lists[instance] = _List(students, waiting.more, self._clock())
            if len(self._lists) > GATEWAYS_MAX:
                self._lists.popitem(last=False)
        self.send()

    def forget_outdated(self) -> None:
        """Forget the lists of gateways that are gone. Call every few seconds."""
        since_s = self._clock() - EXPIRES_S
        gone = [instance for instance, each in self._lists.items() if each.heard_s < since_s]
        for instance in gone:
            del self._lists[instance]
        if gone:
            self.send()

    def instance_of(self, id: str) -> str | None:
        """Return the gateway at which the student with this id waits."""
        for instance, each in self._lists.items():
            if any(student.id == id for _, student in each.students):
                return instance
        return None

    def send(self) -> None:
        """Show all teachers who waits and who is removed."""
        frames = {grant: self._frame(grant) for grant in set(self._viewers.values())}
        for viewer, grant in self._viewers.items():
            self._show(viewer, frames[grant])

    def _show(self, viewer: SendQueue, frame: str) -> None:
        if self._shown[viewer] != frame:
            self._shown[viewer] = frame
            viewer.send("waiting", frame)

    def _frame(self, grant: Grant) -> str:
        waiting = [each for of_one in self._lists.values() for each in of_one.students]
        shown = [each for each in waiting if grant.includes(each[1].group, None)]
        shown.sort(key=lambda each: (each[0], each[1].id))
        removed = [each for lesson in self._lessons() for each in lesson.removed if grant.includes(each.group, None)]
        return v1.waiting(shown, sum(each.more for each in self._lists.values()), removed)
