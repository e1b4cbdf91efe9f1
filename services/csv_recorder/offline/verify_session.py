"""Check the files of one session, and single files: what is wrong with each."""

import csv
import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from csv_recorder.offline.known import KnownSession
from neuroone.contract import files
from neuroone.contract.files import COLUMNS, PART, RAW, READINGS, SIDECAR, Rows, part_name
from neuroone.data.recordings import Recording

SHOWN_MAX: Final = 3
"""Line numbers in one sentence; more are counted."""
_COUNTS: Final = {READINGS: "readings", files.RAW: "raw_blocks", files.EVENTS: "events"}
"""What the sidecar calls the number of rows of a kind."""
_VALID: Final = COLUMNS[READINGS].index("valid")
_SEQ: Final = COLUMNS[READINGS].index("seq")
_SESSION: Final = COLUMNS[READINGS].index("session")
_SAME: Final = ("kind", "name", "code", "start")
"""What sidecar and inbox say of a session, and never changes."""


@dataclass(slots=True)
class Verdict:
    """The faults of one file, and what is only worth knowing; ``is_mentioned`` if people should know in any case."""

    path: Path
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    torn_bytes: int = 0
    is_mentioned: bool = False

    def expect(self, is_so: bool, fault: str) -> None:
        """Add a fault unless something is so."""
        if not is_so:
            self.faults.append(fault)


@dataclass(slots=True)
class _Counted:
    """The sums over the rows of a session. ``session`` is the only one whose rows may be there."""

    session: bytes | None
    seen: set[int] = field(default_factory=set)
    last: int = -1
    counts: Counter[str] = field(default_factory=Counter)
    """By their names in the sidecar."""

    @property
    def missing(self) -> int:
        """Count the readings that are missing by their seq, which begins at 0."""
        return max(self.seen, default=-1) + 1 - len(self.seen)


def check_session(recording: Recording, known: KnownSession | None, *, is_current: Callable[[], bool]) -> list[Verdict]:
    """Check the files of a session. ``is_current`` tells if what is ``known`` of it is still all there is to know."""
    about = recording.about
    session = about.get("session") if known is None else known.session.session
    counted = _Counted(None if session is None else files.cell(str(session)).encode())
    growing = set() if known is None else known.growing
    is_reopened = known is not None and known.session.open and not recording.is_open
    listed = about.get("files") or {}
    found, readings = [], []
    for kind in COLUMNS:
        for path in recording.files(kind):
            size = None if known is None else known.sizes.get(path.name)
            grows = path.name in growing
            is_mended = known is not None and known.rows_wait
            verdict, rows, content = read_file(path, kind, size, grows=grows, is_mended=is_mended)
            if path.name in listed:
                _compare(verdict, content, listed[path.name], may_grow=grows or is_reopened)
            else:
                is_open = recording.is_open or (known is not None and known.session.open)
                verdict.expect(is_open or bool(recording.fault), f"is not named in {SIDECAR}")
            _count(rows, kind, counted, verdict)
            counted.counts[_COUNTS[kind]] += len(rows.lines)
            found.append(verdict)
            readings += [verdict] if kind == READINGS else []
    sidecar = _sidecar(recording, known, counted, {each.path.name for each in found})
    if known is not None:
        if not recording.fault:
            sidecar.faults += _compare_identity(about, known)
        _compare_readings(known, counted, readings or [sidecar], sidecar, is_current)
    return [sidecar, *found]


def read_file(
    path: Path, kind: str | None = None, synced_bytes: int | None = None, *, grows: bool = True, is_mended: bool = False
) -> tuple[Verdict, Rows, bytes]:
    """Read and check a session's file of a kind, or a ``{Nome}.csv``, whose rows have no check.

    ``synced_bytes`` of it are finished. If it ``grows``, the recorder mends what a crash left behind them when it
    starts, and if ``is_mended``, whatever stands there.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return Verdict(path, [f"cannot be read ({error.strerror})"]), Rows(b"", [], [], 0), b""
    rows = files.checked_rows(content) if kind else files.student_rows(content)
    header, columns = (files.HEADERS[kind], COLUMNS[kind]) if kind else (files.STUDENT_HEADER, files.VALUES)
    verdict = Verdict(path, rows=len(rows.lines), torn_bytes=rows.torn_bytes)
    mended_from = _mended_from(content, synced_bytes if grows else None, is_mended=is_mended)
    last_line = content.count(b"\n") + bool(rows.torn_bytes)
    if synced_bytes is not None and len(content) < synced_bytes:
        verdict.faults.append(f"is cut off behind line {last_line}: {synced_bytes - len(content)} bytes are not there")
    if rows.header + b"\n" != header and mended_from > 1:
        verdict.faults.append("the header is missing" if not rows.header else "the header is another")
    mended = bisect_left(rows.faulty, mended_from)
    if rows.faulty[:mended]:
        fault = "does not match its row check" if kind else "is not ten whole numbers"
        verdict.faults.append(f"{_lines(rows.faulty[:mended])} {fault}")
    if rows.torn_bytes and last_line < mended_from:
        verdict.faults.append(f"torn tail of {rows.torn_bytes} bytes (--repair cuts it off)")
    elif rows.torn_bytes or rows.faulty[mended:]:
        verdict.notes.append(
            f"line {[*rows.faulty[mended:], last_line][0]} is unfinished: the recorder writes it again"
        )
    odd = [number for number, line in _numbered(rows) if not _has_cells(line, len(columns))]
    verdict.expect(not odd, f"{len(odd)} rows do not have {len(columns)} columns ({_lines(odd)})")
    return verdict, rows, content


def _mended_from(content: bytes, synced_bytes: int | None, *, is_mended: bool) -> int:
    """Return the number of the first line that the recorder mends when it starts; beyond the file if there is none."""
    if synced_bytes is None or synced_bytes < 0:
        return content.count(b"\n") + 2
    tail = content[synced_bytes:]
    if not is_mended and b"\0" not in tail and _is_text(tail):
        return content.count(b"\n") + 2
    return content[:synced_bytes].count(b"\n") + 1


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _sidecar(recording: Recording, known: KnownSession | None, counted: _Counted, present: Collection[str]) -> Verdict:
    verdict, about = Verdict(recording.path / SIDECAR), recording.about
    is_open = recording.is_open if known is None else known.session.open
    expected = {*(about.get("files") or {}), *_parts_before(present)}
    if known is not None:
        expected |= {name for name, size in known.sizes.items() if size > 0}
    verdict.faults += [f"{name} is not there" for name in sorted(expected.difference(present))]
    if recording.fault and not (known is not None and is_open and not verdict.path.exists()):
        verdict.faults.insert(0, recording.fault)
        return verdict
    if recording.fault:
        verdict.notes.append("not written yet")
        return verdict
    verdict.expect(about.get("schema") == files.SCHEMA, f"schema {about.get('schema')!r} is not known here")
    verdict.expect(about.get("status") in (files.OPEN, files.CLOSED), "status is neither open nor closed")
    counts = about.get("counts") or {}
    for key in ("readings", "valid", "unknown", "raw_blocks", "events"):
        noted, actual = counts.get(key), counted.counts[key]
        if not is_open:
            verdict.expect(noted == actual, f"counts {noted!r} {key}, the files hold {actual}")
        elif known is not None and key != "readings":  # of an open session it counts what is in the inbox too
            is_less = isinstance(noted, int) and noted <= actual
            verdict.expect(is_less, f"counts {noted!r} {key}, the files hold {actual}")
    if is_open:
        verdict.notes.append("open")
    else:
        noted, elsewhere = counts.get("missing"), counts.get("elsewhere", 0)
        is_noted = isinstance(noted, int) and isinstance(elsewhere, int) and counted.missing <= noted + elsewhere
        verdict.expect(is_noted, f"counts {noted!r} missing readings, in the files {counted.missing} are missing")
    if counted.missing:
        verdict.notes.append(f"{counted.missing} readings missing")
    return verdict


def _parts_before(present: Iterable[str]) -> Iterator[str]:
    """Yield the names of the parts that come before those that are there."""
    for name in present:
        found = PART.match(name)
        if found and found[2]:
            yield from (part_name(found[1], number) for number in range(1, int(found[2])))


def _compare_readings(
    known: KnownSession, counted: _Counted, readings: list[Verdict], sidecar: Verdict, is_current: Callable[[], bool]
) -> None:
    """Compare the readings in the files with those that the inbox has accepted."""
    gone, surplus, first = known.difference(counted.seen)
    if gone:
        place, where = _place_of(first, readings)
        which = "" if first is None else f", the first with seq {first}"
        place.faults.append(f"{gone} readings that were recorded are not there{which}{where}")
    if surplus and is_current():
        readings[-1].faults.append(f"{surplus} readings are there that the recorder did not record")
    if known.waiting.difference(counted.seen):
        sidecar.notes.append(f"{len(known.waiting.difference(counted.seen))} readings wait in the inbox")


def _place_of(seq: int | None, readings: list[Verdict]) -> tuple[Verdict, str]:
    """Return the file that lacks a reading, and before which line."""
    if seq is not None:
        for verdict in readings:
            try:
                rows = files.checked_rows(verdict.path.read_bytes())
            except OSError:
                continue
            for number, line in _numbered(rows):
                cells = _cells(line)
                if len(cells) == len(COLUMNS[READINGS]) and cells[_SEQ].isdigit() and int(cells[_SEQ]) > seq:
                    return verdict, f", before line {number}"
    return readings[-1], ""


def _compare_identity(about: Mapping[str, Any], known: KnownSession) -> Iterator[str]:
    """Yield what a sidecar says of a session that the inbox denies."""
    group, _, source = known.session.stream.partition("/")
    expected: dict[str, Any] = {"group": group, "source": source, "session": known.session.session}
    if known.session.about is not None:
        expected |= {key: getattr(known.session.about, key) for key in _SAME}
    for key, value in expected.items():
        if about.get(key) != value:
            yield f"{key} is not what was recorded"


def _count(rows: Rows, kind: str, counted: _Counted, verdict: Verdict) -> None:
    """Count the rows of one file, after those of the files before it."""
    if kind not in (READINGS, RAW):
        return
    doubles, foreign, late = [], [], 0
    columns, session, seen, counts = len(COLUMNS[kind]), counted.session, counted.seen, counted.counts
    for number, line in _numbered(rows):
        cells = _cells(line)
        if len(cells) != columns or not cells[_SEQ].isdigit():
            continue
        if cells[_SESSION] != session and session is not None:
            if not line.partition(b",")[2].startswith(session + b","):  # a session with a comma is in quotes
                foreign.append(number)
                continue
        if kind == RAW:
            continue
        seq = int(cells[_SEQ])
        if seq in seen:
            doubles.append(number)
        seen.add(seq)
        late += seq < counted.last
        counted.last = max(seq, counted.last)
        counts["valid"] += cells[_VALID] == b"1"
        counts["unknown"] += cells[_VALID] == b""
    verdict.expect(not foreign, f"{len(foreign)} rows are of another session ({_lines(foreign)})")
    verdict.expect(not doubles, f"{len(doubles)} readings are there twice ({_lines(doubles)})")
    if late:
        verdict.notes.append(f"{late} rows late")


def _compare(verdict: Verdict, content: bytes, noted: Any, *, may_grow: bool) -> None:
    """Compare a file with what its sidecar says about it; of one that ``may_grow``, its beginning."""
    noted = noted if isinstance(noted, dict) else {}
    if may_grow and isinstance(noted.get("bytes"), int):
        content = content[: noted["bytes"]]
    if noted.get("bytes") != len(content):
        verdict.faults.append(f"has {len(content)} bytes, {SIDECAR} says {noted.get('bytes')!r}")
    elif noted.get("sha256") != hashlib.sha256(content).hexdigest():
        verdict.faults.append("sha256 differs: something in it was changed")
    rows = max(0, content.count(b"\n") - 1)
    verdict.expect(noted.get("rows") == rows, f"has {rows} rows, {SIDECAR} says {noted.get('rows')!r}")


def _numbered(rows: Rows) -> Iterator[tuple[int, bytes]]:
    """Yield the good rows with their line numbers."""
    if not rows.faulty:
        yield from enumerate(rows.lines, 2)
        return
    faulty, number = set(rows.faulty), 1
    for line in rows.lines:
        number += 1
        while number in faulty:
            number += 1
        yield number, line


def _lines(numbers: list[int]) -> str:
    """Name lines by their numbers, and count those beyond a few."""
    more = f" and {len(numbers) - SHOWN_MAX} more" if len(numbers) > SHOWN_MAX else ""
    return f"line {', '.join(map(str, numbers[:SHOWN_MAX]))}{more}"


def _has_cells(line: bytes, number: int) -> bool:
    return line.count(b",") == number - 1 if b'"' not in line else len(_cells(line)) == number


def _cells(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [cell.encode() for cell in next(csv.reader([line.decode("utf-8", "replace")]))]
    except csv.Error:
        return []
