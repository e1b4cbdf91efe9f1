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


class Seconds:
    """What a simulated headset sends in each second, and the band powers of its raw samples."""

    def __init__(self, headset: SimulatedHeadset, seconds: int) -> None:
        rows: list[list[int]] = []
        powers: list[list[float]] = []
        samples: list[int] = []
        for event in Decoder().feed(headset.advance(seconds)):
            samples += raw_samples(event)
            if isinstance(event, Frame) and len(event.rows) > 1:
                values = {row.quantity: row.value for row in event.rows}
                esense = (values[each] for each in (Quantity.POOR_SIGNAL, Quantity.ATTENTION, Quantity.MEDITATION))
                rows.append([*esense, *values[Quantity.BANDS]])  # type: ignore[list-item, misc]
                power = np.abs(np.fft.rfft(np.array(samples) * np.hanning(512))) ** 2
                powers.append([power[first : last + 1].sum() for first, last in simulated.BAND_BINS_HZ])
                samples = []
        self.values = np.array(rows)
        """Poor signal, attention, meditation and the eight bands, a row for each second."""
        self.powers = np.array(powers)

    def check_bands(self, at_least: float) -> None:
        """Compare the ranks of the bands with those of the samples' powers, where contact is good."""
        good = self.values[:, 0] == 0
        for band in range(8):
            one, other = (np.argsort(np.argsort(table[good, band])) for table in (self.values[:, 3:], self.powers))
            assert np.corrcoef(one, other)[0, 1] > at_least


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_bands_belong_to_the_samples(seed):
    """The band powers of a second rise and fall with those of its raw samples, and are as large as a real head's."""
    seconds = Seconds(SimulatedHeadset(seed), 240)
    seconds.check_bands(0.9)
    medians = np.median(seconds.values[:, 3:], axis=0)
    assert all(0.4 < found / usual < 2.5 for found, usual in zip(medians, simulated.TYPICAL_BANDS, strict=True))


@pytest.mark.parametrize(
    ("scenario", "before", "after", "what", "factor"),
    [
        ("eyes-closed", slice(8, 30), slice(35, 60), 3 + 3, 3),
        ("eyes-closed", slice(8, 30), slice(35, 60), 2, 1.4),
        ("attention-task", slice(10, 30), slice(45, 90), 1, 1.4),
        ("falling-asleep", slice(30, 90), slice(300, 330), 3 + 0, 2),
        ("falling-asleep", slice(30, 90), slice(300, 330), 3 + 1, 2),
        ("walking", slice(5, 20), slice(22, 60), 3 + 1, 2),
    ],
)
def test_what_a_scenario_shows(scenario, before, after, what, factor):
    """Alpha with closed eyes, attention in a task, slow waves in sleep, steps: in bands, eSense and samples alike."""
    seconds = Seconds(SimulatedHeadset(3, scenario=scenario), after.stop)
    assert np.median(seconds.values[after, what]) > factor * np.median(seconds.values[before, what])
    seconds.check_bands(0.9)
    good = seconds.values[:, 0] == 0
    balance = 0.0
    expected = []
    for _, theta, low_alpha, high_alpha, low_beta, high_beta, _, _ in np.log(seconds.powers[good]):
        balance += 0.2 * ((low_alpha + high_alpha - theta - (low_beta + high_beta) / 2) / 2 - balance)
        expected.append(balance)
    assert np.corrcoef(expected[25:], seconds.values[good, 2][25:])[0, 1] > 0.6


def test_bad_contact_comes_and_goes():
    seconds = Seconds(SimulatedHeadset(3, scenario="bad-contact"), 60)
    seconds.check_bands(0.9)
    assert 0.2 < (seconds.values[:, 0] > 0).mean() < 0.8
