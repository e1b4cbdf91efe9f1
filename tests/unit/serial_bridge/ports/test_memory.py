"""What answered on which port, in a file: damaged, unwritable, too large, and without names."""

import json
import os
from pathlib import Path

import pytest

from serial_bridge.ports.memory import FILE_MAX_BYTES, PORTS_MAX, REST_S, PortMemory, default_path
from tests.support.serial_ports import listed_port

PORT = listed_port("/dev/tty.Ana-Souza-Headset", "USB Serial", 0x1A86, 0x7523)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "neuroone" / "ports.json"


def test_a_headset_is_remembered_without_any_name(file):
    PortMemory(file).on_headset(PORT, 9600)
    assert PortMemory(file).baud(PORT) == 9600
    assert not any(word in file.read_text(encoding="ascii") for word in ("Ana", "Souza", "dev", "tty"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"a": 1}',
        b'{"a": {"kind": "headset", "time_s": "now"}}',
        b"{" + b" " * 70000 + b"}",
        b"[" * 5000,
        b'{"a": {"kind": "headset", "time_s": 1e999, "baud": 57600}}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_file_is_an_empty_one_and_is_replaced(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    memory = PortMemory(file)
    assert memory.baud(PORT) is None
    assert memory.rest_s(PORT) == 0
    memory.on_other(PORT)
    assert 0 < PortMemory(file).rest_s(PORT) <= REST_S


@pytest.mark.parametrize("place", ["file/ports.json", "folder", "relative"])
def test_a_file_that_cannot_be_written_is_no_fault(tmp_path, place, monkeypatch):
    """This run remembers all the same."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    path = Path("~/state.json") if place == "relative" else tmp_path / place
    known = PortMemory(path)
    known.on_headset(PORT, 115200)
    assert known.baud(PORT) == 115200
    assert PortMemory(path).baud(PORT) is None
    assert not Path("~").exists()


def test_the_file_is_bounded_and_the_oldest_answers_leave(file):
    known = PortMemory(file, iter(range(1, 10**6)).__next__)
    for n in range(PORTS_MAX + 9):
        known.on_headset(listed_port(f"COM{n}"), 57600)
    assert len(json.loads(file.read_bytes())) == PORTS_MAX
    assert file.stat().st_size <= FILE_MAX_BYTES
    assert known.baud(listed_port("COM8")) is None
    assert PortMemory(file).baud(listed_port("COM9")) == 57600


def test_one_doubtful_answer_does_not_make_a_headset_another_device(file):
    known = PortMemory(file)
    known.on_headset(PORT, 9600)
    known.on_other(PORT)
    assert (known.rest_s(PORT), known.baud(PORT)) == (0, 9600)
    known.on_other(PORT)
    assert known.rest_s(PORT) > 0


def test_two_programs_remember_in_one_file(file):
    one, other = PortMemory(file), PortMemory(file)
    assert other.baud(PORT) is None
    one.on_headset(PORT, 9600)
    other.on_headset(listed_port("COM4"), 57600)
    assert PortMemory(file).baud(PORT) == 9600


def test_the_file_is_in_the_users_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = default_path()
    assert path.is_absolute()
    assert "neuroone" in path.parts
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert path == tmp_path / "neuroone" / "serial_ports.json"
