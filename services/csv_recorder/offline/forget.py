"""Removes everything that names one student from a directory of recordings, and nothing else.

What others recorded stays; the student's name in their markers and lessons goes. A class code that nobody else has is
part of the student. No recorder may run meanwhile.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import write_whole
from csv_recorder.offline.forget_inbox import Student, forget_in_inbox, is_same_name, writers_of
from csv_recorder.offline.forget_lessons import clean_inbox, cleaned, sidecars_with
from csv_recorder.offline.forget_texts import CODE_MIN_CHARS, Mentions, Traces, spellings, without_mentions
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    APPENDED_BY_HAND,
    DAMAGED_INBOX,
    DEAD_LETTERS_FILE,
    EVENTS,
    INDEX,
    PART,
    RAW,
    READINGS,
    REPLACED,
    SESSIONS,
    SIDECAR,
    index_content,
    safe_stem,
    student_file_name,
)
from neuroone.contract.topics import ALL, NO_GROUP, id_from_text, with_hash
from neuroone.data.recordings import Recording, delete_figures, find, index, is_legacy, whole_file

_FOLDER: Final = re.compile(r"\d{6}_(?P<stream>.+?)(?P<number>-[0-9]+)?\Z", re.DOTALL)
"""The name of a session's folder."""
_NUMBERED: Final = re.compile(r"-[0-9]+\Z")
"""Ends the sources of namesakes."""


@dataclass(slots=True)
class Found:
    """The data of a student.

    ``shared`` files ``{Nome}.csv`` hold rows of another source too, ``copies`` are earlier inboxes and directories that
    a command kept, and of ``unknown`` folders nobody knows whose they are; they stay. ``entries`` are files that the
    index lists for the student. ``sidecars`` and ``events`` of others, and ``lessons`` of the inbox, mention the
    student, as its ``traces`` tell. ``theirs`` are the names of others in which the student's is a part.
    """

    traces: Traces = field(default_factory=Traces)
    sessions: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    shared: list[Path] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)
    letters: frozenset[int] = frozenset()
    entries: frozenset[str] = frozenset()
    in_inbox: int = 0
    sidecars: list[Path] = field(default_factory=list)
    events: list[Path] = field(default_factory=list)
    lessons: int = 0
    theirs: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        of_others = self.letters or self.sidecars or self.events or self.lessons
        return bool(self.sessions or self.files or self.entries or self.in_inbox or of_others)

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing that goes or stays."""
        yield from (f"session {path}" for path in self.sessions)
        for path in self.files:
            yield f"file {path}" + (f", and its line in {INDEX}" if path.name in self.entries else "")
        if self.letters:
            yield f"{len(self.letters)} messages in {DEAD_LETTERS_FILE}"
        if self.in_inbox:
            yield f"{self.in_inbox} entries of the inbox"
        yield from (f"the name in the name of a lesson in {path}" for path in self.sidecars)
        yield from (f"the name in what people wrote in {path}" for path in self.events)
        if self.lessons:
            yield f"the name in the names of {self.lessons} lessons"
        yield from (f"stays, others of that name are in it too (--name removes it): {path}" for path in self.shared)
        yield from (f"stays, the student may be in it (remove it when nobody needs it): {path}" for path in self.copies)
        yield from (f"stays, nothing says whose it is (look into it): {path}" for path in self.unknown)


def find_data(directory: Path, student: Student, inbox: Inbox | None) -> Found:
    """Find everything about a student. Raises OSError."""
    try:
        sessions = [each for each in find([directory]) if not each.is_legacy]
    except SettingsError:
        sessions = []  # no recording is left; the inbox may still know the name
    owners = _owners(directory, sessions, student, inbox)
    mine = {path: owner for path, owner in owners.items() if owner is not None and student.is_of(*owner)}
    others = [each for each in sessions if each.path not in mine]
    known = [*owners.values(), *_known_in(inbox)]
    streams = {stream for stream, name in filter(None, known) if student.is_of(stream, name)} | {student.stream or ""}
    names = {str(name) for _, name in mine.values() if name} | {student.name or ""}
    groups = {stream.partition("/")[0] for stream in streams} - {"", ALL, NO_GROUP}
    groups -= {owner[0].partition("/")[0] for owner in filter(None, known) if not student.is_of(*owner)}
    codes = {str(each.about.get("code") or "") for each in sessions if each.path in mine and each.group in groups}
    words = {student.name or "", *(each for each in groups | codes if len(each) >= CODE_MIN_CHARS)} - {""}
    found = Found(Traces(words, groups, streams - {""}), sorted(mine))
    is_mentioned = found.traces.is_mentioned
    found.unknown = sorted(path for path, owner in owners.items() if owner is None)
    found.files, found.shared = _files(directory, student, names - {""}, filter(None, owners.values()), inbox)
    found.files += [path for group in groups for path in directory.glob(f"{SESSIONS}/*/{EVENTS}_{group}.csv")]
    found.copies = sorted([*directory.glob(f"{DAMAGED_INBOX}*"), *directory.glob(f"{REPLACED}*")])
    mine_alone = {path.name for path in found.files}
    found.entries = frozenset(
        file
        for file, name in index(directory).items()
        if file in mine_alone or (student.name is not None and is_same_name(name, student.name))
    )
    letters = enumerate(_letter_lines(directory))
    found.letters = frozenset(number for number, line in letters if found.traces.is_in_letter(line))
    found.sidecars = sidecars_with(others, is_mentioned)
    found.events = [*_events(directory, {*found.files}, [each.path for each in others], is_mentioned)]
    listed = (("", name) for name in index(directory).values())
    strangers = [owner for owner in [*filter(None, known), *listed] if not student.is_of(*owner)]
    found.theirs = _names_around(found.traces.spellings, strangers)
    if inbox is not None:
        found.in_inbox = forget_in_inbox(inbox, student, _paths(directory, found), found.traces, dry=True)
        found.lessons = clean_inbox(inbox, found.traces, dry=True)
    return found


def _names_around(mine: Collection[bytes], owners: Iterable[tuple[str, object]]) -> frozenset[bytes]:
    """Return the ids and names of others in which the student's name is a part, as Ana in Ana Maria."""
    texts = (text for stream, name in owners for text in (*stream.split("/"), str(name or "")))
    theirs = spellings(form for text in texts for form in (text, safe_stem(text)))
    return frozenset(each for each in theirs if any(part in each and part != each for part in mine))


def remove(directory: Path, student: Student, found: Found, inbox: Inbox | None) -> None:
    """Remove it. What names the student goes last, so that it works again after a crash. Raises OSError."""
    for root in {directory, *(session.parent.parent.parent for session in found.sessions)}:
        delete_figures(root)
    for session in found.sessions:
        remove_session(session)
        for folder in (session.parent, session.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    for path in found.files:
        path.unlink(missing_ok=True)
    for path in found.sidecars:
        write_whole(path, cleaned(path, found.traces.is_mentioned))
    for path in found.events:
        _clean_events(path, found.traces.is_mentioned)
    for temporary in _half_written(directory):
        temporary.unlink()
    write_index_without(directory, found.entries)
    if found.letters:
        letters = [line for number, line in enumerate(_letter_lines(directory)) if number not in found.letters]
        write_whole(directory / DEAD_LETTERS_FILE, b"".join(letters))
    if inbox is not None:
        forget_in_inbox(inbox, student, _paths(directory, found), found.traces)


def remove_session(session: Path) -> None:
    """Remove a session's folder; what says whose it is goes last. Raises OSError."""
    for file in sorted(session.iterdir(), key=lambda file: file.name == SIDECAR):
        file.unlink()
    session.rmdir()


def write_index_without(directory: Path, files: Collection[str]) -> None:
    """Take files out of the index. Raises OSError."""
    listed = index(directory)
    if not listed.keys().isdisjoint(files):
        kept = [(name, file) for file, name in listed.items() if file not in files]
        write_whole(directory / INDEX, index_content(sorted(kept)))


def left(directory: Path, found: Found) -> Iterator[Path]:
    """Yield the files that still hold the name or the code, whoever wrote them: pages, exports, a broker's store.

    What is packed, like a workbook, cannot be searched; the rows of readings hold no text.
    """
    wanted = found.traces.spellings
    longest = max(map(len, wanted), default=1)
    theirs = sorted(found.theirs, key=len, reverse=True)

    def is_in(content: bytes) -> bool:
        for each in theirs:
            content = content.replace(each, b"*" * len(each))
        return any(each in content for each in wanted)

    for path in sorted(directory.rglob("*")):
        part = PART.match(path.name)
        if path.is_symlink() or not path.is_file() or (part and part[1] in (READINGS, RAW)):
            continue
        if is_in(os.fsencode(path.relative_to(directory))) or _holds(path, is_in, longest):
            yield path


def _holds(path: Path, is_in: Callable[[bytes], bool], longest: int) -> bool:
    with path.open("rb") as file:
        tail = b""
        while piece := file.read(1 << 20):
            if is_in(tail + piece):
                return True
            tail = piece[-longest:]
    return False


def _paths(directory: Path, found: Found) -> set[str]:
    """Return the paths of the student's files as the inbox has them."""
    return {path.relative_to(directory).as_posix() for path in found.files}


def _half_written(directory: Path) -> Iterator[Path]:
    """Yield what a crash left of files that are replaced in one step."""
    names = (
        f".{INDEX}.new",
        f".{DEAD_LETTERS_FILE}.new",
        f"{SESSIONS}/*/*/.{SIDECAR}.new",
        f"{SESSIONS}/**/.*.csv.new",
    )
    yield from {path for name in names for path in directory.glob(name)}


def _events(directory: Path, mine: set[Path], others: Iterable[Path], is_mentioned: Mentions) -> Iterator[Path]:
    """Yield the files of events of others in which the student is mentioned."""
    of_sessions = (path for session in others for path in session.glob(f"{EVENTS}*.csv"))
    for path in sorted({*of_sessions, *directory.glob(f"{SESSIONS}/*/{EVENTS}_*.csv")} - mine):
        if is_mentioned(path.read_bytes().decode(errors="replace")):
            yield path


def _clean_events(path: Path, is_mentioned: Mentions) -> None:
    """Replace what mentions the student, in the sidecar's hash first: until the file follows, it is found again."""
    content = without_mentions(path.read_bytes(), is_mentioned)
    sidecar = path.with_name(SIDECAR)
    if sidecar.exists():
        about = json.loads(whole_file(sidecar))
        of_file = about.get("files", {}).get(path.name) if isinstance(about.get("files"), dict) else None
        if isinstance(of_file, dict):
            of_file["sha256"] = hashlib.sha256(content).hexdigest()
            write_whole(sidecar, msgspec.json.format(msgspec.json.encode(about), indent=1) + b"\n")
    write_whole(path, content)


def _known_in(inbox: Inbox | None) -> Iterator[tuple[str, object]]:
    """Yield the streams that the inbox knows, each with its name."""
    if inbox is not None:
        yield from ((each.stream, each.about.name if each.about else None) for each in inbox.sessions())
        yield from inbox.db.execute("SELECT stream, name FROM places").fetchall()


def _owners(
    directory: Path, sessions: Iterable[Recording], student: Student, inbox: Inbox | None
) -> dict[Path, tuple[str, object] | None]:
    """Return stream and name of each session, or None where nothing says whose it is.

    After a crash before there was a sidecar, the inbox knows the folder; if the folder is not in the inbox yet either,
    its name tells the stream.
    """
    known = {} if inbox is None else {s.about.directory: s for s in inbox.sessions() if s.about is not None}
    found: dict[Path, tuple[str, object] | None] = {}
    without = []
    for each in sessions:
        session = known.get(each.path.relative_to(directory).as_posix())
        if "source" in each.about:
            found[each.path] = f"{each.group}/{each.source}", each.about.get("name")
        elif session is not None and session.about is not None:
            found[each.path] = session.stream, session.about.name
        elif each.path.parent.parent.name == SESSIONS:
            without.append(each.path)
        else:
            found[each.path] = f"{each.group}/{each.source}", each.about.get("name")
    folders = (path for path in directory.glob(f"{SESSIONS}/*/*") if path.is_dir() and path not in found)
    streams = dict([*filter(None, found.values()), *_known_in(inbox)])
    groups = {stream.partition("/")[0] for stream in streams} | {NO_GROUP}
    for path in {*without, *folders}:
        found[path] = _owner_of_folder(path.name, student, streams, groups)
    return found


def _owner_of_folder(
    folder: str, student: Student, streams: dict[str, object], groups: Iterable[str]
) -> tuple[str, object] | None:
    """Return whose folder this is: of a stream that is known, or of the student's name in a group that is known."""
    match = _FOLDER.match(folder)
    if match is None:
        return None
    readings_of = {match["stream"], match["stream"] + (match["number"] or "")}
    if student.stream is not None and student.stream.replace("/", "_", 1) in readings_of:
        return student.stream, student.name
    for stream, name in streams.items():
        if stream.replace("/", "_", 1) in readings_of:
            return stream, name
    if student.name is not None:
        wanted = {f"{group}_{id_from_text(student.name)}": group for group in groups}
        for each in readings_of:
            group = wanted.get(each) or wanted.get(_NUMBERED.sub("", each))
            if group is not None:
                return f"{group}/{each.removeprefix(f'{group}_')}", student.name
    return None


def _files(
    directory: Path,
    student: Student,
    names: Iterable[str],
    sessions: Iterable[tuple[str, object]],
    inbox: Inbox | None,
) -> tuple[list[Path], list[Path]]:
    """Return the files ``{Nome}.csv`` of the student alone, and those shared with others."""
    owners = {} if inbox is None else writers_of(inbox)
    entries = index(directory)
    if inbox is not None:  # after a crash it knows files that are not in the index yet
        entries = {each.path: each.name for each in inbox.all_files() if each.name is not None} | entries
    sessions = [*sessions]
    alone, shared = [], []
    for name in names:
        candidates = {file for file, owner in entries.items() if is_same_name(owner, name)}
        stem = safe_stem(name)
        candidates |= {
            file for file in (f"{stem}.csv", student_file_name(with_hash(stem, name))) if file not in entries
        }
        for path in sorted(directory / file for file in candidates):
            if not path.exists() or not is_legacy(path):
                continue
            by = owners.get(path.name) or {stream for stream, owner in sessions if is_same_name(owner, name)}
            if student.name is not None or by <= {student.stream}:
                alone.append(path)
                by_hand = path.with_name(f"{path.name}{APPENDED_BY_HAND}")
                alone += [by_hand] if by_hand.exists() else []
            elif student.stream in by:
                shared.append(path)
    return alone, shared


def _letter_lines(directory: Path) -> list[bytes]:
    path = directory / DEAD_LETTERS_FILE
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []
