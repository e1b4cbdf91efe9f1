"""Find the readings of a session that lie in a lesson.

The times of readings and of the lesson's start and end tell it, wherever clocks can be believed: readings may come
late, after the lesson's end. Where a clock was set back, or an app's clock is wrong, the recorder's note tells it: the
first and the last reading that were there while the lesson ran.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from csv_recorder.live.lessons import Part
from csv_recorder.offline.lessons import moment_of
from neuroone.contract.topics import ALL
from neuroone.data.doubts import Flags, Integers
from neuroone.data.readings import Readings
from neuroone.data.recordings import Recording

NEVER_US: Final = 2**62
"""A time after all others, in microseconds since 1970."""
SEQ_MAX: Final = 2**62
NOWHERE: Final = -1
"""Stands for a reading that is in no lesson."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """What is counted of a session: all of it, or what lies in one ``lesson``; ``parts`` are those in all lessons."""

    recording: Recording
    parts: tuple[Part, ...] = ()
    lesson: Part | None = None

    def cut(self, found: Readings) -> Readings:
        """Return those of the session's readings that belong to the piece."""
        if self.lesson is None:
            return found
        return found.where(in_lesson(found, self.parts, self.lesson.key))


def in_lesson(found: Readings, parts: Sequence[Part], key: tuple[str, str]) -> Flags:
    """Return which readings lie in the lesson with this group and start. ``parts`` are those of the session."""
    places = _by_seq(found, parts)
    if found.has_time and bool((found.seqs[1:] >= found.seqs[:-1]).all()):  # they are in the order of their times
        by_time = _by_time(found, parts)
        if _agree(places, by_time, len(parts)):
            places = by_time
    wanted = [number for number, part in enumerate(parts) if part.key == key]
    return np.isin(places, wanted)


def _by_seq(found: Readings, parts: Sequence[Part]) -> Integers:
    places = np.full(len(found), NOWHERE, np.int64)
    for number, part in enumerate(parts):
        last = SEQ_MAX if part.last_seq is None else part.last_seq
        places[(found.seqs >= part.first_seq) & (found.seqs <= last)] = number
    return places


def _by_time(found: Readings, parts: Sequence[Part]) -> Integers:
    places = np.full(len(found), NOWHERE, np.int64)
    everybodys_first = sorted(enumerate(parts), key=lambda each: each[1].group != ALL)
    for number, part in everybodys_first:  # the lesson of a class counts before one of everybody, so it comes later
        began_us, ended_us = time_us(part.began), NEVER_US if part.ended is None else time_us(part.ended)
        if began_us is None or ended_us is None:
            continue
        is_in = (found.times_us >= began_us) & (found.times_us < ended_us)
        if part.ended is None and part.last_seq is not None:
            is_in &= found.seqs <= part.last_seq
        places[is_in] = number
    return places


def _agree(by_seq: Integers, by_time: Integers, count: int) -> bool:
    """Return True if of each part that has readings by seq at least half have times in it."""
    of_part = np.bincount(by_seq + 1, minlength=count + 1)
    both = np.bincount((by_seq + 1)[by_seq == by_time], minlength=count + 1)
    return bool((2 * both >= of_part)[1:].all())


def time_us(text: str) -> int | None:
    """Return the time of an event in microseconds since 1970; None if it cannot be read."""
    moment = moment_of(text)
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
