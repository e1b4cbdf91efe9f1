"""Make the downloads of a lesson or of one student in it, in the format that somebody chose.

``stored`` and ``csv-ptbr`` are made here, in pieces. ``xlsx`` and ``report`` are made by the recorder's program, where
it is installed with what it needs.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Final

from neuroone.contract.files import EVENTS, PART, READINGS, file_key, safe_stem
from neuroone.contract.topics import with_hash
from ws_gateway.http import brazilian_csv, pieces
from ws_gateway.http.converter import MADE, Converter, is_available
from ws_gateway.http.pieces import Content

EVENTS_ENDING: Final = "_eventos"
"""What the name of a table of events ends in."""


class Format(StrEnum):
    """What a download may be."""

    STORED = "stored"
    CSV_PTBR = "csv-ptbr"
    XLSX = "xlsx"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be downloaded: the sessions' folders of each student, by the student's name for files."""

    title: str
    students: Mapping[str, Sequence[Path]]
    format: Format
    zone: tzinfo
    zone_name: str
    language: str


@dataclass(frozen=True, slots=True)
class Made:
    """A download: its type, its name, and its pieces."""

    kind: str
    name: str
    pieces: Iterator[bytes]


def available() -> list[Format]:
    """Return the formats that this installation can make."""
    is_converted = is_available()
    return [each for each in Format if is_converted or each in (Format.STORED, Format.CSV_PTBR)]


def make(chosen: Chosen, converter: Converter) -> Made:
    """Make a download. Raises Busy, KeyError for a format that cannot be made here, and OSError."""
    if chosen.format not in available():
        raise KeyError(chosen.format)
    match chosen.format:
        case Format.STORED:
            return _zip(chosen.title, _stored(chosen.students))
        case Format.CSV_PTBR:
            return _brazilian(chosen)
        case Format.XLSX:
            return _converted(chosen, converter, "export", "--to", "xlsx", "--out", ".")
        case Format.REPORT:
            words = ("report", "--html", "report.html", "--timezone", chosen.zone_name, "--language", chosen.language)
            return _converted(chosen, converter, *words)


def _stored(students: Mapping[str, Sequence[Path]]) -> dict[str, Content]:
    return {
        f"{student}/{folder.parent.name}_{folder.name}/{file.name}": file
        for student, folders in students.items()
        for folder in folders
        for file in _files(folder)
    }


def _brazilian(chosen: Chosen) -> Made:
    """Make a table of each session's readings and one of its events.

    The readings of a single session come alone if nobody set a mark in it: its events say no more than its times.
    """
    made: dict[str, Iterator[bytes]] = {}
    tables: list[Iterator[bytes]] = []
    has_marks = False
    for stem, folder in _named(chosen.students):
        readings, events = _parts(folder, READINGS), _parts(folder, EVENTS)
        if readings:
            made[f"{stem}.csv"] = brazilian_csv.of_readings(readings, chosen.zone)
            tables.append(made[f"{stem}.csv"])
        if events:
            made[f"{stem}{EVENTS_ENDING}.csv"] = brazilian_csv.of_events(events, chosen.zone)
            has_marks = has_marks or brazilian_csv.has_marks(events)
    if len(tables) == 1 and not has_marks:
        return Made("text/csv; charset=utf-8", f"{safe_stem(chosen.title)}.csv", tables[0])
    return _zip(chosen.title, made)


def _named(students: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Path]]:
    """Yield the name of each session's tables. No two sessions share one, even if students are called Ana and Ana_2."""
    taken: set[str] = set()
    for student, folders in students.items():
        for number, folder in enumerate(folders, 1):
            stem = student if len(folders) == 1 else f"{student}_{number}"
            if not taken.isdisjoint(_keys(stem)):
                stem = with_hash(stem, f"{folder.parent.name}/{folder.name}")
            taken |= _keys(stem)
            yield stem, folder


def _keys(stem: str) -> set[str]:
    return {file_key(stem), file_key(f"{stem}{EVENTS_ENDING}")}


def _zip(title: str, contents: Mapping[str, Content]) -> Made:
    return Made("application/zip", f"{safe_stem(title)}.zip", pieces.of_zip(contents))


def _converted(chosen: Chosen, converter: Converter, *words: str) -> Made:
    """Let the recorder's program make files, which go when the download has ended."""
    folder = converter.convert(words, [each for folders in chosen.students.values() for each in folders])
    files = sorted(each for each in Path(folder.name, MADE).rglob("*") if each.is_file())
    if len(files) == 1:
        name = f"{safe_stem(chosen.title)}{files[0].suffix}"
        kind = "text/html; charset=utf-8" if files[0].suffix == ".html" else "application/octet-stream"
        return Made(kind, name, _then_removed(pieces.of_file(files[0].open("rb"), 0, files[0].stat().st_size), folder))
    made = _zip(chosen.title, {each.relative_to(Path(folder.name, MADE)).as_posix(): each for each in files})
    return Made(made.kind, made.name, _then_removed(made.pieces, folder))


def _then_removed(content: Iterator[bytes], folder: tempfile.TemporaryDirectory[str]) -> Iterator[bytes]:
    with folder:
        yield from content


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file() and not each.is_symlink() and each.name[0] != ".")


def _parts(folder: Path, kind: str) -> list[Path]:
    """Return a session's files of one kind, in their order."""
    named = [(PART.match(file.name), file) for file in _files(folder)]
    parts = [(int(match[2] or 1), file) for match, file in named if match is not None and match[1] == kind]
    return [file for _, file in sorted(parts)]
