"""What was recorded, found and read back. Changes no file, and may be used while a recorder writes.

docs/recordings.md describes the files. `csv_recorder.offline.dataframes` makes tables of them.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    GROUP_EVENTS,
    INDEX,
    INDEX_COLUMNS,
    OPEN,
    PART,
    READINGS,
    SIDECAR,
    SIDECAR_FIELDS,
    STUDENT_HEADER,
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded session, or the ``{Nome}.csv`` of one student: ``path`` is a directory, or that file.

    ``about`` is what ``session.json`` says, as far as it can be read; ``fault`` says why it cannot.
    """

    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    is_legacy: bool = False

    @property
    def group(self) -> str:
        """The group's id; empty where nothing says it."""
        return str(self.about.get("group") or "")

    @property
    def source(self) -> str:
        """The source's id; where nothing says it, what the recording is called on the disk."""
        return str(self.about.get("source") or self.path.name)

    @property
    def name(self) -> str:
        """Who it is of."""
        return str(self.about.get("name") or (self.path.stem if self.is_legacy else self.source))

    @property
    def label(self) -> str:
        """A name for files made of the recording, which no other recording has: date, time, group and source."""
        return self.path.stem if self.is_legacy else f"{self.path.parent.name}_{self.path.name}"

    @property
    def is_open(self) -> bool:
        """Whether its recorder may still be writing."""
        return self.about.get("status") == OPEN

    def files(self, kind: str) -> list[Path]:
        """The files of a kind, in the order in which they were written."""
        if self.is_legacy:
            return [self.path] if kind == READINGS else []
        numbered = []
        for entry in os.scandir(self.path):
            found = PART.match(entry.name)
            if found and found[1] == kind:
                numbered.append((int(found[2] or 1), self.path / entry.name))
        return [path for _, path in sorted(numbered)]


def find(paths: Iterable[Path]) -> list[Recording]:
    """Every recording in directories and files, sorted by place. Raises SettingsError for what holds none."""
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
    """The recordings, but no ``{Nome}.csv`` of a student whose sessions are among them: it holds the same readings."""
    every = list(recordings)
    names = {each.name for each in every if not each.is_legacy}
    return [each for each in every if not (each.is_legacy and each.name in names)]


def group_events(directories: Iterable[Path]) -> list[Path]:
    """The files with the events of whole groups, under the directories."""
    return sorted(
        folder / name
        for directory in directories
        for folder, names in _walk(directory)
        for name in names
        if GROUP_EVENTS.match(name) and not is_session(names)
    )


def is_session(names: Iterable[str]) -> bool:
    """Whether a directory with these files is that of a session."""
    return any(name == SIDECAR or PART.match(name) for name in names)


def is_legacy(path: Path) -> bool:
    """Whether the file is a ``{Nome}.csv``; an empty one, or one with half a header, may become one."""
    try:
        with path.open("rb") as file:
            start = file.read(len(STUDENT_HEADER) + 1).replace(b"\r\n", b"\n")
    except OSError:
        return False
    return start.startswith(STUDENT_HEADER) or STUDENT_HEADER.startswith(start)


def index(directory: Path) -> dict[str, str]:
    """Whose each ``{Nome}.csv`` of the directory is: file to name. Empty where there is no index."""
    try:
        with (directory / INDEX).open(encoding="utf-8", newline="") as file:
            return {row[1]: row[0] for row in csv.reader(file) if len(row) == 2 and tuple(row) != INDEX_COLUMNS}
    except (OSError, UnicodeError, csv.Error):
        return {}


def _walk(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _in_directory(directory: Path) -> Iterator[Recording]:
    for folder, names in _walk(directory):
        if is_session(names):
            yield _session(folder)
        else:
            yield from _legacy(folder, names)


def _of_file(path: Path) -> Iterator[Recording]:
    if path.name == SIDECAR or PART.match(path.name):
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
        json.dumps(about, ensure_ascii=False).encode()  # half a surrogate pair is text that no file can hold
    except FileNotFoundError:
        return Recording(folder, fault="is missing")
    except (OSError, ValueError, RecursionError) as error:
        return Recording(folder, fault=f"cannot be read ({error})")
    if not isinstance(about, dict):
        return Recording(folder, fault="is no JSON object")
    wrong = [key for key, kind in SIDECAR_FIELDS.items() if not isinstance(about.get(key), (kind, NoneType))]
    fault = f"{', '.join(wrong)}: of a wrong type" if wrong else None
    return Recording(folder, {key: value for key, value in about.items() if key not in wrong}, fault)
