"""Finds recordings, also while a recorder writes. Changes no file. docs/recordings.md describes the files."""

import csv
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any, Final

from neuroone.contract import files
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    GROUP_EVENTS,
    INDEX,
    PART,
    REPORT_CACHE_FILE,
    SIDECAR,
    SIDECAR_FIELDS,
    STUDENT_HEADER,
)

ROWS_OUT_OF_ORDER: Final = 20
"""In ``readings.csv`` a late reading stands after those that came before it; ``{Nome}.csv`` is in the order of seq."""


class Unreadable(Exception):
    """A file cannot be read, or its rows are not what its header promises."""


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
    def is_simulated(self) -> bool:
        """Return True if a simulator made the signals: they were measured on nobody."""
        return self.about.get("simulated") is True

    @property
    def label(self) -> str:
        """A unique name for files made from the recording: date, time, group and source."""
        return self.path.stem if self.is_legacy else f"{self.path.parent.name}_{self.path.name}"

    @property
    def is_open(self) -> bool:
        """Return True if a recorder may still be writing: also with a status that is not known here."""
        return self.about.get("status") not in (None, files.CLOSED)

    @property
    def is_closed(self) -> bool:
        """Return True if the recorder has finished the files."""
        return self.about.get("status") == files.CLOSED

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


def find(paths: Iterable[Path], fields: Collection[str] | None = None) -> list[Recording]:
    """Return every recording in directories and files, sorted by path. Raises SettingsError for a path without one.

    With ``fields`` only these of the sidecars are kept: all of them take 20 kB of memory for each session.
    """
    found: dict[tuple[str, ...], Recording] = {}
    faults = []
    for path in paths:
        resolved = path.resolve().parts
        is_directory = path.is_dir()
        count = 0
        for each in _in_directory(path) if is_directory else _of_file(path):
            if is_directory and not each.is_legacy:
                key = (*resolved, *each.path.parts[len(path.parts) :])  # no folder below it is a link
            else:
                key = each.path.resolve().parts
            found[key] = each if fields is None else replace(each, about=_only(each.about, fields))
            count += 1
        if not count:
            faults.append(f"PATHS: {path} {'holds no recording' if path.exists() else 'is not there'}")
    if faults:
        raise SettingsError(faults)
    return [found[parts] for parts in sorted(found)]


def root_of(recording: Recording) -> Path | None:
    """Return the directory that the recorder of a session wrote to; None if the session stands elsewhere."""
    for folder in (recording.path, Path.cwd() / recording.path):
        if not recording.is_legacy and folder.parent.parent.name == files.SESSIONS:
            return folder.parent.parent.parent
    return None


def delete_figures(root: Path) -> None:
    """Delete a report's stored figures, with what an interrupted report left beside them. Raises OSError."""
    for file in root.glob(f"{REPORT_CACHE_FILE}*"):
        file.unlink(missing_ok=True)


def without_doubles(recordings: Iterable[Recording]) -> list[Recording]:
    """Leave out each ``{Nome}.csv`` of a student with sessions here, because it holds the same readings."""
    every = list(recordings)
    names = {each.name for each in every if not each.is_legacy}
    return [each for each in every if not (each.is_legacy and each.name in names)]


def begin_elsewhere(recordings: Iterable[Recording]) -> list[Path]:
    """Return each ``{Nome}.csv`` that is left out and begins with none of the student's sessions.

    The first server wrote its first rows, or their session is not among the recordings.
    """
    sessions: defaultdict[str, list[Recording]] = defaultdict(list)
    students = []
    for each in recordings:
        if each.is_legacy:
            students.append(each)
        else:
            sessions[each.name].append(each)
    return [each.path for each in students if each.name in sessions and not _begins_in(sessions[each.name], each.path)]


def _begins_in(sessions: Iterable[Recording], path: Path) -> bool:
    """Return True if the first row of a student's own file, if it has one, is among the first ones of a session."""
    (first,) = _first_rows(path, 1) or [b""]
    return not first or any(
        first in map(files.student_row_of, _first_rows(part, ROWS_OUT_OF_ORDER))
        for session in sessions
        for part in session.files(files.READINGS)[:1]
    )


def _first_rows(path: Path, count: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return [line.replace(b"\r\n", b"\n") for line in itertools.islice(file, 1, 1 + count)]
    except OSError:
        return []


def group_events(directories: Iterable[Path]) -> list[Path]:
    """Return the files under the directories with the events of whole groups."""
    return _files(directories, lambda name, names: GROUP_EVENTS.match(name) is not None and not _is_session(names))


def sidecars(directories: Iterable[Path]) -> list[Path]:
    """Return the sidecars of the sessions under the directories."""
    return _files(directories, lambda name, names: name == SIDECAR)


def kept_aside(directories: Iterable[Path]) -> list[Path]:
    """Return the files under the directories with lines that somebody else wrote into a recorder's file."""
    return _files(directories, lambda name, names: name.endswith(files.APPENDED_BY_HAND))


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
            return files.index_names(file)
    except (OSError, UnicodeError, csv.Error):
        return {}


def whole_file(path: str | Path) -> bytes:
    """Read a file; a Path's own way takes twice as long, which is noticed over very many. Raises OSError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.readall()


def _only(about: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in about.items() if key in fields}


def _is_session(names: Iterable[str]) -> bool:
    """Return True if a directory with these files is that of a session."""
    return any(name == SIDECAR or PART.match(name) for name in names)


def _files(directories: Iterable[Path], is_wanted: Callable[[str, Sequence[str]], bool]) -> list[Path]:
    """Return the wanted files under the directories, each judged by its name and those beside it."""
    return sorted(
        folder / name
        for directory in directories
        for folder, names in _walk(directory)
        for name in names
        if is_wanted(name, names)
    )


def _walk(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _in_directory(directory: Path) -> Iterator[Recording]:
    for folder, names in _walk(directory):
        if _is_session(names):
            yield session_in(folder)
        else:
            yield from _legacy(folder, names)


def _of_file(path: Path) -> Iterator[Recording]:
    if _is_session([path.name]):
        yield session_in(path.parent)
    elif path.exists():
        yield from _legacy(path.parent, [path.name])


def _legacy(folder: Path, names: Iterable[str]) -> Iterator[Recording]:
    owners = index(folder)
    for name in names:
        path = folder / name
        if path.suffix == ".csv" and name != INDEX and is_legacy(path):
            yield Recording(path, {"name": owners.get(name, path.stem)}, is_legacy=True)


def session_in(folder: Path) -> Recording:
    """Return the session of a folder; its ``fault`` says what cannot be read of its sidecar."""
    try:
        text = whole_file(f"{folder}/{SIDECAR}").decode()
        about = json.loads(text)
        if "\\u" in text:
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
