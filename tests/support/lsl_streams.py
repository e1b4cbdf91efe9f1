"""Programs and inlets of the Lab Streaming Layer that see the streams of this computer alone."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import WITHIN_S

CONFIG = Path(__file__).with_name("lsl_api.cfg")
"""Ports below those of other tests. LabRecorder finds streams of this computer by its address alone."""


def library() -> Any:
    """Return pylsl, which sees this computer alone, as do programs that are started; skip tests that lack liblsl.

    All tests get pylsl here: liblsl reads its configuration when it is first used.
    """
    os.environ["LSLAPICFG"] = str(CONFIG)
    try:
        import pylsl
    except (ImportError, RuntimeError):
        pytest.skip("liblsl is not here", allow_module_level=True)
    return pylsl


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start a program of ours as a module."""
    return subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.PIPE)


@contextlib.contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of ours; end it if it has not ended."""
    program = start(*words)
    try:
        yield program
    finally:
        program.terminate()
        program.communicate(timeout=WITHIN_S)


def inlet(source_id: str, flags: int = 0, timeout_s: float = WITHIN_S) -> Any:
    """Open the stream with this id, as a recorder does: it resumes when the stream comes back."""
    import pylsl

    found = pylsl.resolve_byprop("source_id", source_id, timeout=timeout_s)
    assert found, f"no LSL stream {source_id}"
    opened = pylsl.StreamInlet(found[0], recover=True, processing_flags=flags)
    opened.open_stream(timeout_s)
    return opened
