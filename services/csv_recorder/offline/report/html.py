"""A report as one page that loads nothing: style and plots are inside, and there is no script."""

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pandas as pd

from csv_recorder.offline.report import doubtful
from csv_recorder.offline.report.figures import ALL, Report
from csv_recorder.offline.report.pages import Part
from csv_recorder.offline.report.session_figures import BIN_S, LEVELS, Curve
from csv_recorder.offline.report.text import class_date, class_group, signal, start
from csv_recorder.offline.report.texts import UNKNOWN, Words, duration
from neuroone.contract.files import ESENSE
from neuroone.contract.messages import BANDS

POINTS_MAX: Final = 120
"""Points of a line: a phone shows no more, and a page of a thousand students stays below 10 MB."""
_WIDTH: Final = 1200
_HEAD: Final = Path(__file__).with_name("page_head.html")
_STYLE: Final = Path(__file__).with_name("report.css")


def page(report: Report, words: Words, made: pd.Timestamp, title: str = "", index: str = "") -> Iterator[str]:
    """Yield a page in pieces. Names are escaped; every number is also in a table.

    A page of one class has a ``title``, and a link to the ``index``.
    """
    sessions = report.sessions
    yield from _head(words, title)
    if index:
        yield f'<p><a href="{escape(index)}">{escape(words("back"))}</a></p>\n'
    yield _quiet(words("made", words.time(made, "%Y-%m-%d %H:%M"), report.count))
    if sessions.empty:
        yield f"<p>{escape(words('nothing'))}</p>\n"
    else:
        yield _quiet(words("zone", words.zone_name(sessions["start"].max())))
        yield _quiet(words("valid_only"))
        yield f"<p><strong>{escape(words('notice'))}</strong></p>\n"
        if not report.classes.empty:
            yield from _classes(report, words)
        yield from _students(report, words)
    yield from _foot(report, words)


def index_page(report: Report, parts: Iterable[Part], words: Words, made: pd.Timestamp, folder: str) -> Iterator[str]:
    """Yield the page with the links to the pages of the classes, which are in a ``folder`` beside it."""
    yield from _head(words)
    yield _quiet(words("made", words.time(made, "%Y-%m-%d %H:%M"), report.count))
    yield _quiet(words("zone", words.zone_name(report.sessions["start"].max())))
    yield f"<p><strong>{escape(words('notice'))}</strong></p>\n<h2>{escape(words('index'))}</h2>\n"
    kinds = ("students", "sessions", "rows")
    heads = "".join(f"<th>{escape(words(each))}</th>" for each in ("first_day", "last_day", *kinds))
    yield f'<div class="scroll"><table><tr><th class="text">{escape(words("class"))}</th>{heads}</tr>\n'
    for part in parts:
        sessions = part.report.sessions[part.report.sessions["session"] != ALL]
        days = [words.time(each, "%Y-%m-%d") for each in (sessions["start"].min(), sessions["start"].max())]
        students = sessions["student"].nunique()
        numbers = (*days, students, len(sessions), int(sessions["rows"].sum()))
        link = f'<a href="{escape(quote(folder))}/{part.file}">{escape(part.heading(words))}</a>'
        yield f'<tr><td class="text">{link}</td>{"".join(f"<td>{each}</td>" for each in numbers)}</tr>\n'
    yield "</table></div>\n"
    yield from _foot(report, words)


def _head(words: Words, title: str = "") -> Iterator[str]:
    head, style = (file.read_text(encoding="utf-8") for file in (_HEAD, _STYLE))
    title = " · ".join(filter(None, (words("title"), title)))
    yield head.format(lang=words.language, title=escape(title), style=style)
    yield f"<h1>{escape(title)}</h1>\n"


def _foot(report: Report, words: Words) -> Iterator[str]:
    if report.older:
        yield f'<p class="warn">{escape(words("older", ", ".join(report.older)))}</p>\n'
    if report.faults:
        yield f"<h2>{escape(words('not_read'))}</h2>\n"
        yield "".join(f'<p class="warn">{escape(fault)}</p>\n' for fault in report.faults)
    yield "</body>\n</html>\n"


def _classes(report: Report, words: Words) -> Iterator[str]:
    yield f"<h2>{escape(words('lessons' if report.has_lessons else 'classes'))}</h2>\n"
    for number, row in zip(report.classes.index, report.classes.to_dict("records"), strict=True):
        group = class_group(row, words) or (words("no_group") if row["class"] or not row["date"] else "")
        name = (row["class"] or words("no_lesson_name"), class_date(row, words), group)
        place = name if row["lesson_began"] else (group, row["class"], class_date(row, words))
        title = " · ".join(filter(None, place))
        yield f'<section class="student"><h3>{escape(title)}</h3>\n'
        yield _esense(row, words, ("mean", "median", "sd", "min", "q1", "q3", "max"), "students")
        yield _levels(row, words)
        counted = (f"{words(each)}: {row[each]}" for each in ("students", "sessions"))
        good = f"{words('good_signal')}: {signal(row, words)}"
        yield _quiet(" · ".join((*counted, good, *doubtful.sentences(row, words))))
        yield _plot(report.class_curve(int(number)), words)
        yield "</section>\n"


def _students(report: Report, words: Words) -> Iterator[str]:
    yield f"<h2>{escape(words('students'))}</h2>\n"
    if report.has_lessons:
        yield _quiet(words("only_lessons"))
    student: str | None = None
    seen: list[Any] = []
    for number, row in zip(report.sessions.index, report.sessions.to_dict("records"), strict=True):
        if row["student"] != student:
            begin = f'<section class="student"><h3>{escape(row["student"])}</h3>\n'
            yield begin if student is None else f"</section>\n{begin}"
            student, seen = row["student"], []
        yield from _session(row, report.curve(int(number)), words)
        if row["session"] == ALL:
            yield _over_lessons(row, seen, words)
        seen.append(row)
    yield "</section>\n"


def _session(row: Any, curve: Curve | None, words: Words) -> Iterator[str]:
    is_all = row["session"] == ALL
    where = (
        () if is_all else (row["class"],) if row["lesson_began"] else (row["group"] or words("no_group"), row["class"])
    )
    place = (*where, start(row, words), duration(row["duration_s"]))
    code = "" if is_all or not row["code"] else f" <small>{escape(words('code'))} {escape(row['code'])}</small>"
    yield f"<h4>{escape(' · '.join(each for each in place if each not in ('', UNKNOWN)))}{code}</h4>\n"
    yield from (f'<p class="warn">{escape(each)}</p>\n' for each in _warnings(row, words))
    kinds = ("mean", "median", "sd", "trend_per_min", "min", "q1", "q3", "max", "class_mean")
    yield _esense(row, words, kinds, "samples")
    yield _levels(row, words)
    counted = (f"{words('good_signal')}: {signal(row, words)}", f"{words('rows')}: {row['rows']}")
    yield _quiet(" · ".join((*counted, *doubtful.sentences(row, words))))
    if curve is not None:
        yield _plot(curve, words)
    yield _bands(row, words)


def _levels(row: Any, words: Words) -> str:
    """Draw which shares of the values are low, medium and high; the numbers stand in the bars' text."""
    lines = []
    for name in ESENSE:
        shares = {level: row[f"{name}_{level}"] for level in LEVELS}
        if any(share is None or share != share for share in shares.values()):
            continue
        bars = "".join(
            f'<span class="{name} {level}" style="width:{100 * share:.1f}%"></span>' for level, share in shares.items()
        )
        told = " · ".join(f"{words(level)}: {words.percent(share)}" for level, share in shares.items())
        lines.append(f'<p class="levels">{bars}</p><p class="quiet">{escape(words(name))} · {escape(told)}</p>\n')
    return "".join(lines)


def _over_lessons(of_all: Any, rows: list[Any], words: Words) -> str:
    """Draw a student's means over the lessons, and say the trend over weeks if there is one."""
    lines = "".join(f'<path class="{name}" d="{_through(rows, f"{name}_mean")}"/>' for name in ESENSE)
    label = words("over_lessons", ", ".join(map(words, ESENSE)))
    begin, end = (words.time(each["start"], "%Y-%m-%d") for each in (rows[0], rows[-1]))
    trends = {name: words.number(of_all[f"{name}_trend_per_week"], sign=True) for name in ESENSE}
    told = ", ".join(f"{words(name)} {trend}" for name, trend in trends.items() if trend != UNKNOWN)
    return _figure(lines, label, begin, end, words) + (_quiet(words("weekly", told)) if told else "")


def _through(rows: list[Any], key: str) -> str:
    """Draw a line through a value of each row, and a dot at each; a row without one is left out."""
    known = [(at, row[key]) for at, row in enumerate(rows) if row[key] is not None and row[key] == row[key]]
    points = [((at + 0.5) * _WIDTH / len(rows), 100 - value) for at, value in known]
    return "".join(f"{'L' if at else 'M'}{x:.0f} {y:.1f}h0" for at, (x, y) in enumerate(points))


def _warnings(row: Any, words: Words) -> Iterator[str]:
    if row["simulated"]:
        yield words("simulated")
    if row["signal"] != "known":
        yield words("quality_unknown" if row["signal"] == "unknown" else "quality_partly")
    if row["missing"] and row["missing"] == row["missing"]:
        step = row["longest_step_s"]
        yield words("missing_readings", int(row["missing"])) + (
            f" ({words('longest_step', words.number(step, 0))})" if step == step and step is not None else ""
        )
    if row["left_out"]:
        yield words("left_out", int(row["left_out"]))
    if row["clock_steps"]:
        yield words("clock_steps", int(row["clock_steps"]))


def _bands(row: Any, words: Words) -> str:
    if not row["bands_n"]:
        return ""
    body = "".join(
        f'<tr><td class="text">{escape(words(band))}</td>'
        f'<td><span class="bar" style="width:{100 * row[f"{band}_share"]:.1f}%"></span></td>'
        f"<td>{words.percent(row[f'{band}_share'])}</td><td>{words.number(row[f'{band}_log10'], 2)}</td></tr>\n"
        for band in BANDS
    )
    head = f'<tr><th class="text">{words("band")}</th><th></th><th>{words("share")}</th><th>{words("log")}</th></tr>'
    return (
        f"<details><summary>{escape(words('bands'))}</summary>"
        f'<div class="scroll"><table class="bars">{head}\n{body}</table></div></details>\n'
    )


def _plot(curve: Curve, words: Words) -> str:
    if not len(curve.bins):
        return _quiet(words("no_time"))
    if all(np.isnan(values).all() for values in curve.values.values()):
        return _quiet(words("no_valid"))
    first, last = int(curve.bins[0]), int(curve.bins[-1]) + 1
    width = -(-(last - first) // POINTS_MAX)
    lines = "".join(f'<path class="{name}" d="{_path(curve, name, first, last, width)}"/>' for name in ESENSE)
    label = words("over_time", ", ".join(map(words, ESENSE)))
    ends = [pd.Timestamp(each * BIN_S, unit="s", tz="UTC") for each in (first, last)]
    begin, end = (words.time(each, "%H:%M" if last - first > 60 // BIN_S else "%H:%M:%S") for each in ends)
    return _figure(lines, label, begin, end, words)


def _figure(lines: str, label: str, begin: str, end: str, words: Words) -> str:
    """Put lines from 0 to 100 into a plot; ``begin`` and ``end`` stand below it."""
    grid = "".join(f'<path class="grid" d="M0 {y}H{_WIDTH}"/>' for y in (0, 50, 100))
    keys = "".join(f'<span class="key {name}"></span>{escape(words(name))}' for name in ESENSE)
    return (
        f'<figure><div class="plot"><div class="scale"><span>100</span><span>50</span><span>0</span></div>'
        f'<svg viewBox="0 -2 {_WIDTH} 104" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'{grid}{lines}</svg><div class="times"><span>{begin}</span><span>{end}</span></div></div>'
        f"<figcaption>{keys}</figcaption></figure>\n"
    )


def _path(curve: Curve, name: str, first: int, last: int, width: int) -> str:
    """Draw a line through means of ``width`` bins, with gaps; a single point is a dot."""
    is_there = ~np.isnan(curve.values[name])
    place = (curve.bins[is_there] - first) // width
    count = np.bincount(place)
    total = np.bincount(place, curve.values[name][is_there])
    at = np.flatnonzero(count)
    x = np.minimum((at + 0.5) * width * _WIDTH / (last - first), _WIDTH)
    y = 100 - total[at] / count[at]
    goes_on = np.diff(at, prepend=-2) == 1
    # Floats of Python are formatted several times as fast as those of NumPy.
    points = zip(x.tolist(), y.tolist(), goes_on.tolist(), strict=True)
    return "".join(f"L{x:.0f} {y:.1f}" if goes_on else f"M{x:.0f} {y:.1f}h0" for x, y, goes_on in points)


def _esense(row: Any, words: Words, kinds: tuple[str, ...], counted: str) -> str:
    """Make a table of attention and meditation; its last column counts the samples or students."""
    number = {"samples": "n", "students": "students"}[counted]
    head = "".join(f"<th>{escape(words(each))}</th>" for each in (*kinds, counted))
    body = "".join(
        f'<tr><th class="text">{escape(words(name))}</th>'
        + "".join(f"<td>{words.number(row[f'{name}_{kind}'], sign=kind == 'trend_per_min')}</td>" for kind in kinds)
        + f"<td>{row[f'{name}_{number}']}</td></tr>\n"
        for name in ESENSE
    )
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>\n{body}</table></div>\n'


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>\n'
