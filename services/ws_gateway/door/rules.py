"""Judge whether a student may come into the lesson that runs, without I/O and without connections.

A name proves nothing: anybody can type it. What shows that a student is the one who was here before is the code, which
the phones make anew at each start and show to nobody, or the session, or an address that only this student has used.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from neuroone.contract import topics
from neuroone.contract.messages import Door, LessonState, Removed, WaitingReason
from neuroone.contract.students import stem_of
from ws_gateway.access import network_of
from ws_gateway.students.attendance import Attendance, AttendanceList
from ws_gateway.students.sources import sources_of
from ws_gateway.students.stream_registry import Key
from ws_gateway.students.student import Who

ADDRESSES_MAX: Final = 10_000
"""Addresses of which it is remembered who uses them; the one unused for longest is forgotten first. 2 MB."""
REMOVED_ADDRESSES_MAX: Final = 10
"""Addresses that are remembered of one removed student: home, school, and a few of a phone network."""
REMOVED_CACHED_MAX: Final = 100
"""Lessons whose removed students are ready to be looked up: a school has 100 classes. 8 MB at the very most."""


class Verdict(StrEnum):
    """What the door says to a student; all but ``COME_IN`` keep the student out."""

    COME_IN = "come_in"
    ASK = "ask"
    CLOSED = "closed"
    REMOVED = "removed"
    FULL = "full"
    """Too many wait; this one must come again later."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A student at the door. ``session`` is what an app of the new dialect brings.

    ``stem`` is what all sources of the name have in common, ``network`` what limits of an address count for.
    """

    who: Who
    address: str
    session: str | None = None
    group: str = field(init=False)
    stem: str = field(init=False)
    network: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", topics.group_id(self.who[1]))
        object.__setattr__(self, "stem", stem_of(next(sources_of(self.who[0]))))
        object.__setattr__(self, "network", network_of(self.address))


class DoorRules:
    """The rules of the door.

    Args:
        lesson_of: Returns the lesson that takes in the students of a group.
        attendance: Who was here.
    """

    def __init__(self, lesson_of: Callable[[str], LessonState], attendance: AttendanceList) -> None:
        self._lesson_of = lesson_of
        self._attendance = attendance
        self._users: OrderedDict[str, str | None] = OrderedDict()
        self._removed_addresses: dict[Key, list[str]] = {}

    def judge(self, candidate: Candidate) -> tuple[Verdict, WaitingReason]:
        """Return what the door says to a student, and why it has to wait if it has to."""
        lesson = self._lesson_of(candidate.group)
        if lesson.began is None:
            return Verdict.COME_IN, WaitingReason.NEW
        shut = Verdict.CLOSED if lesson.door is Door.CLOSED else Verdict.ASK
        key, removed = (candidate.group, candidate.stem), _keys_of(lesson.removed)
        if key in removed:
            is_kept_out = candidate.address in self._removed_addresses.get(key, ())
            return Verdict.REMOVED if is_kept_out else shut, WaitingReason.REMOVED
        has_removed_name = candidate.who[0] is not None and candidate.stem in _stems_of(lesson.removed)
        if lesson.door is Door.OPEN and not has_removed_name:
            return Verdict.COME_IN, WaitingReason.NEW
        who, attendance = candidate.who, self._attendance.of(candidate.who, lesson.began)
        is_resuming = attendance is Attendance.PRESENT and self._attendance.has_session(candidate.session, who)
        if attendance is Attendance.GONE or is_resuming:
            return Verdict.COME_IN, WaitingReason.WAS_HERE
        if has_removed_name:
            return shut, WaitingReason.REMOVED
        if attendance is Attendance.NEVER and who[0] is not None:
            attendance = self._attendance.of_name(who[0], lesson.began)
            if attendance is Attendance.GONE and self._is_only_user(candidate):
                return Verdict.COME_IN, WaitingReason.WAS_HERE
        return shut, WaitingReason.NEW if attendance is Attendance.NEVER else WaitingReason.WAS_HERE

    def on_wait(self, candidate: Candidate) -> None:
        """Note who is at an address, but not that it is that student's: anybody may wait under any name."""
        if self._users.get(candidate.address, candidate.who[0]) != candidate.who[0]:
            self._users[candidate.address] = None

    def on_join(self, candidate: Candidate) -> None:
        """Note that a student of this address came in; more than one of them make it nobody's."""
        name = candidate.who[0]
        self._users[candidate.address] = name if self._users.get(candidate.address, name) == name else None
        self._users.move_to_end(candidate.address)
        if len(self._users) > ADDRESSES_MAX:
            self._users.popitem(last=False)

    def on_removed(self, candidate: Candidate) -> None:
        """Note the address of a student who was removed."""
        addresses = self._removed_addresses.setdefault((candidate.group, candidate.stem), [])
        if candidate.address not in addresses:
            addresses.append(candidate.address)
            del addresses[:-REMOVED_ADDRESSES_MAX]

    def forget_addresses(self, lessons: Iterable[LessonState]) -> None:
        """Forget the addresses of students who are removed from none of these lessons any more."""
        removed = {key for lesson in lessons for key in _keys_of(lesson.removed)}
        for key in self._removed_addresses.keys() - removed:
            del self._removed_addresses[key]

    def _is_only_user(self, candidate: Candidate) -> bool:
        """Return True if this address is one phone's: of the local network, and used by no student of another name."""
        try:
            is_local = ip_address(candidate.address.partition("%")[0]).is_private
        except ValueError:
            return False
        return is_local and self._users.get(candidate.address) == candidate.who[0]


@lru_cache(maxsize=REMOVED_CACHED_MAX)
def _keys_of(removed: tuple[Removed, ...]) -> frozenset[Key]:
    """Return group and stem of each student who was removed."""
    return frozenset((each.group, stem_of(each.source)) for each in removed)


@lru_cache(maxsize=REMOVED_CACHED_MAX)
def _stems_of(removed: tuple[Removed, ...]) -> frozenset[str]:
    return frozenset(stem for _, stem in _keys_of(removed))
