"""What the recorder writes is what verify, report and export read."""

from datetime import timedelta
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest

from csv_recorder.__main__ import main
from csv_recorder.live.recorder import Options, Recorder
from neuroone.contract import files, topics
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, GroupEvent, Kind, RawBlock, Reading
from neuroone.mqtt.delivery import Delivery
from tests.support import messages, recordings
from tests.support.recordings import NOON

SECONDS = 75


class Clock:
    def __init__(self) -> None:
        self.now_s = NOON.timestamp()

    def __call__(self) -> float:
        return self.now_s


def delivery(rule: topics.TopicRule, ids: tuple[str, ...], message: Reading | RawBlock | GroupEvent) -> Delivery:
    return Delivery(str(topics.Topic("local", rule, ids)), encode(message), retained=False, packet_id=1, connection=1)


@pytest.fixture
def recorder(tmp_path: Path):
    """A recorder that took a minute of a headset with raw samples, a marker in a name, and a gap of two readings."""
    clock = Clock()
    recorder = Recorder(tmp_path / "recordings", Options(site="local", rotate_bytes=4000), steady=clock)
    recorder.open()
    stream = ("ABC123", "banca")
    for second in range(SECONDS):
        clock.now_s = (NOON + timedelta(seconds=second)).timestamp()
        time = NOON + timedelta(seconds=second)
        batch = []
        if second not in (30, 31):
            poor = 200 if second >= 70 else 0
            reading = messages.reading(
                seq=second, time=time, kind=Kind.HEADSET, name="João, =1", poor_signal=poor, attention=40 + second // 10
            )
            batch.append(delivery(topics.READING, stream, reading))
        for part in range(8):
            block = RawBlock(
                session=messages.SESSION,
                seq=second * 8 + part,
                time=time + timedelta(seconds=(part + 1) / 8),
                first_sample=(second * 8 + part) * 64,
                rate_hz=512,
                samples=tuple(range(-32, 32)),
            )
            batch.append(delivery(topics.RAW, stream, block))
        if second == 10:
            marker = GroupEvent(id="m1", time=time, type=EventType.MARKER, source=None, text='prova "A", início')
            batch.append(delivery(topics.EVENT, ("ABC123",), marker))
        recorder.accept(batch)
        recorder.write()
        if second % 30 == 29:  # as the service does; a file ends when it is synced
            recorder.settle()
    recorder.settle()
    recorder.update_sessions()
    yield recorder
    recorder.close()


def test_the_headers_are_those_of_the_documents():
    assert ",".join(files.COLUMNS[files.READINGS]) == recordings.READINGS
    assert ",".join(files.COLUMNS[files.RAW]) == recordings.RAW
    assert ",".join(files.COLUMNS[files.EVENTS]) == recordings.EVENTS
    assert files.STUDENT_HEADER.decode() == recordings.SEED_HEADER


def test_verified_while_open_and_when_closed(recorder, tmp_path, capsys):
    """A row waits, and the sidecar is older than the files."""
    root = tmp_path / "recordings"
    assert main(["verify", str(root), "--verbose"]) == 0
    assert "session.json: ok, open" in capsys.readouterr().out
    recorder.close()
    assert main(["verify", str(root), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "session.json: ok, 2 readings missing" in out
    assert out.count("readings") > 2, "rotated"


def test_reported_and_exported(recorder, tmp_path, capsys):
    recorder.close()
    root, out = tmp_path / "recordings", tmp_path / "out"
    assert main(["report", str(root), "--csv", str(tmp_path / "r.csv"), "--language", "en"]) == 0
    (row,) = pd.read_csv(tmp_path / "r.csv").to_dict("records")
    assert (row["name"], row["rows"], row["missing"], row["duration_s"]) == ("João, =1", 73, 2, 74)
    assert row["attention_n"] == 68
    assert main(["export", str(root), "--to", "parquet", "--out", str(out)]) == 0
    assert len(pd.read_parquet(out / "readings")) == 73
    assert len(pd.read_parquet(out / "raw")) == SECONDS * 512
    assert 'prova "A", início' in set(pd.read_parquet(out / "events")["text"])
    assert main(["export", str(root), "--to", "edf", "--out", str(tmp_path / "edf")]) == 0
    (file,) = (tmp_path / "edf").iterdir()
    raw = mne.io.read_raw_edf(file, preload=True, verbose="error")
    counts = raw.get_data()[0] / ((1.8 / 4096) / 2000)
    np.testing.assert_allclose(counts, np.tile(np.arange(-32, 32), SECONDS * 8), atol=0.01)
    assert list(raw.annotations.description) == ['prova "A", início', "BAD_poor_signal"]
