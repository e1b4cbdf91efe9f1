"""The commands that need no broker: decode, record, ports, simulate; and the texts about wrong settings."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import pytest

from neuroone.contract.json import decode
from neuroone.contract.messages import RawBlock, Reading
from serial_bridge.__main__ import main
from serial_bridge.headsets.thinkgear import encode
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support.captures import BASELINE, content, needs_captures


def test_summary_of_the_example(capsys):
    """decode --summary prints one JSON object with exactly these keys."""
    assert main(["decode", "example", "--summary"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary) == [
        "frames",
        "checksum_failures",
        "skipped_bytes",
        "raw",
        "poor_signal",
        "attention",
        "meditation",
        "bands",
    ]
    assert (summary["frames"], summary["checksum_failures"], summary["skipped_bytes"]) == (5130, 0, 0)
    assert summary["raw"].keys() == {"n", "sum", "min", "max"}
    assert (summary["raw"]["n"], summary["poor_signal"]["n"], len(summary["bands"])) == (5120, 10, 8)


@needs_captures
def test_summary_of_a_real_capture(capsys):
    """decode --summary of a real capture prints its published sums."""
    assert main(["decode", str(BASELINE), "--summary"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "frames": 165415,
        "checksum_failures": 0,
        "skipped_bytes": 0,
        "raw": {"n": 165093, "sum": 11942641, "min": -2048, "max": 2047},
        "poor_signal": {"n": 322, "sum": 2120},
        "attention": {"n": 322, "sum": 21774},
        "meditation": {"n": 322, "sum": 16965},
        "bands": [39707500, 10326338, 2903539, 2257893, 2586877, 2151134, 904808, 716915],
    }


def test_summary_of_nothing(tmp_path, capsys):
    """A file without a frame has a summary too; all its bytes are skipped."""
    (tmp_path / "x.bytes").write_bytes(b"\xaa\xaa\x04 nothing")
    assert main(["decode", str(tmp_path / "x.bytes"), "--summary"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["skipped_bytes"]) == (0, 11)
    assert summary["raw"] == {"n": 0, "sum": 0, "min": None, "max": None}


def test_rows(tmp_path, capsys):
    """Rows come as JSON objects or as a long table, with the same values."""
    frames = "aaaa048002ffc3bbaaaa080220017e04120560e3aaaa0455557f00d6aaaa04d002050523"
    (tmp_path / "x.bytes").write_bytes(bytes.fromhex(frames))
    assert main(["decode", str(tmp_path / "x.bytes")]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"frame": 0, "raw": -61},
        {"frame": 1, "poor_signal": 32},
        {"frame": 1, "battery": 126},
        {"frame": 1, "attention": 18},
        {"frame": 1, "meditation": 96},
        {"frame": 2, "unknown": {"code": "0x7f", "level": 2, "hex": "00"}},
        {"frame": 3, "headset_found": "0505"},
    ]
    assert main(["decode", str(tmp_path / "x.bytes"), "--csv"]) == 0
    table = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert table[:3] == [["frame", "quantity", "value"], ["0", "raw", "-61"], ["1", "poor_signal", "32"]]
    assert table[-1] == ["3", "headset_found", "0505"]


def test_rows_are_json_whatever_came(tmp_path, capsys):
    """Float band powers that are not finite are null: JSON has no NaN."""
    (tmp_path / "x.bytes").write_bytes(encode(b"\x81\x20" + bytes.fromhex("7fc000007f800000") + bytes(24)))
    assert main(["decode", str(tmp_path / "x.bytes")]) == 0
    row = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert row == {"frame": 0, "bands_float": [None, None, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}


def test_bands_in_the_table(capsys):
    """In the table a band power has its own line."""
    assert main(["decode", "example", "--csv"]) == 0
    quantities = [row[1] for row in csv.reader(io.StringIO(capsys.readouterr().out))]
    assert (quantities.count("delta"), quantities.count("mid_gamma"), quantities.count("raw")) == (10, 10, 5120)


def test_messages_are_those_of_a_bridge(capsys):
    """Their times are those of the capture, so that a program can play it without knowing headsets."""
    assert main(["decode", "example", "--messages"]) == 0
    lines = capsys.readouterr().out.splitlines()
    blocks = [decode(RawBlock, line.encode()) for line in lines if '"samples":' in line]
    readings = [decode(Reading, line.encode()) for line in lines if '"samples":' not in line]
    assert (len(blocks), len(readings)) == (80, 10)
    assert sum(len(block.samples) for block in blocks) == 5120
    assert blocks[-1].time.timestamp() == pytest.approx(10, abs=0.1)
    assert readings[0].time.year == 1970


@pytest.mark.parametrize("time", ["-1", "9" * 400, str(10**15)])
@pytest.mark.parametrize("printed", ["--messages", "--summary"])
def test_a_time_that_cannot_be_is_damage(time, printed, tmp_path, capsys):
    path = tmp_path / "b.capture"
    path.write_text(f'{{"format":"neuroone-capture","version":1}}\n{time} aaaa\n', encoding="ascii")
    assert main(["decode", str(path), printed]) == (0 if printed == "--summary" and len(time) < 20 else 1)
    assert "Traceback" not in capsys.readouterr().err


def test_record(tmp_path):
    """record writes the bytes that arrive, with their times, and never over another file."""
    path = tmp_path / "r.capture"
    assert main(["record", str(path), "--port", "sim", "--seconds", "0.5"]) == 0
    stream = content(path)
    assert len(stream) > 512
    assert SimulatedHeadset(1).advance(2).startswith(stream)
    assert main(["record", str(path), "--port", "sim"]) == 2


def test_record_of_a_capture(tmp_path):
    """A capture that ends, ends the recording."""
    source, path = tmp_path / "s.bytes", tmp_path / "r.capture"
    source.write_bytes(SimulatedHeadset(1).advance(0.3))
    assert main(["record", str(path), "--port", str(source)]) == 0
    assert content(path) == source.read_bytes()


def test_ports(capsys):
    """ports lists the ports or prints that there is none."""
    assert main(["ports"]) == 0
    assert capsys.readouterr().out
    assert main(["ports", "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line).keys() == {"port", "vid_pid", "description", "location", "looks_like"}


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are of POSIX systems")
def test_simulate_on_pseudo_terminals(tmp_path):
    """simulate prints the ports of its headsets, and removes its links at the end."""
    command = [sys.executable, "-m", "serial_bridge", "simulate", "--headsets", "2", "--link", str(tmp_path / "tty")]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    names = [program.stdout.readline().decode().strip() for _ in range(2)]
    assert names == [str(tmp_path / "tty0"), str(tmp_path / "tty1")]
    assert main(["record", str(tmp_path / "r.capture"), "--port", names[1], "--seconds", "0.5"]) == 0
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == 0
    program.stdout.close()
    assert len(content(tmp_path / "r.capture")) > 512
    assert list(tmp_path.glob("tty*")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "no-such-file"], "FILE"),
        (["replay"], "file: is missing"),
        (["replay", "example", "--speed", "0"], "--speed: must be a number from 0.001"),
        (["run", "--headset", "muse", "--name", " "], "--headset: must be one of thinkgear"),
        (["run", "--headset-id", "12"], "--headset-id: must be four hexadecimal digits"),
        (["run", "--source", "a/b"], "--source: must be an id"),
        (["simulate", "--damage", "rain=1"], "--damage: must be like"),
        (["decode", "no-such-file"], "must be a capture file that exists"),
        (["juggle"], "no command 'juggle'"),
    ],
)
def test_wrong_settings(arguments, said, capsys):
    """Wrong settings are explained, with exit code 2."""
    assert main(arguments) == 2
    assert said.lower() in capsys.readouterr().err.lower()


def test_bad_capture_is_reported(tmp_path, caplog):
    """An invalid timed capture gives exit code 1, not a traceback."""
    path = tmp_path / "b.capture"
    path.write_text('{"format":"neuroone-capture","version":1}\nrubbish\n', encoding="ascii")
    assert main(["decode", str(path), "--summary"]) == 1
