"""Reports on recordings: a row of figures for each session and student, and for each class and day."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from csv_recorder.offline import readings
from csv_recorder.offline.doubts import NO_TIME
from csv_recorder.offline.recordings import Recording
from csv_recorder.offline.report import session_figures
from csv_recorder.offline.report.cache import FigureCache, Stored
from csv_recorder.offline.report.collect import collect, figures_of
from csv_recorder.offline.report.session_figures import ESENSE, Curve, SessionFigures
from csv_recorder.offline.report.texts import local
from neuroone.contract.files import search_key

CLASS: Final = ("group", "class", "date")
ALL: Final = "all"
"""The session in the row of a student with several sessions."""
SIDECAR_USED: Final = ("group", "source", "name", "code", "class", "status")
"""The fields of a sidecar that a report needs."""
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
        return (
            (not self.groups or not self.groups.isdisjoint(ids))
            and _is_in(self.classes, (*ids, str(recording.about.get("class") or "")))
            and _is_in(self.students, (recording.name, recording.source))
        )

    def span_us(self) -> tuple[int, int] | None:
        """Return the limits in microseconds since 1970; None if there are none."""
        if self.since is None and self.until is None:
            return None
        since_us = -(2**62) if self.since is None else (self.since - _EPOCH) // timedelta(microseconds=1)
        until_us = 2**62 if self.until is None else (self.until - _EPOCH) // timedelta(microseconds=1)
        return since_us, until_us


@dataclass(frozen=True, slots=True)
class Report:
    """The figures: a row per session, and one of `ALL` for a student with several; a row per class and day.

    ``curves`` has the packed curves by the row numbers of sessions, ``members`` the row numbers of a class's sessions.
    ``faults`` are sentences.
    """

    sessions: pd.DataFrame
    classes: pd.DataFrame
    curves: Mapping[int, bytes] = field(default_factory=dict)
    members: Mapping[int, Sequence[int]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return the number of sessions."""
        return 0 if self.sessions.empty else int((self.sessions["session"] != ALL).sum())

    def curve(self, number: int) -> Curve | None:
        """Return the curve of a session; None for the row of `ALL`."""
        packed = self.curves.get(number)
        return None if packed is None else session_figures.unpacked(packed)

    def class_curve(self, number: int) -> Curve:
        """Return the mean curve of a class on a day."""
        return session_figures.mean_curve(
            [session_figures.unpacked(self.curves[each]) for each in self.members[number]]
        )


def make(
    recordings: Iterable[Recording],
    selection: Selection = Selection(),
    cache: FigureCache | None = None,
    *,
    with_curves: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Report on the recordings, one after the other, so that only one session's readings are in memory.

    Figures of closed sessions come from the ``cache`` where it has them. Curves are only for pages.
    """
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    curves: dict[int, bytes] = {}
    faults: list[str] = []

    def add(recording: Recording, figures: SessionFigures, more: dict[str, Any]) -> None:
        times = {"start": figures.start_us, "end": figures.end_us}
        for name, value in (_about(recording) | more | times | session_figures.row(figures)).items():
            columns[name].append(value)

    chosen = sorted(filter(selection.includes, recordings), key=lambda each: (*_student(each), each.label))
    for _, of_student in groupby(collect(chosen, cache, is_stopped), lambda each: _student(each[0])):
        of_sessions: list[SessionFigures] = []
        for recording, answer in of_student:
            if isinstance(answer, str):
                faults.append(answer)
            elif (found := _within(selection, recording, answer)) is not None:
                if with_curves:
                    curves[len(columns["group"])] = found[1]
                add(recording, found[0], {})
                of_sessions.append(found[0])
                last = recording
        if len(of_sessions) > 1:
            add(last, session_figures.together(of_sessions), {"session": ALL, "class": ""})
    if not columns["group"]:
        return Report(pd.DataFrame(), pd.DataFrame(), faults=tuple(faults))
    sessions = pd.DataFrame(
        {name: _times(each) if name in ("start", "end") else each for name, each in columns.items()}
    )
    classes, members = _classes(sessions, selection.zone)
    return Report(sessions, classes, curves, members, tuple(faults))


def _within(selection: Selection, recording: Recording, of_all: Stored) -> Stored | None:
    """Return the figures of a recording within the selected times; None if it has no readings there."""
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
    found = readings.read(recording)
    found = found.where((found.times_us >= since_us) & (found.times_us < until_us))
    return figures_of(found) if len(found) else None


def _about(recording: Recording) -> dict[str, Any]:
    return {
        "group": recording.group,
        "code": recording.about.get("code") or "",
        "class": recording.about.get("class") or "",
        "source": recording.source,
        "name": recording.name,
        "session": recording.label,
    }


def _times(times_us: Iterable[int | None]) -> "pd.Series[Any]":
    known = [NO_TIME if each is None else each for each in times_us]
    return pd.Series(np.array(known, np.int64).view("datetime64[us]")).dt.tz_localize("UTC")


def _classes(sessions: pd.DataFrame, zone: tzinfo | None) -> tuple[pd.DataFrame, dict[int, list[int]]]:
    """Compute the figures of classes per day, and list their sessions."""
    of_day = sessions[sessions["session"] != ALL]
    days = ["" if pd.isna(each) else f"{local(each.to_pydatetime(), zone):%Y-%m-%d}" for each in of_day["start"]]
    of_day = of_day.assign(date=days)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, session in zip(of_day.groupby(list(CLASS), sort=True).ngroup(), of_day.index, strict=True):
        members[int(number)].append(int(session))
    return of_classes(of_day, list(CLASS)), dict(members)


def of_classes(sessions: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Compute the figures of classes, which ``keys`` tell apart; every student counts once."""
    student = sessions["group"] + "/" + sessions["source"]
    numbers = {name: sessions[name].astype(float) for name in ("missing", "valid_share")}
    sessions = sessions.assign(student=student, **numbers)
    classes = sessions.groupby(keys, sort=True).agg(
        students=("student", "nunique"),
        sessions=("student", "size"),
        start=("start", "min"),
        end=("end", "max"),
        rows=("rows", "sum"),
        missing=("missing", "sum"),
        valid_share=("valid_share", "mean"),
        signal=("signal", "first"),
        signals=("signal", "nunique"),
    )
    classes["missing"] = classes["missing"].astype("int64")
    classes["signal"] = classes["signal"].where(classes.pop("signals") == 1, "partly known")
    for name in ESENSE:
        n = sessions[f"{name}_n"]
        sums = sessions.assign(n=n, sum=sessions[f"{name}_mean"].astype(float) * n)
        by_student = sums.groupby([*keys, "student"])[["sum", "n"]].sum()
        of_class = (by_student["sum"] / by_student["n"]).groupby(level=keys, sort=True)
        classes[f"{name}_students"] = of_class.count()
        for kind, figure in (("mean", of_class.mean()), ("median", of_class.median()), ("sd", of_class.std())):
            classes[f"{name}_{kind}"] = figure
    return classes.reset_index()


def _is_in(wanted: frozenset[str], texts: Iterable[str]) -> bool:
    return not wanted or not {search_key(each) for each in wanted}.isdisjoint(map(search_key, texts))


def _student(recording: Recording) -> tuple[str, ...]:
    return (recording.group, recording.name.casefold(), recording.name, recording.source)
