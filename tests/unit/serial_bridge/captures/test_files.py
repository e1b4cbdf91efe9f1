"""Captures: plain and timed, their speed and their faults."""

import io
from itertools import islice
from pathlib import Path

import pytest

from serial_bridge.captures import files
from serial_bridge.captures.files import BadCapture, CaptureWriter
from serial_bridge.headsets.thinkgear import Decoder, encode_raw
from serial_bridge.ports.simulated import SimulatedHeadset, second_frame
from tests.support.captures import content


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.bytes"
    path.write_bytes(SimulatedHeadset(1).advance(20))
    return path


def test_plain_capture_at_its_own_pace(plain):
    """A plain capture is replayed at 512 raw samples a second, also after an hour."""
    parts = list(files.parts(plain))
    assert b"".join(part for _, part in parts) == plain.read_bytes()
    assert parts[-1][0] == pytest.approx(20.0, abs=1e-9)
    hour = islice(files.looped(plain), 180 * len(parts))
    assert max(due_s for due_s, _ in hour) == pytest.approx(3600.0, abs=1e-6)


def test_plain_capture_without_raw(tmp_path):
    """A capture of the normal mode is replayed at one frame a second."""
    path = tmp_path / "normal.bin"
    path.write_bytes(SimulatedHeadset(1, "normal").advance(10))
    assert max(due_s for due_s, _ in files.parts(path)) == 10


def test_a_timed_capture_is_read_as_it_was_written(tmp_path):
    arrivals = [(5.0, b"\xaa\xaa"), (5.25, b"\x04"), (7.000001, bytes(300))]
    path = tmp_path / "some.capture"
    with path.open("w", encoding="ascii") as file:
        recording = CaptureWriter(file, "thinkgear")
        for at_s, arrived in arrivals:
            recording.write(arrived, at_s)
    assert list(files.parts(path)) == [(0.0, b"\xaa\xaa"), (0.25, b"\x04"), (2.000001, bytes(300))]
    assert content(path) == b"\xaa\xaa\x04" + bytes(300)


def test_captures_may_be_joined(tmp_path):
    """The second one follows the first at once; time never goes back."""
    path = tmp_path / "joined.capture"
    path.write_text('{"format":"neuroone-capture"}\n0 aa\n2000000 bb\n0 cc\n500000 dd\n', encoding="ascii")
    assert [due_s for due_s, _ in files.parts(path)] == [0, 2, 2, 2.5]


@pytest.mark.parametrize("line", ["x aa", "12", "12 zz", "12 aa bb", "9" * 70000])
def test_bad_recording(tmp_path, line):
    """The error for an invalid line names the file and the line."""
    path = tmp_path / "bad.capture"
    file = io.StringIO()
    CaptureWriter(file, "thinkgear")
    path.write_text(file.getvalue() + line + "\n", encoding="ascii")
    with pytest.raises(BadCapture, match=r"bad\.capture, line 2: must be"):
        list(files.parts(path))


def test_empty_capture(tmp_path):
    """An empty file is a capture without bytes."""
    path = tmp_path / "empty.bytes"
    path.touch()
    assert content(path) == b""


def test_shipped_example():
    """The shipped capture is what the simulator makes, ten seconds without a fault."""
    stream = files.EXAMPLE.read_bytes()
    assert stream == SimulatedHeadset(7).advance(10.0)
    decoder = Decoder()
    decoder.feed(stream)
    assert {name for name, count in decoder.counters.items() if count} == {"frames"}
    assert decoder.counters["frames"] == 5130


def test_content_comes_in_large_parts(tmp_path):
    """Where the times do not count, a capture is read in large parts, plain or timed, and nothing is lost."""
    stream = SimulatedHeadset(1).advance(200)
    plain, timed = tmp_path / "x.bytes", tmp_path / "x.capture"
    plain.write_bytes(stream)
    with timed.open("w", encoding="ascii") as file:
        writer = CaptureWriter(file, "thinkgear")
        for at in range(0, len(stream), 100):
            writer.write(stream[at : at + 100], at / 4132)
    for path in (plain, timed):
        parts = list(files.content(path))
        assert b"".join(parts) == stream
        assert len(parts) <= 1 + len(stream) // files.CONTENT_BYTES + 1


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_a_plain_capture_is_replayed_at_its_own_rate(tmp_path, rate_hz):
    """Whatever the headset's samples a second, ten seconds last ten seconds."""
    path = tmp_path / "x.bytes"
    second = b"".join(encode_raw(n % 100) for n in range(rate_hz)) + second_frame(0, (1,) * 8, 50, 60)
    path.write_bytes(10 * second)
    assert list(files.parts(path))[-1][0] == pytest.approx(10, abs=0.01)
