"""Removes everything that names one student from a directory of recordings, and nothing else.

A lesson that has the name in its own name loses that, also in the sidecars of others. No recorder may run meanwhile.
Exports, copies elsewhere and the free text of markers stay as they are.
"""

import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import write_whole
from csv_recorder.live.rows import Kind, pack, unpack
from csv_recorder.offline.forget_lessons import clean_inbox, cleaned, mentions_of, sidecars_with
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    APPENDED_BY_HAND,
    DAMAGED_INBOX,
    DEAD_LETTERS_FILE,
    INDEX,
    REPLACED,
    SIDECAR,
    index_content,
    safe_stem,
)
from neuroone.data.recordings import Recording, delete_figures, find, index, is_legacy


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
    """The data of a student.

    ``shared`` files ``{Nome}.csv`` hold rows of another source too, and ``copies`` are earlier inboxes and directories
    that a command kept; they stay. ``sidecars`` of others, and ``lessons`` of the inbox, have the name in the name of a
    lesson.
    """

    sessions: tuple[Path, ...]
    files: tuple[Path, ...]
    shared: tuple[Path, ...]
    copies: tuple[Path, ...]
    letters: frozenset[int]
    in_inbox: int
    sidecars: tuple[Path, ...] = ()
    lessons: int = 0

    def __bool__(self) -> bool:
        return bool(self.sessions or self.files or self.letters or self.in_inbox or self.sidecars or self.lessons)

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing that goes or stays."""
        yield from (f"session {path}" for path in self.sessions)
        yield from (
            f"file {path}" + ("" if path.name.endswith(APPENDED_BY_HAND) else f", and its line in {INDEX}")
            for path in self.files
        )
        if self.letters:
            yield f"{len(self.letters)} messages in {DEAD_LETTERS_FILE}"
        if self.in_inbox:
            yield f"{self.in_inbox} entries of the inbox"
        yield from (f"the name in the name of a lesson in {path}" for path in self.sidecars)
        if self.lessons:
            yield f"the name in the names of {self.lessons} lessons"
        yield from (f"stays, others of that name are in it too (--name removes it): {path}" for path in self.shared)
        yield from (f"stays, the student may be in it (remove it when nobody needs it): {path}" for path in self.copies)


def find_data(directory: Path, student: Student, inbox: Inbox | None) -> Found:
    """Find everything about a student. Raises OSError."""
    try:
        sessions = [each for each in find([directory]) if not each.is_legacy]
    except SettingsError:
        sessions = []  # no recording is left; the inbox may still know the name
    owners = _owners(directory, sessions, inbox)
    of_student = [path for path, (stream, name) in owners.items() if student.is_of(stream, name)]
    others = [each for each in sessions if not student.is_of(*owners[each.path])]
    is_mentioned = mentions_of(student.name)
    streams = {owners[path][0] for path in of_student} | {student.stream or ""}
    names = {str(owners[path][1]) for path in of_student if owners[path][1]} | {student.name or ""}
    files, shared = _files(directory, student, names - {""}, owners.values(), inbox)
    return Found(
        sessions=tuple(of_student),
        files=tuple(files),
        shared=tuple(shared),
        copies=tuple(sorted([*directory.glob(f"{DAMAGED_INBOX}*"), *directory.glob(f"{REPLACED}*")])),
        letters=frozenset(_letters(directory, streams - {""}, student.name)),
        in_inbox=0 if inbox is None else forget_in_inbox(inbox, student, {path.name for path in files}, dry=True),
        sidecars=tuple(sidecars_with(others, is_mentioned)),
        lessons=0 if inbox is None else clean_inbox(inbox, is_mentioned, dry=True),
    )


def remove(directory: Path, student: Student, found: Found, inbox: Inbox | None) -> None:
    """Remove it. What names the student goes last, so that it works again after a crash. Raises OSError."""
    for root in {directory, *(session.parent.parent.parent for session in found.sessions)}:
        delete_figures(root)
    for session in found.sessions:
        for file in sorted(session.iterdir(), key=lambda file: file.name == SIDECAR):
            file.unlink()
        session.rmdir()
        for folder in (session.parent, session.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    for path in found.files:
        path.unlink(missing_ok=True)
    for path in found.sidecars:
        write_whole(path, cleaned(path, mentions_of(student.name)))
    names = {path.name for path in found.files}
    entries = index(directory)
    if not names.isdisjoint(entries):
        kept = [(name, file) for file, name in entries.items() if file not in names]
        write_whole(directory / INDEX, index_content(kept))
    if found.letters:
        letters = [line for number, line in enumerate(_letter_lines(directory)) if number not in found.letters]
        write_whole(directory / DEAD_LETTERS_FILE, b"".join(letters))
    if inbox is not None:
        forget_in_inbox(inbox, student, names)


def forget_in_inbox(inbox: Inbox, student: Student, paths: Collection[str], *, dry: bool = False) -> int:
    """Remove a student's entries, without a trace in the database's pages; return how many they are.

    ``paths`` are the student's files. ``dry`` only counts.
    """
    sessions = {
        each.id for each in inbox.sessions() if student.is_of(each.stream, each.about.name if each.about else None)
    }
    places = [each for each in inbox.db.execute("SELECT stream, name FROM places").fetchall() if student.is_of(*each)]
    writers = _writers(inbox)
    files = {
        each.id
        for each in inbox.all_files()
        if each.path in paths
        or each.session in sessions
        or (each.name is not None and _is_alone(student, each.name, writers.get(each.path, set())))
    }
    owed = [output for output in inbox.owing() if _is_owed_to(output, sessions, files)]
    if not dry:
        inbox.begin()
        for number, blob in inbox.db.execute("SELECT id, rows FROM batches").fetchall():
            kept = [
                row
                for row in unpack(blob)
                if row.owner not in (files if row.kind == Kind.GROUP_EVENT else sessions) or row.kind == Kind.LETTER
            ]
            inbox.db.execute("UPDATE batches SET rows = ? WHERE id = ?", (pack(kept), number))
        delete = inbox.db.executemany
        delete("DELETE FROM sessions WHERE id = ?", [(id,) for id in sessions])
        delete("DELETE FROM files WHERE id = ?", [(id,) for id in files])
        delete("DELETE FROM places WHERE stream = ? AND name = ?", places)
        delete("DELETE FROM owed WHERE output = ?", [(output,) for output in owed])
        clean_inbox(inbox, mentions_of(student.name), dry=False)
        inbox.commit()
        inbox.db.execute("VACUUM")
        inbox.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return len(sessions) + len(places) + len(files)


def _writers(inbox: Inbox) -> dict[str, set[str]]:
    """Return which streams have written to each ``{Nome}.csv``, by its path."""
    found: dict[str, set[str]] = {}
    for path, stream in inbox.db.execute("SELECT path, stream FROM places JOIN files ON files.id = places.file"):
        found.setdefault(path, set()).add(stream)
    return found


def _is_alone(student: Student, name: str, writers: Collection[str]) -> bool:
    """Return True if a file ``{Nome}.csv``, whether it is there or not, is the student's alone."""
    if student.name is not None:
        return _same_name(name, student.name)
    return [*writers] == [student.stream]


def _is_owed_to(output: str, sessions: Collection[int], files: Collection[int]) -> bool:
    """Return True if rows that are owed under this key belong to one of the sessions or files."""
    kind, _, rest = output.partition("/")
    owner = rest.partition("/")[0]
    return owner.isdecimal() and int(owner) in (sessions if kind == "session" else files)


def _same_name(one: object, other: str) -> bool:
    """Return True if two names are the same text, however their accents are composed."""
    return isinstance(one, str) and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _owners(directory: Path, sessions: Iterable[Recording], inbox: Inbox | None) -> dict[Path, tuple[str, object]]:
    """Return stream and name of each session: from its sidecar, or after a crash before there was one, the inbox."""
    known = {} if inbox is None else {s.about.directory: s for s in inbox.sessions() if s.about is not None}
    found: dict[Path, tuple[str, object]] = {}
    for each in sessions:
        session = known.get(each.path.relative_to(directory).as_posix())
        if session is not None and session.about is not None and "source" not in each.about:
            found[each.path] = session.stream, session.about.name
        else:
            found[each.path] = f"{each.group}/{each.source}", each.about.get("name")
    return found


def _files(
    directory: Path,
    student: Student,
    names: Iterable[str],
    sessions: Collection[tuple[str, object]],
    inbox: Inbox | None,
) -> tuple[list[Path], list[Path]]:
    """Return the files ``{Nome}.csv`` of the student alone, and those shared with others."""
    owners = {} if inbox is None else _writers(inbox)
    entries = index(directory)
    alone, shared = [], []
    for name in names:
        candidates = {file for file, owner in entries.items() if _same_name(owner, name)}
        candidates |= {file for file in [f"{safe_stem(name)}.csv"] if file not in entries}
        for path in sorted(directory / file for file in candidates):
            if not path.exists() or not is_legacy(path):
                continue
            by = owners.get(path.name) or {stream for stream, owner in sessions if _same_name(owner, name)}
            if student.name is not None or by <= {student.stream}:
                alone.append(path)
                by_hand = path.with_name(f"{path.name}{APPENDED_BY_HAND}")
                alone += [by_hand] if by_hand.exists() else []
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
