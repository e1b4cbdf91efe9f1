"""Tests of what keeps `neuroone up` from starting."""

import re
import socket
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from neuroone.contract.files import LOCK_FILE
from neuroone.up.preflight import directory_faults, path_length_doubt, port_faults
from tests.support.brokers import LOOPBACK, free_port


def test_only_ports_that_cannot_listen_are_faults() -> None:
    with socket.create_server((LOOPBACK, free_port())) as taken:
        port = taken.getsockname()[1]
        listeners = [("--mqtt-port", LOOPBACK, port), ("--ws-port", LOOPBACK, free_port())]
        assert port_faults(listeners) == [f"--mqtt-port: port {port} on 127.0.0.1 is in use; choose another"]


def test_a_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    data = tmp_path / "school" / "recordings"
    assert directory_faults(data) == []
    assert list(data.iterdir()) == []


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "recordings"
    file.touch()
    assert directory_faults(file / "D") == [f"--data: {file / 'D'} is not writable (Not a directory)"]


def test_a_directory_that_a_recorder_uses_is_left_to_it(tmp_path: Path) -> None:
    """A second broker would write its state over that of the first."""
    with FileLock(tmp_path / LOCK_FILE):
        assert directory_faults(tmp_path) == [
            f"--data: NeuroOne already records into {tmp_path}; choose another directory"
        ]
    assert directory_faults(tmp_path) == []


def test_a_port_in_use_is_named_with_a_free_one() -> None:
    """Only ports in use: a wrong address has no better port."""
    advice = "{flag} {port} {free}"
    with socket.create_server((LOOPBACK, free_port())) as taken:
        port = taken.getsockname()[1]
        _fault, said = port_faults([("--ws-port", LOOPBACK, port)], advice)
        flag, named, free = said.split()
        assert (flag, int(named)) == ("--ws-port", port)
        with socket.create_server((LOOPBACK, int(free))):
            pass
    assert len(port_faults([("--ws-port", "203.0.113.1", 8080)], advice)) == 1


def test_a_directory_whose_files_windows_could_not_write_is_named() -> None:
    long = Path("/") / ("x" * 120)
    said = path_length_doubt(long, has_long_paths=False)
    assert said is not None
    room = int(re.findall(r"more than (\d+)", said)[0])
    assert 70 < room < 100  # C:\Users\NAME\OneDrive - SCHOOL\Documents\NeuroOne
    assert path_length_doubt(Path("/" + "x" * (room - 1)), has_long_paths=False) is None
    assert path_length_doubt(Path("/" + "x" * room), has_long_paths=False) is not None
    assert path_length_doubt(long, has_long_paths=True) is None


@pytest.mark.skipif(sys.platform == "win32", reason="it depends on a setting there")
def test_other_systems_have_long_paths() -> None:
    assert path_length_doubt(Path("/") / ("x" * 250)) is None
