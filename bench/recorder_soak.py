"""Record a day of lessons in a few minutes, and see whether memory, open files and the inbox stay as they are.

    python -m bench.recorder_soak [--students N] [--hours H] [--dir DIR]

The recorder itself, without a network, gets one reading a second from every student, with its clock running as fast as
it can. Every hour has two lessons of 25 minutes with new sessions, and a student in ten comes again with a new
session. Files are synced every 30 s and closed as in the service. Prints a line an hour, and ends with exit code 1 if
memory, handles or inbox grew in the second half by more than a tenth, or the files lack a row or have one too many.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from csv_recorder.live.recorder import Recorder
from neuroone.contract import topics
from neuroone.contract.files import INBOX_FILE
from neuroone.contract.json import encode
from neuroone.contract.messages import StreamStatus
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import reading, stream_state

LESSON_S = 25 * 60
PERIOD_S = 30 * 60
SETTLE_S = 30
AGAIN = 10
"""One student in so many loses the connection in the middle of each lesson, and comes again with a new session."""


class Clock:
    """A steady clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def second(begin: datetime, at_s: int, students: int) -> Iterator[Delivery]:
    """Yield what all students send in one second."""
    lesson, in_lesson_s = divmod(at_s, PERIOD_S)
    if in_lesson_s > LESSON_S:
        return
    now = begin + timedelta(seconds=at_s)
    for student in range(students):
        source, again = f"Aluno-{student}", student % AGAIN == 0 and in_lesson_s >= LESSON_S // 2
        first_s = LESSON_S // 2 if again else 0
        session = f"{lesson}-{student}-{int(again)}"
        if in_lesson_s < LESSON_S:
            message = reading(
                name=f"Aluno {student}", session=session, seq=in_lesson_s - first_s, time=now, delta=in_lesson_s
            )
            yield Delivery(str(topics.reading("local", "ABC123", source)), encode(message), False, 1, 1)
        else:
            ended = stream_state(status=StreamStatus.OFFLINE, session=session, time=now)
            yield Delivery(str(topics.stream_state("local", "ABC123", source)), encode(ended), False, 1, 1)


def rows_in(folder: Path, pattern: str) -> int:
    """Return how many rows these files have, without their headers."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in folder.glob(pattern))


def main() -> int:
    """Run the hours and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--dir", type=Path)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return run(folder, given.students, given.hours)


def run(folder: Path, students: int, hours: int) -> int:
    """Record into a folder; return the exit code."""
    clock, process, begin = Clock(), psutil.Process(), datetime(2026, 11, 26, tzinfo=UTC)
    recorder = Recorder(folder, now=lambda: begin + timedelta(seconds=clock.now_s), steady=clock)
    recorder.open()
    figures, sent = [], 0
    for hour in range(hours):
        began_s = time.monotonic()
        most_handles = most_inbox = 0
        for at_s in range(hour * 3600, (hour + 1) * 3600):
            deliveries = [*second(begin, at_s, students)]
            for start in range(0, len(deliveries), 100):
                recorder.accept(deliveries[start : start + 100])
            sent += len(deliveries) if at_s % PERIOD_S < LESSON_S else 0
            clock.now_s += 1
            recorder.receipts()
            recorder.write()
            recorder.update_sessions()
            if at_s % SETTLE_S == 0:
                recorder.settle()
                most_handles = max(most_handles, process.num_fds())
                most_inbox = max(most_inbox, sum(path.stat().st_size for path in folder.glob(f"{INBOX_FILE}*")))
        memory = process.memory_info().rss
        figures.append((memory, most_handles, most_inbox))
        print(
            f"hour {hour + 1:2}: {sent:10,} readings, memory {memory / 2**20:5.0f} MiB, handles {most_handles:5}, "
            f"inbox {most_inbox / 2**20:6.1f} MiB, {time.monotonic() - began_s:4.0f} s",
            flush=True,
        )
    recorder.close()
    half = figures[len(figures) // 2 :]
    grown = [now > 1.1 * before for before, now in zip(half[0], half[-1], strict=True)]
    rows = [rows_in(folder, pattern) for pattern in ("sessions/*/*/readings*.csv", "Aluno*.csv")]
    print(
        f"{sent} sent, {rows} in the files of sessions and of students; grown in the second half: {grown}; sessions",
        recorder.counters["sessions_closed"],
    )
    return int(any(grown) or rows != [sent, sent])


if __name__ == "__main__":
    sys.exit(main())
