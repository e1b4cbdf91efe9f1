"""Lessons in recorded files: which parts of them a session has, and which there were."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from sys import intern

import msgspec

from csv_recorder.live.lessons import Lesson, Lessons, Part
from neuroone.contract.files import COLUMNS, EVENTS, checked_rows
from neuroone.data.recordings import Recording, group_events


def parts_of(about: Mapping[str, object]) -> tuple[Part, ...]:
    """Return the parts in lessons that a sidecar lists; those that cannot be read are left out."""
    listed = about.get("lessons")
    if isinstance(listed, tuple):
        return listed
    found = []
    for each in listed if isinstance(listed, list) else []:
        try:
            found.append(msgspec.convert(each, Part))
        except msgspec.ValidationError:
            continue
    return tuple(found)


def with_parts(recording: Recording) -> Recording:
    """Return a recording that has its parts in lessons in few bytes, with texts that those of a lesson share."""
    parts = tuple(
        msgspec.structs.replace(part, group=intern(part.group), name=intern(part.name), began=intern(part.began))
        for part in parts_of(recording.about)
    )
    return replace(recording, about={**recording.about, "lessons": parts}) if parts else recording


def lessons_in_events(directory: Path) -> list[Lesson]:
    """Return the lessons that the files of groups' events tell of, in the order of their starts."""
    running, found = Lessons(), {}
    for path in group_events([directory]):  # in the order of the days
        group = path.stem.partition("_")[2]
        for time, event, text in _events(path):
            for lesson in running.on_event(group, event, text, time):
                running.note(lesson)
                found[lesson.key] = lesson
    return [*found.values()]


def moment_of(text: object) -> datetime | None:
    """Return the time of an event; None if it cannot be read."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _events(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield time, type and text of the events in a file; rows that cannot be read are left out."""
    time, event, text = map(COLUMNS[EVENTS].index, ("time", "event", "text"))
    try:
        lines = checked_rows(path.read_bytes()).lines
    except OSError:
        return
    for line in lines:
        try:
            row = next(csv.reader([line.decode(errors="replace")]))
        except csv.Error:  # a field longer than any of ours
            continue
        if len(row) == len(COLUMNS[EVENTS]):
            yield row[time], row[event], row[text]
