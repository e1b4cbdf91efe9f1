"""A simulated session says so in everything that is made of it, and a measured one nowhere."""

import json
from datetime import timedelta

import openpyxl
import pandas as pd
import pytest

from csv_recorder.__main__ import main
from neuroone.contract.files import BIDS, SIMULATED_BIDS
from tests.support.recordings import NOON, raw_rows, reading_rows, write_session


@pytest.fixture
def kept(tmp_path):
    """A session of a child, and one of the simulator."""
    root = tmp_path / "kept"
    write_session(root, "Ana", "5A", "Ana", readings=reading_rows(20), raw=raw_rows(20), session="a")
    at = NOON + timedelta(hours=1)
    write_session(
        root, "Demo", "5A", "Demo", at, reading_rows(20, at), raw_rows(20, at), session="b", simulated=True,
        bids={**BIDS, **SIMULATED_BIDS},
    )  # fmt: skip
    return root


def exported(kept, tmp_path, to):
    assert main(["export", str(kept), "--to", to, "--out", str(tmp_path / "out")]) == 0
    return sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_the_tables_have_a_column(kept, tmp_path):
    seen = set()
    for path in exported(kept, tmp_path, "parquet"):
        frame = pd.read_parquet(path)
        assert "simulated" in frame, path
        if "name" in frame:
            seen |= set(zip(frame["name"], frame["simulated"], strict=True))
    assert seen == {("Ana", False), ("Demo", True)}


def test_the_workbook_says_it(kept, tmp_path):
    said = {}
    for path in exported(kept, tmp_path, "xlsx"):
        book = openpyxl.load_workbook(path)
        for title in ("Readings", "Events"):
            columns, *rows = book[title].iter_rows(values_only=True)
            at = columns.index("simulated")
            said[path.stem.rpartition("_")[2], title] = {row[at] for row in rows}
    assert said == {
        (name, title): {is_simulated}
        for name, is_simulated in (("Ana", False), ("Demo", True))
        for title in ("Readings", "Events")
    }


def test_edf_and_bids_say_it_in_the_header(kept, tmp_path):
    files = {path: path.read_bytes()[:1024] for path in exported(kept, tmp_path, "edf") if path.suffix == ".edf"}
    assert sorted("simulated" in head.decode("latin-1") for head in files.values()) == [False, True]


def test_bids_says_it_in_the_sidecar(kept, tmp_path):
    found = [
        json.loads(path.read_bytes()) for path in exported(kept, tmp_path, "bids") if path.name.endswith("_eeg.json")
    ]
    assert sorted("imulat" in json.dumps(each) for each in found) == [False, True]


@pytest.mark.parametrize(("language", "word"), [("en", "Simulated"), ("pt-BR", "Simulado")])
def test_the_report_says_it_once_and_beside_the_name(kept, tmp_path, capsys, language, word):
    assert main(["report", str(kept), "--language", language]) == 0
    text = capsys.readouterr().out
    assert text.count(word) == 1
    assert main(["report", str(kept), "--language", language, "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert word in page
    capsys.readouterr()
    assert main(["report", str(kept), "--csv", str(tmp_path / "report.csv")]) == 0
    frame = pd.read_csv(tmp_path / "report.csv")
    column = next(name for name in frame if "simulated" in str(name).lower())
    assert frame[column].tolist() == [False, True]
