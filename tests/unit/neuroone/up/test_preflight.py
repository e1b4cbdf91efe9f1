"""Tests of what keeps `neuroone up` from starting."""

import socket
from pathlib import Path

from neuroone.up.preflight import directory_faults, port_faults
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
