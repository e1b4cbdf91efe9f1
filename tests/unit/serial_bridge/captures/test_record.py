"""Captures that begin and end while a headset is read."""

import threading
from functools import partial
from pathlib import Path

from serial_bridge.captures.files import parts
from serial_bridge.captures.record import Recording, Recordings
from tests.support.waiting import wait_for


def test_another_number_begins_another_file_and_zero_ends_it(tmp_path: Path) -> None:
    wanted = [0]

    def new() -> Recording:
        path = tmp_path / f"{wanted[0] - 1}.capture"  # chosen here: each capture opens its file in its own thread
        return Recording(lambda: path, "thinkgear", keeps_all=False)

    recordings = Recordings(new, lambda: wanted[0])
    assert recordings.counters == {}
    for number, byte in ((0, b"a"), (1, b"b"), (1, b"c"), (0, b"d"), (2, b"e")):
        wanted[0] = number
        recordings.on_bytes(byte, 1.0, has_frames=True)
    wanted[0] = 0
    recordings.flush()
    recordings.join(5)
    found = {path.name: b"".join(part for _, part in parts(path)) for path in sorted(tmp_path.iterdir())}
    assert found == {"0.capture": b"bc", "1.capture": b"e"}
    assert recordings.counters == {"recorded_bytes": 3, "recordings_failed": 0}


def test_the_end_waits_for_a_slow_capture_that_ended_before(tmp_path: Path) -> None:
    """Record, stop, record, quit, on a disk that takes its time for the first file."""
    wanted, is_ready = [1], threading.Event()

    def path_of(number: int) -> Path:
        if number == 1:
            is_ready.wait(5)
        return tmp_path / f"{number}.capture"

    recordings = Recordings(
        lambda: Recording(partial(path_of, wanted[0]), "thinkgear", keeps_all=True), lambda: wanted[0]
    )
    for number, byte in ((1, b"a"), (2, b"b")):
        wanted[0] = number
        recordings.on_bytes(byte, 1.0, has_frames=True)
    recordings.close()
    threading.Timer(0.3, is_ready.set).start()
    recordings.join(5)
    found = {path.name: b"".join(part for _, part in parts(path)) for path in sorted(tmp_path.iterdir())}
    assert found == {"1.capture": b"a", "2.capture": b"b"}


def test_a_fault_ends_one_recording_and_not_the_next(tmp_path: Path) -> None:
    wanted, paths = [1], iter([tmp_path / "gone" / "x.capture", tmp_path / "y.capture"])
    recordings = Recordings(lambda: Recording(lambda: next(paths), "thinkgear", keeps_all=True), lambda: wanted[0])
    recordings.on_bytes(b"a", 1.0, has_frames=True)
    wait_for(lambda: recordings.fault, "the fault", 5)
    wanted[0] = 2
    recordings.on_bytes(b"b", 2.0, has_frames=True)
    recordings.close()
    recordings.join(5)
    assert [path.name for path in tmp_path.iterdir()] == ["y.capture"]
    assert recordings.counters["recordings_failed"] == 1
