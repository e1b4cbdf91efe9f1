"""Pictures and tables of what is shown."""

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numpy")
pytestmark = pytest.mark.gui


def test_a_table_holds_the_values_as_they_were_sent(tmp_path: Path) -> None:
    """Readings with their validity in one file, raw samples beside it, gaps and hidden lines left out."""
    from monitor_gui.exports import Shown, save_tables
    from monitor_gui.feed import StreamId
    from monitor_gui.history import COLUMNS, RawSpan
    from neuroone.contract.doubt import DOUBTS, Doubt

    rows = np.array(
        [
            [0.0, 0, 40, 50, *range(8), 0],
            [1.0, *([np.nan] * (len(COLUMNS) - 1))],
            [2.0, 26, 40, 50, *range(8), DOUBTS.index(Doubt.POOR_CONTACT)],
            [3.0, np.nan, 40, 50, *range(8), DOUBTS.index(Doubt.FROZEN)],
        ]
    )
    raw = RawSpan(np.array([0.0, 0.5]), np.array([-7.0, np.nan]))
    shown = [Shown(StreamId("g", "s"), rows, raw)]
    files = save_tables(shown, frozenset({"delta", "raw"}), tmp_path / "t.csv")
    assert [file.name for file in files] == ["t.csv", "t-raw.csv"]
    with files[0].open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[0][:6] == ["stream", "time", "poor_signal", "esense_valid", "attention", "meditation"]
    assert "delta" not in table[0]
    assert [row[-1] for row in table] == ["doubt", "", "poor_contact", "frozen"]
    assert [row[1:5] for row in table[1:]] == [
        ["1970-01-01T00:00:00.000000Z", "0", "1", "40"],
        ["1970-01-01T00:00:02.000000Z", "26", "0", "40"],
        ["1970-01-01T00:00:03.000000Z", "", "", "40"],
    ]
    assert files[1].read_text(encoding="utf-8") == "stream,time,counts\ng/s,1970-01-01T00:00:00.000000Z,-7\n"
