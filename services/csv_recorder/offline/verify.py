"""Checks recorded files: row checks, columns, counts, sequence and hashes. Changes nothing.

A recorder may write to the directory meanwhile. The files of an open session grow and its sidecar is older, so they are
checked by themselves, and read again if they changed in between.
"""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from csv_recorder.offline.recordings import Recording, find, group_events
from neuroone.contract import files
from neuroone.contract.files import COLUMNS, INDEX, READINGS, SIDECAR, Rows

LOOKS_MAX: Final = 3
"""Reads of a session that changes meanwhile: a recorder writes its files once a second."""
SHOWN_MAX: Final = 3
"""Line numbers in one sentence; more are counted."""
_COUNTS: Final = {READINGS: "readings", files.RAW: "raw_blocks", files.EVENTS: "events"}
"""What the sidecar calls the number of rows of a kind."""
_VALID: Final = COLUMNS[READINGS].index("valid")
_SEQ: Final = COLUMNS[READINGS].index("seq")
_SESSION: Final = COLUMNS[READINGS].index("session")


@dataclass(slots=True)
class Verdict:
    """The faults of one file, and what is only worth knowing."""

    path: Path
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    torn_bytes: int = 0

    def expect(self, is_so: bool, fault: str) -> None:
        """Add a fault unless something is so."""
        if not is_so:
            self.faults.append(fault)


@dataclass(slots=True)
class _Counted:
    """The sums over the rows of a session's readings."""

    seen: dict[bytes, set[int]] = field(default_factory=dict)
    last: dict[bytes, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """By their names in the sidecar."""

    @property
    def missing(self) -> int:
        """Count the readings that are missing by their seq, which begins at 0."""
        return sum(max(seqs) + 1 - len(seqs) for seqs in self.seen.values())


def verdicts(paths: Iterable[Path], wait: Callable[[], object]) -> Iterator[Verdict]:
    """Yield a verdict on each recorded file. ``wait`` passes the time before a second look.

    Raises SettingsError for a path without a recording.
    """
    places = list(paths)
    for recording in find(places):
        yield from [_read(recording.path)[0]] if recording.is_legacy else _settled(recording, wait)
    directories = [each for each in places if each.is_dir()]
    for path in group_events(directories):
        yield _read(path, files.EVENTS)[0]
    for directory in directories:
        if (directory / INDEX).exists():
            yield _index(directory)


def repair(verdict: Verdict) -> int:
    """Cut off what stands behind the last whole line; return the number of bytes."""
    if not verdict.torn_bytes:
        return 0
    with verdict.path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END) - verdict.torn_bytes
        file.truncate(end)
        os.fsync(file.fileno())
    return verdict.torn_bytes


def _settled(recording: Recording, wait: Callable[[], object]) -> list[Verdict]:
    """Check a session; again if it changed while it was read, or if a recorder may be writing a row."""
    found: list[Verdict] = []
    for look in range(LOOKS_MAX):
        if look:
            wait()
            recording = find([recording.path])[0]
        before = _sizes_and_times(recording)
        found = _session(recording)
        if not any(each.faults for each in found):
            break
        if _sizes_and_times(recording) == before and not (recording.is_open and any(each.torn_bytes for each in found)):
            break
    return found


def _sizes_and_times(recording: Recording) -> dict[str, tuple[int, int]]:
    """Return sizes and times of the files, without hidden ones: a new sidecar has a hidden name for a moment."""
    entries = [entry for entry in os.scandir(recording.path) if not entry.name.startswith(".")]
    return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries}


def _session(recording: Recording) -> list[Verdict]:
    listed = recording.about.get("files") or {}
    counted = _Counted()
    found = []
    for kind in COLUMNS:
        for path in recording.files(kind):
            verdict, rows, content = _read(path, kind)
            if path.name in listed:
                _compare(verdict, content, listed[path.name])
            else:
                verdict.expect(recording.is_open or bool(recording.fault), f"is not named in {SIDECAR}")
            if kind == READINGS:
                _count(rows, counted, verdict)
            counted.counts[_COUNTS[kind]] += len(rows.lines)
            found.append(verdict)
    return [_sidecar(recording, listed, counted, {each.path.name for each in found}), *found]


def _sidecar(recording: Recording, listed: dict[str, Any], counted: _Counted, present: set[str]) -> Verdict:
    verdict = Verdict(recording.path / SIDECAR)
    if recording.fault:
        verdict.faults.append(recording.fault)
        return verdict
    about = recording.about
    verdict.expect(about.get("schema") == files.SCHEMA, f"schema {about.get('schema')!r} is not known here")
    verdict.expect(about.get("status") in (files.OPEN, files.CLOSED), "status is neither open nor closed")
    verdict.faults += [f"{name} is not there" for name in sorted(listed) if name not in present]
    if recording.is_open:
        verdict.notes.append("open")
    else:
        counts = about.get("counts") or {}
        for key in ("readings", "valid", "unknown", "raw_blocks", "events"):
            noted, actual = counts.get(key), counted.counts[key]
            verdict.expect(noted == actual, f"counts {noted!r} {key}, the files hold {actual}")
        noted = counts.get("missing")
        is_noted = isinstance(noted, int) and counted.missing <= noted
        verdict.expect(is_noted, f"counts {noted!r} missing readings, in the files {counted.missing} are missing")
    if counted.missing:
        verdict.notes.append(f"{counted.missing} readings missing")
    return verdict


def _count(rows: Rows, counted: _Counted, verdict: Verdict) -> None:
    """Count sequence and validity of the readings of one file, after those of the files before it."""
    doubles = late = 0
    columns = len(COLUMNS[READINGS])
    for line in rows.lines:
        cells = _cells(line)
        if len(cells) != columns or not cells[_SEQ].isdigit():
            continue
        seq, session = int(cells[_SEQ]), cells[_SESSION]
        seen = counted.seen.setdefault(session, set())
        doubles += seq in seen
        seen.add(seq)
        last = counted.last.get(session, -1)
        late += seq < last
        counted.last[session] = max(seq, last)
        counted.counts["valid"] += cells[_VALID] == b"1"
        counted.counts["unknown"] += cells[_VALID] == b""
    verdict.expect(not doubles, f"{doubles} readings are there twice")
    if late:
        verdict.notes.append(f"{late} rows late")


def _compare(verdict: Verdict, content: bytes, noted: Any) -> None:
    """Compare a file with what its sidecar says about it."""
    noted = noted if isinstance(noted, dict) else {}
    if noted.get("bytes") != len(content):
        verdict.faults.append(f"has {len(content)} bytes, {SIDECAR} says {noted.get('bytes')!r}")
    elif noted.get("sha256") != hashlib.sha256(content).hexdigest():
        verdict.faults.append("sha256 differs: something in it was changed")
    rows = max(0, content.count(b"\n") - 1)
    verdict.expect(noted.get("rows") == rows, f"has {rows} rows, {SIDECAR} says {noted.get('rows')!r}")


def _read(path: Path, kind: str | None = None) -> tuple[Verdict, Rows, bytes]:
    """Read and check a session's file of a kind, or a ``{Nome}.csv``, whose rows have no check."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Verdict(path, [f"cannot be read ({error.strerror})"]), Rows(b"", [], [], 0), b""
    rows = files.checked_rows(content) if kind else files.student_rows(content)
    header, columns = (files.HEADERS[kind], COLUMNS[kind]) if kind else (files.STUDENT_HEADER, files.VALUES)
    verdict = Verdict(path, rows=len(rows.lines), torn_bytes=rows.torn_bytes)
    if rows.header + b"\n" != header:
        verdict.faults.append("the header is missing" if not rows.header else "the header is another")
    if rows.faulty:
        shown = ", ".join(map(str, rows.faulty[:SHOWN_MAX]))
        more = f" and {len(rows.faulty) - SHOWN_MAX} more" if len(rows.faulty) > SHOWN_MAX else ""
        fault = "does not match its row check" if kind else "is not ten whole numbers"
        verdict.faults.append(f"line {shown}{more} {fault}")
    verdict.expect(not rows.torn_bytes, f"torn tail of {rows.torn_bytes} bytes (--repair cuts it off)")
    odd = sum(len(_cells(line)) != len(columns) for line in rows.lines)
    verdict.expect(not odd, f"{odd} rows do not have {len(columns)} columns")
    return verdict, rows, content


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


def _cells(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [cell.encode() for cell in next(csv.reader([line.decode("utf-8", "replace")]))]
    except csv.Error:
        return []
