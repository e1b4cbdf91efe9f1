"""Finds recordings, also while a recorder writes. Changes no file. docs/recordings.md describes the files."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from neuroone.contract import files
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import GROUP_EVENTS, INDEX, PART, SIDECAR, SIDECAR_FIELDS, STUDENT_HEADER


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded session, or the ``{Nome}.csv`` of one student: ``path`` is a directory, or that file.

    ``about`` holds the readable fields of ``session.json``; ``fault`` says why others are not.
    """

    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    is_legacy: bool = False

    @property
    def group(self) -> str:
        """The group's id; empty if unknown."""
        return str(self.about.get("group") or "")

    @property
    def source(self) -> str:
        """The source's id; if unknown, the name of the directory or file."""
        return str(self.about.get("source") or self.path.name)

    @property
    def name(self) -> str:
        """The student's name."""
        return str(self.about.get("name") or (self.path.stem if self.is_legacy else self.source))

    @property
    def label(self) -> str:
        """A unique name for files made from the recording: date, time, group and source."""
        return self.path.stem if self.is_legacy else f"{self.path.parent.name}_{self.path.name}"

    @property
    def is_open(self) -> bool:
        """Return True if a recorder may still be writing."""
        return self.about.get("status") == files.OPEN

    def files(self, kind: str) -> list[Path]:
        """Return the files of a kind, in the order in which they were written."""
        if self.is_legacy:
            return [self.path] if kind == files.READINGS else []
        numbered = []
        for entry in os.scandir(self.path):
            found = PART.match(entry.name)
            if found and found[1] == kind:
                numbered.append((int(found[2] or 1), self.path / entry.name))
        return [path for _, path in sorted(numbered)]


def find(paths: Iterable[Path]) -> list[Recording]:
    """Return every recording in directories and files, sorted by path. Raises SettingsError for a path without one."""
    found: dict[Path, Recording] = {}
    faults = []
    for path in paths:
        recordings = list(_in_directory(path) if path.is_dir() else _of_file(path))
        if not recordings:
            faults.append(f"PATHS: {path} {'holds no recording' if path.exists() else 'is not there'}")
        found.update((each.path.resolve(), each) for each in recordings)
    if faults:
        raise SettingsError(faults)
    return [found[path] for path in sorted(found)]


def without_doubles(recordings: Iterable[Recording]) -> list[Recording]:
    """Leave out each ``{Nome}.csv`` of a student with sessions here, because it holds the same readings."""
    every = list(recordings)
    names = {each.name for each in every if not each.is_legacy}
    return [each for each in every if not (each.is_legacy and each.name in names)]


def group_events(directories: Iterable[Path]) -> list[Path]:
    """Return the files under the directories with the events of whole groups."""
    return sorted(
        folder / name
        for directory in directories
        for folder, names in _walk(directory)
        for name in names
        if GROUP_EVENTS.match(name) and not _is_session(names)
    )


def is_legacy(path: Path) -> bool:
    """Return True for a ``{Nome}.csv``, also for an empty one or one with half a header."""
    try:
        with path.open("rb") as file:
            start = file.read(len(STUDENT_HEADER) + 1).replace(b"\r\n", b"\n")
    except OSError:
        return False
    return start.startswith(STUDENT_HEADER) or STUDENT_HEADER.startswith(start)


def index(directory: Path) -> dict[str, str]:
    """Return the name of each ``{Nome}.csv`` of the directory; nothing if there is no index."""
    try:
        with (directory / INDEX).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 2 and tuple(row) != files.INDEX_COLUMNS]
    except (OSError, UnicodeError, csv.Error):
        return {}
    return {file_name: name for name, file_name in rows}


def _is_session(names: Iterable[str]) -> bool:
    """Return True if a directory with these files is that of a session."""
    return any(name == SIDECAR or PART.match(name) for name in names)


def _walk(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _in_directory(directory: Path) -> Iterator[Recording]:
    for folder, names in _walk(directory):
        if _is_session(names):
            yield _session(folder)
        else:
            yield from _legacy(folder, names)


def _of_file(path: Path) -> Iterator[Recording]:
    if _is_session([path.name]):
        yield _session(path.parent)
    elif path.exists():
        yield from _legacy(path.parent, [path.name])


def _legacy(folder: Path, names: Iterable[str]) -> Iterator[Recording]:
    owners = index(folder)
    for name in names:
        path = folder / name
        if path.suffix == ".csv" and name != INDEX and is_legacy(path):
            yield Recording(path, {"name": owners.get(name, path.stem)}, is_legacy=True)


def _session(folder: Path) -> Recording:
    try:
        about = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        json.dumps(about, ensure_ascii=False).encode()  # refuse half a surrogate pair, which no file can hold
    except FileNotFoundError:
        return Recording(folder, fault="is missing")
    except (OSError, ValueError, RecursionError) as error:
        return Recording(folder, fault=f"cannot be read ({error})")
    if not isinstance(about, dict):
        return Recording(folder, fault="is not a JSON object")
    wrong = [key for key, kind in SIDECAR_FIELDS.items() if not isinstance(about.get(key), (kind, NoneType))]
    fault = f"{', '.join(wrong)}: of a wrong type" if wrong else None
    return Recording(folder, {key: value for key, value in about.items() if key not in wrong}, fault)
