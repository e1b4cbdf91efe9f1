"""Whether recorded files are what was written: row checks, columns, counts, sequence and hashes. Changes nothing.

A directory may be verified while a recorder writes there. The files of an open session grow, and its sidecar lags
behind: they are held against what they say themselves, and looked at again when something moved meanwhile.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from csv_recorder.offline.recordings import Recording, find, group_events
from neuroone.contract.files import (
    CLOSED,
    COLUMNS,
    EVENTS,
    HEADERS,
    INDEX,
    INDEX_COLUMNS,
    OPEN,
    RAW,
    READINGS,
    READINGS_COLUMNS,
    SCHEMA,
    SIDECAR,
    STUDENT_HEADER,
    Rows,
    checked_rows,
    student_rows,
)

LOOKS_MAX: Final = 3
"""At a session that changes while it is read: a recorder writes a session's files once a second."""
SHOWN_MAX: Final = 3
"""Line numbers in one sentence; the rest is counted."""
_VALID: Final = READINGS_COLUMNS.index("valid")
_SEQ: Final = READINGS_COLUMNS.index("seq")
_SESSION: Final = READINGS_COLUMNS.index("session")


@dataclass(slots=True)
class Verdict:
    """What is wrong with one file, and what is only worth knowing."""

    path: Path
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    torn_bytes: int = 0


@dataclass(slots=True)
class _Counted:
    """What the rows of a session's readings add up to."""

    seen: dict[bytes, set[int]] = field(default_factory=dict)
    last: dict[bytes, int] = field(default_factory=dict)
    rows: int = 0
    valid: int = 0
    unknown: int = 0

    @property
    def missing(self) -> int:
        """Readings that are not there, by seq, which begins at 0."""
        return sum(max(seqs) + 1 - len(seqs) for seqs in self.seen.values() if seqs)


def verdicts(paths: Iterable[Path], wait: Callable[[], object]) -> Iterator[Verdict]:
    """One verdict a file, of everything that is recorded there. ``wait`` passes the time until a second look.

    Raises SettingsError for a path that holds no recording.
    """
    places = list(paths)
    for recording in find(places):
        yield from _legacy(recording.path) if recording.is_legacy else _looked_at(recording, wait)
    directories = [each for each in places if each.is_dir()]
    for path in group_events(directories):
        yield _read(path, EVENTS)[0]
    for directory in directories:
        if (directory / INDEX).exists():
            yield _index(directory)


def repair(verdict: Verdict) -> int:
    """Cut off what stands behind the last whole line; returns how many bytes. Nothing else is touched."""
    if not verdict.torn_bytes:
        return 0
    with verdict.path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END) - verdict.torn_bytes
        file.truncate(end)
        os.fsync(file.fileno())
    return verdict.torn_bytes


def _looked_at(recording: Recording, wait: Callable[[], object]) -> list[Verdict]:
    """A session's verdicts; again when it changed while it was read, or when a row was perhaps just being written."""
    found: list[Verdict] = []
    for look in range(LOOKS_MAX):
        if look:
            wait()
            recording = find([recording.path])[0]
        before = _state(recording)
        found = _session(recording)
        if not any(each.faults for each in found):
            break
        if _state(recording) == before and not (recording.is_open and any(each.torn_bytes for each in found)):
            break
    return found


def _state(recording: Recording) -> dict[str, tuple[int, int]]:
    """Sizes and times of the files; not of hidden ones: a sidecar on its way is gone in a moment."""
    entries = [entry for entry in os.scandir(recording.path) if not entry.name.startswith(".")]
    return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries}


def _session(recording: Recording) -> list[Verdict]:
    listed = recording.about.get("files") or {}
    counted = _Counted()
    found = []
    rows_of = dict.fromkeys(COLUMNS, 0)
    for kind in COLUMNS:
        for path in recording.files(kind):
            verdict, rows, content = _read(path, kind)
            if path.name in listed:
                _hold_against(verdict, content, listed[path.name])
            elif not recording.is_open and not recording.fault:
                verdict.faults.append(f"is not named in {SIDECAR}")
            if kind == READINGS:
                _count(rows, counted, verdict)
            rows_of[kind] += len(rows.lines)
            found.append(verdict)
    return [_sidecar(recording, listed, counted, rows_of), *found]


def _sidecar(recording: Recording, listed: dict[str, Any], counted: _Counted, rows_of: dict[str, int]) -> Verdict:
    verdict = Verdict(recording.path / SIDECAR)
    if recording.fault:
        verdict.faults.append(recording.fault)
        return verdict
    about = recording.about
    if about.get("schema") != SCHEMA:
        verdict.faults.append(f"schema {about.get('schema')!r} is not known here")
    if about.get("status") not in (OPEN, CLOSED):
        verdict.faults.append("status is neither open nor closed")
    there = {path.name for kind in COLUMNS for path in recording.files(kind)}
    verdict.faults += [f"{name} is not there" for name in sorted(listed) if name not in there]
    if recording.is_open:
        verdict.notes.append("open")
    else:
        counts = about.get("counts") or {}
        actual = {
            "readings": counted.rows,
            "valid": counted.valid,
            "unknown": counted.unknown,
            "raw_blocks": rows_of[RAW],
            "events": rows_of[EVENTS],
        }
        verdict.faults += [
            f"counts {counts.get(key)!r} {key}, the files hold {value}"
            for key, value in actual.items()
            if counts.get(key) != value
        ]
        noted = counts.get("missing")
        if not isinstance(noted, int) or counted.missing > noted:
            verdict.faults.append(f"counts {noted!r} missing readings, in the files {counted.missing} are missing")
    if counted.missing:
        verdict.notes.append(f"{counted.missing} readings missing")
    return verdict


def _count(rows: Rows, counted: _Counted, verdict: Verdict) -> None:
    """Sequence and validity of the readings of one file, after those of the files before it."""
    doubles = late = 0
    for line in rows.lines:
        cells = _cells(line)
        if len(cells) != len(READINGS_COLUMNS) or not cells[_SEQ].isdigit():
            continue
        seq, session = int(cells[_SEQ]), cells[_SESSION]
        seen = counted.seen.setdefault(session, set())
        if seq in seen:
            doubles += 1
        seen.add(seq)
        last = counted.last.get(session, -1)
        late += seq < last
        counted.last[session] = max(seq, last)
        counted.valid += cells[_VALID] == b"1"
        counted.unknown += cells[_VALID] == b""
    counted.rows += len(rows.lines)
    if doubles:
        verdict.faults.append(f"{doubles} readings stand there twice")
    if late:
        verdict.notes.append(f"{late} rows late")


def _hold_against(verdict: Verdict, content: bytes, noted: Any) -> None:
    noted = noted if isinstance(noted, dict) else {}
    if noted.get("bytes") != len(content):
        verdict.faults.append(f"has {len(content)} bytes, {SIDECAR} says {noted.get('bytes')!r}")
    elif noted.get("sha256") != hashlib.sha256(content).hexdigest():
        verdict.faults.append("sha256 differs: something in it was changed")
    rows = max(0, content.count(b"\n") - 1)
    if noted.get("rows") != rows:
        verdict.faults.append(f"has {rows} rows, {SIDECAR} says {noted.get('rows')!r}")


def _read(path: Path, kind: str) -> tuple[Verdict, Rows, bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Verdict(path, [f"cannot be read ({error.strerror})"]), Rows(b"", [], [], 0), b""
    rows = checked_rows(content)
    verdict = Verdict(path, rows=len(rows.lines), torn_bytes=rows.torn_bytes)
    _judge_rows(verdict, rows, HEADERS[kind].rstrip(b"\n"), "does not match its row check")
    columns = len(COLUMNS[kind])
    if odd := sum(len(_cells(line)) != columns for line in rows.lines):
        verdict.faults.append(f"{odd} rows do not have {columns} columns")
    return verdict, rows, content


def _legacy(path: Path) -> Iterator[Verdict]:
    try:
        rows = student_rows(path.read_bytes())
    except OSError as error:
        yield Verdict(path, [f"cannot be read ({error.strerror})"])
        return
    verdict = Verdict(path, rows=len(rows.lines), torn_bytes=rows.torn_bytes)
    _judge_rows(verdict, rows, STUDENT_HEADER.rstrip(b"\n"), "is not ten whole numbers")
    yield verdict


def _judge_rows(verdict: Verdict, rows: Rows, header: bytes, fault: str) -> None:
    if rows.header != header:
        verdict.faults.append("the header is not there" if not rows.header else "the header is another")
    if rows.faulty:
        shown = ", ".join(map(str, rows.faulty[:SHOWN_MAX]))
        more = f" and {len(rows.faulty) - SHOWN_MAX} more" if len(rows.faulty) > SHOWN_MAX else ""
        verdict.faults.append(f"line {shown}{more} {fault}")
    if rows.torn_bytes:
        verdict.faults.append(f"torn tail of {rows.torn_bytes} bytes (--repair cuts it off)")


def _index(directory: Path) -> Verdict:
    verdict = Verdict(directory / INDEX)
    try:
        with verdict.path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
    except (OSError, csv.Error, ValueError) as error:
        verdict.faults.append(f"cannot be read ({error})")
        return verdict
    verdict.rows = len(rows)
    if tuple(head) != INDEX_COLUMNS:
        verdict.faults.append("the header is another")
    if odd := sum(len(row) != 2 for row in rows):
        verdict.faults.append(f"{odd} rows do not have 2 columns")
    if gone := sum(len(row) == 2 and not (directory / row[1]).exists() for row in rows):
        verdict.faults.append(f"{gone} of the files that it names are not there")
    return verdict


def _cells(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [cell.encode() for cell in next(csv.reader([line.decode("utf-8", "replace")]))]
    except csv.Error:
        return []
