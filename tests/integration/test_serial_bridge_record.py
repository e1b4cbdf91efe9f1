"""serial-bridge record and run --record, on real pseudo-terminals: what is in the captures, and what is told."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serial_bridge.captures.decode import events
from serial_bridge.headsets.events import Raw
from serial_bridge.headsets.thinkgear import Decoder, encode
from tests.support.brokers import Broker
from tests.support.captures import content
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are of POSIX systems")


class Simulated:
    """`serial-bridge simulate` as a program, and its ports."""

    def __init__(self, directory: Path, *options: str, headsets: int = 1) -> None:
        command = [sys.executable, "-m", "serial_bridge", "simulate", "--headsets", str(headsets)]
        command += ["--link", str(directory / "tty"), *options]
        self.program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.program.stdout is not None
        self.ports = [self.program.stdout.readline().strip() for _ in range(headsets)]

    def stop(self) -> None:
        self.program.terminate()
        self.program.communicate()


@pytest.fixture
def simulated(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Simulated]:
    options = dict(request.param)
    headsets = options.pop("headsets", 1)
    running = Simulated(tmp_path, *(word for pair in options.items() for word in pair), headsets=headsets)
    yield running
    running.stop()


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serial_bridge", *arguments]
    pipe = subprocess.PIPE
    program: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
        command, stdout=pipe, stderr=pipe, text=True, **options
    )
    return program


def raw_samples(path: Path) -> int:
    """Raw samples in a capture; 0 while there is none."""
    with suppress(FileNotFoundError):
        return sum(len(event.samples) for event in events(Decoder(), path) if isinstance(event, Raw))
    return 0


def size(path: Path) -> int:
    """Bytes of a headset in a capture; 0 while there is none."""
    with suppress(FileNotFoundError):
        return len(content(path))
    return 0


def stop_when(program: subprocess.Popen[str], is_so: "object", words: str) -> tuple[int, str, str, float]:
    """Interrupt the program once something is so; return its exit code, its output and the time that it took to end."""
    try:
        wait_for(is_so, words, 40)  # type: ignore[arg-type]
    finally:
        program.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        out, err = program.communicate(timeout=30)
    return program.returncode, out, err, time.monotonic() - began_s


@pytest.mark.parametrize("simulated", [{"--mode": "dongle"}], indirect=True)
@pytest.mark.parametrize("options", [[], ["--headset-id", "0606"]])
def test_a_headset_behind_a_dongle_is_recorded(simulated, tmp_path, options):
    """The dongle is told to connect; each second is told what has come."""
    path = tmp_path / "r.capture"
    program = start("record", str(path), "--port", simulated.ports[0], "--baud", "115200", *options)
    code, out, err, _ = stop_when(program, lambda: raw_samples(path) > 1000, "raw samples")
    assert code == 0, err
    assert "connected" in out
    assert "raw samples" in out


@pytest.mark.parametrize("simulated", [{"--mode": "normal"}, {"--mode": "dongle"}], indirect=True)
def test_the_speed_is_found_and_noise_of_wrong_ones_left_out(simulated, tmp_path):
    """Without --baud a capture begins with the headset's own bytes."""
    path = tmp_path / "r.capture"
    program = start("record", str(path), "--port", simulated.ports[0])
    code, _, err, _ = stop_when(program, lambda: size(path) > 100, "bytes")
    assert code in (0, 1), err  # a dongle may have sent nothing but its own state yet
    decoder = Decoder()
    decoder.feed(content(path))
    assert decoder.counters["frames"] > 2
    assert decoder.counters["skipped_bytes"] <= 64


@pytest.mark.parametrize("simulated", [{"--mode": "normal"}], indirect=True)
def test_a_module_is_switched_to_raw(simulated, tmp_path):
    path = tmp_path / "r.capture"
    program = start("record", str(path), "--port", simulated.ports[0], "--raw", "--baud", "9600")
    code, _, err, _ = stop_when(program, lambda: raw_samples(path) > 500, "raw samples")
    assert code == 0, err


@pytest.mark.parametrize("simulated", [{"headsets": 2}], indirect=True)
def test_two_ports_make_two_captures(simulated, tmp_path):
    path, second = tmp_path / "r.capture", tmp_path / "r-2.capture"
    one, two = simulated.ports
    program = start("record", str(path), "--port", one, "--port", two, "--seconds", "3")
    out, err = program.communicate(timeout=40)
    assert program.returncode == 0, err
    assert {str(path), str(second)} <= {line.split(": ")[0] for line in out.splitlines()}
    assert content(path)[:2000] != content(second)[:2000]


@pytest.mark.parametrize("port", ["no-such-port", "socket://10.255.255.1:9", "x" * 300, "auto", "/dev/null", "a\x01b"])
def test_nothing_recorded_is_told_and_leaves_no_file(tmp_path, port):
    """Without a headset: Ctrl-C ends at once, the reason is told, and the next try is not hindered."""
    path = tmp_path / "r.capture"
    program = start("record", str(path), "--port", port, "--log-level", "debug", cwd=tmp_path)
    assert program.stdout is not None
    told = program.stdout
    code, out, err, took_s = stop_when(program, lambda: told.readline().startswith("    3 s"), "some seconds")
    assert took_s < 3
    assert code == 1
    assert "No headset was recorded" in err
    assert "Traceback" not in err + out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["no/such/directory.capture", "n" * 300, "there.capture"])
def test_a_file_that_cannot_be_made_is_told_at_the_start(tmp_path, name):
    (tmp_path / "there.capture").write_text("mine", encoding="ascii")
    program = start("record", name, "--port", "sim", cwd=tmp_path)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 2
    assert "cannot be written" in err
    assert (tmp_path / "there.capture").read_text(encoding="ascii") == "mine"


def test_a_full_disk_is_told(tmp_path):
    """A capture that cannot grow ends the recording in words."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    path = tmp_path / "r.capture"
    program = start("record", str(path), "--port", "sim", preexec_fn=limit)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 1
    assert "cannot be written" in err
    assert "Traceback" not in err


def test_a_running_bridge_records_too(broker: Broker, tmp_path):
    """run --record keeps what arrives, beside publishing it; a second run writes another file."""
    for n in (1, 2):
        program = start("run", "--port", "sim", "--record", str(tmp_path), "--broker", broker.url)

        def is_recorded(n: int = n) -> bool:
            files = sorted(tmp_path.glob("sim_*.capture"))
            return len(files) == n and all(raw_samples(file) > 600 for file in files)

        code, _, err, _ = stop_when(program, is_recorded, "captures")
        assert code == 0, err


def test_a_full_disk_does_not_end_the_headset(broker: Broker, tmp_path):
    """The bridge goes on without its capture, and its log tells why."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    program = start("run", "--port", "sim", "--record", str(tmp_path), "--broker", broker.url, preexec_fn=limit)
    time_full: list[float] = []

    def is_going_on() -> bool:
        full = any(path.stat().st_size >= 8000 for path in tmp_path.glob("*.capture"))
        if full:
            time_full.append(time.monotonic())
        return bool(time_full) and time.monotonic() - time_full[0] > 1.5 and program.poll() is None

    code, _, err, _ = stop_when(program, is_going_on, "a second after the disk was full")
    assert code == 0, err
    assert "the recording ends here" in err
    assert "given up" not in err


def test_a_directory_that_is_not_there_is_told(tmp_path):
    program = start("run", "--port", "sim", "--record", str(tmp_path / "none"))
    _, err = program.communicate(timeout=20)
    assert program.returncode == 2
    assert "--record: must be a directory" in err


def test_noise_is_recorded_where_the_speed_was_given(tmp_path):
    """With --baud everything is kept, also what is no headset's; that there was none is told."""
    path, pipe = tmp_path / "r.capture", tmp_path / "pipe"
    os.mkfifo(pipe)
    program = start("record", str(path), "--port", str(pipe), "--baud", "57600")
    with pipe.open("wb") as writer:
        writer.write(b"0123456789" * 10 + encode(b"\x01\x40"))
        writer.flush()
        code, _, err, _ = stop_when(program, lambda: size(path) >= 100, "bytes")
    assert (code, "No headset was recorded" in err) == (1, True)
