"""The figures of closed sessions are read once, and never from a cache that is not theirs."""

import os
import sqlite3

import numpy as np
import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline.report import collect
from csv_recorder.offline.report.cache import FigureCache
from csv_recorder.offline.report.figures import Report, make
from neuroone.contract.files import REPORT_CACHE_FILE
from neuroone.data import readings
from neuroone.data.recordings import find
from tests.support.recordings import reading_rows, write_session

LATER_S = 10.0
"""After the files have settled."""


@pytest.fixture
def read(monkeypatch):
    """The recordings whose files are read."""
    names: list[str] = []
    original = readings.read

    def counted(recording):
        names.append(recording.name)
        return original(recording)

    monkeypatch.setattr(readings, "read", counted)
    return names


def report(root, later_s: float = LATER_S) -> Report:
    from time import time

    cache = FigureCache(lambda: time() + later_s)
    try:
        return make(find([root]), cache=cache)
    finally:
        cache.close()


def two_students(root):
    one = write_session(root, "Ana", source="ana", readings=reading_rows(100, lost=range(30, 40)))
    write_session(root, "Bia", source="bia", readings=reading_rows(70, seed=2, poor=lambda n: "" if n < 9 else n % 7))
    return one


def same(one: Report, other: Report) -> bool:
    curves = all(
        np.array_equal(mine.values[name], others.values[name], equal_nan=True)
        for mine, others in ((one.curve(number), other.curve(number)) for number in one.curves)
        if mine is not None and others is not None
        for name in mine.values
    )
    return one.sessions.equals(other.sessions) and one.classes.equals(other.classes) and curves


def test_a_second_report_reads_no_rows_and_says_the_same(tmp_path, read):
    two_students(tmp_path)
    first = report(tmp_path)
    assert read == ["Ana", "Bia"]
    assert same(first, report(tmp_path))
    assert read == ["Ana", "Bia"]


def test_the_cache_holds_no_name(tmp_path, read):
    two_students(tmp_path)
    report(tmp_path)
    content = (tmp_path / REPORT_CACHE_FILE).read_bytes().lower()
    assert not any(word in content for word in (b"ana", b"bia", b"abc123", b"5e55"))


def test_a_changed_file_is_read_again_though_its_size_and_time_are_the_same(tmp_path, read):
    """A row that no longer matches its check leaves the report at once."""
    path = two_students(tmp_path) / "readings.csv"
    report(tmp_path)
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b",40,50,", b",41,50,", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert list(report(tmp_path).sessions["left_out"]) == [1, 0]
    assert read == ["Ana", "Bia", "Ana"]


def test_another_part_is_read(tmp_path, read):
    folder = two_students(tmp_path)
    report(tmp_path)
    (folder / "readings-2.csv").write_bytes((folder / "readings.csv").read_bytes())
    assert list(report(tmp_path).sessions["rows"]) == [180, 70]


@pytest.mark.parametrize("status", ["open", "recording", "something of the future", None])
def test_a_session_that_may_grow_is_always_read(tmp_path, read, status):
    write_session(tmp_path, "Ana", readings=reading_rows(70), status=status)
    report(tmp_path)
    report(tmp_path)
    assert read == ["Ana", "Ana"]


def test_a_file_of_this_moment_is_not_stored(tmp_path, read):
    """It may change again without another time."""
    two_students(tmp_path)
    report(tmp_path, later_s=0)
    report(tmp_path)
    assert read == ["Ana", "Bia"] * 2


@pytest.mark.parametrize("damage", ["text", "cut", "other table", "flipped bit", "other lengths"])
def test_a_damaged_cache_is_not_believed(tmp_path, read, damage):
    """The report is the same; the next one has a new cache."""
    two_students(tmp_path)
    first = report(tmp_path)
    path = tmp_path / REPORT_CACHE_FILE
    if damage == "text":
        path.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        with sqlite3.connect(path) as file:
            if damage == "other table":
                file.executescript("DROP TABLE figures; CREATE TABLE figures (a)")
            elif damage == "flipped bit":
                file.execute("UPDATE figures SET figures = substr(figures, 1, 20) || x'00' || substr(figures, 22)")
            else:
                file.execute("UPDATE figures SET figures = x'90', crc = 0")
        file.close()
    assert same(first, report(tmp_path))
    assert read == ["Ana", "Bia"] * 2
    assert same(first, report(tmp_path))
    assert read == ["Ana", "Bia"] * 2


def test_a_directory_that_takes_no_cache_is_reported(tmp_path, read):
    two_students(tmp_path)
    (tmp_path / REPORT_CACHE_FILE).mkdir()
    assert list(report(tmp_path).sessions["rows"]) == [90, 70]


def test_two_reports_at_a_time(tmp_path, read):
    """The cache belongs to the first; the second one does without it."""
    two_students(tmp_path)
    with sqlite3.connect(tmp_path / REPORT_CACHE_FILE) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert list(report(tmp_path).sessions["rows"]) == [90, 70]
    other.close()


def test_forget_removes_the_stored_figures(tmp_path, read):
    two_students(tmp_path)
    report(tmp_path)
    assert main(["forget", "--dir", str(tmp_path), "--name", "Ana", "--yes"]) == 0
    assert not list(tmp_path.glob(f"{REPORT_CACHE_FILE}*"))
    assert list(report(tmp_path).sessions["name"]) == ["Bia"]


def test_many_sessions_are_read_by_other_processes_in_order(tmp_path, monkeypatch):
    """The figures are the same, and a session that cannot be read is one sentence."""
    monkeypatch.setattr(collect, "ALONE_MAX", 2)
    monkeypatch.setattr(collect, "TOGETHER", 3)
    for number in range(10):
        write_session(tmp_path, f"S{number}", source=f"s{number}", readings=reading_rows(70 + number, seed=number))
    broken = write_session(tmp_path, "broken", source="broken")
    (broken / "readings.csv").write_bytes(b"a,b,check\n1,2,x\n")
    together = report(tmp_path)
    monkeypatch.setattr(collect, "ALONE_MAX", 100)
    alone = make(find([tmp_path]))
    assert list(together.sessions["rows"]) == [70 + number for number in range(10)]
    assert same(together, alone)
    assert together.faults == alone.faults
    assert len(together.faults) == 1


def test_a_system_without_means_for_processes(tmp_path, monkeypatch):
    """As where semaphores are missing: everything is read here."""

    def missing(*given):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(collect, "ALONE_MAX", 0)
    monkeypatch.setattr(collect, "ProcessPoolExecutor", missing)
    two_students(tmp_path)
    assert list(make(find([tmp_path])).sessions["rows"]) == [90, 70]
