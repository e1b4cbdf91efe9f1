"""A report as text for a terminal."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pandas as pd

from csv_recorder.offline.lessons import moment_of
from csv_recorder.offline.report import doubtful
from csv_recorder.offline.report.figures import ALL, Report
from csv_recorder.offline.report.pages import by_title
from csv_recorder.offline.report.session_figures import DOUBTFUL, LEVELS, SPREAD
from csv_recorder.offline.report.texts import UNKNOWN, Words, duration, local, printable
from neuroone.contract.files import ESENSE
from neuroone.contract.messages import BANDS
from neuroone.contract.topics import ALL as EVERYBODY

PRINTED_MAX: Final = 200
"""Sessions that are printed without being asked for: some screens. Of more there is a summary."""
CLASSES_SHOWN: Final = 20
NEWEST_SHOWN: Final = 20
FAULTS_SHOWN: Final = 20
"""Lines of each kind in a summary, which fits on three screens."""
SIMULATED: Final = "* "
"""Stands behind the name where a simulator made the values, and before the sentence that says so."""
NAME_MAX_CHARS: Final = 30
"""Characters of a name in a table; a longer name would push the figures off the screen."""

Column = tuple[str, Callable[[Any], str]]
"""A heading, and what stands below it for a row of figures."""


def summary(report: Report, words: Words) -> Iterator[str]:
    """Yield the lines of a summary: what there is, the classes with the newest sessions, and the newest sessions."""
    # Of very many sessions each copy of all columns takes 20 MB.
    sessions = report.sessions.loc[report.sessions["session"] != ALL, ["start", "student", "rows", *DOUBTFUL]]
    first, last = (words.time(each, "%Y-%m-%d") for each in (sessions["start"].min(), sessions["start"].max()))
    students = sessions["student"].nunique()
    yield words("summary", len(sessions), students, first, last, int(sessions["rows"].sum()))
    yield words("zone", words.zone_name(sessions["start"].max()))
    yield words("valid_only")
    yield ""
    classes = by_title(report).sort_values("end", ascending=False, kind="stable")
    yield from _table(classes.head(CLASSES_SHOWN), _title_columns(words), 3)
    if len(classes) > CLASSES_SHOWN:
        yield words("more_classes", len(classes) - CLASSES_SHOWN)
    yield ""
    yield words("newest", min(len(sessions), NEWEST_SHOWN))
    newest = report.sessions.loc[sessions.sort_values("start", ascending=False, kind="stable").index[:NEWEST_SHOWN]]
    yield from _table(newest, _session_columns(words, with_lessons=report.has_lessons), 3)
    yield ""
    yield from doubtful.in_all(sessions, words)
    yield from _simulated(report.sessions, words)
    yield from _clocks(report.sessions, words)
    yield words("notice")
    yield words("more")
    yield from _older(report, words)
    for fault in report.faults[:FAULTS_SHOWN]:
        yield f"{words('not_read')}: {printable(fault)}"
    if len(report.faults) > FAULTS_SHOWN:
        yield words("more_faults", len(report.faults) - FAULTS_SHOWN)


def lines(report: Report, words: Words) -> Iterator[str]:
    """Yield the lines of the report."""
    if report.sessions.empty:
        yield words("nothing")
    else:
        yield words("zone", words.zone_name(report.sessions["start"].max()))
        yield words("valid_only")
        yield ""
        yield from _table(report.classes, _class_columns(words), 3)
        yield ""
        yield from _table(report.sessions, _session_columns(words, with_lessons=report.has_lessons), 3)
        yield from doubtful.in_all(report.sessions[report.sessions["session"] != ALL], words)
        yield from _simulated(report.sessions, words)
        yield from _clocks(report.sessions, words)
        if report.has_lessons:
            yield words("only_lessons")
        yield ""
        yield words("distribution")
        yield from _table(report.sessions, _spread_columns(words), 2)
        yield ""
        yield words("bands")
        yield from _table(report.sessions, _band_columns(words), 2)
        yield ""
        yield words("notice")
    yield from _older(report, words)
    for fault in report.faults:
        yield f"{words('not_read')}: {printable(fault)}"


def start(row: Any, words: Words) -> str:
    """Return when a session began, or that the row is about all sessions."""
    return words("together") if row["session"] == ALL else words.time(row["start"])


def signal(row: Any, words: Words) -> str:
    """Return the share of good signal, with a question mark if it is known only in part."""
    share = words.percent(row["valid_share"])
    return words("unknown_short") if row["signal"] == "unknown" else share + "?" * (row["signal"] != "known")


def class_group(row: Any, words: Words) -> str:
    """Return the group of a class, or that it is everybody's lesson."""
    return words("everybody") if row["lesson_began"] and row["group"] == EVERYBODY else str(row["group"])


def class_date(row: Any, words: Words) -> str:
    """Return the day of a class, and when its lesson began."""
    began = moment_of(row["lesson_began"])
    return str(row["date"]) if began is None else f"{local(began, words.zone):%Y-%m-%d %H:%M}"


def _simulated(sessions: Any, words: Words) -> Iterator[str]:
    """Yield what the mark of simulated sessions means, if there are any."""
    if sessions["simulated"].any():
        yield f"{SIMULATED}{words('simulated')}"


def _older(report: Report, words: Words) -> Iterator[str]:
    """Yield a sentence for the files with rows that are older than the sessions."""
    if report.older:
        names = ", ".join(map(printable, report.older[:FAULTS_SHOWN]))
        yield words("older", names + (" …" if len(report.older) > FAULTS_SHOWN else ""))


def _clocks(sessions: Any, words: Words) -> Iterator[str]:
    """Yield a sentence for each session whose clock was set."""
    for row in sessions[(sessions["clock_steps"] > 0) & (sessions["session"] != ALL)].to_dict("records"):
        yield f"{_short(row['student'])}, {start(row, words)}: {words('clock_steps', row['clock_steps'])}"


def _class_columns(words: Words) -> list[Column]:
    return [
        (words("group"), lambda row: _short(class_group(row, words) or UNKNOWN)),
        (words("class"), lambda row: _short(row["class"] or UNKNOWN)),
        (words("date"), lambda row: class_date(row, words) or UNKNOWN),
        *((words(key), lambda row, key=key: str(row[key])) for key in ("students", "rows", "missing")),
        (words("good_signal"), lambda row: signal(row, words)),
        *_esense_columns(words, "mean", "median", "sd"),
    ]


def _title_columns(words: Words) -> list[Column]:
    return [
        (words("class"), lambda row: _short(row["title"] or words("no_class"))),
        (words("first_day"), lambda row: words.time(row["start"], "%Y-%m-%d")),
        (words("last_day"), lambda row: words.time(row["end"], "%Y-%m-%d")),
        *((words(key), lambda row, key=key: str(row[key])) for key in ("students", "sessions", "rows", "missing")),
        (words("good_signal"), lambda row: signal(row, words)),
        *_esense_columns(words, "mean", "median", "sd"),
    ]


def _session_columns(words: Words, *, with_lessons: bool) -> list[Column]:
    return [
        (words("name"), lambda row: _short(row["student"]) + (SIMULATED.rstrip() if row["simulated"] else "")),
        (words("lesson" if with_lessons else "group"), lambda row: _short(lesson_or_group(row)) or UNKNOWN),
        (words("start"), lambda row: start(row, words)),
        (words("duration"), lambda row: duration(row["duration_s"])),
        (words("rows"), lambda row: str(row["rows"])),
        (words("missing"), lambda row: words.number(row["missing"], 0)),
        (words("good_signal"), lambda row: signal(row, words)),
        *_esense_columns(words, "mean", "median", "sd", "trend_per_min"),
        (words("doubtful"), lambda row: str(row["doubtful"])),
    ]


def lesson_or_group(row: Any) -> str:
    """Return the lesson of a row, or else the group."""
    return str(row["class"] if row["lesson_began"] else row["group"])


def _spread_columns(words: Words) -> list[Column]:
    def column(name: str, kind: str) -> Column:
        key, is_share = f"{name}_{kind}", kind in LEVELS
        return words(kind), lambda row: words.percent(row[key]) if is_share else words.number(row[key])

    columns = [(words("name"), lambda row: _short(row["student"])), (words("start"), lambda row: start(row, words))]
    for name in ESENSE:
        head, *others = [column(name, kind) for kind in SPREAD]
        columns += [(f"{words(name)[:3]}. {head[0]}", head[1]), *others]
        columns += _esense_columns(words, "class_mean", "trend_per_week", of=[name])
    return columns


def _band_columns(words: Words) -> list[Column]:
    return [
        (words("name"), lambda row: _short(row["student"])),
        (words("start"), lambda row: start(row, words)),
        *(
            (f"{words(band)} %", lambda row, of=f"{band}_share": words.percent(row[of]).removesuffix(" %"))
            for band in BANDS
        ),
        *((words("log"), lambda row, of=f"{band}_log10": words.number(row[of], 2)) for band in BANDS),
    ]


def _esense_columns(words: Words, *kinds: str, of: Sequence[str] = ESENSE) -> list[Column]:
    def column(key: str, head: str, sign: bool) -> Column:
        return head, lambda row: words.number(row[key], sign=sign)

    return [
        column(f"{name}_{kind}", f"{words(name)[:3]}. {words(kind)}", sign=kind.startswith("trend"))
        for name in of
        for kind in kinds
    ]


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= NAME_MAX_CHARS else text[: NAME_MAX_CHARS - 1] + "…"


def _table(frame: pd.DataFrame, columns: Sequence[Column], texts: int) -> Iterator[str]:
    """Write a table: the first ``texts`` columns from the left, figures from the right."""
    rows = [[head for head, _ in columns]]
    rows += [[cell(row) for _, cell in columns] for row in frame.to_dict("records")]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell + " " * (width - _width(cell)) if at < texts else " " * (width - _width(cell)) + cell
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _width(text: str) -> int:
    """Count the columns of a text on a terminal."""
    return sum(
        (0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")) for each in text
    )
