"""The simulated headset: rates, modes, damage, plausible signals."""

from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from neuroone.contract.messages import OFF_SKIN
from serial_bridge.headsets.events import Frame, Quantity, raw_samples
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports import simulated
from serial_bridge.ports.simulated import Damage, SimulatedHeadset


def decoded(stream: bytes) -> list[dict[str, object]]:
    """The frames that are not raw, each as quantity: value."""
    events = Decoder().feed(stream)
    return [{str(row.quantity): row.value for row in event.rows} for event in events if isinstance(event, Frame)]


def test_rate():
    """A headset sends 513 frames, 4132 bytes, a second, whatever the steps of time."""
    headset = SimulatedHeadset(1)
    stream = b"".join(headset.advance(tenth / 10) for tenth in range(1, 101))
    assert len(stream) == 10 * 4132
    assert stream == SimulatedHeadset(1).advance(10)


def test_seed():
    """One seed always gives the same bytes."""
    assert SimulatedHeadset(1).advance(2) == SimulatedHeadset(1).advance(2)
    assert SimulatedHeadset(1).advance(2) != SimulatedHeadset(2).advance(2)


def test_parts_are_due_in_time():
    """The parts of the in-process headset are the stream, each due when its last sample is."""
    parts = simulated.parts(1)
    first = [next(parts) for _ in range(128)]
    assert first[-1][0] == 1.0
    assert b"".join(part for _, part in first) == SimulatedHeadset(1).advance(1)


def test_esense_is_frozen_while_contact_is_poor():
    """With poor contact eSense keeps its last value; off the head it is 0; it is never 0 on a good head."""
    seconds = decoded(SimulatedHeadset(4).advance(300))
    poor = Counter(second["poor_signal"] for second in seconds)
    assert poor[0] > 200
    assert set(poor) <= {0, *simulated.POOR_LEVELS}
    assert len(poor) > 2
    for before, now in pairwise(seconds[4:]):
        if now["poor_signal"] == OFF_SKIN:
            assert now["attention"] == now["meditation"] == 0
        elif now["poor_signal"]:
            assert now["attention"] == before["attention"]
        else:
            assert 1 <= now["attention"] <= 100  # type: ignore[operator]


def test_normal_mode():
    """In normal mode there is no raw sample until the module is told to send them."""
    headset = SimulatedHeadset(1, "normal")
    assert headset.baud == 9600
    assert len(headset.advance(5)) == 5 * 36
    headset.receive(b"\x02")
    assert headset.baud == 57600
    assert len(headset.advance(6)) == 4132


def test_dongle():
    """A dongle stands by, scans on command, finds its headset, and loses it on command."""
    dongle = SimulatedHeadset(1, "dongle")
    assert decoded(dongle.advance(2)) == 2 * [{"dongle_status": 0}]
    dongle.receive(b"\xc2")
    assert decoded(dongle.advance(3)) == [{"dongle_status": 1}]
    (found, *seconds) = decoded(dongle.advance(6))
    assert found == {"headset_found": dongle.headset_id}
    assert seconds[-1].keys() == {"poor_signal", "bands", "attention", "meditation"}
    dongle.receive(b"\xc1")
    assert decoded(dongle.advance(7)) == [{"headset_lost": dongle.headset_id}, {"dongle_status": 0}]


def test_damage():
    """Damage loses and changes its shares of the bytes."""
    stream = bytes(100_000)
    dropped = Damage(drop=0.01).apply(stream, Random(1))
    assert 98_700 < len(dropped) < 99_300
    flipped = Damage(flip=0.01).apply(stream, Random(1))
    assert len(flipped) == 100_000
    assert 700 < sum(byte != 0 for byte in flipped) < 1300
    assert Damage().apply(stream, Random(1)) is stream


@pytest.mark.parametrize("text", ["drop=2", "drop=x", "loss=0.1", "drop", "0.1"])
def test_bad_damage(text):
    """Invalid damage is refused with an example."""
    with pytest.raises(ValueError, match="must be like drop="):
        Damage.parse(text)


def test_damage_from_text():
    """Damage is read from its text."""
    assert Damage.parse("drop=0.01,flip=0.5") == Damage(0.01, 0.5)


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_bands_belong_to_the_samples(seed):
    """The band powers of a second rise and fall with those of its raw samples, and are as large as a real head's."""
    seconds: list[list[float]] = []
    bands: list[tuple[int, ...]] = []
    samples: list[int] = []
    for event in Decoder().feed(SimulatedHeadset(seed).advance(240)):
        samples += raw_samples(event)
        for row in event.rows if isinstance(event, Frame) else ():
            if row.quantity is Quantity.BANDS:
                power = np.abs(np.fft.rfft(np.array(samples) * np.hanning(512))) ** 2
                seconds.append([power[first : last + 1].sum() for first, last in simulated.BAND_BINS_HZ])
                bands.append(row.value)  # type: ignore[arg-type]
                samples = []
    ranks = [np.argsort(np.argsort(np.array(table), axis=0), axis=0) for table in (seconds, bands)]
    for band in range(8):
        assert np.corrcoef(ranks[0][:, band], ranks[1][:, band])[0, 1] > 0.9
    medians = np.median(np.array(bands), axis=0)
    assert all(0.4 < found / usual < 2.5 for found, usual in zip(medians, simulated.TYPICAL_BANDS, strict=True))
