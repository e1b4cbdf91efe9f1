"""Tests of how text is written for spreadsheet programs."""

import pytest

from neuroone.contract.files import index_content, index_names
from neuroone.contract.spreadsheets import guarded_cell


@pytest.mark.parametrize(
    "text",
    [
        *("6-1", "1/2", "1.2.26", "10:30", "007", "5e55", "1E2", "2 %", "1,5", "1234567890123456", " 6-1", "1 1/2"),
        *("MAR1", "1MAR", "mar-21", "1-dez-26", "dezembro 2026", "Sep 9", "2026-11-22", "=1+1", "@x", "-1"),
    ],
)
def test_what_a_spreadsheet_would_change_gets_an_apostrophe(text: str) -> None:
    assert guarded_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "7", "0", "2026", "6A", "ABC123", "Maria", "Maria 2", "Ana 1", "Maio", "7º B", "e5", "5e55a"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded_cell(text) == text


@pytest.mark.parametrize(
    "name", ["=1+1", "'=1+1", "''=1+1", "-Ana", "@x", "Ana", "'Ana", "O'Neil", 'a "b", c', "+", "'", ""]
)
def test_the_index_of_names_runs_nothing_and_is_read_back(name: str) -> None:
    """Indexes of before, whose names have no apostrophe before them, are read too."""
    written = index_content([(name, f"{name}.csv")]).decode()
    assert not any(cell[0] in "=+-@" for cell in written.replace('""', "").split('"') if cell.strip(",\n"))
    assert index_names(written.splitlines()) == {f"{name}.csv": name}
    assert index_names(["name,file", '"=1+1","=1+1.csv"']) == {"=1+1.csv": "=1+1"}
