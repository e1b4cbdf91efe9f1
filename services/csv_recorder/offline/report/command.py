"""Makes the report that a command line asks for, and writes it to the terminal and to files."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

import pandas as pd

from csv_recorder.offline.export import spreadsheets
from csv_recorder.offline.lessons import with_parts
from csv_recorder.offline.report import html, pages, text, texts
from csv_recorder.offline.report.cache import FigureCache
from csv_recorder.offline.report.figures import SIDECAR_USED, Report, Selection, make
from csv_recorder.settings import ReportSettings
from neuroone.contract.errors import SettingsError
from neuroone.data.recordings import begin_elsewhere, find, without_doubles

ROWS_AT_ONCE: Final = 1000
"""Rows that are written at a time: a copy of a table of 25,000 takes 20 MB."""


def run(settings: ReportSettings, is_stopped: Callable[[], bool], show: Callable[[Iterable[str]], None]) -> bool:
    """Make the report; return True if everything could be read. Raises SettingsError."""
    selection = _selection(settings)
    cache = FigureCache()
    try:
        found = find(settings.chosen(), SIDECAR_USED)
        recordings = map(with_parts, without_doubles(found))
        with_curves = settings.html is not None
        report = make(recordings, selection, cache, by=settings.by, with_curves=with_curves, is_stopped=is_stopped)
        report = replace(report, older=tuple(map(str, begin_elsewhere(found) if selection.is_all else ())))
    finally:
        cache.close()
    words = texts.Words(settings.language or texts.of_system(), settings.timezone)
    try:
        _write_files(settings, report, words)
    except OSError as error:
        raise SettingsError([f"{error.filename}: cannot be written ({error.strerror})"]) from None
    is_long = report.count > text.PRINTED_MAX and selection.is_all and not settings.all
    show(text.summary(report, words) if is_long else text.lines(report, words))
    return not report.faults and not is_stopped()


def _selection(settings: ReportSettings) -> Selection:
    given = {"--from and --since": (settings.from_, settings.since), "--to and --until": (settings.to, settings.until)}
    faults = [f"{flags}: are the same, give one of them" for flags, each in given.items() if None not in each]
    if faults:
        raise SettingsError(faults)
    since, until = (_with_zone(one or other, settings.timezone) for one, other in given.values())
    return Selection(
        since,
        until,
        frozenset(settings.group),
        settings.timezone,
        classes=frozenset(settings.class_),
        students=frozenset(settings.student),
    )


def _with_zone(time: datetime | None, zone: tzinfo | None) -> datetime | None:
    return time if time is None or time.tzinfo else (time.replace(tzinfo=zone) if zone else time.astimezone())


def _write_files(settings: ReportSettings, report: Report, words: texts.Words) -> None:
    if settings.html:
        _write_pages(settings.html, report, words)
    if settings.csv:
        with settings.csv.open("w", encoding="utf-8", newline="") as file:
            for at in range(0, max(1, len(report.sessions)), ROWS_AT_ONCE):
                rows = spreadsheets.guarded(report.sessions.iloc[at : at + ROWS_AT_ONCE])
                rows.to_csv(file, index=False, header=not at, lineterminator="\n")
    if settings.xlsx:
        spreadsheets.write_workbook(settings.xlsx, {"Sessions": report.sessions, "Classes": report.classes})


def _write_pages(file: Path, report: Report, words: texts.Words) -> None:
    """Write one page, or an index with a page for each class in a folder beside it."""
    made = pd.Timestamp(datetime.now(UTC))
    folder = file.with_name(f"{file.stem}-pages")
    written: set[str] = set()
    if file.name == pages.INDEX_FILE:
        file.parent.mkdir(exist_ok=True)
    if report.count <= pages.SESSIONS_MAX:
        _write_page(file, html.page(report, words, made))
    else:
        folder.mkdir(exist_ok=True)
        of_classes = list(pages.parts(report))
        for part in of_classes:
            page = html.page(part.report, words, made, part.heading(words), f"../{file.name}")
            _write_page(folder / part.file, page)
            written.add(part.file)
        _write_page(file, html.index_page(report, of_classes, words, made, folder.name))
    with suppress(FileNotFoundError):
        for old in list(folder.iterdir()):  # a student who was forgotten must not stay in an old page
            if pages.FILE.match(old.name) and old.name not in written:
                old.unlink()


def _write_page(file: Path, pieces: Iterator[str]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        opened.writelines(pieces)
