"""Whatever happened to the time of a session, other people's readers find every sample at its time."""

import json
import subprocess
import sysconfig
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np
import pyedflib
import pytest

from csv_recorder.__main__ import main
from neuroone.contract.files import raw_row, reading_row
from neuroone.contract.messages import RawBlock, Reading
from neuroone.data.raw_runs import POOR, SKIP
from neuroone.service.wearers import Owner
from serial_bridge.headset import Headset
from serial_bridge.headsets import HEADSETS
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.ports.sources import PacedSource
from serial_bridge.publisher import StreamPublisher
from tests.support.bus_listener import identity
from tests.support.recordings import BLOCK, NOON, checked, event_row, reading_rows, time_text, write_session

PEAK = 1500
"""The first sample of each second of the true time; all others are 7."""
MARKED_S = 25.25
SET_AT_S = 20
RATE_SHARE = 0.01
TIME_OFF_S = 0.3


class Case(NamedTuple):
    """A headset of some rate, when its clock says it began, and what happens to it."""

    rate_hz: int
    start: datetime = NOON
    has_dropouts: bool = False
    set_to: datetime | None = None
    """What the clock is set to after SET_AT_S."""


CASES = {
    "rate-250": Case(250),
    "rate-256": Case(256, has_dropouts=True),
    "rate-512": Case(512, has_dropouts=True),
    "in-1970": Case(512, start=NOON.replace(year=1970), has_dropouts=True),
    "set-ahead": Case(256, start=NOON.replace(year=1970), set_to=NOON),
    "set-back": Case(512, set_to=NOON - timedelta(minutes=5)),
}


def time_of(case: Case, at_s: float) -> datetime:
    """Return what the source's clock shows ``at_s`` after the beginning."""
    if case.set_to is None or at_s <= SET_AT_S:
        return case.start + timedelta(seconds=at_s)
    return case.set_to + timedelta(seconds=at_s - SET_AT_S)


def blocks_of(case: Case) -> Iterator[bytes]:
    """Make 40 s; of each ten with dropouts the last two never come, and nobody counts them."""
    first = 0
    for n in range(40 * case.rate_hz // BLOCK):
        at = range(n * BLOCK, (n + 1) * BLOCK)
        if case.has_dropouts and at[0] / case.rate_hz % 10 >= 8:
            continue
        samples = " ".join(str(PEAK if each % case.rate_hz == 0 else 7) for each in at)
        known_hz = case.rate_hz if at[0] > 3 * case.rate_hz else 512
        time = time_of(case, at[-1] / case.rate_hz)
        yield checked([time_text(time), "5e55", first // BLOCK, first, known_hz, samples])
        first += BLOCK


@pytest.fixture(scope="module")
def root(tmp_path_factory, replay):
    root = tmp_path_factory.mktemp("recordings")
    for name, case in CASES.items():
        cells = [row.decode().split(",") for row in reading_rows(40)]
        rows = [checked([time_text(time_of(case, n)), *each[1:-1]]) for n, each in enumerate(cells)]
        marker = event_row(time_of(case, MARKED_S), "marker", "now")
        raw = [*blocks_of(case)]
        write_session(root, name, source=name, start=case.start, readings=rows, raw=raw, events=[marker])
    blocks, readings = replay
    rows, raw = [*map(reading_row, readings)], [*map(raw_row, blocks)]
    write_session(root, "replay", source="replay", start=readings[0].time, readings=rows, raw=raw)
    return root


@pytest.fixture(scope="module")
def replay() -> tuple[list[RawBlock], list[Reading]]:
    """Twenty seconds of a simulated headset through the bridge, ten times as fast."""
    now_s, messages = 0.0, []

    class Bus:
        identity, waiting, is_connected = identity("serial_bridge"), 0, True

        def publish(self, topic, message, on_ack=None):
            messages.append(message)
            return True

    stream = SimulatedHeadset(1, scenario="bad-contact").advance(20)
    parts = ((at / 4132, stream[at : at + 64]) for at in range(0, len(stream), 64))
    source = PacedSource("file", "file", lambda: parts, 10, can_wait=True, clock=lambda: now_s)
    publisher = StreamPublisher(Bus(), "ABC123", "replay")
    headset = Headset(source, publisher, Owner(), HEADSETS["thinkgear"], lambda: now_s)
    while not headset.has_ended:
        now_s += 0 if headset.step() else 0.006
    return [each for each in messages if isinstance(each, RawBlock)], [
        each for each in messages if isinstance(each, Reading)
    ]


class Edf(NamedTuple):
    """What a reader found in a file."""

    start: datetime
    rate_hz: float
    counts: np.ndarray
    annotations: list[tuple[str, float, float]]


def by_mne(file: Path) -> Edf:
    raw = mne.io.read_raw_edf(file, verbose="error")
    notes = [(each["description"], each["onset"], each["duration"]) for each in raw.annotations]
    counts = raw.get_data()[0] / ((1.8 / 4096) / 2000)
    return Edf(raw.info["meas_date"], raw.info["sfreq"], counts, notes)


def by_pyedflib(file: Path) -> Edf:
    with pyedflib.EdfReader(str(file)) as reader:
        start = reader.getStartdatetime().replace(tzinfo=UTC)
        notes = zip(*reader.readAnnotations(), strict=True)
        told = [(str(text), onset_s, max(0.0, lasting_s)) for onset_s, lasting_s, text in notes]
        return Edf(start, reader.getSampleFrequency(0), reader.readSignal(0, digital=True), told)


@pytest.fixture(scope="module")
def edf_folder(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("edf")
    assert main(["export", str(root), "--to", "edf", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("read", [by_mne, by_pyedflib])
@pytest.mark.parametrize("name", CASES)
def test_every_second_stands_at_its_time(edf_folder, name, read):
    """Each second's first sample, and the marker, by the start of its file; in 1970 by the time of day."""
    case = CASES[name]
    files = sorted(edf_folder.glob(f"*_{name}_run-*.edf"))
    assert len(files) == (1 if case.set_to is None else 2)
    found_s: list[float] = []
    marked_s: list[float] = []
    for number, file in enumerate(files):
        with warnings.catch_warnings(action="ignore"):
            edf = read(file)
        assert edf.rate_hz == pytest.approx(case.rate_hz, rel=RATE_SHARE)
        began_s = 0.0 if number == 0 else SET_AT_S
        clock = time_of(case, began_s + (0.1 if number else 0))
        start = edf.start.replace(year=clock.year, month=clock.month, day=clock.day) if clock.year < 1985 else edf.start
        at_s = began_s + (start - time_of(case, began_s) if number == 0 else start - case.set_to).total_seconds()
        found_s += (at_s + np.flatnonzero(np.abs(edf.counts - PEAK) < 1) / edf.rate_hz).tolist()
        marked_s += [at_s + onset_s for text, onset_s, _ in edf.annotations if text == "now"]
        holes_s = [lasting_s for text, _, lasting_s in edf.annotations if text == SKIP and lasting_s > 1]
        assert holes_s == pytest.approx([2, 2, 2] if case.has_dropouts else [], abs=TIME_OFF_S)
    true_s = [n for n in range(40) if not case.has_dropouts or n % 10 < 8]
    assert found_s == pytest.approx(true_s[: len(found_s)], abs=TIME_OFF_S)
    assert len(found_s) >= len(true_s) - 1, "at most a part of a block is missing at the end"
    assert marked_s == pytest.approx([MARKED_S], abs=TIME_OFF_S)


@pytest.mark.parametrize("read", [by_mne, by_pyedflib])
def test_a_fast_replay_lasts_as_long_as_its_capture(edf_folder, replay, read):
    """Twenty seconds in two: every sample, no hole, and a poor signal in the seconds that a reading tells of."""
    edf = read(next(edf_folder.glob("*_replay_run-*.edf")))
    assert (edf.rate_hz, len(edf.counts)) == (512, 20 * 512)
    poor_s = {n for n, each in enumerate(replay[1]) if each.poor_signal}
    assert len(poor_s) > 5
    assert {text for text, *_ in edf.annotations} == {POOR}
    told = [(onset_s, lasting_s) for _, onset_s, lasting_s in edf.annotations]
    assert {n for n in range(20) for at_s, lasting_s in told if at_s <= n + 0.5 < at_s + lasting_s} == poor_s
    assert all(abs(each - round(each)) < TIME_OFF_S for each, _ in told)


def test_the_official_validator_finds_no_error_in_bids(root, tmp_path):
    """All sessions are one data set."""
    out = tmp_path / "bids"
    assert main(["export", str(root), "--to", "bids", "--out", str(out)]) == 0
    validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    done = subprocess.run([validator, out, "--format", "json"], capture_output=True, check=False)
    found = json.loads(done.stdout)["issues"]["issues"]
    assert len([*out.glob("sub-*/ses-*/eeg/*_eeg.edf")]) == len(CASES) + 2 + 1
    assert [each for each in found if each["severity"] == "error"] == []
    assert done.returncode == 0
