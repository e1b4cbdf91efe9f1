"""A lesson whose every row is known: students who send, leave and come back, and a check of what was recorded."""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from neuroone.contract import topics
from neuroone.contract.files import HEADERS, READINGS, STUDENT_HEADER, reading_row, student_row
from neuroone.contract.messages import GroupEvent, Kind, Reading, Recorded, StreamStatus
from neuroone.contract.topics import id_from_text
from neuroone.mqtt.packets import Publish
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.messages import NOON, reading, stream_state
from tests.support.mqtt_tap import content_of

GROUPS = ("ABC123", "6B", "Física-2")
EXAMPLES_MAX = 8
NAMES = ("Aluno", "José da Silva", "N" * 170, "a/b:c", "Ünï")


class Row(NamedTuple):
    """Which reading a row is: the student's session, counted from 0, and the seq in it."""

    student: int
    run: int
    seq: int


class Student:
    """One student, who has one session after another."""

    def __init__(self, number: int, name: str | None = None) -> None:
        self.number = number
        self.code = GROUPS[number % len(GROUPS)]
        self.name = f"{name or NAMES[number % len(NAMES)]} {number}"
        self.group, self.source = id_from_text(self.code), id_from_text(self.name)
        self.run = self.seq = 0

    @property
    def session(self) -> str:
        """Return the id of the session that runs."""
        return f"s{self.number}-{self.run}"

    def reading(self, row: Row) -> Reading:
        """Return a reading whose row in either file tells which it is."""
        time = NOON + timedelta(hours=row.run, seconds=row.seq)
        return reading(
            name=self.name,
            code=self.code,
            session=f"s{row.student}-{row.run}",
            seq=row.seq,
            time=time,
            delta=row.seq,
            theta=self.number,
            low_alpha=row.run,
        )


class LiveLesson:
    """The students, and what they have sent. ``publish_turn`` sends one reading of each."""

    def __init__(self, bus: ThreadedClient, students: int, rng: random.Random) -> None:
        self.students = [Student(number) for number in range(students)]
        self.rows: dict[bytes, Row] = {}
        self.student_rows: dict[bytes, Row] = {}
        self.markers: list[tuple[str, str]] = []
        self.turns = 0
        self._bus = bus
        self._rng = rng

    def publish_turn(self, *, restless: bool = True) -> None:
        """Send a reading of each student; if they are restless some leave, and come back with an old or new session."""
        for student in self.students:
            if restless and self._rng.random() < 0.02:
                self.leave(student, comes_back_anew=self._rng.random() < 0.5)
            row = Row(student.number, student.run, student.seq)
            message = student.reading(row)
            self.rows[reading_row(message)] = self.student_rows[student_row(message)] = row
            assert self._bus.publish(topics.reading("local", student.group, student.source), message)
            student.seq += 1
        self.turns += 1
        if self._rng.random() < 0.1:
            self.mark(self._rng.choice(GROUPS))

    def join(self, name: str) -> Student:
        """Let another student come, whose name begins with this."""
        student = Student(len(self.students), name)
        self.students.append(student)
        return student

    def mark(self, code: str) -> None:
        """Send a marker of a group."""
        marker = f"marker-{len(self.markers)}"
        self.markers.append((id_from_text(code), marker))
        event = GroupEvent(id=marker, time=NOON, type="marker", text=marker, source=None)  # type: ignore[arg-type]
        assert self._bus.publish(topics.event("local", id_from_text(code)), event)

    def leave(self, student: Student, *, comes_back_anew: bool) -> None:
        """Let a student leave; what comes next is of a new session or of the old one."""
        state = stream_state(
            status=StreamStatus.OFFLINE, session=student.session, kind=Kind.CLIENT, name=student.name, code=student.code
        )
        assert self._bus.publish(topics.stream_state("local", student.group, student.source), state)
        if comes_back_anew:
            student.run, student.seq = student.run + 1, 0

    def sent(self, of: Callable[[Student], bool] = lambda student: True) -> set[Row]:
        """Return the readings that these students have sent so far."""
        numbers = {student.number for student in self.students if of(student)}
        return {row for row in list(self.rows.values()) if row.student in numbers}


class Load(threading.Thread):
    """Publishes turns of a lesson, so many a second, until told to end."""

    def __init__(self, lesson: LiveLesson, turns_per_s: float, *, restless: bool = True) -> None:
        super().__init__(daemon=True)
        self._lesson = lesson
        self._period_s = 1 / turns_per_s
        self._restless = restless
        self._end = threading.Event()

    def run(self) -> None:
        """Publish until the end."""
        due_s = time.monotonic()
        while not self._end.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._period_s, time.monotonic() - 1)
            self._lesson.publish_turn(restless=self._restless)

    def end(self) -> None:
        """Stop publishing."""
        self._end.set()
        self.join()


def rows_in(messages: Iterable[Publish]) -> set[Row]:
    """Return which readings are among messages."""
    found = set()
    for message in messages:
        if message.topic.endswith("/reading"):
            content = json.loads(message.payload)
            found.add(_row(content["session"], content["seq"]))
    return found


def markers_in(messages: Iterable[Publish]) -> set[str]:
    """Return which markers are among messages."""
    return {json.loads(each.payload)["id"] for each in messages if each.topic.endswith("/event")}


def rows_of_receipts(messages: Iterable[Publish]) -> set[Row]:
    """Return the readings that receipts say are recorded."""
    ends: dict[str, int] = {}
    for message in messages:
        if message.topic.endswith("/recorded"):
            recorded = content_of(message)
            assert isinstance(recorded, Recorded)
            for each in recorded.streams:
                end = each.missing[0].first if each.missing else each.seq + 1
                ends[each.session] = max(end, ends.get(each.session, 0))
    return {_row(session, seq) for session, end in ends.items() for seq in range(end)}


def _row(session: str, seq: int) -> Row:
    student, _, run = session.removeprefix("s").partition("-")
    return Row(int(student), int(run), seq)


@dataclass
class Findings:
    """What is wrong with recorded files, counted, with a few examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    missing_of_students: set[Row] = field(default_factory=set)

    def add(self, what: str, example: object = "", count: int = 1) -> None:
        """Count something that is wrong."""
        if count:
            self.counts[what] += count
            if len(self.examples) < EXAMPLES_MAX:
                self.examples.append(f"{what}: {example}")

    def include(self, other: "Findings") -> None:
        """Add what another look has found."""
        self.counts.update(other.counts)
        self.examples += other.examples[: EXAMPLES_MAX - len(self.examples)]

    def __bool__(self) -> bool:
        return any(self.counts.values())

    def __str__(self) -> str:
        return " ".join(f"{what}={count}" for what, count in sorted(self.counts.items())) or "nothing wrong"


@dataclass
class _Recorded:
    """The rows of one kind of file, by the file."""

    by_file: dict[Path, list[Row]] = field(default_factory=lambda: defaultdict(list))
    foreign_in_place: int = 0

    def all(self) -> Counter[Row]:
        """Count every row."""
        return Counter(row for rows in self.by_file.values() for row in rows)


def check(
    directory: Path,
    lesson: LiveLesson,
    promised: set[Row],
    markers: Iterable[str] = (),
    foreign: dict[str, list[bytes]] | None = None,
    *,
    is_ordered: bool = True,
) -> Findings:
    """Compare recorded files with a lesson: ``promised`` rows are there, and every row is once, whole and in order.

    Readings that a broker sends again come after newer ones: then a session's file, which has the seq, ``is_ordered``
    no more; the student's file always is.
    """
    found = Findings()
    foreign = foreign or {}
    sessions = _read(
        sorted(directory.glob("sessions/*/*/readings*.csv"), key=lambda each: (each.parent, len(each.name), each.name)),
        directory, HEADERS[READINGS], lesson.rows, foreign, found,
    )  # fmt: skip
    in_sessions = sessions.all()
    _compare(in_sessions, promised, "", found)
    order: dict[tuple[Path, int, int], int] = {}
    for path, rows in sessions.by_file.items():
        for student, run, seq in rows:
            if is_ordered and seq < order.get((path.parent, student, run), -1):
                found.add("disordered", path)
            order[path.parent, student, run] = seq
    for name, lines in foreign.items():
        _check_foreign(directory / name, lines, found)
    _check_markers(directory, lesson, set(markers), found)
    paths = [each for each in sorted(directory.glob("*.csv")) if each.name != "names.csv"]
    students = _read(paths, directory, STUDENT_HEADER, lesson.student_rows, foreign, found)
    found.missing_of_students = set(in_sessions) - set(students.all())
    _compare(students.all(), set(in_sessions), "student ", found)
    for path, rows in students.by_file.items():
        found.add("student disordered", path.name, int(rows != sorted(rows)))
    return found


def _compare(there: Counter[Row], promised: set[Row], prefix: str, found: Findings) -> None:
    missing = promised - there.keys()
    if missing:
        found.add(f"{prefix}missing", sorted(missing)[:5], len(missing))
    doubled = [row for row, count in there.items() if count > 1]
    if doubled:
        found.add(f"{prefix}doubled", doubled[:5], len(doubled))
    unknown = there.keys() - promised if prefix else set()
    if unknown:
        found.add(f"{prefix}alone", sorted(unknown)[:5], len(unknown))


def _read(
    paths: Iterable[Path],
    directory: Path,
    header: bytes,
    known: dict[bytes, Row],
    foreign: dict[str, list[bytes]],
    found: Findings,
) -> _Recorded:
    recorded = _Recorded()
    for path in paths:
        content = path.read_bytes()
        name = str(path.relative_to(directory))
        found.add("NULs", name, content.count(b"\0"))
        found.add("torn", name, int(bool(content) and not content.endswith(b"\n")))
        if content and not content.startswith(header):
            found.add("no header", name)
        for line in content.removeprefix(header).split(b"\n")[:-1]:
            row = known.get(line + b"\n")
            if row is not None:
                recorded.by_file[path].append(row)
            elif any(each in line for each in foreign.get(name, ())) or (not line and name in foreign):
                recorded.foreign_in_place += 1
            else:
                found.add("strange", f"{name}: {line[:80]!r}")
    return recorded


def _check_foreign(path: Path, lines: list[bytes], found: Findings) -> None:
    beside = path.with_name(path.name + ".appended-by-hand")
    kept = b"".join(each.read_bytes() for each in (path, beside) if each.exists())
    for line in lines:
        count = kept.count(line)
        if count != 1:
            found.add("foreign line " + ("gone" if not count else "doubled"), f"{path.name} {line!r}")


def _check_markers(directory: Path, lesson: LiveLesson, promised: set[str], found: Findings) -> None:
    in_groups = Counter(_events(directory.glob("sessions/*/events_*.csv")))
    for _, marker in lesson.markers:
        count = in_groups[marker]
        found.add("marker doubled", marker, int(count > 1))
        found.add("marker missing", marker, int(not count and marker in promised))
    for folder in directory.glob("sessions/*/*"):
        if folder.is_dir():
            of_session = Counter(_events(folder.glob("events*.csv")))
            found.add("marker doubled in a session", folder.name, sum(count > 1 for count in of_session.values()))


def _events(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        for line in path.read_bytes().split(b"\n"):
            cells = line.split(b",")
            if len(cells) == 6 and cells[1] == b"marker":
                yield cells[4].decode()
