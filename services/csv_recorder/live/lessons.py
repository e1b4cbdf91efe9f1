"""Lessons as the recorder knows them, and which part a session has in each.

A lesson takes in everybody of its group, or of all groups, who is there or comes while it runs. The lesson of a group
counts before the one of everybody.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from neuroone.contract.messages import EventType
from neuroone.contract.topics import ALL

PARTS_MAX: Final = 100
"""Lessons that one session remembers, the newest ones: a phone that stays connected for weeks."""
RECENT_MAX: Final = 100
"""Lessons that have ended and are remembered for readings that come late: those of some days."""


class Lesson(msgspec.Struct, frozen=True):
    """One lesson. ``began`` and ``ended`` are times of events; it runs until it has ``ended``."""

    group: str
    name: str
    began: str
    ended: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells the lesson from every other one."""
        return self.group, self.began


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a session that lies in a lesson, from ``first_seq`` to ``last_seq``.

    Null: it goes on, or went on until the session's end. The part is empty if its readings came before the lesson's
    start or after its end: a reader finds them by their times.
    """

    group: str
    name: str
    began: str
    ended: str | None = None
    first_seq: int
    last_seq: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Return the key of its lesson."""
        return self.group, self.began


class Lessons:
    """The lessons that run, by group, and those that have ended lately."""

    def __init__(self, stored: Iterable[Lesson] = ()) -> None:
        self._running: dict[str, Lesson] = {}
        self._recent: dict[tuple[str, str], Lesson] = {}
        for lesson in stored:
            self.note(lesson)

    def copy(self) -> "Lessons":
        """Return a copy that may be changed."""
        return Lessons([*self._recent.values(), *self._running.values()])

    def note(self, lesson: Lesson) -> None:
        """Note that a lesson has begun, or has ended."""
        if lesson.ended is None:
            self._running[lesson.group] = lesson
            return
        self._running.pop(lesson.group, None)
        self._recent[lesson.key] = lesson
        if len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def of(self, group: str) -> Lesson | None:
        """Return the lesson that takes in a group: its own, or that of everybody."""
        return self._running.get(group) or self._running.get(ALL)

    def on_event(self, group: str, event: str, name: str, time: str) -> list[Lesson]:
        """Return what an event changes: the lesson that ends, and the one that begins.

        A stop ends the lesson of exactly this group. A start with the name of the one that runs changes nothing.
        """
        running = self._running.get(group)
        ended = [] if running is None else [msgspec.structs.replace(running, ended=time)]
        if event == EventType.SESSION_STOP:
            return ended
        if event != EventType.SESSION_START or (running is not None and running.name == name):
            return []
        return [*ended, Lesson(group, name, time)]

    def first_parts(self, group: str, time: str) -> tuple[Part, ...]:
        """Return the parts of a session that begins with a reading of this time.

        Readings may come late: after the end of the lesson that they are of.
        """
        late = [each for each in self._recent.values() if each.group in (group, ALL) and _includes(each, time)]
        found = [
            Part(group=each.group, name=each.name, began=each.began, ended=each.ended, first_seq=0, last_seq=-1)
            for each in late
        ]
        return self.next_parts(tuple(found), group, 0)

    def next_parts(self, parts: tuple[Part, ...], group: str, next_seq: int) -> tuple[Part, ...]:
        """Return the parts of a session from its next reading on: in the lesson that runs now, and in no other."""
        lesson = self.of(group)
        last = parts[-1] if parts else None
        if last is not None and last.last_seq is None:
            if lesson is not None and last.key == lesson.key:
                return parts
            ended = self._recent.get(last.key)
            last = msgspec.structs.replace(last, last_seq=next_seq - 1, ended=ended and ended.ended)
            parts = (*parts[:-1], last)
        if lesson is not None:
            parts = (*parts, Part(group=lesson.group, name=lesson.name, began=lesson.began, first_seq=next_seq))
        return parts[-PARTS_MAX:]


def _includes(lesson: Lesson, time: str) -> bool:
    return lesson.ended is not None and lesson.began <= time < lesson.ended
