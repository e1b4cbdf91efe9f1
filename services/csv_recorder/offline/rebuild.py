"""Make a new inbox out of the recorded files, and of what can still be read of a damaged one.

The files are the truth: what stands in them is recorded. From the old inbox come the rows that were accepted and are
not in their files yet. So a reading that is sent again is known, and none that waited is lost while it can be read.
"""

import contextlib
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from csv_recorder.live import inbox_shard
from csv_recorder.live.inbox import Inbox, output_of_session
from csv_recorder.live.rows import Kind, Row
from csv_recorder.live.sessions import HOLES_MAX, About, Progress, Session
from csv_recorder.offline.backup import sync_folder, unused
from csv_recorder.offline.lessons import lessons_in_events, parts_of
from csv_recorder.offline.salvage import Salvaged, salvage
from csv_recorder.offline.snapshot import BESIDE, beside
from neuroone.contract import files
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import (
    APPENDED_BY_HAND,
    CLOSED,
    COLUMNS,
    DAMAGED_INBOX,
    INBOX_FILE,
    INDEX,
    PART,
    READINGS,
    REBUILDING_INBOX,
    REBUILT_INBOX,
    SESSIONS,
    file_key,
    safe_stem,
    seq_of,
    student_row_of,
)
from neuroone.data.recordings import Recording, find, index, is_legacy

PIECE_BYTES: Final = 2**16
"""Read at once from the end of a file."""


@dataclass(slots=True)
class Rebuilt:
    """What the new inbox knows: sessions, files, rows saved from the old one, and what could not be read of that."""

    sessions: int = 0
    files: int = 0
    saved: int = 0
    unreadable: int = 0
    kept: Path | None = None
    notes: list[str] = field(default_factory=list)


def rebuild(directory: Path, now: datetime | None = None) -> Rebuilt:
    """Put a new inbox into a directory, and keep the old one aside. No recorder may run.

    It may be broken off at any point and be called again. Raises OSError and sqlite3.Error.
    """
    path, finished, folder = (directory / name for name in (INBOX_FILE, REBUILT_INBOX, REBUILDING_INBOX))
    rebuilt = Rebuilt()
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        old = salvage(path)
        inbox = Inbox(folder / INBOX_FILE)
        inbox.open()
        try:
            inbox.begin()
            _Rebuilding(directory, inbox, old, rebuilt).run()
            inbox.commit()
        finally:
            inbox.close()
        rebuilt.unreadable = old.unreadable
        (folder / INBOX_FILE).rename(finished)
        sync_folder(directory)
    shutil.rmtree(folder, ignore_errors=True)
    rebuilt.kept = _keep_aside(path, now or datetime.now(UTC))
    finished.rename(path)
    sync_folder(directory)
    return rebuilt


def _keep_aside(path: Path, now: datetime) -> Path | None:
    """Move an inbox, with what belongs to it, to a name that says what it is."""
    kept = unused(path.with_name(f"{DAMAGED_INBOX}{now:%Y%m%dT%H%M%SZ}"))
    for ending in ("", *BESIDE):
        each = beside(path, ending)
        if each.exists():
            each.rename(beside(kept, ending))
    return kept if kept.exists() else None


class _Rebuilding:
    """Fills a new inbox."""

    def __init__(self, directory: Path, inbox: Inbox, old: Salvaged, rebuilt: Rebuilt) -> None:
        self._directory = directory
        self._inbox = inbox
        self._old = old
        self._rebuilt = rebuilt
        self._sessions: dict[int, Session] = {}
        """The new sessions by the numbers of the old ones."""
        self._recorded: dict[int, set[int]] = {}
        """The seqs in the files, by the number of the new session; of sessions with rows that wait."""
        self._tails: dict[str, Counter[bytes]] = {}
        self._with_rows = {row.owner for row in old.rows if row.kind not in (Kind.GROUP_EVENT, Kind.LETTER)}
        self._with_rows |= {id for id in old.sessions for kind in COLUMNS if output_of_session(id, kind) in old.owed}
        self._ends = {row.content if row.kind == Kind.STUDENT else _student_row(row) for row in old.rows}

    def run(self) -> None:
        """Fill it. Raises OSError and sqlite3.Error."""
        by_folder = {
            each.about.directory: each for each in self._old.sessions.values() if each.about and each.about.directory
        }
        try:
            recordings = [each for each in find([self._directory / SESSIONS]) if not each.is_legacy]
        except SettingsError:
            recordings = []
        for recording in reversed(recordings):  # of two folders of one session the newer one is gone on with
            folder = recording.path.relative_to(self._directory).as_posix()
            self._add_session(recording, folder, by_folder.get(folder))
        for old in self._old.sessions.values():
            if old.id not in self._sessions:
                self._add_without_folder(old)
        files_of = self._add_student_files()
        self._add_rows(files_of)
        self._add_owed()
        for lesson in self._old.lessons or lessons_in_events(self._directory):
            self._inbox.note_lesson(lesson)
        self._inbox.note_filters(self._old.filters)
        inbox_shard.note_shard(self._inbox.db, self._old.shard)
        for id, last_s in self._old.events.items():
            self._inbox.is_new_event(id, last_s)
        self._inbox.save_progress([], self._old.running_s)

    # --- sessions --------------------------------------------------------------------------------

    def _add_without_folder(self, old: Session) -> None:
        """Store a session of the old inbox whose folder is not there, or not yet."""
        group = old.stream.partition("/")[0]
        if self._inbox.session(group, old.session) is not None:
            return
        self._sessions[old.id] = new = self._inbox.add_session(old.stream, old.session)
        new.about, new.open, new.progress = old.about, old.open, old.progress
        if new.open:  # it may go on: what no file holds and no row says is not recorded
            new.progress = progress_of(self._owed_seqs(old), old.progress.duplicates)
        if new.about is not None and new.open:
            new.about = msgspec.structs.replace(new.about, directory=None, parts={})
        self._inbox.describe([new])
        self._inbox.save_progress([(new.id, new.progress)], self._old.running_s)
        self._recorded[new.id] = set()
        self._rebuilt.sessions += 1

    def _owed_seqs(self, old: Session) -> set[int]:
        rows = self._old.owed.get(output_of_session(old.id, READINGS), [])
        return {seq_of(row) for row in rows if _is_whole(row)}

    def _add_session(self, recording: Recording, folder: str, old: Session | None) -> None:
        """Store a session as its files show it."""
        parts, seqs, session_id, sizes = self._read_files(recording, None if old is None else old.session)
        about, stream = _about(recording, old, folder, parts)
        session_id = str(recording.about.get("session") or session_id or "")
        if not session_id:
            return  # nothing was recorded
        if self._inbox.session(stream.partition("/")[0], session_id) is not None:
            self._rebuilt.notes.append(f"{folder} is of a session that has a folder already")
            return
        session = self._inbox.add_session(stream, session_id)
        duplicates = recording.about.get("counts", {}).get("duplicates")
        noted = duplicates if isinstance(duplicates, int) else 0
        all_seqs = seqs if old is None else seqs | self._owed_seqs(old)
        session.progress = progress_of(all_seqs, max(noted, old.progress.duplicates if old is not None else 0))
        session.about = about
        listed = recording.about.get("files") or {}
        is_closed = recording.about.get("status") == CLOSED and all(
            isinstance(listed.get(name), dict) and listed[name].get("bytes") == size for name, size in sizes.items()
        )
        session.open = not is_closed if old is None else old.open or not is_closed
        self._inbox.describe([session])
        self._inbox.save_progress([(session.id, session.progress)], self._old.running_s)
        for name, size in sizes.items():
            path = f"{folder}/{name}"
            self._inbox.add_file(file_key(path), path, None, session.id, size)
        if old is not None:
            self._sessions[old.id] = session
            if old.id in self._with_rows:
                self._recorded[session.id] = seqs
        self._rebuilt.sessions += 1
        self._rebuilt.files += len(sizes)

    def _read_files(
        self, recording: Recording, session: str | None
    ) -> tuple[dict[str, int], set[int], str | None, dict[str, int]]:
        """Read the files of a session, ended at their last whole row.

        Return the newest part of each kind, the seqs of its readings, its id, and the size of each file.
        """
        parts: dict[str, int] = {}
        seqs: set[int] = set()
        sizes: dict[str, int] = {}
        cell = files.cell(session or str(recording.about.get("session") or "")).encode()
        for kind in COLUMNS:
            for path in recording.files(kind):
                found = PART.match(path.name)
                parts[kind] = int(found[2] or 1) if found else 1
                for line in files.checked_rows(path.read_bytes()).lines if kind == READINGS else ():
                    row_cell = line.partition(b",")[2]
                    if not cell and b'"' not in line:
                        cell = row_cell.partition(b",")[0]
                    if row_cell.startswith(cell + b","):
                        with contextlib.suppress(ValueError):
                            seqs.add(seq_of(line))
                sizes[path.name] = _end_at_last_row(path)
        return parts, seqs, cell.decode() or None, sizes

    # --- the files of students -------------------------------------------------------------------

    def _add_student_files(self) -> dict[tuple[str, str], int]:
        """Store the files ``{Nome}.csv``, and who wrote to them; return the number of the file by stream and name."""
        numbers: dict[str, int] = {}
        names = index(self._directory) | self._old.names
        for path, name in names.items():
            place = self._directory / path
            if path != INDEX and place.parent == self._directory and is_legacy(place):
                size = _end_at_last_row(place, self._ends)
                numbers[path] = self._inbox.add_file(file_key(path), path, name, None, size).id
                self._rebuilt.files += 1
        held: dict[tuple[str, str], int] = {}
        for stream, name, file in self._old.places:
            path = self._old.paths.get(file, "")
            if path in numbers:
                held[stream, name] = numbers[path]
        paths_of: dict[str, list[str]] = {}
        for path in numbers:
            paths_of.setdefault(names[path], []).append(path)
        for session in self._inbox.sessions():
            about = session.about
            if about is None or about.name is None or (session.stream, about.name) in held:
                continue
            own = paths_of.get(about.name, [])
            plain = f"{safe_stem(about.name)}.csv"
            chosen = next((path for path in own if about.code and f"__{about.code}" in path), None)
            chosen = chosen or (plain if plain in own else next(iter(own), None))
            if chosen is not None:
                held[session.stream, about.name] = numbers[chosen]
        for (stream, name), number in held.items():
            self._inbox.hold(stream, name, number)
            self._inbox.release(stream)
        return held

    # --- rows that wait --------------------------------------------------------------------------

    def _add_rows(self, files_of: dict[tuple[str, str], int]) -> None:
        """Store the rows of the old inbox that are not in their files."""
        paths = {file.id: file.path for file in self._inbox.all_files()}
        kept = []
        for row in self._old.rows:
            if row.kind == Kind.LETTER:
                kept.append(row)
            elif row.kind == Kind.GROUP_EVENT:
                kept += self._group_event(row)
            elif (session := self._sessions.get(row.owner)) is not None and _is_row(row):
                name = None if session.about is None else session.about.name
                number = files_of.get((session.stream, name)) if name is not None else None
                kept += self._row_of(row, session, None if number is None else paths[number])
            else:
                self._old.unreadable += 1
        if kept:
            self._inbox.put(kept)
        self._rebuilt.saved += len(kept)

    def _row_of(self, row: Row, session: Session, student_file: str | None) -> Iterator[Row]:
        """Yield what of a session's row is in no file yet."""
        if row.kind in (Kind.RAW, Kind.EVENT):
            kind, about = files.RAW if row.kind == Kind.RAW else files.EVENTS, session.about
            is_there = about is not None and about.directory is not None and kind in about.parts
            path = f"{about.directory}/{files.part_name(kind, about.parts[kind])}" if about and is_there else None
            if path is None or not self._is_in_tail(path, row.content):
                yield msgspec.structs.replace(row, owner=session.id)
            return
        content = row.content if row.kind == Kind.STUDENT else student_row_of(row.content)
        wants_student = row.kind != Kind.READING_ALONE
        wants_student = wants_student and (student_file is None or not self._is_in_tail(student_file, content))
        if row.kind != Kind.STUDENT and row.seq not in self._recorded[session.id]:
            yield msgspec.structs.replace(
                row, owner=session.id, kind=Kind.READING if wants_student else Kind.READING_ALONE
            )
        elif wants_student:
            yield msgspec.structs.replace(row, owner=session.id, kind=Kind.STUDENT)

    def _is_in_tail(self, path: str, row: bytes) -> bool:
        """Return True if a row is among the unsynced ones of a file; each counts once."""
        tail = self._tails.get(path)
        if tail is None:
            synced = next((self._old.sizes[number] for number, each in self._old.paths.items() if each == path), None)
            place = self._directory / path
            lines = place.read_bytes()[max(0, synced or 0) :].splitlines(keepends=True) if place.exists() else []
            tail = self._tails[path] = Counter(lines if synced is not None else lines[-len(self._old.rows) :])
        tail[row] -= 1
        return tail[row] >= 0

    def _group_event(self, row: Row) -> Iterator[Row]:
        path = self._old.paths.get(row.owner)
        if path is None or not _is_whole(row.content):
            self._old.unreadable += 1
            return
        place = self._directory / path
        if not self._is_in_tail(path, row.content):
            known = self._inbox.file_by_key(file_key(path))
            size = _end_at_last_row(place) if place.exists() else -1
            file = known or self._inbox.add_file(file_key(path), path, None, None, size)
            yield msgspec.structs.replace(row, owner=file.id)

    def _add_owed(self) -> None:
        """Store the rows that files of sessions are owed, but for those that are there by now."""
        for old_id, session in self._sessions.items():
            for kind in COLUMNS:
                rows = self._old.owed.get(output_of_session(old_id, kind), [])
                if kind == READINGS:
                    seqs = self._recorded.get(session.id, set())
                    rows = [row for row in rows if _is_whole(row) and seq_of(row) not in seqs]
                if rows:
                    self._inbox.owe(output_of_session(session.id, kind), rows)
                    self._rebuilt.saved += len(rows)
        by_path = {file.path: file.id for file in self._inbox.all_files()}
        for number, path in self._old.paths.items():
            rows = self._old.owed.get(f"file/{number}", [])
            if rows and path in by_path:
                self._inbox.owe(f"file/{by_path[path]}", rows)
                self._rebuilt.saved += len(rows)


def progress_of(seqs: Iterable[int], duplicates: int = 0) -> Progress:
    """Return how far a session is recorded, from the seqs of its readings: every gap may still be filled."""
    ordered = sorted(seqs)
    if not ordered:
        return Progress(duplicates=duplicates)
    before = [-1, *ordered[:-1]]
    holes = [(last + 1, seq - 1) for last, seq in zip(before, ordered, strict=True) if seq > last + 1]
    lost = sum(last - first + 1 for first, last in holes[:-HOLES_MAX])
    return Progress(ordered[-1], len(ordered), duplicates, tuple(holes[-HOLES_MAX:]), lost)


def _about(recording: Recording, old: Session | None, folder: str, parts: dict[str, int]) -> tuple[About, str]:
    """Return what is known of a session, and its stream: from the old inbox, its sidecar, or its folder's name."""
    if old is not None and old.about is not None:
        return msgspec.structs.replace(old.about, directory=folder, parts={**old.about.parts, **parts}), old.stream
    about = recording.about
    group, source = recording.group, str(about.get("source") or "")
    if not (group and source):
        _, _, rest = recording.path.name.partition("_")
        group, _, source = rest.partition("_")
    texts = {key: about[key] if isinstance(about.get(key), str) else None for key in ("name", "code", "class", "start")}
    start = texts["start"] or f"{recording.path.parent.name}T00:00:00.000000Z"
    kind = str(about.get("kind") or "")  # unknown: the next reading says it, and whose it is
    known = About(
        kind=kind,
        name=texts["name"],
        code=texts["code"],
        start=start,
        class_=texts["class"],
        directory=folder,
        parts=parts,
        lessons=parts_of(about),
        simulated=about.get("simulated") is True,
    )
    return known, f"{group or '_'}/{source or '_'}"


def _end_at_last_row(path: Path, waiting: Collection[bytes] | None = None) -> int:
    """Cut off what stands behind the last whole line, as a crash leaves it; return the size. Text is kept aside.

    ``waiting`` rows are a student's. Another whole row at the end of such a file is somebody's who wrote no line end.
    """
    with path.open("rb") as file:
        at, end = file.seek(0, os.SEEK_END), 0
        while at and not end:
            start = max(0, at - PIECE_BYTES)
            file.seek(start)
            end = file.read(at - start).rfind(b"\n") + 1
            end, at = start + end if end else 0, start
        file.seek(end)
        tail = file.read()
    if not tail:
        return end
    with path.open("r+b") as file:
        cells = tail.split(b",")
        is_row = waiting is not None and len(cells) == len(files.VALUES) and all(map(bytes.isdigit, cells))
        if is_row and not any(row.startswith(tail) for row in waiting or ()):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
            return end + len(tail) + 1
        if end and tail.strip(b"\0"):
            with path.with_name(f"{path.name}{APPENDED_BY_HAND}").open("ab") as aside:
                aside.write(tail.replace(b"\0", b"") + b"\n")
        file.truncate(end)
        os.fsync(file.fileno())
    return end


def _student_row(row: Row) -> bytes:
    return student_row_of(row.content) if row.kind == Kind.READING and _is_whole(row.content) else b""


def _is_row(row: Row) -> bool:
    """Return True if a row of a session is whole."""
    if row.kind == Kind.STUDENT:
        return row.content.count(b",") == len(files.VALUES) - 1 and row.content.endswith(b"\n")
    return _is_whole(row.content)


def _is_whole(row: bytes) -> bool:
    """Return True if a row of a session's file matches its check."""
    check = files.CHECK_CHARS + 1
    return row.endswith(b"\n") and b"%08x\n" % zlib.crc32(row[:-check]) == row[-check:]
