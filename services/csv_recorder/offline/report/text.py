"""A report as text for a terminal."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

from csv_recorder.offline.report.figures import ALL, ESENSE, Report
from csv_recorder.offline.report.texts import UNKNOWN, Words, duration, printable
from neuroone.contract.messages import BANDS

NAME_MAX_CHARS: Final = 30
"""Of a name in the table; the rest would push the figures off the screen."""


def lines(report: Report, words: Words) -> Iterator[str]:
    """The report, line by line."""
    if report.sessions.empty:
        yield words("nothing")
    else:
        yield words("zone", words.zone_name(report.sessions["start"].min()))
        yield words("valid_only")
        yield ""
        yield from _table(_class_head(words), [_class_row(row, words) for _, row in report.classes.iterrows()], 3)
        yield ""
        yield from _table(_session_head(words), [_session_row(row, words) for _, row in report.sessions.iterrows()], 3)
        yield ""
        yield words("bands")
        yield from _table(_band_head(words), [_band_row(row, words) for _, row in report.sessions.iterrows()], 2)
        yield ""
        yield words("notice")
    for fault in report.faults:
        yield f"{words('not_read')}: {printable(fault)}"


def signal(row: Any, words: Words) -> str:
    """The share of good signal; "unknown" where nothing says it."""
    share = words.percent(row["valid_share"])
    return words("unknown_short") if row["signal"] == "unknown" else share + "?" * (row["signal"] != "known")


def _esense_head(words: Words, *kinds: str) -> list[str]:
    return [f"{words(name)[:3]}. {words(kind)}" for name in ESENSE for kind in kinds]


def _esense_row(row: Any, words: Words, *kinds: str) -> list[str]:
    return [words.number(row[f"{name}_{kind}"], sign=kind.startswith("trend")) for name in ESENSE for kind in kinds]


def _class_head(words: Words) -> list[str]:
    return [
        *map(words, ("group", "class", "date", "students", "rows", "missing", "good_signal")),
        *_esense_head(words, "mean", "median", "sd"),
    ]


def _class_row(row: Any, words: Words) -> list[str]:
    return [
        *(_short(str(row[key] or UNKNOWN)) for key in ("group", "class", "date")),
        *(str(row[key]) for key in ("students", "rows", "missing")),
        signal(row, words),
        *_esense_row(row, words, "mean", "median", "sd"),
    ]


def _session_head(words: Words) -> list[str]:
    return [
        *map(words, ("name", "group", "start", "duration", "rows", "missing", "good_signal")),
        *_esense_head(words, "mean", "median", "sd", "trend_per_min"),
    ]


def _session_row(row: Any, words: Words) -> list[str]:
    return [
        _short(row["name"]),
        row["group"] or UNKNOWN,
        words("together") if row["session"] == ALL else words.time(row["start"]),
        duration(row["duration_s"]),
        str(row["rows"]),
        words.number(row["missing"], 0),
        signal(row, words),
        *_esense_row(row, words, "mean", "median", "sd", "trend_per_min"),
    ]


def _band_head(words: Words) -> list[str]:
    return [words("name"), words("start"), *(f"{band} %" for band in words.bands()), *([words("log")] * len(BANDS))]


def _band_row(row: Any, words: Words) -> list[str]:
    return [
        _short(row["name"]),
        words("together") if row["session"] == ALL else words.time(row["start"]),
        *(words.percent(row[f"{band}_share"]).removesuffix(" %") for band in BANDS),
        *(words.number(row[f"{band}_log10"], 2) for band in BANDS),
    ]


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= NAME_MAX_CHARS else text[: NAME_MAX_CHARS - 1] + "…"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> Iterator[str]:
    """Columns as wide as they must be; the first ``texts`` of them from the left, figures from the right."""
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell + " " * (width - _width(cell)) if at < texts else " " * (width - _width(cell)) + cell
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(
        (0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")) for each in text
    )
