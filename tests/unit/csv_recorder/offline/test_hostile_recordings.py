"""Recorded files that somebody changed: every command answers in sentences, whatever stands in them."""

import contextlib
import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csv_recorder.__main__ import main
from neuroone.contract.files import time_text
from tests.support.recordings import (
    EVENTS,
    NOON,
    RAW,
    READINGS,
    SEED_FILE,
    checked,
    event_row,
    raw_rows,
    reading_rows,
    write_session,
)

pytestmark = pytest.mark.timeout(300)  # one test runs up to 84 commands: 10 s alone, more than 60 s on a busy machine

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    *("schema", "software", "group", "source", "session", "kind", "name", "code", "class", "start", "end", "status"),
    *("rates_hz", "counts", "files", "columns", "bids"),
)
cells = (
    st.text(max_size=12) | st.integers().map(str) | st.sampled_from(["2026-11-22T18:20:31Z", "", "1 2 3", "-1", "nan"])
)
COMMANDS = (
    ["verify"],
    ["report", "--html", "r.html", "--csv", "r.csv", "--xlsx", "r.xlsx"],
    *(["export", "--to", to, "--out", "out"] for to in ("parquet", "xlsx", "edf", "bids", "csv-ptbr")),
)


def answers(root: Path) -> None:
    """Every command ends with one of its exit codes, and raises nothing."""
    with contextlib.chdir(root):
        assert {main([command[0], "recordings", *command[1:]]) for command in COMMANDS} <= {0, 1, 2}


hostile = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@hostile
@given(about=st.dictionaries(st.sampled_from(KEYS), values))
def test_any_sidecar(about):
    with tempfile.TemporaryDirectory() as folder:
        session = write_session(Path(folder, "recordings"), readings=reading_rows(3), raw=raw_rows(1))
        path = session / "session.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | about), encoding="utf-8")
        answers(Path(folder))


@hostile
@given(
    readings=st.lists(st.lists(cells, min_size=1, max_size=16), max_size=3),
    raw=st.lists(st.lists(cells, min_size=6, max_size=6), max_size=3),
    events=st.lists(st.lists(cells, min_size=5, max_size=5), max_size=3),
)
def test_any_row_that_checks(readings, raw, events):
    """A row with a right check may have the wrong columns."""
    with tempfile.TemporaryDirectory() as folder:
        session = write_session(Path(folder, "recordings"), is_open=True)
        for name, header, found in (("readings", READINGS, readings), ("raw", RAW, raw), ("events", EVENTS, events)):
            content = header.encode() + b"\n" + b"".join(map(checked, found))
            (session / f"{name}.csv").write_bytes(content)
        answers(Path(folder))


@hostile
@given(
    content=st.binary(max_size=200), place=st.sampled_from(["readings.csv", "raw.csv", "events.csv", "session.json"])
)
def test_any_bytes(content, place):
    with tempfile.TemporaryDirectory() as folder:
        session = write_session(Path(folder, "recordings"), readings=reading_rows(3))
        (session / place).write_bytes(content)
        answers(Path(folder))


@hostile
@given(text=st.text(max_size=30))
def test_any_text_of_a_marker_and_any_name(text):
    with tempfile.TemporaryDirectory() as folder:
        clean = "".join(each for each in text if each.isprintable())
        events = [event_row(NOON + timedelta(seconds=1), "marker", clean)]
        write_session(Path(folder, "recordings"), name=text, readings=reading_rows(3), raw=raw_rows(3), events=events)
        answers(Path(folder))


@pytest.mark.parametrize("text", ["[" * 100_000, '"\\ud800"', '{"name": "\\ud800"}'])
def test_sidecars_that_are_hard_to_read(tmp_path, text, capsys):
    """Its rows are read all the same."""
    session = write_session(tmp_path / "recordings", readings=reading_rows(3))
    (session / "session.json").write_text(text, encoding="utf-8")
    answers(tmp_path)
    assert "session.json: cannot be read" in capsys.readouterr().out


def test_two_directories_with_files_of_one_name(tmp_path):
    """Neither export replaces the other."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Joao.csv").write_text(SEED_FILE, encoding="ascii")
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "a"), str(tmp_path / "b"), "--to", "csv-ptbr", "--out", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["Joao-2.csv", "Joao.csv"]


@pytest.mark.parametrize("name", ["readings.csv", "raw.csv", "events.csv", "session.json"])
def test_a_file_that_cannot_be_opened(tmp_path, name, capsys):
    """It is a directory here. The others are read."""
    session = write_session(tmp_path / "recordings", readings=reading_rows(3), raw=raw_rows(1), is_open=True)
    write_session(tmp_path / "recordings", source="other", readings=reading_rows(3))
    (session / name).unlink()
    (session / name).mkdir()
    answers(tmp_path)
    out = capsys.readouterr().out
    assert f"{name}: cannot be read (" in out
    assert "other/" not in out
    assert (tmp_path / "out" / "readings" / "2026-11-22_182031_ABC123_other.parquet").exists()


@pytest.mark.parametrize("year", [1, 1970, 2026, 9999])
@pytest.mark.parametrize(
    ("rate_hz", "numbers"),
    [(65535, [599 * 65535 * n for n in range(100)]), (512, [0, 2**50]), (1, [0, 2**53 - 1]), (512, [0, 64, 128])],
)
def test_raw_samples_of_an_app_that_lies_spoil_no_export(tmp_path, capsys, year, rate_hz, numbers):
    """Apps of students give times and numbers as they like; other recordings are exported all the same."""
    time = time_text(NOON.replace(year=year))
    rows = [checked([time, "5e55", n, first, rate_hz, "7 " * 63 + "7"]) for n, first in enumerate(numbers)]
    write_session(tmp_path / "recordings", source="Ana", readings=reading_rows(3), raw=rows)
    write_session(tmp_path / "recordings", source="Bia", readings=reading_rows(3), raw=raw_rows(3))
    with contextlib.chdir(tmp_path):
        assert main(["export", "recordings", "--to", "edf", "--out", "out"]) in (0, 1)
    said = capsys.readouterr()
    assert said.err == ""
    made = [*(tmp_path / "out").iterdir()]
    assert any("Bia" in file.name for file in made)
    assert sum(file.stat().st_size for file in made) < 20_000_000
