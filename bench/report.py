"""Reports on 1000 students of one hour each, and what that takes.

    python3 run.py exec python -m bench.report [STUDENTS] [SECONDS]

Writes the recordings (0.5 GB) into a temporary directory first, with the code of the tests; about 2 minutes together.
Runs `csv-recorder report` with a page, a CSV and a workbook, and `csv-recorder verify`, as programs of their own.

    python3 run.py exec python -m bench.report --sessions 25000 [--in DIR]

measures very many short sessions instead (bench/many_sessions.py describes them): the report without stored figures and
with them, with pages and CSV, and the gateway's list in a thread beside a running event loop. `--in` keeps them there.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psutil

from bench.many_sessions import write
from neuroone.contract.files import REPORT_CACHE_FILE
from tests.support.recordings import NOON, reading_rows, write_session
from ws_gateway.http.recordings import Recordings, Wanted

STUDENTS = 1000
SECONDS = 3600
SECONDS_MAX = 60.0
MEMORY_MAX_MB = 2000.0
GROUP_OF = 30
MANY_SECONDS_MAX = 30.0
MANY_MEMORY_MAX_MB = 300.0
LIST_SECONDS_MAX = 0.2
SEARCHES = ("", "student 0003", "biology 22", "09/02/2026", "07/2026", "class3", "nobody", "a")


def main(students: int = STUDENTS, seconds: int = SECONDS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "recordings")
        for n in range(students):
            start = NOON + timedelta(seconds=n % 50)
            readings = reading_rows(seconds, start, seed=n, poor=lambda at, n=n: 51 if (at + n) % 60 < 5 else 0)
            write_session(root, f"Student {n}", f"CLASS{n // GROUP_OF}", f"student-{n}", start, readings)
        size_mb = sum(path.stat().st_size for path in root.rglob("*.csv")) / 1e6
        print(f"{students} students, {seconds} s each, {students * seconds} rows, {size_mb:.0f} MB")
        outputs = [word for kind in ("html", "csv", "xlsx") for word in (f"--{kind}", f"{folder}/report.{kind}")]
        took_s, memory_mb = run("report", str(root), *outputs)
        page_mb = Path(folder, "report.html").stat().st_size / 1e6
        print(f"report: {took_s:6.1f} s, at most {memory_mb:5.0f} MB; the page has {page_mb:.1f} MB")
        print("verify: {:6.1f} s, at most {:5.0f} MB".format(*run("verify", str(root))))
        assert took_s < SECONDS_MAX, "the report is too slow"
        assert memory_mb < MEMORY_MAX_MB, "the report takes too much memory"


def many(sessions: int, root: Path) -> None:
    """Measure reports and lists over very many sessions."""
    if not root.exists():
        began_s = time.perf_counter()
        print(f"{sessions} sessions, {write(root, sessions)} rows written in {time.perf_counter() - began_s:.0f} s")
    (root / REPORT_CACHE_FILE).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pages = ["--html", f"{folder}/", "--csv", f"{folder}/report.csv"]
        for label, outputs in (("first", []), ("second", []), ("second, with pages and CSV", pages)):
            took_s, memory_mb = run("report", str(root), *outputs)
            print(f"report, {label}: {took_s:.1f} s, at most {memory_mb:.0f} MB")
            assert took_s < MANY_SECONDS_MAX, "the report is too slow"
            assert memory_mb < MANY_MEMORY_MAX_MB, "the report takes too much memory"
        files = [*Path(folder).rglob("*.html")]
        largest_mb, all_mb = (f(file.stat().st_size for file in files) / 1e6 for f in (max, sum))
        print(f"{len(files)} pages, {all_mb:.1f} MB, the largest {largest_mb:.1f} MB")
    print(f"stored figures: {(root / REPORT_CACHE_FILE).stat().st_size / 1e6:.1f} MB")
    asyncio.run(lists(root))


async def lists(root: Path) -> None:
    """Ask for pages of the gateway's list in a thread; say what they took and how long the event loop stood still."""
    recordings = Recordings(root)
    longest_s = 0.0

    async def tick() -> None:
        nonlocal longest_s
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.perf_counter() - began_s)

    ticking = asyncio.create_task(tick())
    first = True
    for query in (None, *SEARCHES, *SEARCHES):
        for page in (1, 7):
            longest_s, began_s = 0.0, time.perf_counter()
            wanted = Wanted(query or "", page=page, utc_offset_min=-180)
            await asyncio.to_thread(recordings.page, wanted)
            took_s = time.perf_counter() - began_s
            note = ", reads all sidecars" if first and query else ""
            print(f"list {query or '-'!r}, page {page}: {took_s * 1e3:.0f} ms, loop {longest_s * 1e3:.0f} ms{note}")
            assert note or took_s < LIST_SECONDS_MAX, "the list is too slow"
            first = first and not query
    ticking.cancel()


def run(*words: str) -> tuple[float, float]:
    """Run a command; the seconds it took, and the most memory of its processes, looked at 20 times a second."""
    began_s = time.perf_counter()
    most_bytes = 0
    with subprocess.Popen([sys.executable, "-m", "csv_recorder", *words], stdout=subprocess.DEVNULL) as program:
        watched = psutil.Process(program.pid)
        while program.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                most_bytes = max(most_bytes, sum(_own_bytes(each) for each in family))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.2)
    assert program.returncode == 0, f"csv-recorder {words[0]} failed"
    return time.perf_counter() - began_s, most_bytes / 1e6


def _own_bytes(process: psutil.Process) -> int:
    """Return a process's memory; pages that several processes share count in parts."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("numbers", nargs="*", type=int)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--in", dest="root", type=Path)
    given = parser.parse_args()
    if given.sessions is None:
        main(*given.numbers)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            many(given.sessions, given.root or Path(temporary, "recordings"))
