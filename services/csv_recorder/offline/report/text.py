"""A report as text for a terminal."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pandas as pd

from csv_recorder.offline.report import doubtful
from csv_recorder.offline.report.figures import ALL, Report
from csv_recorder.offline.report.pages import by_title
from csv_recorder.offline.report.session_figures import ESENSE
from csv_recorder.offline.report.texts import UNKNOWN, Words, duration, printable
from neuroone.contract.messages import BANDS

PRINTED_MAX: Final = 200
"""Sessions that are printed without being asked for: some screens. Of more there is a summary."""
CLASSES_SHOWN: Final = 20
NEWEST_SHOWN: Final = 20
FAULTS_SHOWN: Final = 20
"""Lines of each kind in a summary, which fits on three screens."""
NAME_MAX_CHARS: Final = 30
"""Characters of a name in a table; a longer name would push the figures off the screen."""

Column = tuple[str, Callable[[Any], str]]
"""A heading, and what stands below it for a row of figures."""


def summary(report: Report, words: Words) -> Iterator[str]:
    """Yield the lines of a summary: what there is, the classes with the newest sessions, and the newest sessions."""
    sessions = report.sessions[report.sessions["session"] != ALL]
    first, last = (words.time(each, "%Y-%m-%d") for each in (sessions["start"].min(), sessions["start"].max()))
    students = len(sessions.drop_duplicates(["group", "source"]))
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
    newest = sessions.sort_values("start", ascending=False, kind="stable").head(NEWEST_SHOWN)
    yield from _table(newest, _session_columns(words), 3)
    yield ""
    yield from doubtful.in_all(sessions, words)
    yield words("notice")
    yield words("more")
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
        yield from _table(report.sessions, _session_columns(words), 3)
        yield from doubtful.in_all(report.sessions[report.sessions["session"] != ALL], words)
        yield ""
        yield words("bands")
        yield from _table(report.sessions, _band_columns(words), 2)
        yield ""
        yield words("notice")
    for fault in report.faults:
        yield f"{words('not_read')}: {printable(fault)}"


def start(row: Any, words: Words) -> str:
    """Return when a session began, or that the row is about all sessions."""
    return words("together") if row["session"] == ALL else words.time(row["start"])


def signal(row: Any, words: Words) -> str:
    """Return the share of good signal, with a question mark if it is known only in part."""
    share = words.percent(row["valid_share"])
    return words("unknown_short") if row["signal"] == "unknown" else share + "?" * (row["signal"] != "known")


def _class_columns(words: Words) -> list[Column]:
    return [
        *((words(key), lambda row, key=key: _short(row[key] or UNKNOWN)) for key in ("group", "class", "date")),
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


def _session_columns(words: Words) -> list[Column]:
    return [
        (words("name"), lambda row: _short(row["name"])),
        (words("group"), lambda row: row["group"] or UNKNOWN),
        (words("start"), lambda row: start(row, words)),
        (words("duration"), lambda row: duration(row["duration_s"])),
        (words("rows"), lambda row: str(row["rows"])),
        (words("missing"), lambda row: words.number(row["missing"], 0)),
        (words("good_signal"), lambda row: signal(row, words)),
        *_esense_columns(words, "mean", "median", "sd", "trend_per_min"),
        (words("doubtful"), lambda row: str(row["doubtful"])),
    ]


def _band_columns(words: Words) -> list[Column]:
    return [
        (words("name"), lambda row: _short(row["name"])),
        (words("start"), lambda row: start(row, words)),
        *(
            (f"{words(band)} %", lambda row, of=f"{band}_share": words.percent(row[of]).removesuffix(" %"))
            for band in BANDS
        ),
        *((words("log"), lambda row, of=f"{band}_log10": words.number(row[of], 2)) for band in BANDS),
    ]


def _esense_columns(words: Words, *kinds: str) -> list[Column]:
    def column(key: str, head: str, sign: bool) -> Column:
        return head, lambda row: words.number(row[key], sign=sign)

    return [
        column(f"{name}_{kind}", f"{words(name)[:3]}. {words(kind)}", sign=kind.startswith("trend"))
        for name in ESENSE
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
