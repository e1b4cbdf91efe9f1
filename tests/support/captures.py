"""Real bytes of headsets, kept outside the project: the directory that NEUROONE_CAPTURES names."""

import os
from pathlib import Path
from typing import Final

import pytest

from serial_bridge.captures.files import parts

CAPTURES: Final = Path(os.environ.get("NEUROONE_CAPTURES", "no-captures"))
BASELINE: Final = CAPTURES / "akloster_baseline.bytes"
"""A MindWave Mobile over Bluetooth, 322 s."""
CAPTURE_VECTORS: Final = CAPTURES / "vectors.json"
"""48 byte vectors with the frames and rows that they decode to."""

needs_captures = pytest.mark.skipif(
    not BASELINE.exists(), reason="NEUROONE_CAPTURES names no directory with real captures"
)


def content(path: Path) -> bytes:
    """The bytes of a capture without their times."""
    return b"".join(part for _, part in parts(path))
