"""Checks recorded files against their row checks, sidecars, and the recorder's inbox. Changes nothing.

A recorder may write to the directory meanwhile. Whatever seems wrong is read again if something changed in between. The
inbox is always read before the files: a reading that it has accepted is in the files by then, or waits in it.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from csv_recorder.offline.known import Known, KnownSession, read_known
from csv_recorder.offline.lock import directories_in, directory_of
from csv_recorder.offline.verify_session import Verdict, check_session, read_file
from neuroone.contract import files
from neuroone.contract.files import GROUP_EVENTS, INBOX_FILE, INDEX
from neuroone.data.recordings import Recording, find, group_events, kept_aside

LOOKS_MAX: Final = 3
"""Reads of a session that changes meanwhile: a recorder writes its files once a second."""


class Verifier:
    """Checks recordings. ``wait`` passes the time before a second look."""

    def __init__(self, paths: Iterable[Path], wait: Callable[[], object]) -> None:
        self._paths = list(paths)
        self._wait = wait
        self._known: dict[Path, Known] = {}
        self.lack_an_inbox = 0
        """Open sessions that could be compared with their sidecars only."""

    def verdicts(self) -> Iterator[Verdict]:
        """Yield a verdict on each file. Raises SettingsError for a path without a recording."""
        recordings = find(self._paths)
        directories = [each for each in self._paths if each.is_dir()]
        for each in self._paths:
            for path in directories_in(each) or [each]:
                yield from self._inbox(path)
        for recording in recordings:
            yield from self._settled(recording)
        for path in group_events(directories):
            yield from self._looks(path, files.EVENTS)
        for path in kept_aside(directories):
            yield Verdict(path, notes=["lines that somebody else wrote, kept aside by the recorder"], is_mentioned=True)
        for each in directories:
            if (each / INDEX).exists():
                yield _index(each)

    def _inbox(self, path: Path) -> Iterator[Verdict]:
        """Check the inbox of a path; of a whole directory also that what the inbox has synced is there."""
        directory = directory_of(path)
        if directory is None or (directory in self._known and path.resolve() != directory):
            return
        known = self._read_known(directory)
        is_whole = path.resolve() == directory
        if is_whole or known.fault:
            verdict = Verdict((path if is_whole else directory) / INBOX_FILE)
            verdict.faults += [known.fault] if known.fault else []
            verdict.notes += [f"{known.waiting} rows wait for their files"] if known.waiting else []
            yield verdict
        for folder, session in known.sessions.items() if is_whole else ():
            if session.session.open and any(session.sizes.values()) and not (path / folder).exists():
                now = self._read_known(directory, again=True).sessions.get(folder)
                if now is not None and now.session.open:  # else it was closed and taken away meanwhile
                    yield Verdict(path / folder, faults=["the session's folder is not there"])
        for name, size in known.sizes.items() if is_whole else ():
            file = path / name
            if size > 0 and GROUP_EVENTS.match(file.name) and file.parent.exists() and not file.exists():
                yield Verdict(file, faults=["is not there"])

    def _settled(self, recording: Recording) -> list[Verdict]:
        """Check a recording; again if it or the inbox changed while it was read, or if a recorder may be writing."""
        if recording.is_legacy:
            return self._looks(recording.path)
        directory = directory_of(recording.path)
        found: list[Verdict] = []
        for look in range(LOOKS_MAX):
            if look:
                self._wait()
                recording = find([recording.path])[0]
            known = None if directory is None else self._read_known(directory, again=bool(look))
            session = None if known is None else known.session_in(recording.path)
            self.lack_an_inbox += not look and session is None and recording.is_open
            before = _sizes_and_times(recording)
            found = check_session(recording, session, is_current=partial(_is_current, known))
            if not any(each.faults for each in found):
                break
            is_open = recording.is_open or (session is not None and session.session.open)
            is_being_written = is_open and any(each.torn_bytes for each in found)
            has_changed = _sizes_and_times(recording) != before
            if not has_changed and not is_being_written and not self._knows_more(known, session, recording.path):
                break
        return found

    def _looks(self, path: Path, kind: str | None = None) -> list[Verdict]:
        """Check a file that belongs to no session."""
        directory, verdict = directory_of(path), Verdict(path)
        for look in range(LOOKS_MAX):
            if look:
                self._wait()
            known = None if directory is None else self._read_known(directory, again=bool(look))
            size = None if known is None else known.sizes.get(known.path_of(path))
            verdict = read_file(path, kind, size, is_mended=known is not None and known.waiting > 0)[0]
            is_settled = known is None or size is None or (known.is_current() and not verdict.torn_bytes)
            if not verdict.faults or is_settled:
                break
        return [verdict]

    def _knows_more(self, known: Known | None, session: KnownSession | None, folder: Path) -> bool:
        """Return True if the inbox says something else about a session now, or may soon."""
        if known is None or not known.is_there or known.fault or known.is_current():
            return False
        now = self._read_known(known.directory, again=True).session_in(folder)
        return now != session or (now is not None and now.session.open)

    def _read_known(self, directory: Path, *, again: bool = False) -> Known:
        known = self._known.get(directory)
        if known is None or (again and not known.is_current()):
            known = self._known[directory] = read_known(directory)
        return known


def verdicts(paths: Iterable[Path], wait: Callable[[], object]) -> Iterator[Verdict]:
    """Yield a verdict on each recorded file. ``wait`` passes the time before a second look.

    Raises SettingsError for a path without a recording.
    """
    return Verifier(paths, wait).verdicts()


def _is_current(known: Known | None) -> bool:
    return known is not None and known.is_current()


def repair(verdict: Verdict) -> int:
    """Cut off what stands behind the last whole line; return the number of bytes."""
    if not verdict.torn_bytes:
        return 0
    with verdict.path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END) - verdict.torn_bytes
        file.truncate(end)
        os.fsync(file.fileno())
    return verdict.torn_bytes


def _sizes_and_times(recording: Recording) -> dict[str, tuple[int, int]]:
    """Return sizes and times of the files, without hidden ones: a new sidecar has a hidden name for a moment."""
    entries = [entry for entry in os.scandir(recording.path) if not entry.name.startswith(".")]
    return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries}


def _index(directory: Path) -> Verdict:
    verdict = Verdict(directory / INDEX)
    try:
        with verdict.path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
    except (OSError, csv.Error, ValueError) as error:
        verdict.faults.append(f"cannot be read ({error})")
        return verdict
    verdict.rows = len(rows)
    odd = sum(len(row) != 2 for row in rows)
    gone = sum(len(row) == 2 and not (directory / row[1]).exists() for row in rows)
    verdict.expect(tuple(head) == files.INDEX_COLUMNS, "the header is another")
    verdict.expect(not odd, f"{odd} rows do not have 2 columns")
    verdict.expect(not gone, f"{gone} of the files that it names are not there")
    return verdict
