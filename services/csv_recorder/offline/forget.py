"""Removes everything that names one student from a directory of recordings, and nothing else.

No recorder may run meanwhile. Exports, copies elsewhere and the free text of markers stay as they are.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import write_whole
from csv_recorder.offline.recordings import Recording, find, index, is_legacy
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import DEAD_LETTERS_FILE, INDEX, SIDECAR, index_content, safe_stem


@dataclass(frozen=True, slots=True)
class Student:
    """The student to forget: everybody with a ``name``, or one ``stream``, which is ``group/source``."""

    name: str | None = None
    stream: str | None = None

    def is_of(self, stream: str, name: object) -> bool:
        """Return True if a stream and a name are the student's."""
        if self.stream is not None:
            return stream == self.stream
        return self.name is not None and _same_name(name, self.name)


@dataclass(frozen=True, slots=True)
class Found:
    """The data of a student. ``shared`` files ``{Nome}.csv`` hold rows of another source too; they stay."""

    sessions: tuple[Path, ...]
    files: tuple[Path, ...]
    shared: tuple[Path, ...]
    letters: frozenset[int]
    in_inbox: int

    def __bool__(self) -> bool:
        return bool(self.sessions or self.files or self.letters or self.in_inbox)

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing that goes or stays."""
        yield from (f"session {path}" for path in self.sessions)
        yield from (f"file {path}, and its line in {INDEX}" for path in self.files)
        if self.letters:
            yield f"{len(self.letters)} messages in {DEAD_LETTERS_FILE}"
        if self.in_inbox:
            yield f"{self.in_inbox} entries of the inbox"
        yield from (f"stays, others of that name are in it too (--name removes it): {path}" for path in self.shared)


def find_data(directory: Path, student: Student, inbox: Inbox | None) -> Found:
    """Find everything about a student. Raises OSError."""
    try:
        sessions = [each for each in find([directory]) if not each.is_legacy]
    except SettingsError:
        sessions = []  # no recording is left; the inbox may still know the name
    of_student = [each for each in sessions if student.is_of(_stream(each), each.about.get("name"))]
    streams = {_stream(each) for each in of_student} | {student.stream or ""}
    names = {str(each.about.get("name")) for each in of_student if each.about.get("name")} | {student.name or ""}
    files, shared = _files(directory, student, names - {""}, sessions, inbox)
    return Found(
        sessions=tuple(each.path for each in of_student),
        files=tuple(files),
        shared=tuple(shared),
        letters=frozenset(_letters(directory, streams - {""}, student.name)),
        in_inbox=0 if inbox is None else inbox.forget(student.is_of, {path.name for path in files}, dry=True),
    )


def remove(directory: Path, student: Student, found: Found, inbox: Inbox | None) -> None:
    """Remove it. What names the student goes last, so that it works again after a crash. Raises OSError."""
    for session in found.sessions:
        for file in sorted(session.iterdir(), key=lambda file: file.name == SIDECAR):
            file.unlink()
        session.rmdir()
        for folder in (session.parent, session.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    for path in found.files:
        path.unlink(missing_ok=True)
    names = {path.name for path in found.files}
    entries = index(directory)
    if not names.isdisjoint(entries):
        kept = [(name, file) for file, name in entries.items() if file not in names]
        write_whole(directory / INDEX, index_content(kept))
    if found.letters:
        letters = [line for number, line in enumerate(_letter_lines(directory)) if number not in found.letters]
        write_whole(directory / DEAD_LETTERS_FILE, b"".join(letters))
    if inbox is not None:
        inbox.forget(student.is_of, names)


def _same_name(one: object, other: str) -> bool:
    """Return True if two names are the same text, however their accents are composed."""
    return isinstance(one, str) and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _stream(recording: Recording) -> str:
    return f"{recording.group}/{recording.source}"


def _files(
    directory: Path, student: Student, names: Iterable[str], sessions: Iterable[Recording], inbox: Inbox | None
) -> tuple[list[Path], list[Path]]:
    """Return the files ``{Nome}.csv`` of the student alone, and those shared with others."""
    owners: dict[str, set[str]] = {} if inbox is None else inbox.writers()
    entries = index(directory)
    alone, shared = [], []
    for name in names:
        candidates = {file for file, owner in entries.items() if _same_name(owner, name)}
        candidates |= {file for file in [f"{safe_stem(name)}.csv"] if file not in entries}
        for path in sorted(directory / file for file in candidates):
            if not path.exists() or not is_legacy(path):
                continue
            by = owners.get(path.name) or {
                _stream(each) for each in sessions if _same_name(each.about.get("name"), name)
            }
            if student.name is not None or by <= {student.stream}:
                alone.append(path)
            elif student.stream in by:
                shared.append(path)
    return alone, shared


def _letters(directory: Path, streams: Iterable[str], name: str | None) -> Iterator[int]:
    """Yield the line numbers of dead letters from the student's topics, or with the name in them."""
    topics = [f"/streams/{stream}/" for stream in streams]
    spellings = [] if name is None else [name.encode(), json.dumps(name).encode()[1:-1]]
    for number, line in enumerate(_letter_lines(directory)):
        try:
            letter = json.loads(line)
            topic, payload = f"/{letter['topic']}", bytes.fromhex(letter["payload"])
        except (ValueError, KeyError, TypeError):
            continue
        if any(each in topic for each in topics) or any(each in payload for each in spellings):
            yield number


def _letter_lines(directory: Path) -> list[bytes]:
    path = directory / DEAD_LETTERS_FILE
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []
