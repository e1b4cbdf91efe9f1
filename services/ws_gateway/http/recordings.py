"""Read the recorder's directory: list it, and read one student's file or one session as a ZIP, in pieces.

docs/recordings.md describes the files. Only what the list names is served.
"""

import csv
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from os import DirEntry
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from neuroone.contract.files import (
    CLOSED,
    INDEX,
    PART,
    READINGS,
    SIDECAR,
    index_names,
    safe_stem,
    search_key,
    time_text,
)
from ws_gateway.http import pieces
from ws_gateway.http.conditions import Version
from ws_gateway.http.formats import available
from ws_gateway.http.recorded_lessons import Lesson, Student
from ws_gateway.http.session_index import WORDS_MAX, SessionIndex, read_sidecar, recorders_in, scanned

PAGE: Final = 50
"""Sessions or files on one page of the list: some screens."""
PAGE_NUMBER_MAX_CHARS: Final = 9
"""Digits of a page's number: more sessions than a disk holds."""
QUERY_MAX_CHARS: Final = 200
"""Characters of a search: a name, a class and a date."""
UTC_OFFSET_MAX_MIN: Final = 14 * 60
"""The clocks that are farthest from UTC."""
SESSIONS_MAX: Final = 500
"""Newest sessions in the list without pages, which older pages ask for: two school days of ten classes."""
FILES_MAX: Final = 5_000
"""Students' files in that list: more than a school has students."""

_WHOLE: Final = re.compile(f"-?[0-9]{{1,{PAGE_NUMBER_MAX_CHARS}}}")
_LISTED: Final = ("group", "source", "name", "code", "class", "kind", "start", "end", "status", "counts")


T = TypeVar("T")


class By(StrEnum):
    """What a list has a row for."""

    SESSION = "session"
    LESSON = "lesson"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants to see of the list: words, pages from 1, and how far its clock is ahead of UTC."""

    query: str = ""
    page: int = 1
    files_page: int = 1
    utc_offset_min: int = 0
    by: By = By.SESSION
    lesson: str = ""


def wanted(given: Mapping[str, str]) -> Wanted | None:
    """Read what a client wants; None if it asks for no page. Raises ValueError with a sentence."""
    if given.keys().isdisjoint({"q", "page", "files_page", "by", "lesson"}):
        return None
    numbers = {key: _number(given, key, 1) for key in ("page", "files_page")}
    if given.get("by", By.SESSION) not in list(By):
        raise ValueError(f"by must be one of {', '.join(By)}.")
    by = By(given.get("by", By.STUDENT if "lesson" in given else By.SESSION))
    query = given.get("q", "")[:QUERY_MAX_CHARS].strip()
    return Wanted(query, **numbers, utc_offset_min=utc_offset_min(given), by=by, lesson=given.get("lesson", ""))


def utc_offset_min(given: Mapping[str, str]) -> int:
    """Read how far a client's clock is ahead of UTC. Raises ValueError with a sentence."""
    offset_min = _number(given, "utc_offset_min", 0)
    if abs(offset_min) > UTC_OFFSET_MAX_MIN:
        raise ValueError(f"utc_offset_min must be from -{UTC_OFFSET_MAX_MIN} to {UTC_OFFSET_MAX_MIN}.")
    return offset_min


def _number(given: Mapping[str, str], key: str, default: int) -> int:
    text = given.get(key, str(default))
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{key} must be a whole number.")
    return int(text)


class Recordings:
    """The recorder's directory, or the folder of those of recorders that share the work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = SessionIndex(folder)

    def listing(self) -> bytes:
        """List as JSON what fits: sessions, newest first, the number of older ones, and the students' files."""
        sessions = self._index.folders()
        files = sorted(self._files().items())
        names = self._names()
        return _json(
            {
                "sessions": [self._session(each) for each in sessions[:SESSIONS_MAX]],
                "older": max(0, len(sessions) - SESSIONS_MAX),
                "files": [_file(name, entry, names) for name, entry in files[:FILES_MAX]],
            }
        )

    def page(self, wanted: Wanted) -> bytes:
        """List as JSON one page of what is looked for, the newest first: lessons, students in them, or sessions."""
        match wanted.by:
            case By.LESSON:
                return self._lessons(wanted)
            case By.STUDENT:
                return self._students(wanted)
        return self._sessions(wanted)

    def of_lesson(self, key: str, student: str, offset_min: int) -> tuple[Lesson, dict[str, list[Path]]]:
        """Return a lesson, and the folders of each student in it, or of one, by a name for files.

        Raises KeyError for one that is not listed.
        """
        lesson = {each.key: each for each in self._index.lessons(offset_min)}[key]
        chosen = [each for each in lesson.students if student in ("", each.key)]
        folders: dict[str, list[Path]] = {}
        for each in chosen:
            stem = safe_stem(f"{each.name} ({each.apart})" if each.apart else each.name)
            folders.setdefault(stem, []).extend(map(self._index.path_of, each.folders))
        if not folders:
            raise KeyError(student)
        return lesson, folders

    def _lessons(self, wanted: Wanted) -> bytes:
        lessons = self._index.lessons(wanted.utc_offset_min)
        if wanted.query:
            found = set(self._index.search(wanted.query, wanted.utc_offset_min))
            lessons = [each for each in lessons if not found.isdisjoint(each.sessions)]
        page, of_page, pages = _cut(lessons, wanted.page)
        listed = [_lesson(each) | {"students": len(each.students)} for each in of_page]
        return _json({"lessons": listed, "page": page, "pages": pages, "total": len(lessons), "formats": available()})

    def _students(self, wanted: Wanted) -> bytes:
        lessons = self._index.lessons(wanted.utc_offset_min)
        if wanted.lesson:
            lessons = [each for each in lessons if each.key == wanted.lesson]
        found = set(self._index.search(wanted.query, wanted.utc_offset_min)) if wanted.query else None
        rows = [
            (lesson, student)
            for lesson in lessons
            for student in lesson.students
            if found is None or not found.isdisjoint(student.folders)
        ]
        page, of_page, pages = _cut(rows, wanted.page)
        listed = [self._student(*each) for each in of_page]
        return _json({"students": listed, "page": page, "pages": pages, "total": len(rows), "formats": available()})

    def _student(self, lesson: Lesson, student: Student) -> dict[str, Any]:
        sessions = [self._session(folder) for folder in student.folders]
        abouts = [lesson.sessions[folder] for folder in student.folders]
        counts = [each["counts"] if isinstance(each["counts"], dict) else {} for each in sessions]
        numbers = {
            key: [each[key] for each in counts if isinstance(each.get(key), int)] for key in ("readings", "missing")
        }
        starts = [each.start for each in abouts if each.start]
        ends = [each.end for each in abouts if each.end]
        return {
            "lesson": _lesson(lesson),
            "key": student.key,
            "name": student.name,
            "apart": student.apart,
            "codes": list(dict.fromkeys(each.code for each in abouts)),
            "start": _time(min(starts, default=None)),
            "end": _time(max(ends)) if len(ends) == len(abouts) else None,
            "is_open": any(each["status"] not in (None, CLOSED) for each in sessions),
            "counts": {key: sum(each) for key, each in numbers.items() if each},
            "sessions": list(student.folders),
            "bytes": sum(each["bytes"] for each in sessions),
        }

    def _sessions(self, wanted: Wanted) -> bytes:
        """List one page of the sessions, and one of the students' files."""
        if wanted.query:
            sessions = self._index.search(wanted.query, wanted.utc_offset_min)
        else:
            sessions = self._index.folders()
            self._index.begin()
        names = self._names()
        words = search_key(wanted.query).split()[:WORDS_MAX]
        files = [
            (name, entry)
            for name, entry in sorted(self._files().items())
            if all(word in search_key(f"{names.get(name) or ''}\n{name}") for word in words)
        ]
        page, of_page, pages = _cut(sessions, wanted.page)
        files_page, of_files, files_pages = _cut(files, wanted.files_page)
        return _json(
            {
                "sessions": [self._session(each) for each in of_page],
                **{"page": page, "pages": pages, "total": len(sessions)},
                "files": [_file(name, entry, names) for name, entry in of_files],
                **{"files_page": files_page, "files_pages": files_pages, "files_total": len(files)},
            }
        )

    def file_path(self, name: str) -> Path:
        """Return the path of a student's file. Raises KeyError for one that is not listed."""
        return Path(self._files()[name].path)

    def file(self, name: str) -> tuple[Version, BinaryIO]:
        """Open a student's file, and say what it is now. Raises KeyError for one that is not listed, OSError."""
        opened = self.file_path(name).open("rb")
        now = os.fstat(opened.fileno())
        etag = f'"{now.st_size:x}-{now.st_mtime_ns:x}-{now.st_ino:x}"'
        return Version(etag, now.st_size, now.st_mtime, time.time()), opened

    def session(self, date: str, name: str) -> Iterator[bytes]:
        """Pack all files of a session as a ZIP, in pieces. Raises KeyError for one that is not listed, and OSError."""
        if f"{date}/{name}" not in self._index.folders():
            raise KeyError(name)
        session = self._index.path_of(f"{date}/{name}")
        files = sorted((each for each in scanned(session) if _is_file(each)), key=lambda each: each.name)
        return pieces.of_zip({f"{name}/{each.name}": Path(each.path) for each in files})

    def _files(self) -> dict[str, DirEntry[str]]:
        """Return the students' files by their names; in the folder of a shard its name stands before them."""
        files = ((root, each) for root in recorders_in(self._folder) for each in scanned(root))
        return {
            self._shown(root, each.name): each
            for root, each in files
            if each.name.endswith(".csv") and each.name != INDEX and _is_file(each)
        }

    def _names(self) -> dict[str, str]:
        """Return the names that students gave, by their files."""
        names = {}
        for root in recorders_in(self._folder):
            with suppress(OSError, UnicodeError, csv.Error), (root / INDEX).open(encoding="utf-8", newline="") as file:
                names.update({self._shown(root, name): given for name, given in index_names(file).items()})
        return names

    def _shown(self, root: Path, name: str) -> str:
        return name if root == self._folder else f"{root.name}__{name}"

    def _session(self, folder: str) -> dict[str, Any]:
        path = self._index.path_of(folder)
        files = [each for each in scanned(path) if _is_file(each)]
        sidecar = read_sidecar(path / SIDECAR)
        listed: dict[str, Any] = {key: sidecar.get(key) for key in _LISTED}
        if listed["status"] not in (None, CLOSED):  # the recorder writes the counts when it closes a session
            listed["counts"] = {"readings": sum(map(_rows, files))}
        return listed | {"folder": folder, "bytes": sum(map(_size, files))}


def _cut(found: Sequence[T], page: int) -> tuple[int, Sequence[T], int]:
    """Return the number of a page that there is, what is on it, and the number of pages."""
    pages = max(1, -(-len(found) // PAGE))
    page = min(max(1, page), pages)
    return page, found[(page - 1) * PAGE : page * PAGE], pages


def _lesson(lesson: Lesson) -> dict[str, Any]:
    return {
        **{"key": lesson.key, "name": lesson.name, "group": lesson.group, "day": lesson.day},
        **{"began": _time(lesson.began), "ended": _time(lesson.ended), "start": _time(lesson.start)},
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time_text(time)


def _json(listed: Mapping[str, Any]) -> bytes:
    """Encode a list; half a surrogate pair of a sidecar becomes a question mark."""
    return json.dumps(listed, ensure_ascii=False).encode(errors="replace")


def _is_file(entry: DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _file(name: str, entry: DirEntry[str], names: Mapping[str, str]) -> dict[str, Any]:
    try:
        stat = entry.stat()
    except OSError:  # somebody has removed it meanwhile
        return {"file": name, "name": names.get(name), "bytes": 0, "changed": None}
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"file": name, "name": names.get(name), "bytes": stat.st_size, "changed": changed}


def _size(entry: DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # the recorder has removed it meanwhile
        return 0


def _rows(file: DirEntry[str]) -> int:
    """Count the readings in a session's file; 0 in a file of anything else."""
    part = PART.match(file.name)
    if part is None or part[1] != READINGS:
        return 0
    with suppress(OSError), Path(file.path).open("rb") as opened:
        return max(0, sum(piece.count(b"\n") for piece in iter(lambda: opened.read(1 << 20), b"")) - 1)
    return 0
