"""Captures: plain and timed, their pace, their faults, and the port that plays them."""

import io
from itertools import islice
from pathlib import Path

import pytest

from neuroone.contract.messages import Link
from serial_bridge.captures import files
from serial_bridge.captures.files import BadCapture, CaptureWriter
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports.port import PacedPort, PortFault
from serial_bridge.ports.simulated import SimulatedHeadset


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.bytes"
    path.write_bytes(SimulatedHeadset(1).advance(20))
    return path


def test_plain_capture_at_its_own_pace(plain):
    """A plain capture plays at 512 raw samples a second, also after an hour."""
    parts = list(files.parts(plain))
    assert b"".join(part for _, part in parts) == plain.read_bytes()
    assert parts[-1][0] == pytest.approx(20.0, abs=1e-9)
    hour = islice(files.looped(plain), 180 * len(parts))
    assert max(due_s for due_s, _ in hour) == pytest.approx(3600.0, abs=1e-6)


def test_plain_capture_without_raw(tmp_path):
    """A capture of the normal mode plays at one frame a second."""
    path = tmp_path / "normal.bin"
    path.write_bytes(SimulatedHeadset(1, "normal").advance(10))
    assert max(due_s for due_s, _ in files.parts(path)) == 10


def test_recording_is_played_as_it_came(tmp_path):
    """What was recorded is read again with the same bytes and times."""
    arrivals = [(5.0, b"\xaa\xaa"), (5.25, b"\x04"), (7.000001, bytes(300))]
    path = tmp_path / "some.capture"
    with path.open("w", encoding="ascii") as file:
        recording = CaptureWriter(file, "thinkgear")
        for at_s, arrived in arrivals:
            recording.write(arrived, at_s)
    assert list(files.parts(path)) == [(0.0, b"\xaa\xaa"), (0.25, b"\x04"), (2.000001, bytes(300))]
    assert b"".join(files.content(path)) == b"\xaa\xaa\x04" + bytes(300)


@pytest.mark.parametrize("line", ["x aa", "12", "12 zz", "12 aa bb", "9" * 70000])
def test_bad_recording(tmp_path, line):
    """A line that is none names the file and the line."""
    path = tmp_path / "bad.capture"
    file = io.StringIO()
    CaptureWriter(file, "thinkgear")
    path.write_text(file.getvalue() + line + "\n", encoding="ascii")
    with pytest.raises(BadCapture, match=r"bad\.capture, line 2: must be"):
        list(files.parts(path))


def test_empty_capture(tmp_path):
    """An empty file is an empty capture."""
    path = tmp_path / "empty.bytes"
    path.touch()
    assert b"".join(files.content(path)) == b""


def test_shipped_example():
    """The shipped capture is what the simulator makes, ten seconds without a fault."""
    stream = files.EXAMPLE.read_bytes()
    assert stream == SimulatedHeadset(7).advance(10.0)
    decoder = Decoder()
    decoder.feed(stream)
    assert {name for name, count in decoder.counters.items() if count} == {"frames"}
    assert decoder.counters["frames"] == 5130


def test_paced_port():
    """Parts are given out when they are due, however late they are asked for, and then the link has ended."""
    now_s = 50.0
    port = PacedPort("file", iter([(0.0, b"a"), (1.0, b"b"), (2.0, b"c"), (4.0, b"d")]), lambda: now_s, speed=2.0)
    assert (port.read(), port.read()) == (b"a", b"")
    now_s = 51.0
    assert (port.read(), port.read()) == (b"bc", b"")
    now_s = 99.0
    assert port.read() == b"d"
    with pytest.raises(PortFault) as ended:
        port.read()
    assert ended.value.link is Link.ENDED
