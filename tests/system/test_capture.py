"""A real headset's capture, from its bytes to the topics and the recorded file: every number of it, and no other."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroone.contract.messages import BANDS, Link, RawBlock, Reading, ServiceState, StreamState
from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.bus_listener import listening
from tests.support.captures import BASELINE, needs_captures
from tests.support.waiting import wait_for

RAW = {"n": 165093, "sum": 11942641, "min": -2048, "max": 2047}
ATTENTION, MEDITATION, POOR_SIGNAL, READINGS = 21774, 16965, 2120, 322
BAND_SUMS = [39707500, 10326338, 2903539, 2257893, 2586877, 2151134, 904808, 716915]
"""What the capture decodes to, as counted by the decoders of others (big-endian bands)."""


@pytest.mark.broker
@pytest.mark.timeout(180)
@needs_captures
@pytest.mark.parametrize("kind", brokers.KINDS)
def test_every_number_arrives(kind: str, start_broker: Callable[[str], Broker], tmp_path: Path) -> None:
    """Sums on the topics and in the file are those of the capture; nothing is lost, doubled or out of order."""
    broker = start_broker(kind)
    recorder = [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(tmp_path)]
    replay = [sys.executable, "-m", "serial_bridge", "replay", str(BASELINE), "--speed", "100", "--broker", broker.url]
    with listening(broker.url) as listener, subprocess.Popen(recorder) as recording:
        try:
            listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder", 20)
            assert subprocess.run(replay, check=False, timeout=150).returncode == 0
            file = tmp_path / "akloster_baseline.csv"
            wait_for(lambda: file.exists() and file.read_bytes().count(b"\n") == READINGS + 1, "all rows", 20)
            listener.wait_for(StreamState, lambda topic, state: state.link is Link.ENDED)
        finally:
            recording.terminate()
        readings = [message for _, message in listener.of(Reading)]
        blocks = [message for _, message in listener.of(RawBlock)]

    assert [each.seq for each in readings] == list(range(READINGS))
    assert sum(each.poor_signal or 0 for each in readings) == POOR_SIGNAL
    assert sum(each.attention for each in readings) == ATTENTION
    assert sum(each.meditation for each in readings) == MEDITATION
    assert [sum(getattr(each, band) for each in readings) for band in BANDS] == BAND_SUMS

    samples = [sample for block in blocks for sample in block.samples]
    assert {"n": len(samples), "sum": sum(samples), "min": min(samples), "max": max(samples)} == RAW
    ends = [block.first_sample + len(block.samples) for block in blocks]
    assert [block.first_sample for block in blocks] == [0, *ends[:-1]]

    with file.open(encoding="ascii", newline="") as rows:
        header, *values = csv.reader(rows)
    columns = [sum(map(int, column)) for column in zip(*values, strict=True)]
    assert header[:2] == ["Att", "Med"]
    assert columns == [ATTENTION, MEDITATION, *BAND_SUMS]
