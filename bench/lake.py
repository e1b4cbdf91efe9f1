"""Asks a lake of a district for its report with DuckDB, by the number of its rows.

    python3 run.py exec python -m bench.lake [ROWS ...]

Writes synthetic lakes (10^5, 10^6 and 10^7 rows; the last takes 0.4 GB) into a temporary directory, straight as
Parquet: lessons of 25 students and 2500 s each, 4 classes a day, 4 days, and as many sites as it takes. A first lake
comes from recordings, by the exporter itself: the synthetic ones have its columns. The questions are those of
docs/how-to/lake.md.
"""

import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from csv_recorder.offline.export.lake import Lake, Storage
from neuroone.contract.messages import BANDS
from neuroone.data.recordings import find
from tests.support.recordings import NOON, reading_rows, time_text, write_session

ROWS = (100_000, 1_000_000, 10_000_000)
STUDENTS = 25
SECONDS = 2500
CLASSES = 4
DAYS = 4
REPORT_SECONDS_MAX = 20.0
WORK = 20_000_000
QUESTIONS = Path(__file__).parents[1] / "docs" / "how-to" / "lake.md"


def main(sizes: Sequence[int]) -> None:
    began_s = time.process_time()
    sum(range(WORK))
    print(f"this machine adds {WORK / (time.process_time() - began_s) / 1e6:.0f} million numbers a second in Python")
    questions = re.findall(r"```sql\n(.*?)```", QUESTIONS.read_text(encoding="utf-8"), re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        schema = of_recordings(root)
        for rows in sizes:
            lake = root / f"lake-{rows}"
            began_s = time.perf_counter()
            written = sum(write(lake, schema, *each) for each in lessons(rows))
            wrote_s = time.perf_counter() - began_s
            files = [*lake.rglob("*.parquet")]
            size_mb = sum(each.stat().st_size for each in files) / 1e6
            print(f"{written} rows in {len(files)} files, {size_mb:.0f} MB, written in {wrote_s:.1f} s")
            took_s = ask(lake, questions)
            assert took_s < REPORT_SECONDS_MAX, "the report of the district is too slow"


def of_recordings(root: Path) -> pa.Schema:
    """Return the columns of a lake that the exporter made."""
    lesson = {"group": "A", "name": "7B", "began": time_text(NOON), "ended": None, "first_seq": 0, "last_seq": None}
    write_session(root / "recordings", readings=reading_rows(60), lessons=[lesson])
    made = Lake(Storage(str(root / "lake")), "part")
    assert len([*made.add(find([root / "recordings"]))]) == 1
    (file,) = (root / "lake" / "readings").rglob("*.parquet")
    return pq.read_schema(file).remove_metadata()


def lessons(rows: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield site, day, class and the number of students of each lesson."""
    left = rows // SECONDS
    number = 0
    while left > 0:
        site, rest = divmod(number, CLASSES * DAYS)
        yield site, *divmod(rest, CLASSES), min(STUDENTS, left)
        left, number = left - STUDENTS, number + 1


def write(lake: Path, schema: pa.Schema, site: int, day: int, class_: int, students: int) -> int:
    """Write the readings of a lesson."""
    chance = np.random.default_rng((site, day, class_))
    n = students * SECONDS
    start = NOON + timedelta(days=day)
    seconds = np.tile(np.arange(SECONDS), students)
    who = np.repeat(np.arange(students), SECONDS)
    is_poor = chance.random(n) < 0.1
    texts = {
        "group": pa.array([f"CLASS{class_}"]).take(pa.array(np.zeros(n, np.int64))),
        "lesson": pa.array([f"Class {class_}"]).take(pa.array(np.zeros(n, np.int64))),
        "lesson_began": pa.array([time_text(start)]).take(pa.array(np.zeros(n, np.int64))),
        "doubt": pa.array([None, "poor_contact"]).take(pa.array(is_poor.astype(np.int64))),
    }
    for name in ("source", "name", "session", "recording"):
        label = f"{site}-{class_}" if name in ("source", "name") else f"{site}-{day}-{class_}"
        texts[name] = pa.array([f"{name} {label}-{each}" for each in range(students)]).take(pa.array(who))
    esense = {name: np.where(is_poor, 0, chance.integers(1, 101, n)) for name in ("attention", "meditation")}
    numbers = {
        "time": np.datetime64(start.replace(tzinfo=None), "us").astype(np.int64) + seconds * 1_000_000,
        "seconds": seconds.astype(np.float64),
        "seq": seconds,
        "poor_signal": np.where(is_poor, 51, 0),
        "valid": (~is_poor).astype(np.int64),
        "simulated": np.zeros(n, np.bool_),
        "in_report": np.ones(n, np.bool_),
        **esense,
        **{band: chance.lognormal(11, 1, n).astype(np.int64) for band in BANDS},
    }
    columns = {**texts, **{name: pa.array(each) for name, each in numbers.items()}}
    is_there = chance.random(n) > 0.001  # some readings never came
    table = pa.table({each.name: columns[each.name].cast(each.type) for each in schema}).filter(pa.array(is_there))
    folder = lake / "readings" / f"site=school{site}" / f"day={start:%Y-%m-%d}" / f"class=CLASS{class_}"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-1.parquet", compression="zstd")
    return table.num_rows


def ask(lake: Path, questions: Sequence[str]) -> float:
    """Ask for the report of the district, and what else the page has; return the seconds of the report."""
    took_s = []
    with duckdb.connect() as base:
        base.execute(f"SET file_search_path = '{lake.parent}'")
        for question in questions:
            before_s = sum(psutil.Process().cpu_times()[:2])
            began_s = time.perf_counter()
            found = base.execute(question.replace("'lake/", f"'{lake}/")).fetchall()
            took_s.append(time.perf_counter() - began_s)
            cpu_s = sum(psutil.Process().cpu_times()[:2]) - before_s
            print(f"  {took_s[-1]:6.2f} s, {cpu_s:6.2f} s of CPU, {len(found)} rows: {' '.join(question.split())[:60]}")
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"  report {sum(took_s[:2]):.2f} s, memory at most {memory_mb:.0f} MB")
    return sum(took_s[:2])


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or ROWS)
