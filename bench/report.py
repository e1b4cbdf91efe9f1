"""Reports on 1000 students of one hour each, and what that takes.

    python3 run.py exec python -m bench.report [STUDENTS] [SECONDS]

Writes the recordings (0.5 GB) into a temporary directory first, with the code of the tests; about 2 minutes together.
Runs `csv-recorder report` with a page, a CSV and a workbook, and `csv-recorder verify`, as programs of their own.
"""

import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psutil

from tests.support.recordings import NOON, reading_rows, write_session

STUDENTS = 1000
SECONDS = 3600
SECONDS_MAX = 60.0
MEMORY_MAX_MB = 2000.0
GROUP_OF = 30


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


def run(*words: str) -> tuple[float, float]:
    """Run a command; the seconds it took, and the most memory it had, looked at 20 times a second."""
    began_s = time.perf_counter()
    most_bytes = 0
    with subprocess.Popen([sys.executable, "-m", "csv_recorder", *words], stdout=subprocess.DEVNULL) as program:
        watched = psutil.Process(program.pid)
        while program.poll() is None:
            try:
                most_bytes = max(most_bytes, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
    assert program.returncode == 0, f"csv-recorder {words[0]} failed"
    return time.perf_counter() - began_s, most_bytes / 1e6


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
