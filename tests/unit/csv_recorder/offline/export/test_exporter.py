"""Exports are read back by other people's programs: pandas, openpyxl, a spreadsheet's CSV reader, MNE."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import mne
import mne_bids
import numpy as np
import openpyxl
import pandas as pd
import pyedflib
import pytest

from csv_recorder.__main__ import main
from csv_recorder.settings import NEEDED_BY
from neuroone.data import dataframes, raw_runs, readings, to_mne
from neuroone.data.raw_runs import HOLE_MAX_S, POOR, SKIP
from neuroone.data.recordings import find
from tests.support.recordings import (
    BLOCK,
    NOON,
    RATE_HZ,
    SEED_FILE,
    checked,
    event_row,
    raw_rows,
    reading_rows,
    time_text,
    write_session,
)

VOLTS_PER_COUNT = (1.8 / 4096) / 2000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sessions: one with raw samples, a hole of two seconds in them, poor signal and a marker; one without."""
    root = tmp_path / "recordings"
    events = [
        event_row(NOON, "online"),
        event_row(NOON + timedelta(seconds=4.5), "marker", "início; prova"),
        event_row(NOON + timedelta(seconds=5), "gap", "2", (3, 4)),
    ]
    readings = reading_rows(20, poor=lambda n: 200 if 10 <= n < 13 else 0)
    write_session(root, name="João =Silva", readings=readings, raw=raw_rows(20, lost=range(48, 64)), events=events)
    write_session(root, name="=1+1", source="phone", readings=reading_rows(30, poor=lambda n: ""))
    return root


def export(root, to, out, *more):
    return main(["export", str(root), "--to", to, "--out", str(out), *more])


def test_parquet_is_three_tables(root, tmp_path):
    """Types and time zone stay; unknown values are missing and not 0."""
    assert export(root, "parquet", tmp_path / "out") == 0
    readings = pd.read_parquet(tmp_path / "out" / "readings")
    assert len(readings) == 50
    assert str(readings["time"].dtype) == "datetime64[us, UTC]"
    assert readings["time"].min() == pd.Timestamp(NOON)
    assert sorted(readings["name"].unique()) == ["=1+1", "João =Silva"]
    phone = readings[readings["source"] == "phone"]
    assert phone["valid"].isna().all()
    assert phone["seq"].tolist() == list(range(30))
    raw = pd.read_parquet(tmp_path / "out" / "raw")
    assert len(raw) == 18 * RATE_HZ
    assert raw["counts"].iloc[0] == -2048
    assert raw["microvolts"].iloc[0] == pytest.approx(-450)
    assert raw["time"].iloc[0] == pd.Timestamp(NOON) + pd.Timedelta(1 / RATE_HZ, unit="s").round("us")
    assert (raw["sample"].diff().dropna() > 1).sum() == 1
    events = pd.read_parquet(tmp_path / "out" / "events")
    assert events[events["event"] == "gap"][["first_seq", "last_seq"]].values.tolist() == [[3, 4]]


def test_workbooks(root, tmp_path):
    """Each has three sheets and no formula; dates are dates."""
    assert export(root, "xlsx", tmp_path / "out") == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem for file in files] == ["2026-11-22_182031_ABC123_Joao_Silva", "2026-11-22_182031_ABC123_phone"]
    book = openpyxl.load_workbook(files[1])
    assert book.sheetnames == ["Readings", "Events", "Session"]
    assert not any(cell.data_type == "f" for sheet in book for row in sheet.iter_rows() for cell in row)
    head, first, *rest = book["Readings"].iter_rows(values_only=True)
    row = dict(zip(head, first, strict=True))
    assert len(rest) == 29
    assert row["name"] == "'=1+1"
    assert (row["attention"], row["valid"]) == (40, None)
    assert isinstance(row["time"], datetime)


def test_csv_for_a_spreadsheet_in_portuguese(root, tmp_path):
    assert export(root, "csv-ptbr", tmp_path / "out") == 0
    content = (tmp_path / "out" / "2026-11-22_182031_ABC123_Joao_Silva.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfhorario_utc;segundos;")
    assert content.count(b"\r\n") == content.count(b"\n") == 21
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines(), delimiter=";"))
    assert rows[1]["horario_utc"] == "22/11/2026 18:20:32,123"
    assert float(rows[1]["segundos"].replace(",", ".")) == 1
    assert (rows[1]["nome"], rows[10]["valido"], rows[10]["sinal_ruim"]) == ("João =Silva", "0", "200")
    assert {len(row) for row in rows} == {len(rows[0])}
    phone = (tmp_path / "out" / "2026-11-22_182031_ABC123_phone.csv").read_text(encoding="utf-8-sig")
    assert {row["nome"] for row in csv.DictReader(phone.splitlines(), delimiter=";")} == {"'=1+1"}
    events = (tmp_path / "out" / "2026-11-22_182031_ABC123_Joao_Silva_eventos.csv").read_text(encoding="utf-8-sig")
    assert [row["texto"] for row in csv.DictReader(events.splitlines(), delimiter=";")] == ["", "início; prova", "2"]


def test_the_old_servers_file_is_exported(tmp_path):
    (tmp_path / "Joao_Silva.csv").write_text(SEED_FILE, encoding="ascii")
    assert export(tmp_path, "csv-ptbr", tmp_path / "out") == 0
    text = (tmp_path / "out" / "Joao_Silva.csv").read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(text.splitlines(), delimiter=";")
    assert (row["atencao"], row["gama_media"], row["horario_utc"], row["valido"]) == ("85", "890123", "", "")
    assert export(tmp_path / "Joao_Silva.csv", "parquet", tmp_path / "out") == 0
    assert export(tmp_path / "Joao_Silva.csv", "xlsx", tmp_path / "out") == 0
    assert (tmp_path / "Joao_Silva.csv").read_text(encoding="ascii") == SEED_FILE


def counts_of(raw):
    return raw.get_data()[0] / VOLTS_PER_COUNT


def test_mne_reads_every_sample_of_an_edf_file(root, tmp_path, capsys):
    """Volts match the counts; the hole is zeros; hole, poor signal and marker are annotated."""
    assert export(root, "edf", tmp_path / "out") == 0
    assert "1 of 2 sessions have no raw samples" in capsys.readouterr().out
    (file,) = (tmp_path / "out").iterdir()
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error")
    assert (raw.info["sfreq"], raw.ch_names, raw.get_channel_types()) == (RATE_HZ, ["Fp1"], ["eeg"])
    expected = (np.arange(20 * RATE_HZ) % 4096 - 2048).astype(float)
    expected[48 * BLOCK : 64 * BLOCK] = 0
    np.testing.assert_allclose(counts_of(raw), expected, atol=0.01)
    start = NOON + timedelta(seconds=1 / RATE_HZ)
    assert abs(raw.info["meas_date"] - start) < timedelta(seconds=1)
    found = [(each["description"], each["onset"], each["duration"]) for each in raw.annotations]
    assert [each[0] for each in found] == ["início; prova", SKIP, POOR]
    assert [each[1] for each in found] == pytest.approx([4.5, 6, 9], abs=0.01)
    assert [each[2] for each in found] == pytest.approx([0, 2, 3], abs=0.01)
    assert b"Silva =" not in file.read_bytes()[:256]


def test_mne_leaves_the_hole_out_by_itself(root, tmp_path):
    """Only what was recorded is in an average."""
    export(root, "edf", tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir()
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error")
    good = raw.get_data(reject_by_annotation="omit", verbose="error")
    assert good.shape[1] == pytest.approx((20 - 2 - 3) * RATE_HZ, abs=2)


def test_a_part_of_a_second_is_filled_up_and_annotated(tmp_path):
    """EDF has whole records."""
    write_session(tmp_path, readings=reading_rows(3), raw=raw_rows(3)[:-3])
    (run,) = raw_runs.runs(find([tmp_path])[0])
    assert (run.duration_s, run.has_holes) == (3, False)
    assert [(each.text, each.onset_s, each.duration_s) for each in run.annotations] == [(SKIP, 2.625, 0.375)]


def test_a_long_hole_begins_another_file(tmp_path):
    """A count that restarts does, too."""
    later = NOON + timedelta(seconds=HOLE_MAX_S + 60)
    rows = raw_rows(2)
    again = raw_rows(2, start=later)
    write_session(tmp_path / "r", readings=reading_rows(2), raw=[*rows, *again])
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem[-5:] for file in files] == ["run-1", "run-2"]
    second = mne.io.read_raw_edf(files[1], verbose="error")
    assert abs(second.info["meas_date"] - later) < timedelta(seconds=1)


def test_a_file_is_not_filled_with_zeros_without_end(tmp_path, monkeypatch):
    """After so many another file begins, as after a long hole."""
    monkeypatch.setattr(raw_runs, "ZEROS_MAX_SAMPLES", 4 * BLOCK)
    write_session(tmp_path, readings=reading_rows(20), raw=raw_rows(20, lost=range(8, 160, 16)))
    runs = [*raw_runs.runs(find([tmp_path])[0])]
    assert [len(run.annotations) for run in runs] == [3, 3 + 1, 2 + 1], "a part of a second is filled up, too"
    assert runs[1].start - runs[0].start == timedelta(seconds=(8 + 3 * 16 + 1) * BLOCK / RATE_HZ)


def test_a_hole_that_the_headset_did_not_count(tmp_path):
    """The sample count goes on, but the clock shows how long the headset was away."""
    rows = raw_rows(2)
    cells = [row.decode().split(",") for row in raw_rows(4)[16:]]
    late = [
        checked([time_text(datetime.fromisoformat(each[0]) + timedelta(seconds=10)), *each[1:-1]]) for each in cells
    ]
    write_session(tmp_path, readings=reading_rows(2), raw=[*rows, *late])
    (run,) = raw_runs.runs(find([tmp_path])[0])
    assert run.has_holes
    assert [(each.text, each.onset_s, each.duration_s) for each in run.annotations] == [(SKIP, 2, 10)]


@pytest.mark.parametrize("counted", ["no", "at once", "7 s later"])
def test_short_dropouts_add_up(tmp_path, counted):
    """Two seconds lost in every ten: the last sample has its time, whether the source counts them or the clock tells.

    The line stalls, too: what is late is not lost.
    """
    rows: list[bytes] = []
    for at in range(60 * 8):
        if at % 80 >= 64:
            continue
        stall_s = 0.4 if at % 40 == 3 else 0.0
        lost = {"no": 0, "at once": 16 * (at // 80), "7 s later": 16 * max(0, (at - 56) // 80)}[counted]
        time = time_text(NOON + timedelta(seconds=(at + 1) * BLOCK / RATE_HZ + stall_s))
        rows.append(checked([time, "5e55", len(rows), (len(rows) + lost) * BLOCK, RATE_HZ, " ".join(["7"] * BLOCK)]))
    write_session(tmp_path, readings=reading_rows(60), raw=rows)
    (run,) = raw_runs.runs(find([tmp_path])[0])
    holes = [(each.onset_s, each.duration_s) for each in run.annotations if each.text == SKIP]
    assert np.flatnonzero(run.counts)[-1] / RATE_HZ == pytest.approx(58, abs=0.2)
    assert [onset_s for onset_s, _ in holes] == pytest.approx([8, 18, 28, 38, 48], abs=0.2)
    assert [duration_s for _, duration_s in holes] == pytest.approx([2] * 5, abs=0.2)


def test_the_time_of_the_first_sample_is_not_that_of_a_stalled_line(tmp_path):
    """The first block came 1 s late, with those after it."""
    cells = [row.decode().split(",") for row in raw_rows(8)]
    late = time_text(NOON + timedelta(seconds=9 * BLOCK / RATE_HZ))
    rows = [checked([late if n < 8 else each[0], *each[1:-1]]) for n, each in enumerate(cells)]
    write_session(tmp_path, readings=reading_rows(8), raw=rows)
    (run,) = raw_runs.runs(find([tmp_path])[0])
    assert abs(run.start - (NOON + timedelta(seconds=1 / RATE_HZ))) < timedelta(seconds=0.01)
    assert not run.has_holes


def timed_rows(arrivals_s, samples=BLOCK):
    """Make blocks of sevens that arrive so many seconds after NOON, their samples counted without a hole."""
    cells = " ".join(["7"] * samples)
    times = (time_text(NOON + timedelta(seconds=each)) for each in arrivals_s)
    return [checked([time, "5e55", n, n * samples, RATE_HZ, cells]) for n, time in enumerate(times)]


def test_blocks_that_came_twice_or_late_have_their_place(tmp_path):
    """After a restart of the recorder an app sends again; each sample is there once, and no file is cut."""
    rows = raw_rows(8)
    mixed = [*rows[:20], rows[21], rows[20], rows[21], *rows[22:50], *rows[20:64]]
    write_session(tmp_path, readings=reading_rows(8), raw=mixed)
    (run,) = raw_runs.runs(find([tmp_path])[0])
    assert run.counts.tolist() == [n % 4096 - 2048 for n in range(8 * RATE_HZ)]
    assert run.annotations == []


@pytest.mark.parametrize("back_s", [0.5, 1.8])
def test_a_clock_that_is_set_back_a_little_shifts_no_marker(tmp_path, back_s):
    rows = timed_rows((n + 1) * BLOCK / RATE_HZ - (back_s if n >= 80 else 0) for n in range(160))
    write_session(tmp_path, readings=reading_rows(20), raw=rows)
    found = [*raw_runs.runs(find([tmp_path])[0])]
    starts_s = [(run.start - NOON).total_seconds() for run in found]
    assert starts_s == pytest.approx([0, 10 - back_s], abs=0.01)
    assert [run.duration_s for run in found] == [10, 10]


@pytest.mark.parametrize("samples", [8, 16, BLOCK])
def test_a_line_that_stalls_loses_nothing_whatever_the_size_of_blocks(tmp_path, samples):
    ends_s = (np.arange(20 * RATE_HZ // samples) + 1) * samples / RATE_HZ
    rows = timed_rows((max(end_s, 8.0) if 5 < end_s < 8 else end_s for end_s in ends_s.tolist()), samples)
    write_session(tmp_path, readings=reading_rows(20), raw=rows)
    (run,) = raw_runs.runs(find([tmp_path])[0])
    assert (run.duration_s, run.annotations) == (20, [])


def test_samples_of_a_fast_headset_do_not_run_away_from_the_clock(tmp_path):
    """Its rate is known to a whole number only: 0.4 % are 14 s an hour, and markers have the clock's time."""
    period_s = BLOCK / (RATE_HZ * 1.004)
    write_session(tmp_path, readings=reading_rows(3), raw=timed_rows((n + 1) * period_s for n in range(1500)))
    found = [*raw_runs.runs(find([tmp_path])[0])]
    at = 0
    for run in found:
        samples = int(np.count_nonzero(run.counts))
        ends_s = (run.start - NOON).total_seconds() + samples / RATE_HZ
        at += samples
        assert ends_s == pytest.approx(at / (RATE_HZ * 1.004), abs=0.3)
    assert (at, len(found)) == (1500 * BLOCK, 4)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"])
def test_samples_at_the_ends_of_the_calendar_spoil_no_export(tmp_path, time):
    """Neither the first sample before them nor the end after them has a date."""
    rows = [checked([time, "5e55", n, n * BLOCK, RATE_HZ, " ".join(["7"] * BLOCK)]) for n in range(3)]
    reading = checked([time, "5e55", 0, 0, 1, 50, 50, *range(8)])
    folder = write_session(tmp_path / "r", readings=[reading], raw=rows)
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 0
    assert [np.count_nonzero(raw.get_data()) for raw in to_mne(folder)] == [3 * BLOCK]
    assert main(["report", str(tmp_path / "r"), "--html", str(tmp_path / "r.html")]) == 0


@pytest.mark.parametrize("year", [1, 1970, 2100, 9999])
def test_a_year_that_edf_does_not_have_is_unknown_in_the_file(tmp_path, year):
    """A Pi without a battery for its clock begins in 1970: EDF+ says that the day is unknown, and keeps the rest."""
    began = NOON.replace(year=year)
    rows = reading_rows(4, start=began)
    write_session(tmp_path / "r", start=began, readings=rows, raw=raw_rows(4, start=began))
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 0
    (file,) = (tmp_path / "out").iterdir()
    header = file.read_bytes()[:256]
    assert header[88:168].split() == [b"Startdate", b"X", b"X", b"X", b"ThinkGear"]
    assert header[168:184] == f"01.01.85{began:%H.%M.%S}".encode()
    assert len(counts_of(mne.io.read_raw_edf(file, verbose="error"))) == 4 * RATE_HZ


@pytest.mark.parametrize("microsecond", [0, 123456, 674909, 802612, 999999])
def test_edflib_reads_a_file_of_any_start(tmp_path, microsecond):
    """It refuses one in which the times of two records, as floats write them, are not a second apart."""
    began = NOON.replace(microsecond=microsecond)
    write_session(tmp_path / "r", start=began, readings=reading_rows(20, start=began), raw=raw_rows(20, start=began))
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 0
    (file,) = (tmp_path / "out").iterdir()
    with pyedflib.EdfReader(str(file)) as edf:
        assert edf.file_duration == 20


@pytest.mark.parametrize("set_to", [NOON.replace(year=1970), NOON - timedelta(seconds=30), NOON + timedelta(hours=3)])
def test_a_clock_that_is_set_begins_another_file(tmp_path, set_to):
    """Each file keeps its own times: a signal that was poor before, and a marker, stand in the right one."""
    rows = [*reading_rows(60, poor=lambda n: 200 if n in (40, 41) else 0), *reading_rows(20, start=set_to)]
    rows = [
        checked([*row.decode().split(",")[:2], seq, *row.decode().split(",")[3:-1]]) for seq, row in enumerate(rows)
    ]
    raw = [*raw_rows(60), *raw_rows(20, start=set_to)]
    raw = [
        checked([*row.decode().split(",")[:2], seq, seq * BLOCK, *row.decode().split(",")[4:-1]])
        for seq, row in enumerate(raw)
    ]
    write_session(tmp_path, readings=rows, raw=raw)
    before, after = raw_runs.runs(find([tmp_path])[0])
    assert (before.duration_s, after.duration_s) == (60, 20)
    assert abs(before.start - NOON) < timedelta(seconds=0.01)
    assert abs(after.start - set_to) < timedelta(seconds=0.01)
    (poor,) = before.annotations
    assert poor.text == POOR
    assert (poor.onset_s, poor.duration_s) == pytest.approx((39, 2), abs=0.01)
    assert after.annotations == []
    assert export(tmp_path, "parquet", tmp_path / "out") == 0
    assert export(tmp_path, "bids", tmp_path / "bids") == 0
    (table,) = (tmp_path / "out").glob("readings/*")
    (physio,) = (tmp_path / "bids").rglob("*_beh.tsv")
    for seconds in (pd.read_parquet(table)["seconds"], pd.read_csv(physio, sep="\t")["time"]):
        assert sorted(seconds) == list(range(80))


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_a_headset_of_another_sampling_rate(tmp_path, rate_hz):
    """A sine of 10 Hz has its peak at 10 Hz, and all of it is in one file: also what came before the rate was known."""
    sine = [round(500 * math.sin(2 * math.pi * 10 * n / rate_hz)) for n in range(30 * rate_hz)]
    rows, n = [], 0
    for at in range(0, len(sine) - 63, 64):
        known_hz = rate_hz if at > 4 * rate_hz else 512
        time = time_text(NOON + timedelta(seconds=(at + 64) / rate_hz))
        rows.append(checked([time, "5e55", n, at, known_hz, " ".join(map(str, sine[at : at + 64]))]))
        n += 1
    write_session(tmp_path / "r", readings=reading_rows(30), raw=rows)
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 0
    (file,) = (tmp_path / "out").iterdir()
    raw = mne.io.read_raw_edf(file, verbose="error")
    spectrum = abs(np.fft.rfft(raw.get_data()[0][: 28 * rate_hz]))
    assert raw.info["sfreq"] == rate_hz
    assert np.fft.rfftfreq(28 * rate_hz, 1 / rate_hz)[spectrum.argmax()] == pytest.approx(10, abs=0.05)


@pytest.mark.pty
@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
@pytest.mark.parametrize("seconds", [1, 4, 9])
def test_a_rate_that_changes_soon_is_not_one_that_was_measured_late(tmp_path, seconds):
    """The first blocks come at the pace of 512 Hz."""
    rows, at_s, first = [], 0.0, 0
    for n in range(seconds * 8 + 40):
        rate_hz = 512 if n < seconds * 8 else 256
        at_s += BLOCK / rate_hz
        cells = [time_text(NOON + timedelta(seconds=at_s)), "5e55", n, first, rate_hz, " ".join(["7"] * BLOCK)]
        rows.append(checked(cells))
        first += BLOCK
    write_session(tmp_path, readings=reading_rows(3), raw=rows)
    found = [(run.rate_hz, run.duration_s) for run in raw_runs.runs(find([tmp_path])[0])]
    assert found == [(512, seconds), (256, 10)]


def test_a_terminal_shows_how_far_it_is(root, tmp_path):
    """A file or a pipe gets no bar."""
    ours, theirs = os.openpty()
    termios = pytest.importorskip("termios")
    termios.tcsetwinsize(theirs, (24, 80))
    words = [sys.executable, "-m", "csv_recorder", "export", str(root), "--to", "edf", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, check=True)
    assert b"2/2" in os.read(ours, 10_000)
    assert b"2/2" not in done.stdout
    piped = subprocess.run(words, capture_output=True, check=True)
    assert piped.stderr == b""
    os.close(ours)
    os.close(theirs)


def test_nothing_to_export(tmp_path, capsys):
    """Sessions without raw samples give no EDF file; the command says so and returns 1."""
    write_session(tmp_path / "r", readings=reading_rows(3))
    assert export(tmp_path / "r", "edf", tmp_path / "out") == 1
    assert "run --raw records them" in capsys.readouterr().out


def test_bids_is_read_by_mne_bids(root, tmp_path):
    """Signal, line frequency, events and channel come back."""
    out = tmp_path / "bids"
    assert export(root, "bids", out) == 0
    assert len(mne_bids.get_entity_vals(out, "subject")) == 2
    path = mne_bids.find_matching_paths(out, suffixes="eeg", extensions=".edf")[0]
    raw = mne_bids.read_raw_bids(path, verbose="error")
    assert (raw.info["line_freq"], raw.info["sfreq"], raw.ch_names) == (60, RATE_HZ, ["Fp1"])
    assert {*raw.annotations.description} == {"marker", SKIP, POOR}
    assert len(raw.load_data(verbose="error").times) == 20 * RATE_HZ


def test_bids_has_its_required_files_and_no_name(root, tmp_path):
    """No file, and no file name, holds an id made of a name."""
    out = tmp_path / "bids"
    assert export(root, "bids", out) == 0
    joao, phone = pd.read_csv(out / "participants.tsv", sep="\t")["participant_id"]
    session = "ses-20261122182031"
    stem = out / joao / session / "eeg" / f"{joao}_{session}_task-classroom_run-01"
    assert {"_eeg.edf", "_eeg.json", "_channels.tsv", "_events.tsv", "_events.json"} == {
        file.name.removeprefix(stem.name) for file in stem.parent.iterdir()
    }
    about = json.loads(Path(f"{stem}_eeg.json").read_text(encoding="utf-8"))
    required = {"TaskName", "EEGReference", "SamplingFrequency", "PowerLineFrequency", "SoftwareFilters"}
    assert required <= about.keys()
    assert (about["RecordingDuration"], about["RecordingType"]) == (20, "discontinuous")
    channels = pd.read_csv(f"{stem}_channels.tsv", sep="\t")
    assert channels[["name", "type", "units"]].values.tolist() == [["Fp1", "EEG", "uV"]]
    events = pd.read_csv(f"{stem}_events.tsv", sep="\t")
    assert list(events.columns) == ["onset", "duration", "trial_type", "value"]
    assert events["trial_type"].tolist() == ["marker", SKIP, POOR]
    described = json.loads(Path(f"{stem}_events.json").read_text(encoding="utf-8"))
    assert {"marker", SKIP, POOR} == described["trial_type"]["Levels"].keys()
    description = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
    assert {"Name", "BIDSVersion"} <= description.keys()
    beh = pd.read_csv(out / phone / session / "beh" / f"{phone}_{session}_task-classroom_beh.tsv", sep="\t")
    assert len(beh) == 30
    assert beh["valid"].isna().all()
    assert [*pd.read_csv(out / "participants.tsv", sep="\t")] == ["participant_id"]
    for file in (each for each in out.rglob("*") if each.is_file()):
        assert b"Silva" not in file.read_bytes()
        assert "Silva" not in file.name


def test_bids_labels_stay_when_others_come_and_go(root, tmp_path, capsys):
    """Never two children under one participant; what an earlier export left in the folder is named."""
    out = tmp_path / "bids"

    def participants():
        assert export(root, "bids", out, "--names") == 0
        found = pd.read_csv(out / "participants.tsv", sep="\t")
        return dict(zip(found["name"], found["participant_id"], strict=True))

    before = participants()
    assert "earlier export" not in capsys.readouterr().out
    (session,) = root.glob("sessions/*/*_Joao_Silva")
    shutil.rmtree(session)
    write_session(root, name="Ana", source="Ana", readings=reading_rows(3), session="a1")
    write_session(root, name="=1+1", source="phone", readings=reading_rows(3), start=NOON + timedelta(1), session="b2")
    after = participants()
    assert after == {"=1+1": before["=1+1"], "Ana": after["Ana"]}
    assert after["Ana"] not in before.values()
    assert f"1 participants of an earlier export: {before['João =Silva']}" in capsys.readouterr().out
    assert sorted(each.name for each in (out / before["=1+1"]).iterdir()) == [
        "ses-20261122182031",
        "ses-20261123182031",
    ]


@pytest.mark.parametrize("start", ["..", "\u0661\u0662", None])
def test_bids_of_a_sidecar_that_somebody_changed(tmp_path, start):
    """The validator refuses labels without ASCII letters and digits, and values of another type."""
    bids = {"EEGReference": None, "PowerLineFrequency": "x", "TaskName": 5, "EEGGround": "mastoid"}
    write_session(tmp_path / "r", readings=reading_rows(3), raw=raw_rows(2), bids=bids)
    path = next((tmp_path / "r").rglob("session.json"))
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"start": start}), encoding="utf-8")
    assert export(tmp_path / "r", "bids", tmp_path / "bids") == 0
    (file,) = (tmp_path / "bids").glob("sub-*/ses-20261122182031/eeg/*_task-classroom_*_eeg.json")
    about = json.loads(file.read_text(encoding="utf-8"))
    assert (about["EEGReference"], about["PowerLineFrequency"], about["EEGGround"]) == ("left earlobe", 60, "mastoid")


def test_bids_with_names_where_they_are_asked_for(root, tmp_path):
    """They are only in the list of participants."""
    assert export(root, "bids", tmp_path / "bids", "--names") == 0
    found = pd.read_csv(tmp_path / "bids" / "participants.tsv", sep="\t")
    assert found["name"].tolist() == ["João =Silva", "=1+1"]


def test_only_one_group(root, tmp_path):
    write_session(root, group="XYZ", source="third", readings=reading_rows(3))
    assert export(root, "parquet", tmp_path / "out", "--group", "XYZ") == 0
    assert pd.read_parquet(tmp_path / "out" / "readings")["source"].unique().tolist() == ["third"]


def test_one_broken_session_loses_no_other(root, tmp_path, capsys):
    (next(root.glob("sessions/*/*_phone")) / "readings.csv").write_bytes(b"a,b\n1,2\n")
    assert export(root, "xlsx", tmp_path / "out") == 1
    assert "Could not be read: " in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("to", NEEDED_BY)
def test_a_package_that_is_missing_is_named(root, tmp_path, monkeypatch, capsys, to):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tqdm" else object())
    assert export(root, to, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert f"export --to {to} needs the package tqdm, which is not installed" in said
    assert "its extra csv-recorder-export" in said


def test_a_session_that_meets_a_fault_of_ours_loses_no_other(root, tmp_path, monkeypatch, capsys):
    """It is named, in exports and in reports."""

    def fails_for_the_phone(real):
        return lambda recording: 1 // 0 if recording.source == "phone" else real(recording)

    monkeypatch.setattr(dataframes, "readings", fails_for_the_phone(dataframes.readings))
    monkeypatch.setattr(readings, "read", fails_for_the_phone(readings.read))
    assert export(root, "parquet", tmp_path / "out") == 1
    assert [file.name for file in (tmp_path / "out" / "readings").iterdir()] == [
        "2026-11-22_182031_ABC123_Joao_Silva.parquet"
    ]
    assert main(["report", str(root), "--language", "en"]) == 1
    out = capsys.readouterr().out
    assert out.count("_phone: ZeroDivisionError") == 2
    assert "João" in out


def test_wrong_settings(capsys):
    assert main(["export", "--to", "mp3"]) == 2
    faults = capsys.readouterr().err
    assert "--to: must be one of parquet, xlsx, edf, bids, csv-ptbr" in faults
    assert "--out: is missing" in faults


def test_every_table_says_which_readings_are_doubtful(tmp_path):
    """In a last column; the recorded files stay as they are."""
    root, out = tmp_path / "recordings", tmp_path / "out"
    bands = {"no_bands": [0] * 8, "zeros": [0] * 8, "clipped": [99] * 8}
    kinds = [("no_quality", 40), ("zeros", 0), ("no_bands", 7), ("clipped", 50), *[("frozen", 60)] * 11]
    cells = []
    for n, (kind, esense) in enumerate(kinds):
        powers = bands.get(kind, [1000 + (n if kind == "no_quality" else 0)] * 8)
        cells.append([time_text(NOON + timedelta(seconds=n)), "5e55", n, "", "", esense, esense, *powers])
    cells.append([time_text(NOON + timedelta(seconds=60)), "5e55", 15, 0, 1, 40, 40, *[5000] * 8])
    folder = write_session(root, readings=[checked(each) for each in cells])
    before = {file: file.read_bytes() for file in folder.iterdir()}
    wanted = [kind for kind, _ in kinds]
    for to in ("parquet", "xlsx", "csv-ptbr", "bids"):
        assert export(root, to, out / to) == 0
    table = pd.read_parquet(out / "parquet" / "readings")
    assert table.columns[-1] == "doubt"
    assert [*table["doubt"][:-1]] == wanted
    assert table["doubt"].isna().tolist() == [False] * 15 + [True]
    (workbook,) = (out / "xlsx").glob("*.xlsx")
    sheet = [*openpyxl.load_workbook(workbook)["Readings"].iter_rows(values_only=True)]
    assert [row[-1] for row in sheet] == ["doubt", *wanted, None]
    portuguese = next(file for file in (out / "csv-ptbr").iterdir() if "eventos" not in file.name)
    told = [line.rsplit(";", 1)[1] for line in portuguese.read_text(encoding="utf-8-sig").splitlines()]
    assert told[:4] == ["duvida", "qualidade desconhecida", "só zeros", "sem bandas"]
    assert told[-1] == ""
    (beh,) = (out / "bids").rglob("*_beh.tsv")
    assert [line.rsplit("\t", 1)[1] for line in beh.read_text(encoding="utf-8").splitlines()] == [
        "doubt",
        *wanted,
        "n/a",
    ]
    levels = json.loads(beh.with_suffix(".json").read_text(encoding="utf-8"))["doubt"]["Levels"]
    assert levels.keys() >= {*wanted}
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_the_old_servers_file_is_exported_with_doubts(tmp_path):
    """It has no times: a row is a second."""
    path = tmp_path / "Joao_Silva.csv"
    path.write_text(SEED_FILE + 12 * "85,72,99,99,99,99,99,99,99,99\n", encoding="ascii")
    assert export(path, "parquet", tmp_path / "out") == 0
    assert pd.read_parquet(tmp_path / "out" / "readings")["doubt"].tolist() == ["no_quality", *["frozen"] * 12]
