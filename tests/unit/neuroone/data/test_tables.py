"""Recordings are read back as tables: what was written, value by value, and nothing that is damaged."""

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuroone.contract.errors import SettingsError
from neuroone.contract.files import VALUES
from neuroone.data import read, read_all, sessions, to_mne
from neuroone.data.recordings import Unreadable
from tests.support.recordings import (
    NOON,
    RATE_HZ,
    event_row,
    raw_rows,
    reading_rows,
    time_text,
    write_session,
)

WHOSE = ["group", "source", "name", "class", "session"]
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    """João with a poor signal, raw samples with a hole and a marker; Bia on the day after, of unknown quality."""
    events = [event_row(NOON, "online"), event_row(NOON + timedelta(seconds=4.5), "marker", "prova")]
    readings = reading_rows(20, poor=lambda n: 200 if 10 <= n < 13 else 0)
    raw = raw_rows(20, lost=range(48, 64))
    write_session(tmp_path, name="João", readings=readings, raw=raw, events=events)
    rows = reading_rows(5, start=BEGIN, session="b1a", poor=lambda n: "")
    write_session(tmp_path, group="7B", source="Bia", name="Bia", readings=rows, start=BEGIN, session="b1a")
    return tmp_path


def test_a_table_of_the_sessions(root):
    found = sessions(root)
    assert [*found.columns[:6]] == [*WHOSE, "path"]
    assert found["name"].tolist() == ["João", "Bia"]
    assert found[["readings", "valid", "missing", "raw_blocks"]].values.tolist() == [[20, 17, 0, 144], [5, 0, 0, 0]]
    assert found["start"].tolist() == [pd.Timestamp(NOON), pd.Timestamp(BEGIN)]
    assert str(found["start"].dt.tz) == "UTC"


def test_readings_are_those_that_were_written(root):
    """Every value of every row, in UTC, with a doubt where one is known."""
    found = read(sessions(root).iloc[0])
    assert [*found.columns] == [*WHOSE, "seq", "poor_signal", "valid", *VALUES, "doubt"]
    written = [row.decode().split(",") for row in reading_rows(20, poor=lambda n: 200 if 10 <= n < 13 else 0)]
    assert found.index.tolist() == [pd.Timestamp(row[0]) for row in written]
    columns = ["seq", "poor_signal", "valid", *VALUES]
    assert found[columns].astype(str).values.tolist() == [row[2:-1] for row in written]
    assert [[*found[each].unique()] for each in WHOSE if each != "class"] == [
        ["ABC123"],
        ["Joao_Silva"],
        ["João"],
        ["5e55"],
    ]
    assert found["class"].isna().all()
    assert found["doubt"].dropna().tolist() == ["poor_contact"] * 3


def test_only_valid_readings(root):
    found = read_all(root, valid_only=True)
    assert len(found) == 17
    assert found["doubt"].isna().all()


def test_unknown_quality_is_neither_valid_nor_not(root):
    found = read_all(root, class_="7b")
    assert found["name"].unique().tolist() == ["Bia"]
    assert found["poor_signal"].isna().all()
    assert found["valid"].isna().all()
    assert set(found["doubt"]) == {"no_quality"}


def test_all_sessions_between_two_times(root):
    assert len(read_all(root)) == 25
    assert len(read_all(root, since=NOON + timedelta(seconds=18))) == 2 + 5
    assert len(read_all([root], until="2026-11-22 18:20:41.123456")) == 10
    assert read_all(root, since="2027-01-01").empty
    assert [*read_all(root, since="2027-01-01").columns] == [*read_all(root).columns]


@pytest.mark.parametrize("what", ["readings", "events", "raw"])
def test_what_lies_between_two_times_does_not_depend_on_the_sidecar(tmp_path, what):
    """Events and raw samples after the last reading, a clock that was set back, an end that is not known."""
    back = [*reading_rows(5), *reading_rows(10, start=NOON - timedelta(hours=1))[5:]]
    events = [event_row(NOON + timedelta(seconds=each), "online") for each in (0, 30)]
    write_session(tmp_path, readings=back, raw=raw_rows(8), events=events)
    write_session(tmp_path, source="Eva", readings=reading_rows(5), events=events, end=None)
    every = read_all(tmp_path, what=what)
    for seconds in (-3597, -1800, 0, 2, 4, 6, 30, 31):
        limit = NOON + timedelta(seconds=seconds)
        assert len(read_all(tmp_path, since=limit, what=what)) == np.count_nonzero(every.index >= limit)
        assert len(read_all(tmp_path, until=limit, what=what)) == np.count_nonzero(every.index < limit)


@pytest.mark.parametrize("nothing", ["", "NaT", float("nan")])
def test_a_limit_that_is_no_time_is_refused(root, nothing):
    with pytest.raises(ValueError, match="no time"):
        read_all(root, since=nothing)


def test_events(root):
    found = read(sessions(root).iloc[0], "events")
    assert [*found.columns] == [*WHOSE, "event", "first_seq", "last_seq", "text"]
    assert found["text"].tolist() == ["", "prova"]
    assert found.index[1] == pd.Timestamp(NOON + timedelta(seconds=4.5))


def test_raw_samples(root):
    found = read(sessions(root).iloc[0], "raw")
    assert [*found.columns] == [*WHOSE, "sample", "counts", "microvolts"]
    assert len(found) == 18 * RATE_HZ
    assert found["sample"].iloc[-1] == 20 * RATE_HZ - 1
    assert abs(found.index[0] - pd.Timestamp(NOON)) < pd.Timedelta(seconds=2 / RATE_HZ)
    assert found["counts"].iloc[:5].tolist() == [-2048, -2047, -2046, -2045, -2044]
    assert found["microvolts"].iloc[0] == pytest.approx(-450, abs=0.01)
    valid = read(sessions(root).iloc[0], "raw", valid_only=True)
    assert 14.5 * RATE_HZ < len(valid) < 15.5 * RATE_HZ, "three seconds have a poor signal"
    assert len(read_all(root, what="raw")) == len(found)


def test_raw_samples_of_many_sessions_without_poor_signal(root):
    """Also where no reading is poor, and where nothing is found."""
    eva = write_session(root, source="Eva", readings=reading_rows(2), raw=raw_rows(2))
    assert len(read(eva, "raw", valid_only=True)) == 2 * RATE_HZ
    assert set(read_all(root, what="raw", valid_only=True)["source"]) == {"Joao_Silva", "Eva"}
    assert read_all(root, class_="nobody", what="raw", valid_only=True).empty


def test_mne(root):
    (raw,) = to_mne(sessions(root).iloc[0])
    assert (raw.info["sfreq"], raw.ch_names) == (RATE_HZ, ["Fp1"])
    assert abs(raw.info["meas_date"] - NOON) < timedelta(seconds=0.01)
    assert {*raw.annotations.description} == {"prova", "BAD_ACQ_SKIP", "BAD_poor_signal"}
    (at,) = raw.annotations.onset[raw.annotations.description == "prova"]
    assert at == pytest.approx(4.5, abs=0.01)
    assert raw.get_data()[0][:3] == pytest.approx(np.array([-2048, -2047, -2046]) * 0.2197e-6, rel=1e-3)


def test_a_damaged_row_is_left_out(root):
    (folder,) = root.glob("sessions/*/*_Joao_Silva")
    path = folder / "readings.csv"
    path.write_bytes(path.read_bytes().replace(b",50,", b",51,", 1))
    assert len(read(folder)) == 19


def test_a_session_that_cannot_be_read_is_left_out_with_a_warning(root):
    (folder,) = root.glob("sessions/*/*_Joao_Silva")
    (folder / "readings.csv").write_bytes(b"not what a recorder writes\n")
    with pytest.warns(UserWarning, match=r"left out: .*readings\.csv"):
        assert len(read_all(root)) == 5
    with pytest.raises(Unreadable):
        read(folder)


def test_the_old_servers_file(tmp_path):
    (tmp_path / "Ana.csv").write_bytes(
        b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n1,2,3,4,5,6,7,8,9,10\n"
    )
    found = read(tmp_path / "Ana.csv")
    assert found.index.isna().all()
    assert found[["name", "attention", "mid_gamma"]].values.tolist() == [["Ana", 1, 10]]


@pytest.mark.parametrize("what", ["readings", "events", "raw"])
def test_nothing_found_has_the_columns_of_something(root, what):
    """The types are the same, too: of no session, of one, of an old server's file, of all of them."""
    header = b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
    (root / "Ana.csv").write_bytes(header)
    tables = [
        read_all(root, what=what),
        read_all(root, class_="nobody", since="2026-01-01", what=what),
        read(sessions(root).iloc[0], what),
        read(root / "Ana.csv", what),
    ]
    for each in tables:
        assert [*each.columns] == [*tables[0].columns]
        assert [each[name].dtype.name for name in WHOSE] == ["category"] * len(WHOSE)
        assert str(each.index.dtype) == "datetime64[us, UTC]"
    assert [len(each) > 0 for each in tables] == [True, False, True, False]


def test_a_class_is_that_of_any_lesson(tmp_path):
    """The sidecar's class is that of the lesson that was started last."""
    lessons = [{"group": "_all", "name": name, "began": time_text(NOON)} for name in ("7º B", "7C")]
    write_session(tmp_path, readings=reading_rows(3), lessons=lessons, **dict[str, Any]({"class": "7C"}))
    assert [len(read_all(tmp_path, class_=each)) for each in ("7º b", "7c", "7a")] == [3, 3, 0]


def test_what_cannot_be_asked_for(root):
    with pytest.raises(SettingsError, match="holds 2 sessions"):
        read(root)
    with pytest.raises(SettingsError, match="not there"):
        sessions(root / "nowhere")
    with pytest.raises(ValueError, match="what"):
        read(sessions(root).iloc[0], "bands")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="what"):
        read_all(root, class_="nobody", what="bands")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="valid_only"):
        read(sessions(root).iloc[0], "events", valid_only=True)


def test_rows_of_several_runs_keep_their_session(tmp_path):
    rows = [*reading_rows(3), *reading_rows(3, start=NOON + timedelta(seconds=10), session="b0b")]
    folder = write_session(tmp_path, readings=rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(folder)["session"].tolist() == ["5e55"] * 3 + ["b0b"] * 3
