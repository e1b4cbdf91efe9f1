"""Headsets that send a sine in real time and lose parts of it, for what the recorder and the export make of it."""

import csv
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import edfio
import numpy as np
import pytest

from neuroone.contract.files import RAW, READINGS
from neuroone.contract.messages import RAW_BLOCK_SAMPLES, Link, ServiceState, StreamState
from neuroone.contract.topics import Topic
from serial_bridge.headsets.thinkgear import encode, encode_raw
from tests.support.brokers import Broker
from tests.support.bus_listener import listening
from tests.support.recorder_process import RecorderProcess
from tests.support.waiting import wait_for

SINE_HZ: Final = 10.0
AMPLITUDE: Final = 500
WRITE_PERIOD_S: Final = 0.02
LATE_MAX_S: Final = 0.3
"""How far a sample's time may be from the truth."""
CATCH_UP_S: Final = 3.0
"""A block is stamped when it arrives: on a busy machine some come late, and the next ones catch up."""
RATE_TOLERANCE: Final = 0.01
PEAK_TOLERANCE_HZ: Final = 0.2
SECOND: Final = encode(bytes((2, 0, 0x83, 24, *range(24), 4, 50, 5, 60)))


@dataclass(slots=True)
class SineHeadset:
    """One headset at a pseudo-terminal, ``port``: nothing of it arrives in its ``dropouts``, (start, length) in s."""

    rate_hz: int
    dropouts: Sequence[tuple[float, float]] = ()
    port: str = field(init=False)
    began: datetime = field(init=False)
    samples: int = 0
    """That it has taken, also those that were lost."""
    readings: int = 0
    """That have arrived."""
    _line: int = field(init=False)

    def __post_init__(self) -> None:
        import pty  # here, as Windows has neither
        import tty

        self._line, theirs = pty.openpty()
        tty.setraw(theirs)
        self.port = os.ttyname(theirs)

    def send(self, elapsed_s: float) -> None:
        """Send what is due after this time."""
        due, out = int(elapsed_s * self.rate_hz), b""
        for n in range(self.samples, due):
            at_s = n / self.rate_hz
            if not any(start_s <= at_s < start_s + length_s for start_s, length_s in self.dropouts):
                out += encode_raw(round(AMPLITUDE * math.sin(2 * math.pi * SINE_HZ * at_s)))
                if n % self.rate_hz == self.rate_hz - 1:
                    out += SECOND
                    self.readings += 1
        self.samples = due
        if out:
            os.write(self._line, out)

    def true_time(self, sample: float) -> datetime:
        """Return when it took a sample."""
        return self.began + timedelta(seconds=sample / self.rate_hz)

    def is_recorded(self, folder: Path) -> bool:
        """Return True if the files of a session have come to the last reading and the last sample."""
        rows, is_last = rows_of(folder, RAW), len(rows_of(folder, READINGS)) >= self.readings
        return is_last and bool(rows) and self.samples - last_sample(rows[-1]) <= LATE_MAX_S * self.rate_hz

    def check_session(self, folder: Path) -> None:
        """Assert that the recorder's files have each reading, and each sample at its time."""
        rows = rows_of(folder, RAW)
        times = [(last_sample(row), datetime.fromisoformat(row["time"])) for row in rows]
        late_s = [(time - self.true_time(last)).total_seconds() for last, time in times]
        catch_up = round(CATCH_UP_S * self.rate_hz / RAW_BLOCK_SAMPLES)
        for n in range(len(late_s)):
            least_s = min(late_s[n : n + catch_up])
            assert least_s == pytest.approx(0, abs=LATE_MAX_S), (self.rate_hz, times[n], late_s[n : n + catch_up])
        last = times[-1][0]
        assert abs(last - self.samples) <= LATE_MAX_S * self.rate_hz
        assert int(rows[-1]["rate_hz"]) == self.rate_hz
        assert [int(row["seq"]) for row in rows_of(folder, READINGS)] == list(range(self.readings))

    def check_edf(self, file: Path) -> None:
        """Assert that an export has the sampling rate, the sine, and its last sample at its time."""
        edf = edfio.read_edf(file)
        signal = edf.signals[0]
        rate_hz = signal.sampling_frequency
        assert abs(rate_hz - self.rate_hz) <= RATE_TOLERANCE * self.rate_hz
        power = abs(np.fft.rfft(signal.data))
        peak_hz = np.fft.rfftfreq(len(signal.data), 1 / rate_hz)[power.argmax()]
        assert abs(peak_hz - SINE_HZ) <= PEAK_TOLERANCE_HZ, peak_hz
        last = int(np.flatnonzero(abs(signal.data) > 1.0)[-1])  # the rest of the last second is filled with zeros
        begins = datetime.combine(edf.startdate, edf.starttime, UTC)
        late_s = (begins + timedelta(seconds=last / rate_hz) - self.true_time(self.samples)).total_seconds()
        assert abs(late_s) <= LATE_MAX_S, (self.rate_hz, late_s)


def last_sample(row: dict[str, Any]) -> int:
    """Return the number of the last sample of a row of raw samples."""
    return int(row["first_sample"]) + len(row["samples"].split()) - 1


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the whole rows of a session's file."""
    path = folder / f"{kind}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["check"]]


@contextmanager
def sending(headsets: Sequence[SineHeadset]) -> Iterator[None]:
    """Let the headsets send, all from now on, until the end of the block."""
    is_over = threading.Event()
    began_s, now = time.monotonic(), datetime.now(UTC)
    for each in headsets:
        each.began = now

    def run() -> None:
        while not is_over.wait(WRITE_PERIOD_S):
            for each in headsets:
                each.send(time.monotonic() - began_s)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_silent(source: str, topic: Topic, state: StreamState) -> bool:
    return state.link is Link.SILENT and topic["source"] == source


def record_and_check(
    broker: Broker,
    folder: Path,
    headsets: Mapping[str, SineHeadset],
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Record the headsets, by their sources, through a bridge, a broker and a recorder; check files and EDF exports."""
    recorder = RecorderProcess(broker.url, folder / "data", "--raw")
    words = [sys.executable, "-m", "serial_bridge", "run", "--broker", broker.url]
    for source, headset in headsets.items():
        (folder / source).symlink_to(headset.port)  # the port's name is the source's
        words += [f"--port={folder / source}", f"--name={source}"]
    with listening(broker.url) as listener:
        listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder")
        bridge = subprocess.Popen(words)

        for source in headsets:  # silent: the port is open
            listener.wait_for(StreamState, partial(_is_silent, source))
    sessions = folder / "data" / "sessions"
    try:
        with sending(list(headsets.values())):
            until_s = time.monotonic() + seconds
            meanwhile()
            wait_for(lambda: time.monotonic() >= until_s, "the end", seconds + 10)
        for source, headset in headsets.items():  # what the bridge has not read yet at its end, nobody has
            (session,) = sessions.glob(f"*/*_{source}")
            wait_for(lambda session=session, headset=headset: headset.is_recorded(session), "rows", 20)  # type: ignore[misc]
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(20) == 0
    finally:
        bridge.kill()
        bridge.wait()
        recorder.stop()
    export = [sys.executable, "-m", "csv_recorder", "export", str(folder / "data"), "--to", "edf"]
    subprocess.run([*export, "--out", str(folder / "edf")], check=True, capture_output=True)
    for source, headset in headsets.items():
        (session,) = sessions.glob(f"*/*_{source}")
        headset.check_session(session)
        (file,) = (folder / "edf").glob(f"*{source}*.edf")
        headset.check_edf(file)
