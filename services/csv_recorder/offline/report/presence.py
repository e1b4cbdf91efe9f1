"""Who was in which class: the sessions of one name become the presences of students in lessons.

A class is a lesson, where there is one, or else the sessions of a group on a day. A student is the name; two of one
name at the same time are told apart by their codes. In a lesson a student has one presence, however often the phone
came back; outside of lessons each session is one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from csv_recorder.offline.lessons import parts_of
from csv_recorder.offline.report import session_figures
from csv_recorder.offline.report.attendance import Piece, time_us
from csv_recorder.offline.report.session_figures import SessionFigures
from csv_recorder.offline.report.texts import BY_DAY, BY_LESSON
from neuroone.contract.students import Stay, name_key, who_is_who
from neuroone.data.recordings import Recording


class ClassKey(NamedTuple):
    """What tells one class of a report from the others. ``began`` is the start of a lesson; empty for other classes."""

    group: str
    name: str
    date: str
    began: str = ""


NO_CLASS: Final = ClassKey("", "", "")


@dataclass(frozen=True, slots=True)
class Presence:
    """One student in one class, with the figures and the packed curve; the pieces in the order of their times."""

    student: str
    code: str
    of: ClassKey
    pieces: Sequence[Piece]
    figures: SessionFigures
    curve: bytes


def student_key(recording: Recording) -> tuple[str, str]:
    """Return what all sessions of a name have in common; a source without a name is nobody else than itself."""
    if recording.about.get("name") or recording.is_legacy:
        return name_key(recording.name), ""
    return recording.source, recording.group


def pieces_of(recording: Recording, by: str) -> Iterator[Piece]:
    """Yield what a report counts of a recording: its part in each lesson, or all of it."""
    parts = parts_of(recording.about) if by == BY_LESSON else ()
    if not parts:
        yield Piece(recording)
    for lesson in {part.key: part for part in parts}.values():
        yield Piece(recording, parts, lesson)


def presences(
    found: Sequence[tuple[Piece, SessionFigures, bytes]], by: str, day_of: Callable[[int | None], str]
) -> list[Presence]:
    """Return the presences of all who have one name, in the order of their times. ``day_of`` names the day of a time.

    A name that two students have at the same time needs the code in every class.
    """
    of_classes: defaultdict[ClassKey, list[int]] = defaultdict(list)
    for number, (piece, figures, _) in enumerate(found):
        of_classes[_class_of(piece, figures, by, day_of)].append(number)
    stays = [_stay(piece, figures) for piece, figures, _ in found]
    name, group = (found[0][0].recording.name, student_key(found[0][0].recording)[1]) if found else ("", "")
    needs_code = bool(group) or len(set(who_is_who(_whole(found, stays)))) > 1
    made = []
    for of, numbers in of_classes.items():
        people: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, who in zip(numbers, who_is_who([stays[each] for each in numbers]), strict=True):
            people[who].append(number)
        for (_, told_apart_by), of_person in people.items():
            of_person.sort(key=lambda each: stays[each].start_s)
            code = told_apart_by or stays[of_person[0]].code
            for each in [of_person] if of.began else [[number] for number in of_person]:
                student = f"{name} ({code})" if needs_code and code else name
                made.append(_presence([found[number] for number in each], student, code, of))
    return sorted(made, key=lambda each: (each.figures.start_us or 0, each.of))


def _whole(found: Sequence[tuple[Piece, SessionFigures, bytes]], stays: Sequence[Stay]) -> list[Stay]:
    """Return the stay of each recording: its pieces may lie between each other."""
    whole: dict[Path, Stay] = {}
    for (piece, _, _), stay in zip(found, stays, strict=True):
        other = whole.get(piece.recording.path, stay)
        ends = (min(stay.start_s, other.start_s), max(stay.end_s, other.end_s))
        whole[piece.recording.path] = Stay(stay.name, stay.code, *ends)
    return [*whole.values()]


def _presence(found: Sequence[tuple[Piece, SessionFigures, bytes]], student: str, code: str, of: ClassKey) -> Presence:
    _, figures, curve = found[0]
    if len(found) > 1:
        figures = session_figures.together([each for _, each, _ in found])
        curve = session_figures.joined([each for _, _, each in found])
    return Presence(student, code, of, [piece for piece, _, _ in found], figures, curve)


def _class_of(piece: Piece, figures: SessionFigures, by: str, day_of: Callable[[int | None], str]) -> ClassKey:
    recording, lesson = piece.recording, piece.lesson
    if lesson is not None:
        return ClassKey(lesson.group, lesson.name, day_of(time_us(lesson.began)), lesson.began)
    day = day_of(figures.start_us)
    if by == BY_DAY:
        return ClassKey("", "", day)
    return ClassKey(recording.group, str(recording.about.get("class") or ""), day)


def _stay(piece: Piece, figures: SessionFigures) -> Stay:
    """Return when somebody was there; without times it overlaps with nothing."""
    start_us, end_us = figures.start_us, figures.end_us
    code = str(piece.recording.about.get("code") or "")
    if start_us is None or end_us is None:
        return Stay(piece.recording.name, code, float("-inf"), float("-inf"))
    return Stay(piece.recording.name, code, start_us / 1e6, end_us / 1e6)
