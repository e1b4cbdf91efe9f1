"""Captures that begin and end while a headset is read."""

from pathlib import Path

from serial_bridge.captures.files import parts
from serial_bridge.captures.record import Recording, Recordings
from tests.support.waiting import wait_for


def test_another_number_begins_another_file_and_zero_ends_it(tmp_path: Path) -> None:
    wanted, paths = [0], (tmp_path / f"{n}.capture" for n in range(9))
    recordings = Recordings(lambda: Recording(lambda: next(paths), "thinkgear", keeps_all=False), lambda: wanted[0])
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
