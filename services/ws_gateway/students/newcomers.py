"""Tell a phone that came back from another student of the same name and code, while both seem to be connected.

A phone that lost its network comes back on a new connection before anybody knows that the old one is dead. Only what
the old connection does next shows whether the newcomer is the same student. Its frames are held back until then.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from neuroone.contract.topics import Topic
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.students.stream_registry import Key, StreamRegistry
from ws_gateway.students.student import Newcomer, Student

UNDECIDED_MAX_S: Final = 6.0
"""How long a newcomer may be undecided. A namesake of this gateway speaks or is silent for 3 s. Another gateway says
after 3 to 3.5 s that a student is silent; where it is too busy to say so, nobody waits for it for ever."""
IN_FLIGHT_S: Final = 0.5
"""What comes sooner after the newcomer may have been sent before it: over a network that stood still, or by way of
another gateway."""
RIVALS_MAX: Final = 10
"""Students of one name and code that a newcomer is compared with; those of a hostile client are thousands."""
HELD_MAX: Final = 120
"""Frames of one newcomer that are held back, after the rate limit of 5 a second: a few seconds make 40."""


class Newcomers:
    """Newcomers who may be the phone of a namesake. ``active`` has the students of this gateway by their stream."""

    def __init__(self, registry: StreamRegistry, active: Mapping[Key, Student]) -> None:
        self._registry = registry
        self._active = active
        self._undecided: dict[Student, Newcomer] = {}
        self._spoke_s: dict[Key, float] = {}

    def __iter__(self) -> Iterator[tuple[Student, Newcomer]]:
        return iter(tuple(self._undecided.items()))

    def add(self, student: Student, rivals: Sequence[Student | Key], now_s: float) -> None:
        """Hold back a newcomer's frames if it may be one of these students, here or at another gateway."""
        if rivals:
            newcomer = student.newcomer = self._undecided[student] = Newcomer(now_s, tuple(rivals[:RIVALS_MAX]))
            for rival in newcomer.rivals:
                if not isinstance(rival, Student):
                    self._spoke_s.setdefault(rival, float("-inf"))

    def discard(self, student: Student) -> Newcomer | None:
        """Return what was kept of a newcomer, and keep nothing more."""
        student.newcomer = None
        newcomer = self._undecided.pop(student, None)
        if not self._undecided:
            self._spoke_s.clear()
        return newcomer

    def on_reading(self, topic: Topic, now_s: float) -> None:
        """Note that a student of any gateway has spoken."""
        if self._spoke_s:
            key = (topic["group"], topic["source"])
            if key in self._spoke_s:
                self._spoke_s[key] = now_s

    def identify(self, student: Student, newcomer: Newcomer, now_s: float) -> Student | Key | None:
        """Return who a newcomer is: a student of this gateway, or the stream of one at another gateway or who has left.

        Return None while that is not known, and if it is nobody else: then it has no rivals any more.
        """
        undecided: list[Student | Key] = []
        for rival in newcomer.rivals:
            if not isinstance(rival, Student):
                key = rival
            elif self._active.get(rival.key) is not rival:
                key = rival.key
            elif rival.newcomer is not None:
                undecided.append(rival)
                continue
            elif rival.last_s > newcomer.began_s + IN_FLIGHT_S:  # both speak
                continue
            elif now_s - rival.last_s >= STALE_AFTER_S:
                return rival
            else:
                undecided.append(rival)
                continue
            if key in self._active or self._registry.who_has(key) not in (None, student.who):
                continue  # somebody else has it now
            if not self._registry.is_elsewhere(key, student.session) or self._registry.is_silent(key):
                return key
            if self._spoke_s.get(key, float("-inf")) <= newcomer.began_s + IN_FLIGHT_S:
                undecided.append(key)
        is_late = now_s - newcomer.began_s > UNDECIDED_MAX_S
        newcomer.rivals = () if is_late else tuple(undecided)
        return None
