"""The list of lessons that `csv-recorder lessons` prints: when, which, and how many students took part."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from csv_recorder.live.lessons import Lesson
from csv_recorder.offline.lessons import moment_of, parts_of
from csv_recorder.offline.lock import directories_in
from csv_recorder.offline.report.texts import UNKNOWN, Words, local, printable
from csv_recorder.offline.snapshot import snapshot
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE
from neuroone.contract.students import Stay, who_is_who
from neuroone.contract.topics import ALL
from neuroone.data.recordings import Recording, find

SIDECAR_USED: Final = ("source", "name", "code", "start", "end", "status", "lessons")
"""The fields of a sidecar that the list needs."""


@dataclass(slots=True)
class Listed:
    """One lesson of the list: itself, whether it runs, as far as that is known, and who took part."""

    lesson: Lesson
    is_running: bool = False
    stays: list[Stay] = field(default_factory=list)

    @property
    def students(self) -> int:
        """Count the students; one who came back with another code counts once."""
        return len(set(who_is_who(self.stays)))


def find_lessons(paths: Iterable[Path]) -> list[Listed]:
    """Return the lessons of recordings, the oldest first. Raises SettingsError for a path without a recording.

    Sidecars say who took part; the inbox of a directory also knows lessons that nobody came to.
    """
    found: dict[tuple[str, str], Listed] = {}
    inboxes = [each / INBOX_FILE for path in paths for each in directories_in(path)]
    for path in inboxes:
        with suppress(sqlite3.Error, OSError), snapshot(path) as inbox:
            for each in inbox.all_lessons():
                if each.key not in found or each.ended is not None:
                    found[each.key] = Listed(each, each.ended is None)
    try:
        recordings = find(paths, SIDECAR_USED)
    except SettingsError:
        if not inboxes:
            raise
        recordings = []
    for recording in recordings:
        for part in {each.key: each for each in parts_of(recording.about)}.values():
            lesson = Lesson(part.group, part.name, part.began, part.ended)
            listed = found.setdefault(lesson.key, Listed(lesson))
            if listed.lesson.ended is None and lesson.ended is not None:
                listed.lesson, listed.is_running = lesson, False
            listed.is_running |= listed.lesson.ended is None and recording.is_open
            listed.stays.append(_stay(recording))
    return sorted(found.values(), key=lambda each: (each.lesson.began, each.lesson.group))


def lines(found: Iterable[Listed], words: Words) -> Iterator[str]:
    """Yield a line for people about each lesson."""
    for each in found:
        lesson = each.lesson
        began, ended = map(moment_of, (lesson.began, lesson.ended))
        begin = UNKNOWN if began is None else f"{local(began, words.zone):%Y-%m-%d %H:%M}"
        end = words("runs") if each.is_running else UNKNOWN
        if ended is not None:
            end = f"{local(ended, words.zone):%H:%M}"
        where = words("everybody") if lesson.group == ALL else lesson.group
        name = printable(lesson.name) or words("no_lesson_name")
        yield f"{begin} - {end:<8}  {words('students')}: {each.students:<4}  {name}  ({where})"


def json_lines(found: Iterable[Listed]) -> Iterator[str]:
    """Yield a line of JSON about each lesson."""
    for each in found:
        content = msgspec.structs.asdict(each.lesson) | {"students": each.students, "sessions": len(each.stays)}
        yield json.dumps(content, ensure_ascii=False)


def _stay(recording: Recording) -> Stay:
    about = recording.about
    start, end = (moment_of(about.get(key)) for key in ("start", "end"))
    start_s = float("-inf") if start is None else start.timestamp()
    end_s = float("inf") if end is None else end.timestamp()
    return Stay(recording.name, str(about.get("code") or ""), start_s, end_s)
