"""Tests of what `neuroone doctor --port ble` says."""

import re
import subprocess
from types import SimpleNamespace

import pytest

from neuroone.doctor import checks, machine
from neuroone.doctor.checks import Bluetooth
from neuroone.doctor.command import as_text

ROWS = """
{"port": "/dev/ttyS0", "vid_pid": "-", "description": "n/a", "location": "-", "looks_like": "something else"}
{"port": "ble:AA:01", "vid_pid": "-", "description": "Watch", "location": "-40 dBm", "looks_like": "something else"}
{"port": "ble:AA:02", "vid_pid": "-", "description": "BrainLink_Pro", "location": "-60 dBm", "looks_like": "HM-10"}
""".strip()


def seen(monkeypatch: pytest.MonkeyPatch, device: str, rows: str = ROWS, said: str = "") -> Bluetooth:
    done = SimpleNamespace(stdout=rows, stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    return machine.bluetooth(device)


@pytest.mark.parametrize(
    ("device", "code"),
    [
        ("ble", "ble_ok"),
        ("ble:brainlink*", "ble_ok"),
        ("ble:BrainLink_Pro", "ble_ok"),
        ("ble:aa:02", "ble_ok"),
        ("ble:Watch", "ble_ok"),
        ("ble:BrainLink", "ble_missing"),
        ("ble:AA:03", "ble_missing"),
    ],
)
def test_the_headset_that_the_bridge_would_take_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, code: str
) -> None:
    assert checks.bluetooth(seen(monkeypatch, device)).code == code


def test_why_nothing_could_be_searched_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (seen(monkeypatch, "ble", "", "noise\nno adapter"), seen(monkeypatch, "ble", "rubbish")):
        finding = checks.bluetooth(given)
        assert (finding.code, finding.status) == ("ble_fault", checks.Status.PROBLEM)
    assert "no adapter" in as_text(checks.bluetooth(seen(monkeypatch, "ble", "", "no adapter")), "en")


def test_the_real_program_is_asked() -> None:
    """This computer may have an adapter or none: either way it is no serial port that is missing."""
    seen = machine.bluetooth("ble")
    assert checks.bluetooth(seen).code in ("ble_ok", "ble_missing", "ble_fault")
    assert not re.search(r"No module|no such option|extra serial-bridge|^\w+Error\b|^Expecting", seen.fault), seen.fault
