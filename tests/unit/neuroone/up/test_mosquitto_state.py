"""Tests of mending the state that Mosquitto left behind on a full disk."""

import struct
from pathlib import Path

import pytest

from neuroone.up.mosquitto_state import MAGIC, mend, mend_and_log

HEADER = MAGIC + struct.pack("!II", 0, 6)
CHUNKS = tuple(struct.pack("!II", kind, size) + bytes([kind]) * size for kind, size in ((1, 16), (6, 40), (4, 9)))
WHOLE = HEADER + b"".join(CHUNKS)
ENDS = (len(HEADER), *(len(HEADER) + sum(map(len, CHUNKS[: n + 1])) for n in range(len(CHUNKS))))


@pytest.mark.parametrize("size", range(len(WHOLE) + 1))
def test_whole_chunks_are_kept_wherever_the_file_ends(size: int, tmp_path: Path) -> None:
    file = tmp_path / "mosquitto.db"
    file.write_bytes(WHOLE[:size])
    kept = max((end for end in ENDS if end <= size), default=0)
    assert mend(file) == size - kept
    assert file.read_bytes() == WHOLE[:kept]
    assert mend(file) == 0


def test_zeros_at_the_end_are_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "mosquitto.db"
    file.write_bytes(WHOLE + bytes(4096))
    assert mend(file) == 4096
    assert file.read_bytes() == WHOLE


@pytest.mark.parametrize("content", [b"", b"something else entirely", MAGIC + struct.pack("!II", 0, 7) + b"new format"])
def test_what_is_no_known_state_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mosquitto.db"
    file.write_bytes(content)
    assert mend(file) == 0
    assert file.read_bytes() == content


def test_a_missing_state_is_no_fault(tmp_path: Path) -> None:
    assert mend(tmp_path / "mosquitto.db") == 0


def test_a_state_that_cannot_be_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There is a directory in its place."""
    mend_and_log(tmp_path)
    assert "cannot be checked (Is a directory)" in caplog.text
