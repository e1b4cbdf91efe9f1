"""What the recorder wrote, read only: the list of it, one student's file, or one session as a ZIP.

The files are described in docs/recordings.md. Nothing is served but what the list names.
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

SESSIONS_MAX: Final = 500
"""Sessions in the list, the newest ones: two school days of ten classes; older ones are counted."""
FILES_MAX: Final = 5_000
"""Students' files in the list: more than a school has students."""
SIDECAR: Final = "session.json"
SIDECAR_MAX_BYTES: Final = 256 * 1024
"""A sidecar has 4 kB; something longer is none."""
INDEX: Final = "names.csv"
DOWNLOAD_MAX_BYTES: Final = 64 * 1024 * 1024
"""One download is held in memory: six hours of a session with raw samples. Longer ones are copied on the server."""
COMPRESSION_LEVEL: Final = 1
"""Rows of digits: a higher level takes three times as long for a tenth less."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_READINGS: Final = re.compile(r"readings(-\d+)?\.csv", re.ASCII)
_LISTED: Final = ("group", "source", "name", "code", "class", "kind", "start", "end", "status", "counts")


class NotListed(NeuroOneError):
    """There is no recording of that name."""


class TooLarge(NeuroOneError):
    """A download would take too much memory."""


class Recordings:
    """The recorder's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listing(self) -> bytes:
        """All of it, as JSON: the sessions, newest first, how many older ones there are, and the students' files."""
        sessions = sorted(self._sessions(), key=lambda session: (session[0], session[1].name), reverse=True)
        names = {file: name for name, file in self._index()}
        files = [_file(entry, names) for entry in self._files()]
        return json.dumps(
            {
                "sessions": [_session(date, entry) for date, entry in sessions[:SESSIONS_MAX]],
                "older": max(0, len(sessions) - SESSIONS_MAX),
                "files": sorted(files, key=lambda file: str(file["file"]))[:FILES_MAX],
            },
            ensure_ascii=False,
        ).encode()

    def file(self, name: str) -> bytes:
        """A student's file. Raises NotListed, TooLarge, OSError."""
        for entry in self._files():
            if entry.name == name:
                _limit(entry.stat().st_size)
                return Path(entry.path).read_bytes()
        raise NotListed(name)

    def session(self, date: str, name: str) -> bytes:
        """Everything of a session, as a ZIP. Raises NotListed, TooLarge, OSError."""
        for found, entry in self._sessions():
            if (found, entry.name) == (date, name):
                return _zipped(entry)
        raise NotListed(name)

    def _files(self) -> Iterator[DirEntry[str]]:
        for entry in _entries(self._folder):
            if entry.name.endswith(".csv") and entry.name != INDEX and _is_file(entry):
                yield entry

    def _sessions(self) -> Iterator[tuple[str, DirEntry[str]]]:
        for day in _entries(self._folder / "sessions"):
            if _DATE.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                for entry in _entries(Path(day.path)):
                    if entry.is_dir(follow_symlinks=False):
                        yield day.name, entry

    def _index(self) -> Iterator[tuple[str, str]]:
        """The names that students gave, and their files."""
        try:
            with (self._folder / INDEX).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield row.get("name") or "", row.get("file") or ""
        except (OSError, UnicodeError, csv.Error):
            return


def _entries(folder: Path) -> list[DirEntry[str]]:
    """What is in a folder; nothing where there is none."""
    try:
        with scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def _is_file(entry: DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _file(entry: DirEntry[str], names: Mapping[str, str]) -> dict[str, Any]:
    stat = entry.stat()
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"file": entry.name, "name": names.get(entry.name), "bytes": stat.st_size, "changed": changed}


def _session(date: str, entry: DirEntry[str]) -> dict[str, Any]:
    files = [each for each in _entries(Path(entry.path)) if _is_file(each)]
    said = _sidecar(Path(entry.path, SIDECAR))
    listed: dict[str, Any] = {key: said.get(key) for key in _LISTED}
    if listed["status"] == "open":  # the recorder writes the counts when it closes a session
        listed["counts"] = {"readings": sum(map(_rows, files))}
    return listed | {"folder": f"{date}/{entry.name}", "bytes": sum(each.stat().st_size for each in files)}


def _rows(file: DirEntry[str]) -> int:
    """Rows of readings in a file, without its header; 0 for a file of anything else."""
    if _READINGS.fullmatch(file.name) is None:
        return 0
    with Path(file.path).open("rb") as opened:
        return max(0, sum(piece.count(b"\n") for piece in iter(lambda: opened.read(1 << 20), b"")) - 1)


def _sidecar(file: Path) -> dict[str, Any]:
    """What a sidecar says; nothing where it cannot be read."""
    try:
        with file.open("rb") as opened:
            said = json.loads(opened.read(SIDECAR_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


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
