"""What a report does with readings of the production phones that mean nothing."""

import math
import random
from datetime import timedelta

import pandas as pd
import pytest

from csv_recorder.__main__ import main
from csv_recorder.offline.report import html
from csv_recorder.offline.report.cache import FigureCache
from csv_recorder.offline.report.figures import ALL, Selection, make
from csv_recorder.offline.report.session_figures import DOUBTFUL, compute, curve, unpacked
from csv_recorder.offline.report.texts import Words
from neuroone.contract.doubt import Doubt
from neuroone.contract.messages import BANDS
from neuroone.data import readings
from neuroone.data.recordings import find
from tests.support.recordings import NOON, checked, time_text, write_session

NO_BANDS = (0,) * 8
CLIPPED = (99,) * 8
CHANCE = random.Random(5)


def rows(*values, first=0, poor=""):
    """Make a reading a second; each value is attention and bands."""
    valid = "" if poor == "" else int(poor == 0)
    return [
        checked([time_text(NOON + timedelta(seconds=n)), "5e55", n, poor, valid, attention, 50, *bands])
        for n, (attention, bands) in enumerate(values, first)
    ]


def honest(count):
    return [(40 + n % 2 * 20, tuple(CHANCE.randrange(1000, 900_000) for _ in BANDS)) for n in range(count)]


def figures(folder, **changes):
    report = make(find([folder]), Selection(**changes))
    assert report.faults == ()
    return report.sessions


def test_a_phone_that_never_decoded_a_band_row_has_no_figures(tmp_path):
    """Attention is a chance number then."""
    found = figures(write_session(tmp_path, readings=rows(*((7 * n % 100 + 1, NO_BANDS) for n in range(60))))).iloc[0]
    assert (found["rows"], found["attention_n"], found["meditation_n"], found["bands_n"]) == (60, 0, 0, 0)
    assert found[["attention_mean", "attention_trend_per_min", "delta_share"]].isna().all()
    assert (found["doubtful"], found["doubt_no_bands"], found["doubt_frozen"]) == (60, 60, 0)


def test_repeated_rows_are_in_no_figure_from_the_first_one_on(tmp_path):
    """87 of them after 30 good ones; a session of nothing else has no mean."""
    good = honest(30)
    folder = write_session(tmp_path, readings=rows(*good, *[(99, (7, 6, 5, 4, 3, 2, 1, 8))] * 87))
    found = figures(folder).iloc[0]
    assert (found["rows"], found["attention_n"], found["bands_n"], found["doubt_frozen"]) == (117, 30, 30, 87)
    assert found["attention_mean"] == 50
    only = write_session(tmp_path, source="only", readings=rows(*[(99, (7, 6, 5, 4, 3, 2, 1, 8))] * 87))
    assert figures(only).iloc[0]["attention_n"] == 0


def test_clipped_bands_have_no_shares_and_leave_attention(tmp_path):
    """Also where the wrong order of bytes gave one lower band."""
    values = [(30 + n % 3, (*CLIPPED[:7], 31) if n % 40 == 0 else CLIPPED) for n in range(90)]
    found = figures(write_session(tmp_path, readings=rows(*values))).iloc[0]
    assert (found["attention_n"], found["attention_mean"]) == (90, 31)
    assert (found["bands_n"], found["doubt_clipped"], found["doubtful"]) == (0, 90, 0)
    assert math.isnan(found["delta_share"])


def test_what_no_doubt_touches_counts_as_before(tmp_path):
    """An attention that was not computed and poor contact are in no mean; an unknown quality is."""
    good = honest(10)
    uncomputed = [(0, bands) for _, bands in honest(3)]
    unknown = write_session(tmp_path, source="unknown", readings=rows(*good, *uncomputed))
    poor = write_session(tmp_path, source="poor", readings=[*rows(*good, poor=0), *rows(*honest(5), first=10, poor=51)])
    found = figures(unknown).iloc[0]
    assert (found["attention_n"], found["bands_n"], found["doubt_no_quality"]) == (10, 13, 13)
    found = figures(poor).iloc[0]
    assert (found["attention_n"], found["bands_n"], found["doubt_poor_contact"]) == (10, 10, 5)


def test_a_part_of_a_frozen_time_is_doubtful_too(tmp_path):
    """A report from a moment on knows what was before it: these 5 s alone would look like measured."""
    folder = write_session(tmp_path, readings=rows(*honest(5), *[(99, CLIPPED)] * 12, *honest(20)))
    found = figures(folder, since=NOON + timedelta(seconds=12)).iloc[0]
    assert (found["rows"], found["doubt_frozen"], found["attention_n"]) == (25, 5, 20)


def test_the_plot_has_a_gap_where_values_are_doubtful(tmp_path):
    folder = write_session(tmp_path, readings=rows(*honest(20), *[(99, (1, 2, 3, 4, 5, 6, 7, 8))] * 30, *honest(20)))
    drawn = unpacked(curve(readings.read(find([folder])[0]))).values["attention"]
    assert 99 not in drawn
    assert max(value for value in drawn if value == value) <= 60


def test_all_sessions_together_count_their_doubts(tmp_path):
    """From stored figures, too."""
    for hour in range(2):
        start = NOON + timedelta(hours=hour)
        write_session(tmp_path, start=start, readings=rows(*honest(5), *[(5, NO_BANDS)] * 3))
    for _ in range(2):
        cache = FigureCache(now_s=lambda: 2e9 + 1e9)
        report = make(find([tmp_path]), cache=cache)
        cache.close()
        of_all = report.sessions[report.sessions["session"] == ALL].iloc[0]
        assert (of_all["rows"], of_all["attention_n"], of_all["doubt_no_bands"], of_all["doubtful"]) == (16, 10, 6, 6)
    assert cache.hits == 2


def test_the_counts_of_doubts_add_up_to_the_rows(tmp_path):
    folder = write_session(tmp_path, readings=rows(*honest(5), (0, NO_BANDS), (4, NO_BANDS), (4, CLIPPED)))
    found = compute(readings.read(find([folder])[0]))
    assert sum(found.doubts) == found.rows == 8


@pytest.mark.parametrize(
    ("language", "whole", "bands"),
    [
        (
            "en",
            "left out as doubtful: 23 of 53 readings (no bands: 3, frozen: 20)",
            "only the bands left out: 10 of 53",
        ),
        (
            "pt-BR",
            "ficaram de fora por serem duvidosas: 23 de 53 leituras (sem bandas: 3, congelado: 20)",
            "só as bandas",
        ),
    ],
)
def test_the_report_says_how_many_rows_are_left_out_and_why(tmp_path, capsys, language, whole, bands):
    """In the terminal and on the page; there is no table of shares where all bands are left out."""
    values = [*honest(20), *[(5, NO_BANDS)] * 3, *[(n, CLIPPED) for n in range(40, 50)]]
    write_session(tmp_path, readings=rows(*values, *[(99, (1, 2, 3, 4, 5, 6, 7, 8))] * 20))
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "r.html"), "--language", language]) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (printed, page):
        assert whole in text
        assert bands in text
    assert next(line for line in printed.splitlines() if line.startswith("Joao_Silva")).split()[-1] == "23"
    clipped = tmp_path / "clipped"
    write_session(clipped, readings=rows(*((n, CLIPPED) for n in range(30, 60))))
    assert main(["report", str(clipped), "--html", str(tmp_path / "c.html"), "--csv", str(tmp_path / "c.csv")]) == 0
    assert "<details" not in (tmp_path / "c.html").read_text(encoding="utf-8")
    header = (tmp_path / "c.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[-7:] == ["doubtful", *(f"doubt_{each}" for each in Doubt)]


def test_a_class_adds_up_the_doubtful_rows_of_its_students(tmp_path):
    """The page and the table of classes say how many."""
    write_session(tmp_path, source="ana", name="Ana", readings=rows(*honest(10), *[(5, NO_BANDS)] * 3))
    write_session(tmp_path, source="bia", name="Bia", readings=rows(*honest(10), (5, CLIPPED), (0, NO_BANDS)))
    report = make(find([tmp_path]))
    (found,) = report.classes.to_dict("records")
    assert (found["rows"], found["doubtful"], found["doubt_no_bands"], found["doubt_clipped"]) == (25, 4, 4, 1)
    assert [*report.classes.columns[-7:]] == [*DOUBTFUL]
    page = "".join(html.page(report, Words(), pd.Timestamp("2026-11-26", tz="UTC")))
    assert "left out as doubtful: 4 of 25 readings (no bands: 4)" in page
