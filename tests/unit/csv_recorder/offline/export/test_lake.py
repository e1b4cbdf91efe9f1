"""A lake holds every closed session once, whatever happens meanwhile, and DuckDB finds the report's figures in it."""

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.dataset
import pyarrow.fs
import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline.export import lake as lakes
from csv_recorder.offline.export.follow import Follower, follow
from csv_recorder.offline.export.lake import Storage
from csv_recorder.offline.report.figures import ALL, make
from csv_recorder.settings import ExportSettings
from neuroone.data.recordings import find
from neuroone.service.lifecycle import Stop
from tests.support.documents import ROOT
from tests.support.recordings import NOON, checked, event_row, raw_rows, reading_rows, time_text, write_session

Change = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    for name, day, class_ in (("Ana", 0, "7B"), ("Bia", 0, "7B"), ("Bia", 1, "Ciências: 7/B = á"), ("Caio", 1, None)):
        session(root, name, day, class_)
    return root


def session(root: Path, name: str, day: int, class_: str | None, seconds: int = 5, **more: Any) -> Path:
    start = NOON + timedelta(days=day)
    id_ = f"{name}{day}"
    about: dict[str, Any] = {"class": class_, "session": id_} | more
    return write_session(root, name, source=name, start=start, readings=reading_rows(seconds, start, id_), **about)


def settings(root: Path, target: object = None, **more: Any) -> ExportSettings:
    return ExportSettings(to="parquet", out=str(target or root.parent / "lake"), paths=(root,), **more)


def rows(lake: Path, kind: str = "readings") -> dict[str, int]:
    """Count the rows of each session in the lake, as a reader sees them; each row must be there once."""
    if not [*lake.glob(f"{kind}/**/*.parquet")]:
        return {}
    key = "seq" if kind == "readings" else "time"
    found = duckdb.execute(
        f"SELECT recording, count(*), count(DISTINCT {key}) FROM read_parquet('{lake}/{kind}/**/*.parquet', "
        "union_by_name = true) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert all(count == different for _, count, different in found)
    return {key: count for key, count, _ in found}


def change(folder: Path, **about: Any) -> None:
    sidecar = folder / "session.json"
    content = json.loads(sidecar.read_text(encoding="utf-8")) | about
    (folder / "new").write_text(json.dumps(content), encoding="utf-8")
    (folder / "new").replace(sidecar)


def test_closed_sessions_come_into_one_file_for_each_site_day_and_class(root):
    other = session(root, "Davi", 1, "7B", site="escola", status="open")
    follower = Follower(settings(root))
    lake = root.parent / "lake"
    assert follower.look(Stop()) == 4
    assert [*rows(lake).values()] == [5] * 4
    assert [str(each.relative_to(lake)) for each in sorted(lake.glob("readings/**/*.parquet"))] == [
        "readings/site=local/day=2026-11-22/class=7B/part-1.parquet",
        "readings/site=local/day=2026-11-23/class=ABC123/part-1.parquet",
        "readings/site=local/day=2026-11-23/class=Ci%C3%AAncias%3A 7%2FB %3D %C3%A1/part-1.parquet",
    ]
    assert follower.look(Stop()) == 0
    change(other, status="closed")
    assert follower.look(Stop()) == 1
    assert [*lake.glob("readings/site=escola/day=2026-11-23/class=7B/part-1.parquet")]
    before = {each: each.stat().st_mtime_ns for each in lake.rglob("*.parquet")}
    assert Follower(settings(root)).look(Stop()) == 5  # a new start finds them there, and writes nothing
    assert {each: each.stat().st_mtime_ns for each in lake.rglob("*.parquet")} == before


def test_the_export_of_one_school_touches_no_file_of_another(tmp_path):
    """Their recorders have the same instance, their students the same names."""
    lake = tmp_path / "lake"
    roots = {site: tmp_path / site for site in ("school-a", "school-b")}

    def files_of(site: str) -> dict[Path, bytes]:
        return {each: each.read_bytes() for each in lake.glob(f"*/site={site}/**/*.parquet")}

    for site, root in roots.items():
        session(root, "Ana", 0, "7B", site=site)
        Follower(settings(root, lake)).look(Stop())
    of_b = files_of("school-b")
    for name in ("Bia", "Caio"):
        session(roots["school-a"], name, 0, "7B", site="school-a")
        Follower(settings(roots["school-a"], lake)).look(Stop())
    assert files_of("school-b") == of_b
    assert len(of_b) == len(files_of("school-a"))
    sites = duckdb.execute(
        f"SELECT site, count(DISTINCT recording) FROM read_parquet('{lake}/readings/**/*.parquet', "
        "hive_partitioning = true) GROUP BY site ORDER BY site"
    ).fetchall()
    assert sites == [("school-a", 3), ("school-b", 1)]


def test_a_session_that_went_on_replaces_itself_also_in_another_class(root):
    """Its rows in the old class go, and their file, if nobody else is in it."""
    lake, follower = root.parent / "lake", Follower(settings(root))
    follower.look(Stop())
    (ana,) = root.glob("sessions/2026-11-22/*_Ana")
    (caio,) = root.glob("sessions/2026-11-23/*_Caio")
    for folder, name, day in ((ana, "Ana", 0), (caio, "Caio", 1)):
        more = reading_rows(9, NOON + timedelta(days=day), f"{name}{day}")[5:]
        with (folder / "readings.csv").open("ab") as file:
            file.writelines(more)
    change(ana, status="open")
    assert follower.look(Stop()) == 0
    change(ana, status="closed", end="later")
    change(caio, **{"class": "7B"}, end="later")
    assert follower.look(Stop()) == 2
    assert [*rows(lake).values()] == [9, 5, 5, 9]
    assert not [*lake.glob("readings/**/class=ABC123/*")]
    assert len([*lake.glob("readings/**/day=2026-11-23/class=7B/*")]) == 1


def test_a_query_that_began_before_sessions_were_added_finds_the_rows_of_then_in_the_new_file(root):
    """DuckDB opens a file again by its name, and reads where the end of the old one said that the rows are."""
    follower = Follower(settings(root))
    follower.look(Stop())
    (file,) = root.parent.glob("lake/readings/*/*/class=7B/*")
    for name in ("Davi", "Eva"):
        before = file.read_bytes()
        session(root, name, 0, "7B")
        assert follower.look(Stop()) == 1
        rows_end = len(before) - 8 - int.from_bytes(before[-8:-4], "little")  # the end has its own length in it
        assert file.read_bytes().startswith(before[:rows_end])
    assert len(rows(root.parent / "lake")) == 6


@pytest.mark.parametrize("is_done", [False, True])
def test_an_end_at_any_change_leaves_nothing_twice_and_the_next_start_nothing_out(root, monkeypatch, is_done):
    """A write is there wholly or not at all; the program ends before or after it."""
    lake = root.parent / "lake"
    left = 0

    def ending(call: Change) -> Change:
        def until(*given: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0 and not is_done:
                raise KeyboardInterrupt
            call(*given)
            if left < 0:
                raise KeyboardInterrupt

        return until

    for name in ("put", "delete"):
        monkeypatch.setattr(Storage, name, ending(getattr(Storage, name)))
    (caio,) = root.glob("sessions/2026-11-23/*_Caio")
    for round_, seconds in (("first", 5), ("again", 8)):
        if round_ == "again":
            with (caio / "readings.csv").open("ab") as file:
                file.writelines(reading_rows(8, NOON + timedelta(days=1), "Caio1")[5:])
            change(caio, **{"class": "7B"}, end="later")
        ends = 0
        for allowed in range(20):
            left = allowed
            try:
                Follower(settings(root)).look(Stop())
                break
            except KeyboardInterrupt:
                ends += 1
                rows(lake), rows(lake, "events")
        assert ends > 1
        assert [*rows(lake).values()] == [5, 5, 5, seconds]
        assert [*rows(lake, "events").values()] == [1] * 4


def test_full_files_are_continued_and_damaged_ones_written_anew(root, monkeypatch):
    monkeypatch.setattr(lakes, "PART_ROWS_MAX", 5)
    monkeypatch.setattr(lakes, "BATCH_BYTES", 1)
    lake = root.parent / "lake"
    Follower(settings(root)).look(Stop())
    first, second = sorted(lake.glob("readings/**/class=7B/*"))
    assert [first.name, second.name] == ["part-1.parquet", "part-2.parquet"]
    first.write_bytes(b"PAR1 no more")
    (first.parent / "shard2-1.parquet").write_bytes(second.read_bytes())  # another exporter's
    assert Follower(settings(root)).look(Stop()) == 4
    (first.parent / "shard2-1.parquet").unlink()
    assert [*rows(lake).values()] == [5] * 4


def test_a_session_that_cannot_be_read_holds_up_no_other_and_a_lake_that_cannot_be_written_is_tried_again(
    root, monkeypatch
):
    (ana,) = root.glob("sessions/2026-11-22/*_Ana")
    whole = (ana / "readings.csv").read_bytes()
    (ana / "readings.csv").write_bytes(whole.replace(b"time", b"tide", 1))
    target = root.parent / "lake"
    target.write_text("a file")
    follower = Follower(settings(root))
    assert follower.look(Stop()) == 0
    assert "cannot be written" in follower.fault
    target.unlink()
    assert follower.look(Stop()) == 3
    assert follower.fault.startswith("1 sessions cannot be read")
    (ana / "readings.csv").write_bytes(whole)
    with monkeypatch.context() as patched:
        patched.setattr(lakes, "tables", lambda recording: 1 // 0)  # a fault of ours
        assert follower.look(Stop()) == 0
        assert follower.fault.startswith("1 sessions cannot be read")
    assert follower.look(Stop()) == 1
    assert not follower.fault


def test_raw_samples_and_events_come_too_and_what_a_lesson_holds_is_marked(tmp_path):
    lesson = {"group": "ABC123", "name": "Biologia", "began": time_text(NOON + timedelta(seconds=3)), "first_seq": 3}
    lesson |= {"ended": time_text(NOON + timedelta(seconds=8)), "last_seq": 7}
    write_session(tmp_path / "recordings", readings=reading_rows(10), raw=raw_rows(2), lessons=[lesson])
    given = settings(tmp_path / "recordings")
    stop = Stop()
    stop.wait = lambda timeout_s=None: True  # type: ignore[method-assign]
    assert follow(given, stop)
    assert [*rows(tmp_path / "lake", "raw").values()] == [1024]
    (found,) = (tmp_path / "lake").glob("readings/**/*.parquet")
    table = pd.read_parquet(found)
    assert table["in_report"].tolist() == [False] * 3 + [True] * 5 + [False] * 2
    assert table["lesson"].dropna().tolist() == ["Biologia"] * 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "edf", "--out", "o", "--follow"], "--follow: is for --to parquet only"),
        (["--to", "parquet", "--out", "s3://bucket"], "--out: s3:// is for --follow only"),
        (["--to", "parquet", "--out", "s3://KEY:SECRET@bucket", "--follow"], "--out: holds credentials"),
        (["--to", "parquet", "--out", "s3://", "--follow"], "--out: must be like s3://BUCKET/PREFIX"),
        (["nowhere", "--to", "parquet", "--out", "o", "--follow"], "PATHS: nowhere is not a directory"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_words(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "SECRET" not in printed


def doubtful_class(root: Path) -> None:
    """Write a class with lessons on two days, poor and unknown signals, holes, frozen and clipped values."""
    for day in (0, 1):
        start = NOON + timedelta(days=day)
        ends = {"began": time_text(start), "ended": time_text(start + timedelta(seconds=90))}
        lesson = {"group": "ABC123", "name": "Biologia", "first_seq": 0, "last_seq": 89, **ends}
        for number, name in enumerate(("Ana Íris", "Bia", "João")):
            signal = (lambda n: "", lambda n: 51 if n % 7 == 0 else 0, lambda n: 0)[number]
            made = reading_rows(100, start, f"{number}{day}", number + day, signal, range(10, 12 + number))
            write_session(
                root, name, source=name, start=start, readings=made, lessons=[lesson], session=f"{number}{day}"
            )
    made = reading_rows(60, NOON, "c")
    same = [reading_rows(60, NOON, "d", seed=3)[0].split(b",")[3:15]] * 60
    frozen = [
        checked([*(cell.decode() for cell in row.split(b",")[:3]), *(cell.decode() for cell in values)])
        for row, values in zip(reading_rows(60, NOON, "d"), same, strict=True)
    ]
    clipped = [checked([*(cell.decode() for cell in row.split(b",")[:7]), *[99] * 8]) for row in made[:8]]
    write_session(root, "Caio", "XYZ", "Caio", readings=made, session="c")
    write_session(root, "Davi", "XYZ", "Davi", readings=frozen, session="d")
    write_session(root, "Eva", "XYZ", "Eva", readings=clipped, session="e", events=[event_row(NOON, "online")])


def statements() -> list[str]:
    text = (ROOT / "docs/how-to/lake.md").read_text(encoding="utf-8")
    return re.findall(r"```sql\n(.*?)```", text, re.DOTALL)


def test_duckdb_finds_the_figures_of_the_report_in_the_lake(tmp_path, monkeypatch):
    """What docs/how-to/lake.md asks; the rules of doubts and lessons are those of the files."""
    monkeypatch.chdir(tmp_path)
    doubtful_class(tmp_path / "recordings")
    assert Follower(settings(tmp_path / "recordings")).look(Stop()) == 9
    report = make(find([tmp_path / "recordings"]))
    assert report.sessions["doubt_frozen"].max() == 60
    assert report.sessions["doubt_clipped"].max() == 8
    assert report.sessions["left_out"].max() == 0
    by_student, by_class = statements()[:2]
    with duckdb.connect() as base:
        base.execute(by_student)
        students = base.sql("FROM students").df().set_index("student")
        classes = base.sql(by_class).df().set_index("class")
    whole = report.sessions.groupby("student").tail(1).set_index("student")  # that of all lessons, where it is
    assert (whole["session"] == ALL).sum() == 3
    columns = ["rows", "missing", "valid_share"]
    columns += [f"{name}_{kind}" for name in ("attention", "meditation") for kind in ("n", "mean", "median")]
    pd.testing.assert_frame_equal(
        students.loc[whole.index, columns].astype(float), whole[columns].astype(float), check_names=False
    )
    assert students["days"].to_dict() == {"Ana Íris": 2, "Bia": 2, "João": 2, "Caio": 1, "Davi": 1, "Eva": 1}
    assert len(classes) == 2
    expected = report.classes[report.classes["group"] == "XYZ"].iloc[0]
    for name in ("students", "rows", "missing", "valid_share", "attention_mean", "attention_median"):
        assert classes.loc["XYZ", name] == pytest.approx(expected[name]), name


def test_forget_removes_a_student_from_the_lake_of_the_site_also_what_no_file_has_any_more(root, capsys):
    lake = root.parent / "lake"
    Follower(settings(root)).look(Stop())
    elsewhere = session(root.parent / "other", "Bia", 0, "7B", site="escola")
    Follower(settings(root.parent / "other", lake, instance="second")).look(Stop())
    words = ["forget", "--dir", str(root), "--lake", str(lake), "--yes", "--name"]
    assert main([*words, "Bia"]) == 0
    assert "in the lake 2 sessions" in capsys.readouterr().out
    left = [
        "2026-11-22_182031_ABC123_Ana_Ana0",
        f"2026-11-22_{elsewhere.name}_Bia0",
        "2026-11-23_182031_ABC123_Caio_Caio1",
    ]
    assert [*rows(lake)] == [*rows(lake, "events")] == left
    assert not [each for each in lake.rglob("site=local/**/*.parquet") if b"Bia" in each.read_bytes()]
    (caio,) = root.glob("sessions/*/*_Caio")
    shutil.rmtree(caio)
    assert main([*words, "Caio"]) == 0
    assert [*rows(lake)] == left[:2]
    assert main([*words, "Caio"]) == 1
    assert "there is nothing to remove" in capsys.readouterr().out


@pytest.mark.skipif(
    not os.environ.get("NEUROONE_TEST_S3"), reason="needs an S3 server: set NEUROONE_TEST_S3=s3://BUCKET/PREFIX?..."
)
def test_a_lake_lies_in_s3(root):
    target = os.environ["NEUROONE_TEST_S3"]
    follower = Follower(settings(root, target))
    assert follower.look(Stop()) == 4, follower.fault
    (caio,) = root.glob("sessions/2026-11-23/*_Caio")
    change(caio, **{"class": "7B"}, end="later")
    assert follower.look(Stop()) == 1
    files, base = pyarrow.fs.FileSystem.from_uri(target)
    found = pyarrow.dataset.dataset(f"{base}/readings", filesystem=files, partitioning="hive")
    assert found.count_rows() == 20
    by_class = duckdb.execute("SELECT class, count(*) FROM found GROUP BY ALL ORDER BY ALL").fetchall()
    assert by_class == [("7B", 15), ("Ciências: 7/B = á", 5)]
    assert Follower(settings(root, target)).look(Stop()) == 4
