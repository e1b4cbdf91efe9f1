"""Group sessions into lessons and students, for the list of recordings. It reads no file.

A lesson is one that somebody started, of everybody or of one group. Sessions of earlier versions have only its name,
and those outside of any lesson only their day. A student is the name, however often the app started anew.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from neuroone.contract.students import Stay, who_is_who

KEY_CHARS: Final = 16
"""64 bits: no two lessons of a school meet."""
TEXT_MAX_CHARS: Final = 200
"""Characters of a name that are kept: more than anybody reads."""
LESSONS_MAX: Final = 20
"""Lessons of one session that are kept: a headset that stays on for two days."""


@dataclass(frozen=True, slots=True)
class PartOf:
    """A lesson as a session's sidecar names it. ``began`` is None for a lesson of which only the name is known."""

    group: str
    name: str | None
    began: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class About:
    """What a list needs of a session."""

    name: str
    code: str
    start: datetime | None
    end: datetime | None
    lessons: tuple[PartOf, ...]


@dataclass(frozen=True)
class Student:
    """A student in one lesson: ``folders`` are the sessions, in the order of their start."""

    name: str
    apart: str
    folders: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return what names this student in an address."""
        return _key("student", self.name, self.apart)


@dataclass
class Lesson:
    """A lesson with its sessions; ``day`` is the local day."""

    key: str
    name: str | None
    group: str
    day: str
    began: datetime | None = None
    ended: datetime | None = None
    sessions: dict[str, About] = field(default_factory=dict)

    @cached_property
    def start(self) -> datetime:
        """Return when it began, or its first session if nobody started it."""
        return self.began or min((each.start for each in self.sessions.values() if each.start), default=_EARLIEST)

    @cached_property
    def students(self) -> list[Student]:
        """Return who was there, by name."""
        folders = sorted(self.sessions, key=lambda each: (self.sessions[each].start or _EARLIEST, each))
        owners: dict[tuple[str, str], list[str]] = {}
        for folder, owner in zip(folders, who_is_who([_stay(self.sessions[each]) for each in folders]), strict=True):
            owners.setdefault(owner, []).append(folder)
        return [Student(name, apart, tuple(its)) for (name, apart), its in sorted(owners.items())]


def lessons_of(sessions: Mapping[str, About], utc_offset_min: int, before: Iterable[Lesson] = ()) -> list[Lesson]:
    """Return the lessons of these sessions, the newest first. Days are those of a clock ahead of UTC by so much.

    Lessons of ``before`` that are still the same are returned again, with the students that were found.
    """
    offset = timedelta(minutes=utc_offset_min)
    lessons: dict[tuple[object, ...], Lesson] = {}
    for folder, about in sessions.items():
        for part in about.lessons or _OUTSIDE:
            day = _day(part.began or about.start, offset) or folder.partition("/")[0]
            which = (part.group, part.began) if part.began else (part.group, part.name, day)
            lesson = lessons.get(which)
            if lesson is None:
                lesson = lessons[which] = Lesson(_key("lesson", *which), part.name, part.group, day, part.began)
            lesson.ended = lesson.ended or part.ended
            lesson.sessions[folder] = about
    known = {each.key: each for each in before}
    made = [known[each.key] if known.get(each.key) == each else each for each in lessons.values()]
    return sorted(made, key=lambda each: (each.start, each.key), reverse=True)


def about(sidecar: Mapping[str, Any], folder: str) -> About:
    """Read what a list needs of a session's sidecar, which may hold anything."""
    name, code = _text(sidecar.get("name")), _text(sidecar.get("code") or sidecar.get("group"))
    listed = sidecar.get("lessons")
    parts: Iterable[Any] = listed[:LESSONS_MAX] if isinstance(listed, list) else ()
    lessons = tuple(_part(each) for each in parts if isinstance(each, dict))
    if not lessons and isinstance(sidecar.get("class"), str) and sidecar["class"]:
        lessons = (PartOf(_text(sidecar.get("group")), _text(sidecar["class"]), None, None),)
    who = name or _text(sidecar.get("source")) or folder.partition("/")[2]
    return About(who, code, time_of(sidecar.get("start")), time_of(sidecar.get("end")), lessons)


def time_of(text: object) -> datetime | None:
    """Read a time; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found if found is None else (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_OUTSIDE: Final = (PartOf("", None, None, None),)
"""A session that was in no lesson."""
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


def _part(listed: Mapping[str, Any]) -> PartOf:
    name = listed.get("name")
    began, ended = time_of(listed.get("began")), time_of(listed.get("ended"))
    return PartOf(_text(listed.get("group")), _text(name) if isinstance(name, str) else None, began, ended)


def _stay(about: About) -> Stay:
    """Return from when to when somebody was there; a session without an end goes on."""
    start_s = (about.start or _EARLIEST).timestamp()
    return Stay(about.name, about.code, start_s, math.inf if about.end is None else about.end.timestamp())


def _text(value: object) -> str:
    return value[:TEXT_MAX_CHARS] if isinstance(value, str) else ""


def _day(time: datetime | None, offset: timedelta) -> str | None:
    try:
        return None if time is None else (time + offset).date().isoformat()
    except OverflowError:
        return None


def _key(*parts: object) -> str:
    text = json.dumps([each.isoformat() if isinstance(each, datetime) else each for each in parts])
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:KEY_CHARS]
