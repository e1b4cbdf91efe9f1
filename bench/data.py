"""How long it takes to list recordings and to read a class's year, beside pandas, which checks and doubts no row.

``python -m bench.data [--sessions 10000] [--students 30] [--hours 40] [--folder FOLDER]`` writes synthetic recordings
(once, if the folder is kept) and reads them in alternating rounds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd

from neuroone.data import read_all, sessions
from tests.support.recordings import NOON, reading_rows, write_session

LIST_MAX_S: Final = 2.0
YEAR_MAX_S: Final = 10.0
ROUNDS: Final = 3
HOUR_S: Final = 3600


def main(number: int, students: int, hours: int, folder: Path) -> None:
    """Write the recordings where they are missing, read them, and print the figures."""
    many, year = folder / "many", folder / "year"
    if not many.exists():
        write(many, number, 3)
    if not year.exists():
        write(year, students * hours, HOUR_S, students)
    listing = min(seconds_of(sessions, many) for _ in range(ROUNDS))
    print(f"{number} sessions listed in {listing:.2f} s (at most {LIST_MAX_S:g})")
    rounds = [(seconds_of(read_all, year), seconds_of(with_pandas, year)) for _ in range(ROUNDS)]
    ours, peers = (min(each) for each in zip(*rounds, strict=True))
    print(f"{students} students x {hours} h read in {ours:.2f} s (at most {YEAR_MAX_S:g}); pandas alone {peers:.2f} s")
    print(f"ratio {min(mine / its for mine, its in rounds):.2f}")
    assert listing <= LIST_MAX_S
    assert ours <= YEAR_MAX_S


def write(root: Path, number: int, seconds: int, students: int = 30) -> None:
    """Write sessions of so many seconds, those of a student a day apart."""
    for n in range(number):
        day, student = divmod(n, students)
        start, session = NOON + timedelta(days=day), f"{n:06x}"
        rows = reading_rows(seconds, start=start, session=session, seed=student)
        write_session(root, source=f"s{student}", name=f"Aluno {student}", readings=rows, start=start, session=session)


def with_pandas(root: Path) -> pd.DataFrame:
    """Read all readings as a script without `neuroone.data` would."""
    tables = [pd.read_csv(file, parse_dates=["time"]) for file in sorted(root.rglob("readings*.csv"))]
    return pd.concat(tables).set_index("time").sort_index()


def seconds_of(work: Callable[[Any], object], root: Path) -> float:
    """Return how long a reader takes."""
    began_s = time.perf_counter()
    work(root)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--hours", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        main(given.sessions, given.students, given.hours, given.folder or Path(made))
