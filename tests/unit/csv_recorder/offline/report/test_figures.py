"""What a report says of recordings."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from csv_recorder.offline.report.figures import ALL, Selection, make
from neuroone.contract.errors import SettingsError
from neuroone.data.recordings import find, without_doubles
from tests.support.recordings import (
    NOON,
    READINGS,
    SEED_FILE,
    SEED_HEADER,
    checked,
    reading_rows,
    time_text,
    write_index,
    write_session,
)


def only_row(folder):
    report = make(find([folder]))
    assert report.faults == ()
    assert len(report.sessions) == 1
    return report.sessions.iloc[0]


def row_of(second, poor, attention, meditation=50, bands=(100,) * 8, seq=None):
    valid = "" if poor == "" else int(poor == 0)
    time = time_text(NOON + timedelta(seconds=second))
    return checked([time, "5e55", second if seq is None else seq, poor, valid, attention, meditation, *bands])


def test_only_valid_samples_count(tmp_path):
    """A value of 0 is not computed, and a value under poor signal is stale: neither enters an average."""
    rows = [row_of(0, 0, 40), row_of(1, 0, 60), row_of(2, 0, 0), row_of(3, 26, 99), row_of(4, 200, 0)]
    found = only_row(write_session(tmp_path, readings=rows))
    assert (found["rows"], found["attention_n"]) == (5, 2)
    assert (found["attention_mean"], found["attention_median"]) == (50, 50)
    assert found["attention_sd"] == pytest.approx(math.sqrt(200))
    assert found["valid_share"] == pytest.approx(3 / 5)
    assert found["signal"] == "known"
    assert found["duration_s"] == 4


def test_a_source_that_says_no_quality_is_marked(tmp_path):
    rows = [row_of(0, "", 40), row_of(1, "", 0), row_of(2, "", 60)]
    found = only_row(write_session(tmp_path, readings=rows))
    assert (found["attention_n"], found["attention_mean"], found["signal"]) == (2, 50, "unknown")
    assert math.isnan(found["valid_share"])


def test_quality_known_of_a_part_only(tmp_path):
    """The share of valid signal is that of the rows that report it."""
    rows = [row_of(0, "", 40), row_of(1, 0, 50), row_of(2, 200, 0)]
    found = only_row(write_session(tmp_path, readings=rows))
    assert (found["signal"], found["valid_share"]) == ("partly known", 0.5)


def test_the_trend_is_a_slope_per_minute(tmp_path):
    """A value that rises by one every ten seconds rises by six a minute."""
    found = only_row(write_session(tmp_path, readings=reading_rows(300)))
    assert found["attention_trend_per_min"] == pytest.approx(6, rel=0.01)
    assert found["meditation_trend_per_min"] == pytest.approx(0, abs=0.05)


def test_no_trend_of_half_a_minute(tmp_path):
    found = only_row(write_session(tmp_path, readings=reading_rows(30)))
    assert math.isnan(found["attention_trend_per_min"])


def test_gaps_are_counted(tmp_path):
    found = only_row(write_session(tmp_path, readings=reading_rows(100, lost=range(40, 60))))
    assert (found["rows"], found["missing"], found["longest_step_s"], found["duration_s"]) == (80, 20, 21, 99)


@pytest.mark.parametrize(
    "set_to",
    [NOON.replace(year=1970), NOON - timedelta(seconds=30), NOON + timedelta(hours=3), NOON.replace(year=9999)],
)
def test_a_clock_that_is_set_is_no_time_and_no_trend(tmp_path, set_to):
    """Two minutes are two minutes, and a steady rise is one, whatever the clock showed; that it was set is said."""
    rows = [row.decode().split(",") for row in reading_rows(120)]
    for n, row in enumerate(rows[60:]):
        row[0] = time_text(set_to + timedelta(seconds=n))
    found = only_row(write_session(tmp_path, readings=[checked(row[:-1]) for row in rows]))
    assert (found["rows"], found["missing"], found["longest_step_s"], found["duration_s"]) == (120, 0, 1, 119)
    assert found["attention_trend_per_min"] == pytest.approx(6, rel=0.05)
    assert found["clock_steps"] == 1


def test_a_late_row_is_no_gap(tmp_path):
    """Rows are sorted by their time."""
    rows = reading_rows(20)
    rows.append(rows.pop(5))
    found = only_row(write_session(tmp_path, readings=rows))
    assert (found["missing"], found["longest_step_s"], found["duration_s"]) == (0, 1, 19)


def test_band_powers_are_shares_and_logarithms(tmp_path):
    """Rows under poor signal, without bands, or with a wrapped count have none."""
    good = (300, 100, 100, 100, 100, 100, 100, 100)
    rows = [
        row_of(0, 0, 40, bands=good),
        row_of(1, 0, 40, bands=(0,) * 8),
        row_of(2, 0, 40, bands=(16_777_000,) + (1,) * 7),
        row_of(3, 60, 0, bands=(9,) * 8),
    ]
    found = only_row(write_session(tmp_path, readings=rows))
    assert found["bands_n"] == 1
    assert found["delta_share"] == pytest.approx(0.3)
    assert found["theta_share"] == pytest.approx(0.1)
    assert found["delta_log10"] == pytest.approx(math.log10(301))


def test_several_parts_are_one_session(tmp_path):
    """Rotated files are read in their order, the tenth after the ninth."""
    found = only_row(write_session(tmp_path, readings=reading_rows(120), parts=12))
    assert (found["rows"], found["missing"]) == (120, 0)


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_row_is_left_out_and_said(tmp_path, cut):
    """Also one whose last number would read as a smaller one."""
    folder = write_session(tmp_path, readings=reading_rows(10), is_open=True)
    path = folder / "readings.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    found = only_row(folder)
    assert (found["rows"], found["left_out"]) == (9, 1)


def test_a_changed_row_is_left_out_and_said(tmp_path):
    folder = write_session(tmp_path, readings=reading_rows(10))
    path = folder / "readings.csv"
    path.write_bytes(path.read_bytes().replace(b",40,50,", b",41,50,", 1))
    found = only_row(folder)
    assert (found["rows"], found["left_out"]) == (9, 1)


def test_one_unreadable_session_loses_no_other(tmp_path):
    broken = write_session(tmp_path, source="broken")
    (broken / "readings.csv").write_bytes(b"a,b,check\n1,2,x\n")
    write_session(tmp_path, readings=reading_rows(10))
    report = make(find([tmp_path]))
    assert list(report.sessions["name"]) == ["Joao_Silva"]
    assert len(report.faults) == 1
    assert "header" in report.faults[0]


def test_a_session_without_a_sidecar_is_reported(tmp_path):
    """It has the name of its directory."""
    folder = write_session(tmp_path, readings=reading_rows(10))
    (folder / "session.json").unlink()
    assert only_row(folder)["name"] == folder.name


def test_the_old_servers_file_is_reported(tmp_path):
    """It has no time and no signal quality; a value of 0 counts nowhere."""
    path = tmp_path / "Joao_Silva.csv"
    path.write_text(SEED_FILE + "0,0,1,1,1,1,1,1,1,1\n65,72,1,1,1,1,1,1,1,1\n", encoding="ascii")
    before = path.read_bytes()
    found = only_row(path)
    assert (found["name"], found["rows"], found["attention_n"], found["attention_mean"]) == ("Joao_Silva", 3, 2, 75)
    assert (found["signal"], found["missing"]) == ("unknown", None)
    assert math.isnan(found["duration_s"])
    assert path.read_bytes() == before


def test_the_old_file_of_a_windows_machine_is_reported(tmp_path):
    """Its lines end in two characters."""
    path = tmp_path / "Joao_Silva.csv"
    path.write_bytes(SEED_FILE.encode().replace(b"\n", b"\r\n"))
    assert only_row(path)["attention_mean"] == 85


def test_a_students_own_file_is_not_counted_beside_the_sessions(tmp_path):
    """It holds the same readings; a file of somebody without sessions is reported."""
    write_session(tmp_path, readings=reading_rows(10), name="João Silva")
    (tmp_path / "Joao.csv").write_text(SEED_FILE, encoding="ascii")
    (tmp_path / "Ana.csv").write_text(SEED_FILE, encoding="ascii")
    write_index(tmp_path, {"João Silva": "Joao.csv"})
    assert [each.name for each in without_doubles(find([tmp_path]))] == ["Ana", "João Silva"]


def test_a_student_with_two_sessions_has_a_row_of_all(tmp_path):
    """Durations add up; the median is that of all values; there is no trend over days."""
    write_session(tmp_path, readings=[row_of(0, 0, 10), row_of(60, 0, 20)])
    later = NOON + timedelta(days=1)
    rows = reading_rows(61, start=later)
    write_session(tmp_path, readings=rows, start=later)
    report = make(find([tmp_path]))
    together = report.sessions.iloc[-1]
    assert list(report.sessions["session"])[-1] == ALL
    assert (together["rows"], together["duration_s"]) == (63, 120)
    assert math.isnan(together["attention_trend_per_min"])
    assert list(report.classes["date"]) == ["2026-11-22", "2026-11-23"]


def test_every_student_counts_once_in_the_class(tmp_path):
    write_session(
        tmp_path, readings=[row_of(n, 0, 20, bands=(9 + n,) * 8) for n in range(30)], name="Ana", source="ana"
    )
    write_session(tmp_path, readings=[row_of(n, 0, 80) for n in range(10)], name="Bia", source="bia")
    write_session(tmp_path, readings=[row_of(n, 200, 0) for n in range(10)], name="Caio", source="caio")
    found = make(find([tmp_path])).classes.iloc[0]
    assert (found["students"], found["attention_students"], found["attention_mean"]) == (3, 2, 50)
    assert found["valid_share"] == pytest.approx(2 / 3)


def test_a_student_who_came_back_counts_once_in_the_class_signal(tmp_path):
    write_session(tmp_path, readings=[row_of(n, 0, 20) for n in range(10)], name="Ana", source="ana")
    write_session(tmp_path, readings=[row_of(20 + n, 200, 0) for n in range(10)], name="Ana", source="ana2")
    write_session(tmp_path, readings=[row_of(n, 0, 80) for n in range(10)], name="Bia", source="bia")
    assert make(find([tmp_path])).classes.iloc[0]["valid_share"] == pytest.approx((0.5 + 1) / 2)


def test_a_span_of_time_and_a_group(tmp_path):
    """The span includes its start and not its end."""
    write_session(tmp_path, readings=reading_rows(100))
    write_session(tmp_path, readings=reading_rows(100), group="XYZ", source="other")
    since, until = NOON + timedelta(seconds=10), NOON + timedelta(seconds=20)
    report = make(find([tmp_path]), Selection(since, until, frozenset({"XYZ"})))
    assert list(report.sessions["rows"]) == [10]
    assert list(report.sessions["group"]) == ["XYZ"]


def test_nothing_in_the_span(tmp_path):
    """No rows, no classes, no error."""
    write_session(tmp_path, readings=reading_rows(10))
    report = make(find([tmp_path]), Selection(since=datetime(2030, 1, 1, tzinfo=UTC)))
    assert report.sessions.empty
    assert report.classes.empty


@pytest.mark.parametrize("rows", [[], [READINGS.encode()[:0]]])
def test_a_session_without_a_reading(tmp_path, rows):
    write_session(tmp_path, readings=[])
    assert make(find([tmp_path])).sessions.empty


def test_paths_may_be_of_any_level(tmp_path):
    """A path may be the recordings, a date, a session or one of its files."""
    folder = write_session(tmp_path, readings=reading_rows(3))
    places = [tmp_path, tmp_path / "sessions", folder.parent, folder, folder / "readings.csv"]
    for place in places:
        assert [each.path for each in find([place])] == [folder]
    assert len(find(places)) == 1


def test_what_holds_no_recording_is_said(tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n", encoding="ascii")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError) as error:
        find([tmp_path / "notes.csv", tmp_path / "empty", tmp_path / "gone"])
    assert [fault.rpartition(" ")[2] for fault in error.value.faults] == ["recording", "recording", "there"]


def test_half_a_header_of_the_old_file(tmp_path):
    """A new file is a recording without a row."""
    (tmp_path / "Ana.csv").write_text(SEED_HEADER[:20], encoding="ascii")
    assert make(find([tmp_path])).sessions.empty
