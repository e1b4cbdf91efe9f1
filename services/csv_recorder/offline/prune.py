"""Remove what ended before a moment: sessions, events of groups, lessons, files of students who came no more.

A ``{Nome}.csv`` has no times: it goes when nothing was written to it since. What is being recorded stays, and so does
whatever does not say when it ended, or says so with the clock of a computer that had none.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from csv_recorder.live.inbox import Inbox
from csv_recorder.offline.forget import remove_session, write_index_without
from csv_recorder.offline.forget_inbox import scrub
from neuroone.contract.files import (
    APPENDED_BY_HAND,
    DAMAGED_INBOX,
    DEAD_LETTERS_FILE,
    GROUP_EVENTS,
    INDEX,
    REPLACED,
    SESSIONS,
    STUDENT_HEADER,
    time_text,
)
from neuroone.data.recordings import Recording, delete_figures, is_legacy, session_in

FIRST_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""No recording is older than NeuroOne; a Raspberry Pi without a network dates them 1970."""
NEVER: Final = datetime.max.replace(tzinfo=UTC)
DAY: Final = timedelta(days=1)
AT_ONCE_MAX: Final = 500
"""Sessions that a running recorder removes at once: 2000 files; meanwhile it records nothing."""


@dataclass(slots=True)
class Old:
    """What ended before a moment, and what stays although it may have. ``lessons`` are those of the inbox.

    ``is_everything`` if no younger session is there: perhaps this computer's clock is wrong.
    """

    before: datetime
    sessions: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    lessons: int = 0
    running: list[Path] = field(default_factory=list)
    undated: list[Path] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    is_everything: bool = True

    def __bool__(self) -> bool:
        return bool(self.sessions or self.files or self.lessons)

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing that goes or stays."""
        yield from (f"session {path}" for path in self.sessions)
        yield from (f"file {path}" for path in self.files)
        if self.lessons:
            yield f"{self.lessons} lessons of the inbox"
        yield from (f"stays, it is being recorded: {path}" for path in self.running)
        yield from (f"stays, nothing says when it ended (look into it): {path}" for path in self.undated)
        yield from (f"stays, all of them may be in it (remove it when nobody needs it): {path}" for path in self.copies)
        if self.sessions and self.is_everything:
            yield "no younger session is there: is this computer's clock right?"

    def summary(self, left: Collection[Path]) -> str:
        """Say how much of it is removed."""
        sessions = len({*self.sessions} - {*left})
        return f"{sessions} sessions, {len({*self.files} - {*left})} files, {self.lessons} lessons"


def find_old(directory: Path, before: datetime, inbox: Inbox | None) -> Old:
    """Find what ended before a moment. Raises OSError."""
    old = Old(before)
    busy, held = _in_use(inbox)
    for path in sorted(directory.glob(f"{SESSIONS}/*/*")):
        day = _day_of(path.parent)
        if GROUP_EVENTS.match(path.name):
            if day is not None and day + timedelta(days=1) <= before and path not in held:
                old.files.append(path)
        elif day is not None and day >= before:  # it began then: nothing of it needs to be read
            old.is_everything = False
        elif path.is_dir() and not path.is_symlink():
            _sort(path, path.relative_to(directory).as_posix() in busy, old)
    for path in sorted(directory.iterdir()):
        if path.name.startswith((DAMAGED_INBOX, REPLACED)):
            old.copies.append(path)
        elif _has_rows(path) and path not in held and path.stat().st_mtime < before.timestamp():
            old.files.append(path)
    if inbox is not None:
        [(old.lessons,)] = inbox.db.execute("SELECT count(*) FROM lessons WHERE ended < ?", (time_text(before),))
    return old


def remove_old(directory: Path, old: Old, inbox: Inbox | None) -> list[Path]:
    """Remove it; return what cannot be removed, which keeps nothing else. Raises OSError.

    The files go last: what a crash leaves of them is found again, whatever inbox and index know.
    """
    delete_figures(directory)
    gone = {path.relative_to(directory).as_posix() for path in (*old.sessions, *old.files)}
    if inbox is not None:
        _forget(inbox, gone, old.before)
    write_index_without(directory, gone)
    left = []
    for path in (*old.sessions, *old.files):
        try:
            if path.is_dir():
                remove_session(path)
            else:
                path.unlink(missing_ok=True)
            if path.parent.parent.name == SESSIONS and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError:
            left.append(path)
    return left


def prune(directory: Path, days: int, now: datetime, inbox: Inbox | None) -> tuple[Old, list[Path]]:
    """Remove some of what ended so many days ago; return it, and what cannot be removed. Raises OSError."""
    old = find_old(directory, now - timedelta(days=days), inbox)
    if old.is_everything:  # nobody is there to say that the clock is right
        return Old(old.before), []
    del old.sessions[AT_ONCE_MAX:]
    return old, remove_old(directory, old, inbox) if old else []


def _sort(path: Path, is_busy: bool, old: Old) -> None:
    """Put a session to what goes, what stays, or neither."""
    recording = session_in(path)
    end = _end_of(recording)
    if is_busy or recording.is_open:
        old.running.append(path)
        old.is_everything = False
    elif end is None or end < FIRST_TIME:
        old.undated.append(path)
    elif end < old.before:
        old.sessions.append(path)
    else:
        old.is_everything = False


def _end_of(recording: Recording) -> datetime | None:
    """Return when a session ended; its start, if it has no reading."""
    try:
        end = datetime.fromisoformat(recording.about["end"] or recording.about["start"])
        return end.astimezone(UTC) if recording.fault is None else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _day_of(folder: Path) -> datetime | None:
    """Return the day of a folder; None for another name, and for the day of a computer without a clock."""
    try:
        day = datetime.strptime(folder.name, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return day if day >= FIRST_TIME else None


def _has_rows(path: Path) -> bool:
    """Return True for a file without times that holds something of students."""
    if not path.is_file() or path.is_symlink() or path.name == INDEX:
        return False
    if path.name == DEAD_LETTERS_FILE or path.name.endswith(APPENDED_BY_HAND):
        return True
    is_student = path.suffix == ".csv" and not path.name.startswith(".") and is_legacy(path)
    return is_student and path.stat().st_size >= len(STUDENT_HEADER)


def _in_use(inbox: Inbox | None) -> tuple[set[str], set[Path]]:
    """Return the folders of sessions and the files for which a recorder has more, or may."""
    if inbox is None:
        return set(), set()
    directory = inbox.path.parent
    owed = {int(output.split("/")[1]) for output in inbox.owing()}
    waiting = {row.owner for row in inbox.waiting()} | owed
    sessions = {s.about.directory or "" for s in inbox.sessions() if s.about and (s.open or s.id in waiting)}
    active = waiting | {file for file, _, _ in inbox.holders()}
    return sessions, {directory / each.path for each in inbox.all_files() if each.session is None and each.id in active}


def _forget(inbox: Inbox, gone: Collection[str], before: datetime) -> None:
    """Remove what is gone from the inbox, without a trace in the database's pages."""
    inbox.db.execute("PRAGMA secure_delete=ON")
    inbox.begin()
    sessions = {each.id for each in inbox.sessions() if each.about is not None and each.about.directory in gone}
    files = [each.id for each in inbox.all_files() if each.path in gone or each.session in sessions]
    delete = inbox.db.executemany
    delete("DELETE FROM sessions WHERE id = ?", [(id,) for id in sessions])
    delete("DELETE FROM files WHERE id = ?", [(id,) for id in files])
    delete("DELETE FROM places WHERE file = ?", [(id,) for id in files])
    inbox.db.execute("DELETE FROM lessons WHERE ended < ?", (time_text(before),))
    inbox.commit()
    scrub(inbox)
