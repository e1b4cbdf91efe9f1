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
from os import DirEntry
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import parse_qs

from neuroone.contract.files import CLOSED, INDEX, PART, READINGS, SESSIONS, SIDECAR, search_key
from ws_gateway.http import pieces
from ws_gateway.http.conditions import Version
from ws_gateway.http.session_index import WORDS_MAX, SessionIndex, read_sidecar, scanned

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
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LISTED: Final = ("group", "source", "name", "code", "class", "kind", "start", "end", "status", "counts")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants to see of the list: words, pages from 1, and how far its clock is ahead of UTC."""

    query: str = ""
    page: int = 1
    files_page: int = 1
    utc_offset_min: int = 0


def wanted(query_string: str) -> Wanted | None:
    """Read what a client wants; None if it asks for no page. Raises ValueError with a sentence."""
    given = {key: values[-1] for key, values in parse_qs(query_string).items()}
    if given.keys().isdisjoint({"q", "page", "files_page"}):
        return None
    numbers = {}
    for key, default in (("page", "1"), ("files_page", "1"), ("utc_offset_min", "0")):
        text = given.get(key, default)
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"{key} must be a whole number.")
        numbers[key] = int(text)
    if abs(numbers["utc_offset_min"]) > UTC_OFFSET_MAX_MIN:
        raise ValueError(f"utc_offset_min must be from -{UTC_OFFSET_MAX_MIN} to {UTC_OFFSET_MAX_MIN}.")
    return Wanted(given.get("q", "")[:QUERY_MAX_CHARS].strip(), **numbers)


class Recordings:
    """The recorder's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = SessionIndex(folder)

    def listing(self) -> bytes:
        """List as JSON what fits: sessions, newest first, the number of older ones, and the students' files."""
        sessions = self._index.folders()
        files = sorted(self._files().items())
        names = dict(self._names())
        return _json(
            {
                "sessions": [self._session(each) for each in sessions[:SESSIONS_MAX]],
                "older": max(0, len(sessions) - SESSIONS_MAX),
                "files": [_file(entry, names) for _, entry in files[:FILES_MAX]],
            }
        )

    def page(self, wanted: Wanted) -> bytes:
        """List as JSON one page of the sessions that are looked for, newest first, and one of the students' files."""
        if wanted.query:
            sessions = self._index.search(wanted.query, wanted.utc_offset_min)
        else:
            sessions = self._index.folders()
            self._index.begin()
        names = dict(self._names())
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
                "files": [_file(entry, names) for _, entry in of_files],
                **{"files_page": files_page, "files_pages": files_pages, "files_total": len(files)},
            }
        )

    def file(self, name: str) -> tuple[Version, BinaryIO]:
        """Open a student's file, and say what it is now. Raises KeyError for one that is not listed, OSError."""
        opened = Path(self._files()[name].path).open("rb")
        now = os.fstat(opened.fileno())
        etag = f'"{now.st_size:x}-{now.st_mtime_ns:x}-{now.st_ino:x}"'
        return Version(etag, now.st_size, now.st_mtime, time.time()), opened

    def session(self, date: str, name: str) -> Iterator[bytes]:
        """Pack all files of a session as a ZIP, in pieces. Raises KeyError for one that is not listed, and OSError."""
        days = {each.name for each in scanned(self._folder / SESSIONS) if _is_folder(each)}
        if not _DATE.fullmatch(date) or date not in days:
            raise KeyError(date)
        session = {each.name: each for each in scanned(self._folder / SESSIONS / date) if _is_folder(each)}[name]
        files = sorted((each for each in scanned(Path(session.path)) if _is_file(each)), key=lambda each: each.name)
        return pieces.of_zip({f"{session.name}/{each.name}": Path(each.path) for each in files})

    def _files(self) -> dict[str, DirEntry[str]]:
        files = (each for each in scanned(self._folder) if each.name.endswith(".csv") and _is_file(each))
        return {each.name: each for each in files if each.name != INDEX}

    def _names(self) -> Iterator[tuple[str, str]]:
        """Read the students' files and the names that students gave."""
        try:
            with (self._folder / INDEX).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield row.get("file") or "", row.get("name") or ""
        except (OSError, UnicodeError, csv.Error):
            return

    def _session(self, folder: str) -> dict[str, Any]:
        path = self._folder / SESSIONS / folder
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


def _json(listed: Mapping[str, Any]) -> bytes:
    """Encode a list; half a surrogate pair of a sidecar becomes a question mark."""
    return json.dumps(listed, ensure_ascii=False).encode(errors="replace")


def _is_file(entry: DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _is_folder(entry: DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _file(entry: DirEntry[str], names: Mapping[str, str]) -> dict[str, Any]:
    try:
        stat = entry.stat()
    except OSError:  # somebody has removed it meanwhile
        return {"file": entry.name, "name": names.get(entry.name), "bytes": 0, "changed": None}
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"file": entry.name, "name": names.get(entry.name), "bytes": stat.st_size, "changed": changed}


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
