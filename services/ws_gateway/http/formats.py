"""Make the downloads of a lesson or of one student in it, in the format that somebody chose.

``stored`` and ``csv-ptbr`` are made here, in pieces. ``xlsx`` and ``report`` are made by the recorder's program, where
it is installed with what it needs: one at a time, in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from neuroone.contract.files import EVENTS, PART, READINGS, file_key, safe_stem
from neuroone.contract.topics import with_hash
from ws_gateway.http import brazilian_csv, pieces
from ws_gateway.http.pieces import Content

CONVERT_TIMEOUT_S: Final = 300.0
"""A workbook of a class of forty takes 20 s on a slow machine."""
EVENTS_ENDING: Final = "_eventos"
"""What the name of a table of events ends in."""
NEEDED: Final = ("csv_recorder", "pandas", "openpyxl")
"""What the recorder's program needs to make workbooks and reports."""


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


class Busy(Exception):
    """Another workbook or report is being made."""


class Failed(OSError):
    """The recorder's program could not make it."""


_converting = threading.Lock()


def available() -> list[Format]:
    """Return the formats that this installation can make."""
    made_elsewhere = all(find_spec(each) for each in NEEDED)
    return [each for each in Format if made_elsewhere or each in (Format.STORED, Format.CSV_PTBR)]


def make(chosen: Chosen) -> Made:
    """Make a download. Raises Busy, KeyError for a format that cannot be made here, and OSError."""
    if chosen.format not in available():
        raise KeyError(chosen.format)
    match chosen.format:
        case Format.STORED:
            return _zip(chosen.title, _stored(chosen.students))
        case Format.CSV_PTBR:
            return _brazilian(chosen)
        case Format.XLSX:
            return _converted(chosen, "export", "--to", "xlsx", "--out", ".")
        case Format.REPORT:
            words = ("report", "--html", "report.html", "--timezone", chosen.zone_name, "--language", chosen.language)
            return _converted(chosen, *words)


def _stored(students: Mapping[str, Sequence[Path]]) -> dict[str, Content]:
    return {
        f"{student}/{folder.parent.name}_{folder.name}/{file.name}": file
        for student, folders in students.items()
        for folder in folders
        for file in _files(folder)
    }


def _brazilian(chosen: Chosen) -> Made:
    """Make a table of each session's readings and one of its events; the readings come alone if there is one table."""
    made: dict[str, Iterator[bytes]] = {}
    tables: list[Iterator[bytes]] = []
    for stem, folder in _named(chosen.students):
        readings, events = _parts(folder, READINGS), _parts(folder, EVENTS)
        if readings:
            made[f"{stem}.csv"] = brazilian_csv.of_readings(readings, chosen.zone)
            tables.append(made[f"{stem}.csv"])
        if events:
            made[f"{stem}{EVENTS_ENDING}.csv"] = brazilian_csv.of_events(events, chosen.zone)
    if len(tables) == 1:
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


def _converted(chosen: Chosen, *words: str) -> Made:
    """Let the recorder's program make files in a folder of its own, which goes when the download has ended."""
    if not _converting.acquire(blocking=False):
        raise Busy
    folder = tempfile.TemporaryDirectory(prefix="neuroone-")
    try:
        paths = [str(each.absolute()) for folders in chosen.students.values() for each in folders]
        # The gateway's settings are not the command's.
        environ = {key: value for key, value in os.environ.items() if not key.startswith("NEUROONE_")}
        command = [sys.executable, "-m", "csv_recorder", *words, *paths]
        done = subprocess.run(
            command, cwd=folder.name, env=environ, capture_output=True, timeout=CONVERT_TIMEOUT_S, check=False
        )
        files = sorted(each for each in Path(folder.name).rglob("*") if each.is_file())
        if not files:
            raise Failed(None, done.stderr.decode(errors="replace").strip()[-300:] or "nothing to write")
    except BaseException as error:
        folder.cleanup()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Failed(None, "it takes too long") from None
        raise
    finally:
        _converting.release()
    if len(files) == 1:
        name = f"{safe_stem(chosen.title)}{files[0].suffix}"
        kind = "text/html; charset=utf-8" if files[0].suffix == ".html" else "application/octet-stream"
        return Made(kind, name, _then_removed(pieces.of_file(files[0].open("rb"), 0, files[0].stat().st_size), folder))
    made = _zip(chosen.title, {each.relative_to(folder.name).as_posix(): each for each in files})
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
