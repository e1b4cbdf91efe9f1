"""Removes one student from the inbox of a recorder, and every trace from the pages of its database."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.rows import Kind, Row, pack, unpack
from csv_recorder.offline.forget_lessons import clean_inbox
from csv_recorder.offline.forget_texts import Traces, without_mentions
from neuroone.contract.files import EVENTS


@dataclass(frozen=True, slots=True)
class Student:
    """The student to forget: everybody with a ``name``, or one ``stream``, which is ``group/source``."""

    name: str | None = None
    stream: str | None = None

    def is_of(self, stream: str, name: object) -> bool:
        """Return True if a stream and a name are the student's."""
        if self.stream is not None:
            return stream == self.stream
        return self.name is not None and is_same_name(name, self.name)


def forget_in_inbox(
    inbox: Inbox,
    student: Student,
    paths: Collection[str],
    traces: Traces,
    *,
    dry: bool = False,
) -> int:
    """Remove a student's entries, without a trace in the database's pages; return how many they are.

    ``paths`` are the student's files. ``dry`` only counts.
    """
    sessions = {
        each.id for each in inbox.sessions() if student.is_of(each.stream, each.about.name if each.about else None)
    }
    places = [each for each in inbox.db.execute("SELECT stream, name FROM places").fetchall() if student.is_of(*each)]
    writers = writers_of(inbox)
    of_groups = {f"{EVENTS}_{group}.csv" for group in traces.groups}  # also those that a crash kept from being made
    files = {
        each.id
        for each in inbox.all_files()
        if each.path in paths
        or each.path.rpartition("/")[2] in of_groups
        or each.session in sessions
        or (each.name is not None and _is_alone(student, each.name, writers.get(each.path, set())))
    }
    owed = [output for output in inbox.owing() if _is_owed_to(output, sessions, files)]
    if not dry:
        inbox.db.execute("PRAGMA secure_delete=ON")  # a crash before the VACUUM leaves nothing in the pages either
        inbox.begin()
        for number, blob in inbox.db.execute("SELECT id, rows FROM batches").fetchall():
            kept = [*_kept(unpack(blob), sessions, files, traces)]
            inbox.db.execute("UPDATE batches SET rows = ? WHERE id = ?", (pack(kept), number))
        delete = inbox.db.executemany
        delete("DELETE FROM sessions WHERE id = ?", [(id,) for id in sessions])
        delete("DELETE FROM files WHERE id = ?", [(id,) for id in files])
        delete("DELETE FROM places WHERE stream = ? AND name = ?", places)
        events = inbox.db.execute("SELECT id FROM events").fetchall()  # apps choose the ids of their markers
        delete("DELETE FROM events WHERE id = ?", [id for id in events if traces.is_mentioned(id[0])])
        delete("DELETE FROM owed WHERE output = ?", [(output,) for output in owed])
        for number, blob in inbox.db.execute("SELECT id, rows FROM owed").fetchall():
            cleaned = [replace(row, content=without_mentions(row.content, traces.is_mentioned)) for row in unpack(blob)]
            inbox.db.execute("UPDATE owed SET rows = ? WHERE id = ?", (pack(cleaned), number))
        clean_inbox(inbox, traces, dry=False)
        inbox.commit()
        scrub(inbox)
    return len(sessions) + len(places) + len(files)


def scrub(inbox: Inbox) -> None:
    """Write the database anew, without what deleted entries left in its pages and in its log."""
    inbox.db.execute("VACUUM")
    inbox.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _kept(rows: Iterable[Row], sessions: Collection[int], files: Collection[int], traces: Traces) -> Iterator[Row]:
    """Yield the waiting rows of others, without what mentions the student."""
    for row in rows:
        if row.kind == Kind.LETTER:
            if not traces.is_in_letter(row.content):
                yield row
        elif row.owner not in (files if row.kind == Kind.GROUP_EVENT else sessions):
            is_event = row.kind in (Kind.EVENT, Kind.GROUP_EVENT)
            yield replace(row, content=without_mentions(row.content, traces.is_mentioned)) if is_event else row


def writers_of(inbox: Inbox) -> dict[str, set[str]]:
    """Return which streams have written to each ``{Nome}.csv``, by its path."""
    found: dict[str, set[str]] = {}
    for path, stream in inbox.db.execute("SELECT path, stream FROM places JOIN files ON files.id = places.file"):
        found.setdefault(path, set()).add(stream)
    return found


def _is_alone(student: Student, name: str, writers: Collection[str]) -> bool:
    """Return True if a file ``{Nome}.csv``, whether it is there or not, is the student's alone."""
    if student.name is not None:
        return is_same_name(name, student.name)
    return [*writers] == [student.stream]


def _is_owed_to(output: str, sessions: Collection[int], files: Collection[int]) -> bool:
    """Return True if rows that are owed under this key belong to one of the sessions or files."""
    kind, _, rest = output.partition("/")
    owner = rest.partition("/")[0]
    return owner.isdecimal() and int(owner) in (sessions if kind == "session" else files)


def is_same_name(one: object, other: str) -> bool:
    """Return True if two names are the same text, however their accents are composed."""
    return isinstance(one, str) and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
