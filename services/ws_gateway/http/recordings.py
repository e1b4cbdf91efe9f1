"""Read the recorder's directory: list it, and load one student's file or one session as a ZIP.

docs/recordings.md describes the files. Only what the list names is served.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from os import DirEntry, scandir
from pathlib import Path
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.files import INDEX, OPEN, PART, READINGS, SESSIONS, SIDECAR

SESSIONS_MAX: Final = 500
"""Newest sessions in the list: two school days of ten classes. Older ones are only counted."""
FILES_MAX: Final = 5_000
"""Students' files in the list: more than a school has students."""
SIDECAR_MAX_BYTES: Final = 256 * 1024
"""A sidecar has 4 kB; a longer file is not read as one."""
DOWNLOAD_MAX_BYTES: Final = 64 * 1024 * 1024
"""A download is held in memory. Six hours of a session with raw samples; longer ones must be copied on the server."""
COMPRESSION_LEVEL: Final = 1
"""A higher level takes three times as long for a tenth less: the files are rows of digits."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LISTED: Final = ("group", "source", "name", "code", "class", "kind", "start", "end", "status", "counts")


class TooLarge(NeuroOneError):
    """The download would take too much memory."""


class Recordings:
    """The recorder's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listing(self) -> bytes:
        """List everything as JSON: sessions, newest first, the number of older ones, and the students' files."""
        sessions = sorted(self._sessions().items(), reverse=True)
        files = sorted(self._files().items())
        names = {file: name for name, file in self._index()}
        return json.dumps(
            {
                "sessions": [_session(date, entry) for (date, _), entry in sessions[:SESSIONS_MAX]],
                "older": max(0, len(sessions) - SESSIONS_MAX),
                "files": [_file(entry, names) for _, entry in files[:FILES_MAX]],
            },
            ensure_ascii=False,
        ).encode()

    def file(self, name: str) -> bytes:
        """Load a student's file. Raises KeyError for one that is not listed, TooLarge, OSError."""
        entry = self._files()[name]
        _limit(entry.stat().st_size)
        return Path(entry.path).read_bytes()

    def session(self, date: str, name: str) -> bytes:
        """Load all files of a session as a ZIP. Raises KeyError for one that is not listed, TooLarge, OSError."""
        return _zipped(self._sessions()[date, name])

    def _files(self) -> dict[str, DirEntry[str]]:
        files = (each for each in _entries(self._folder) if each.name.endswith(".csv") and _is_file(each))
        return {each.name: each for each in files if each.name != INDEX}

    def _sessions(self) -> dict[tuple[str, str], DirEntry[str]]:
        """Return the folders of all sessions by date and name."""
        days = (day for day in _entries(self._folder / SESSIONS) if _DATE.fullmatch(day.name) and _is_folder(day))
        return {(day.name, each.name): each for day in days for each in _entries(Path(day.path)) if _is_folder(each)}

    def _index(self) -> Iterator[tuple[str, str]]:
        """Read the names that students gave and their files."""
        try:
            with (self._folder / INDEX).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield row.get("name") or "", row.get("file") or ""
        except (OSError, UnicodeError, csv.Error):
            return


def _entries(folder: Path) -> list[DirEntry[str]]:
    """List a folder without hidden files; one that cannot be read is empty."""
    try:
        with scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def _is_file(entry: DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _is_folder(entry: DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _file(entry: DirEntry[str], names: Mapping[str, str]) -> dict[str, Any]:
    stat = entry.stat()
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"file": entry.name, "name": names.get(entry.name), "bytes": stat.st_size, "changed": changed}


def _session(date: str, entry: DirEntry[str]) -> dict[str, Any]:
    files = [each for each in _entries(Path(entry.path)) if _is_file(each)]
    sidecar = _sidecar(Path(entry.path, SIDECAR))
    listed: dict[str, Any] = {key: sidecar.get(key) for key in _LISTED}
    if listed["status"] == OPEN:  # the recorder writes the counts when it closes a session
        listed["counts"] = {"readings": sum(map(_rows, files))}
    return listed | {"folder": f"{date}/{entry.name}", "bytes": sum(each.stat().st_size for each in files)}


def _rows(file: DirEntry[str]) -> int:
    """Count the readings in a session's file; 0 in a file of anything else."""
    part = PART.match(file.name)
    if part is None or part[1] != READINGS:
        return 0
    with Path(file.path).open("rb") as opened:
        return max(0, sum(piece.count(b"\n") for piece in iter(lambda: opened.read(1 << 20), b"")) - 1)


def _sidecar(file: Path) -> dict[str, Any]:
    """Read a sidecar; an unreadable one is empty."""
    try:
        with file.open("rb") as opened:
            sidecar = json.loads(opened.read(SIDECAR_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return sidecar if isinstance(sidecar, dict) else {}


def _zipped(session: DirEntry[str]) -> bytes:
    files = sorted((each for each in _entries(Path(session.path)) if _is_file(each)), key=lambda each: each.name)
    _limit(sum(each.stat().st_size for each in files))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for each in files:
            archive.write(each.path, f"{session.name}/{each.name}")
    return packed.getvalue()


def _limit(size_bytes: int) -> None:
    if size_bytes > DOWNLOAD_MAX_BYTES:
        megabytes = DOWNLOAD_MAX_BYTES // 1024 // 1024
        raise TooLarge(f"This has more than {megabytes} MB: copy it from the recorder's directory on the server.")
