"""Reports on recordings: a row of figures for each student in each class, and for each class."""

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from csv_recorder.offline.lessons import parts_of
from csv_recorder.offline.report import session_figures
from csv_recorder.offline.report.attendance import Piece
from csv_recorder.offline.report.cache import FigureCache, Stored
from csv_recorder.offline.report.collect import collect, figures_of
from csv_recorder.offline.report.presence import (
    NO_CLASS,
    ClassKey,
    Presence,
    pieces_of,
    presences,
    student_key,
)
from csv_recorder.offline.report.session_figures import DOUBTFUL, LEVELS, SPREAD, Curve, SessionFigures
from csv_recorder.offline.report.texts import BY_LESSON, local
from neuroone.contract.files import ESENSE, search_key
from neuroone.data import readings
from neuroone.data.doubts import NO_TIME
from neuroone.data.recordings import Recording

CLASS: Final = ("group", "class", "date", "lesson_began")
ALL: Final = "all"
"""The session in the row of all sessions or lessons of a student who has several."""
SIDECAR_USED: Final = ("group", "source", "name", "code", "class", "lessons", "status", "simulated")
"""The fields of a sidecar that a report needs."""
TREND_LESSONS_MIN: Final = 3
TREND_DAYS_MIN: Final = 7
"""A trend over weeks needs as many lessons, and a week between the first and the last."""
Columns = dict[str, "list[Any] | array[float]"]
OF_CLASSES: Final = (
    *("student", "sessions", "start", "end", "rows", "missing", "valid_share", "signal"),
    *(f"{name}_{kind}" for name in ESENSE for kind in ("n", "mean", *LEVELS)),
    *DOUBTFUL,
)
"""The columns of presences from which the figures of classes are computed."""
FRACTIONS: Final = (
    *(f"_{kind}" for kind in (*SPREAD, "mean", "median", "sd", "share", "log10")),
    *("_per_min", "_per_week", "_s"),
)
"""How the names of columns end whose figures need not be whole."""
WEEK_US: Final = 7 * 24 * 3600 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to report: times from ``since`` to before ``until``, and groups, classes and students; empty means all.

    ``groups`` are ids or codes; ``classes`` are names, too. ``classes`` and ``students`` are compared without case and
    accents. A day begins in ``zone``; None means this computer's.
    """

    since: datetime | None = None
    until: datetime | None = None
    groups: frozenset[str] = frozenset()
    zone: tzinfo | None = None
    classes: frozenset[str] = frozenset()
    students: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Return True if nothing is left out."""
        return self.since is None and self.until is None and not (self.groups or self.classes or self.students)

    def includes(self, recording: Recording) -> bool:
        """Return True if the recording belongs to one of the groups, classes and students."""
        ids = {recording.group, str(recording.about.get("code") or "")}
        lessons = {part.name for part in parts_of(recording.about)} if self.classes else set()
        return (
            (not self.groups or not self.groups.isdisjoint(ids))
            and _is_in(self.classes, (*ids, *lessons, str(recording.about.get("class") or "")))
            and _is_in(self.students, (recording.name, recording.source))
        )

    def includes_piece(self, piece: Piece) -> bool:
        """Return True if a piece of a recording that is included belongs to one of the classes."""
        recording, lesson = piece.recording, piece.lesson
        ids = (recording.group, str(recording.about.get("code") or ""))
        return lesson is None or _is_in(self.classes, (*ids, lesson.group, lesson.name))

    def span_us(self) -> tuple[int, int] | None:
        """Return the limits in microseconds since 1970; None if there are none."""
        if self.since is None and self.until is None:
            return None
        since_us = -(2**62) if self.since is None else (self.since - _EPOCH) // timedelta(microseconds=1)
        until_us = 2**62 if self.until is None else (self.until - _EPOCH) // timedelta(microseconds=1)
        return since_us, until_us


@dataclass(frozen=True, slots=True)
class Report:
    """The figures: a row per presence, and one of `ALL` for a student with several; a row per class.

    ``curves`` has the packed curves of presences by the numbers of their rows, ``members`` the numbers of those of a
    class. ``faults`` are sentences. ``older`` are files of students whose first rows are not in the report.
    """

    sessions: pd.DataFrame
    classes: pd.DataFrame
    curves: Mapping[int, bytes] = field(default_factory=dict)
    members: Mapping[int, Sequence[int]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    older: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return the number of presences."""
        return 0 if self.sessions.empty else int((self.sessions["session"] != ALL).sum())

    @property
    def has_lessons(self) -> bool:
        """Return True if a class is a lesson."""
        return not self.classes.empty and bool((self.classes["lesson_began"] != "").any())

    def curve(self, number: int) -> Curve | None:
        """Return the curve of a presence; None for the row of `ALL`."""
        packed = self.curves.get(number)
        return None if packed is None else session_figures.unpacked(packed)

    def class_curve(self, number: int) -> Curve:
        """Return the mean curve of a class."""
        return session_figures.mean_curve(
            [session_figures.unpacked(self.curves[each]) for each in self.members[number]]
        )


def make(
    recordings: Iterable[Recording],
    selection: Selection = Selection(),
    cache: FigureCache | None = None,
    *,
    by: str = BY_LESSON,
    with_curves: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Report on the recordings, one after the other, so that only the readings of one session are in memory.

    Figures of closed sessions come from the ``cache`` where it has them. Curves are only for pages.
    """
    columns: Columns = {}
    curves: dict[int, bytes] = {}
    faults: list[str] = []
    classes: list[ClassKey] = []
    known: dict[ClassKey, ClassKey] = {}
    # No name holds the recordings, so that those that are done with leave the memory to the table.
    ordered = iter(sorted(filter(selection.includes, recordings), key=lambda each: (*_order(each), each.label)))
    pieces = filter(selection.includes_piece, (piece for each in ordered for piece in pieces_of(each, by)))
    for _, of_name in groupby(collect(pieces, cache, is_stopped), lambda each: _order(each[0].recording)):
        found: list[tuple[Piece, SessionFigures, bytes]] = []
        for piece, answer in of_name:
            if isinstance(answer, str):
                faults.append(answer)
            elif (stored := _within(selection, piece, answer)) is not None:
                found.append((piece, *stored))
        made = presences(found, by, lambda time_us: _day(time_us, selection.zone))
        for _, of_student in groupby(sorted(made, key=lambda each: each.student), lambda each: each.student):
            several = [*of_student]
            for each in several:
                if with_curves:
                    curves[len(classes)] = each.curve
                of = known.setdefault(each.of, each.of)  # one text of each kind for all students
                _add(columns, _about(each, of), each.figures)
                classes.append(of)
            if len(several) > 1:
                _add(columns, _about_all(several), session_figures.together([each.figures for each in several]))
                classes.append(NO_CLASS)
    if not columns:
        return Report(pd.DataFrame(), pd.DataFrame(), faults=tuple(dict.fromkeys(faults)))
    sessions = pd.DataFrame(
        {name: _times(each) if name in ("start", "end") else each for name, each in columns.items()}
    )
    columns.clear()  # a number in a list takes four times as much memory as in a table
    of_all_classes, members = _classes(sessions, classes)
    return Report(sessions, of_all_classes, curves, members, tuple(dict.fromkeys(faults)))


def _add(columns: Columns, about: dict[str, Any], figures: SessionFigures) -> None:
    """Add a row; fractions go into arrays, which take a quarter of the memory of lists."""
    times = {"start": figures.start_us, "end": figures.end_us}
    for name, value in (about | times | session_figures.row(figures)).items():
        column = columns.get(name)
        if column is None:
            column = columns[name] = array("d") if name.endswith(FRACTIONS) else []
        column.append(math.nan if value is None and type(column) is array else value)


def _within(selection: Selection, piece: Piece, of_all: Stored) -> Stored | None:
    """Return the figures of a piece within the selected times; None if it has no readings there."""
    span_us = selection.span_us()
    if not of_all[0].rows:
        return None
    if span_us is None:
        return of_all
    since_us, until_us = span_us
    start_us, end_us = of_all[0].start_us, of_all[0].end_us
    if start_us is None or end_us is None or end_us < since_us or start_us >= until_us:
        return None  # limits leave out readings without a time
    if since_us <= start_us and end_us < until_us:
        return of_all
    found = piece.cut(readings.read(piece.recording))
    found = found.where((found.times_us >= since_us) & (found.times_us < until_us))
    return figures_of(found) if len(found) else None


def _about(presence: Presence, of: ClassKey) -> dict[str, Any]:
    recording = presence.pieces[0].recording
    return {
        "group": recording.group,
        "code": recording.about.get("code") or "",
        "class": of.name if of.began else recording.about.get("class") or "",
        "source": recording.source,
        "name": recording.name,
        "session": recording.label,
        "student": presence.student,
        "lesson_group": of.group if of.began else "",
        "lesson_began": of.began,
        "sessions": len(presence.pieces),
        "simulated": any(each.recording.is_simulated for each in presence.pieces),
        **dict.fromkeys(f"{name}_{figure}" for figure in ("trend_per_week", "class_mean") for name in ESENSE),
    }


def _about_all(several: Sequence[Presence]) -> dict[str, Any]:
    trends = {f"{name}_trend_per_week": _trend_per_week(several, at) for at, name in enumerate(ESENSE)}
    count = sum(len(each.pieces) for each in several)
    of_all = {"session": ALL, "class": "", "lesson_group": "", "lesson_began": "", "sessions": count}
    abouts = [_about(each, each.of) for each in several]
    different = {key: "" for key in ("group", "code", "source") if len({each[key] for each in abouts}) > 1}
    of_all |= {"simulated": any(each["simulated"] for each in abouts)}
    return abouts[-1] | different | of_all | trends


def _trend_per_week(several: Sequence[Presence], at: int) -> float | None:
    """Return the slope of the best line through a student's means, a point for each presence."""
    points = [(each.figures.start_us, each.figures.esense[at].mean) for each in several]
    known = [(time_us / WEEK_US, mean) for time_us, mean in points if time_us is not None and mean is not None]
    if len(known) < TREND_LESSONS_MIN or known[-1][0] - known[0][0] < TREND_DAYS_MIN / 7:
        return None
    weeks, means = np.array(known).T
    weeks = weeks - weeks.mean()
    return float(weeks @ (means - means.mean()) / (weeks @ weeks))


def _times(times_us: Iterable[float | None]) -> "pd.Series[Any]":
    known = [NO_TIME if each is None else each for each in times_us]
    return pd.Series(np.array(known, np.int64).view("datetime64[us]")).dt.tz_localize("UTC")


def _day(time_us: int | None, zone: tzinfo | None) -> str:
    if time_us is None:
        return ""
    return f"{local(_EPOCH + timedelta(microseconds=time_us), zone):%Y-%m-%d}"


def _classes(sessions: pd.DataFrame, keys: Sequence[ClassKey]) -> tuple[pd.DataFrame, dict[int, list[int]]]:
    """Compute the figures of classes, list their presences, and put the class's means beside each student's."""
    is_one = (sessions["session"] != ALL).to_numpy()
    own = pd.DataFrame(keys, columns=list(CLASS), index=sessions.index)[is_one]
    in_class = sessions.loc[is_one, list(OF_CLASSES)].assign(**{name: own[name] for name in CLASS})
    numbers = in_class.groupby(list(CLASS), sort=True).ngroup()
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, row in zip(numbers, in_class.index, strict=True):
        members[int(number)].append(int(row))
    classes = of_classes(in_class, list(CLASS))
    for name in ESENSE:
        sessions[f"{name}_class_mean"] = numbers.map(classes[f"{name}_mean"])
    return classes.sort_values("lesson_began", kind="stable"), dict(members)  # lessons in the order of their times


def of_classes(sessions: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Compute the figures of classes, which ``keys`` tell apart; every student counts once."""
    numbers = {name: sessions[name].astype(float) for name in ("missing", "valid_share")}
    sessions = sessions[[*dict.fromkeys((*keys, *OF_CLASSES))]].assign(**numbers)
    classes = sessions.groupby(keys, sort=True).agg(
        students=("student", "nunique"),
        sessions=("sessions", "sum"),
        start=("start", "min"),
        end=("end", "max"),
        rows=("rows", "sum"),
        missing=("missing", "sum"),
        valid_share=("valid_share", "mean"),
        signal=("signal", "first"),
        signals=("signal", "nunique"),
        **{name: (name, "sum") for name in DOUBTFUL},
    )
    signal_of_students = sessions.groupby([*keys, "student"])["valid_share"].mean()
    classes["valid_share"] = signal_of_students.groupby(level=keys, sort=True).mean()
    classes["missing"] = classes["missing"].astype("int64")
    classes["signal"] = classes["signal"].where(classes.pop("signals") == 1, "partly known")
    for name in ESENSE:
        n = sessions[f"{name}_n"]
        shares = {f"{name}_{level}": sessions[f"{name}_{level}"].astype(float) * n for level in LEVELS}
        sums = sessions.assign(n=n, sum=sessions[f"{name}_mean"].astype(float) * n, **shares)
        by_student = sums.groupby([*keys, "student"])[["sum", *shares, "n"]].sum()
        of_students = by_student[["sum", *shares]].div(by_student["n"], axis=0)
        of_class = of_students["sum"].groupby(level=keys, sort=True)
        classes[f"{name}_students"] = of_class.count()
        for kind, figure in (("mean", of_class.mean()), ("median", of_class.median()), ("sd", of_class.std())):
            classes[f"{name}_{kind}"] = figure
        quartiles = {"min": 0.0, "q1": 0.25, "q3": 0.75, "max": 1.0}
        for kind, share in quartiles.items():
            classes[f"{name}_{kind}"] = of_class.quantile(share)
        for level in shares:
            classes[level] = of_students[level].groupby(level=keys, sort=True).mean()
    last = {name: classes.pop(name) for name in DOUBTFUL}
    return classes.assign(**last).reset_index()


def _is_in(wanted: frozenset[str], texts: Iterable[str]) -> bool:
    return not wanted or not {search_key(each) for each in wanted}.isdisjoint(map(search_key, texts))


def _order(recording: Recording) -> tuple[str, str, str]:
    """Return what the recordings of one name have in common, in the order in which names are listed."""
    name, group = student_key(recording)
    return name.casefold(), name, group
