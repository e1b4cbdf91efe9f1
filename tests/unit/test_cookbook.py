"""What docs/cookbook shows runs, and finds what is in the recordings."""

import json
import math
import random
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import pytest

from csv_recorder.__main__ import main
from tests.support.recordings import BLOCK, NOON, RATE_HZ, checked, event_row, reading_rows, time_text, write_session

COOKBOOK = Path(__file__).parents[2] / "docs" / "cookbook"


def run(name: str, **given: str) -> dict[str, Any]:
    """Run the cells of a notebook in their order, after the first one with other values; return its variables."""
    cells = json.loads((COOKBOOK / name).read_text(encoding="utf-8"))["cells"]
    assert not any(each.get("outputs") for each in cells), "outputs would grow old, and may name somebody"
    first, *others = ("".join(each["source"]) for each in cells if each["cell_type"] == "code")
    variables: dict[str, Any] = {}
    exec(first, variables)
    assert given.keys() <= variables.keys()
    variables |= given
    for each in others:
        exec(compile(each, name, "exec"), variables)
    plt.close("all")
    return variables


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("Agg")


def test_a_student_over_four_weeks(tmp_path):
    for week in range(4):
        start = NOON + timedelta(weeks=week)
        session = f"5e5{week}"
        write_session(tmp_path, start=start, readings=reading_rows(20 + 20 * week, start, session), session=session)
    write_session(tmp_path, "Ana", source="Ana", readings=reading_rows(5, session="a"), session="a")
    found = run("four-weeks.ipynb", RECORDINGS=str(tmp_path))
    assert len(found["means"]) == 4
    assert found["means"].index[1] == NOON + timedelta(weeks=1)
    assert found["trend"]["attention"] == pytest.approx(1, abs=0.05)


def test_alpha_with_eyes_closed(tmp_path):
    chance, raw = random.Random(1), []
    for n in range(60 * RATE_HZ // BLOCK):
        at_s = [(n * BLOCK + each) / RATE_HZ for each in range(BLOCK)]
        size = 200 if at_s[0] >= 30 else 20
        samples = [round(size * math.sin(2 * math.pi * 10 * each) + chance.gauss(0, 50)) for each in at_s]
        time = NOON + timedelta(seconds=(n + 1) * BLOCK / RATE_HZ)
        raw.append(checked([time_text(time), "5e55", n, n * BLOCK, RATE_HZ, " ".join(map(str, samples))]))
    marks = ((1, "eyes open"), (30, "eyes closed"))
    events = [event_row(NOON + timedelta(seconds=at_s), "marker", text) for at_s, text in marks]
    folder = write_session(tmp_path, readings=reading_rows(60), raw=raw, events=events)
    found = run("alpha.ipynb", SESSION=str(folder))
    assert found["ratio"] > 10
    assert found["peak_hz"] == pytest.approx(10, abs=0.5)


def test_sql_over_parquet_by_day_and_class(tmp_path, monkeypatch):
    """Names of classes may hold anything; both languages have the same SQL (tests/unit/test_languages_of_docs.py)."""
    monkeypatch.chdir(tmp_path)
    for name, days, class_ in (("Ana", 0, "7B"), ("Bia", 0, "7B"), ("Bia", 1, "Ciências: 7/B = á"), ("Caio", 1, None)):
        start = NOON + timedelta(days=days)
        about: dict[str, Any] = {"class": class_}
        write_session(
            tmp_path / "recordings", name, source=name, start=start, readings=reading_rows(60, start), **about
        )
    assert main(["export", "recordings", "--to", "parquet", "--partitioned", "--out", "parquet"]) == 0
    assert len([*tmp_path.glob("parquet/readings/day=2026-11-22/class=7B/*.parquet")]) == 2
    text = (COOKBOOK / "duckdb.md").read_text(encoding="utf-8")
    by_day, of_month, by_minute = (
        duckdb.execute(each).fetchall() for each in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    )
    assert [(str(day), *rest) for day, *rest in by_day] == [
        ("2026-11-22", "7B", "Ana", 42.5, 60),
        ("2026-11-22", "7B", "Bia", 42.5, 60),
        ("2026-11-23", "ABC123", "Caio", 42.5, 60),
        ("2026-11-23", "Ciências: 7/B = á", "Bia", 42.5, 60),
    ]
    assert of_month == [("7B", 2, 51), ("ABC123", 1, 51), ("Ciências: 7/B = á", 1, 51)]
    assert [(name, attention) for name, _, attention in by_minute] == [
        (name, attention) for name in ("Ana", "Bia") for attention in (41.0, 43.9)
    ]


def test_only_parquet_has_partitions(tmp_path, capsys):
    write_session(tmp_path, readings=reading_rows(3))
    assert main(["export", str(tmp_path), "--to", "edf", "--partitioned", "--out", str(tmp_path / "out")]) == 2
    assert "--partitioned: is for --to parquet only" in capsys.readouterr().err
