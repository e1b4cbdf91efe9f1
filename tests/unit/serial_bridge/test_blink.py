"""Blinks estimated from raw samples."""

from random import Random

from neuroone.contract.blinks import BlinkEstimator
from serial_bridge.headsets.events import Raw
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports import simulated
from serial_bridge.ports.simulated import SimulatedHeadset


def test_blinks_are_found_where_they_are():
    """Blinks of known places are found, noise and steps are not."""
    rng = Random(1)
    signal = [rng.gauss(0, 60) for _ in range(512 * 20)]
    for at in range(512, 512 * 20, 1024):
        for n in range(205):
            signal[at + n] += 800 * simulated._blink(n / 512)
    blinks = BlinkEstimator()
    parts = range(0, len(signal), 64)
    found = [each for n in parts for each in blinks.find(tuple(map(round, signal[n : n + 64])))]
    assert len(found) == 10
    assert all(40 <= (blink.peak_at - 512) % 1024 < 80 for blink in found)
    step = BlinkEstimator()
    assert step.find((0,) * 512 + (900,) * 2048) == []


def test_blinks_do_not_depend_on_chunks():
    """A simulated head's blinks are few, strong, and found in any case."""
    raw = tuple(s for e in Decoder().feed(SimulatedHeadset(1).advance(20)) if isinstance(e, Raw) for s in e.samples)
    strengths = [blink.strength for blink in BlinkEstimator().find(raw)]
    assert 2 <= len(strengths) <= 12
    assert all(1 <= strength <= 255 for strength in strengths)
