"""Stamps of samples and readings on this computer's clock, whatever the sender's clock and the broker do."""

import random
from itertools import pairwise

import pytest

from neuroone.lsl.stamps import SampleStamps, SenderClock

RATE_HZ = 512
BLOCK = 64
BLOCK_S = BLOCK / RATE_HZ
AHEAD_S = 1_800_000_000.0
"""How far the sender's clock is from ours: it counts from 1970."""


def test_a_senders_time_becomes_ours_without_the_jitter_of_the_way() -> None:
    rng, clock = random.Random(1), SenderClock()
    made = [n * BLOCK_S for n in range(800)]
    found = [clock.local_s(AHEAD_S + at_s, at_s + 0.001 + rng.expovariate(100)) for at_s in made]
    late = [local_s - at_s for local_s, at_s in zip(found, made, strict=True)][100:]
    assert 0 <= min(late)
    assert max(late) < 0.003


def test_what_waited_for_the_broker_keeps_its_time() -> None:
    clock = SenderClock()
    clock.local_s(AHEAD_S, 0.001)
    found = [clock.local_s(AHEAD_S + at_s, 600.0 + at_s / 30) for at_s in range(1, 600)]
    assert found == pytest.approx(range(1, 600), abs=0.05)


@pytest.mark.parametrize("step_s", [-3600.0, -20.0, 2.0, 86400.0])
def test_a_clock_that_is_set_is_followed(step_s: float) -> None:
    clock = SenderClock()
    for at_s in range(100):
        clock.local_s(AHEAD_S + at_s, at_s)
    found = [clock.local_s(AHEAD_S + step_s + at_s, at_s) for at_s in range(100, 200)]
    assert found[40:] == pytest.approx(range(140, 200), abs=0.01)


def test_stamps_are_as_regular_as_the_samples_and_near_their_arrival() -> None:
    rng, stamps = random.Random(2), SampleStamps()
    arrivals = [(n + 1) * BLOCK_S * 1.0004 + rng.uniform(0, 0.006) for n in range(2400)]  # 511.8 Hz
    found = [stamps.on_block("s", n * BLOCK, BLOCK, RATE_HZ, at_s) for n, at_s in enumerate(arrivals)]
    assert None not in found
    apart = [at - arrived_s for at, arrived_s in zip(found, arrivals, strict=True) if at is not None]
    assert max(map(abs, apart)) < 0.008
    steps = [later - earlier for earlier, later in pairwise(found[99:]) if later and earlier]
    assert all(BLOCK_S - 0.001 < step < BLOCK_S + 0.001 for step in steps)


def test_no_sample_comes_before_the_one_before_it_however_late_the_first_block_was() -> None:
    stamps = SampleStamps()
    late = stamps.on_block("s", 0, BLOCK, RATE_HZ, 10.1)
    punctual = stamps.on_block("s", BLOCK, BLOCK, RATE_HZ, 10.0 + BLOCK_S)
    assert late is not None
    assert punctual is not None
    assert punctual - (BLOCK - 1) / RATE_HZ > late


def test_a_gap_is_a_gap_of_that_length() -> None:
    stamps = SampleStamps()
    before = stamps.on_block("s", 0, BLOCK, RATE_HZ, 10.0)
    after = stamps.on_block("s", BLOCK + 3 * RATE_HZ, BLOCK, RATE_HZ, 10.0 + 3 + BLOCK_S)
    assert before is not None
    assert after == pytest.approx(before + 3 + BLOCK_S)


def test_a_pause_that_nobody_counted_is_a_gap_too() -> None:
    stamps = SampleStamps()
    stamps.on_block("s", 0, BLOCK, RATE_HZ, 10.0)
    assert stamps.on_block("s", BLOCK, BLOCK, RATE_HZ, 60.0) == 60.0


def test_samples_that_came_before_are_not_stamped_again() -> None:
    stamps = SampleStamps()
    for n in range(3):
        stamps.on_block("s", n * BLOCK, BLOCK, RATE_HZ, 10.0 + n * BLOCK_S)
    assert stamps.on_block("s", BLOCK, BLOCK, RATE_HZ, 10.5) is None
    assert stamps.on_block("t", 0, BLOCK, RATE_HZ, 20.0) == 20.0
    assert stamps.on_block("s", 3 * BLOCK, BLOCK, RATE_HZ, 11.0) is None


def test_stamps_never_go_back_not_even_with_a_senders_clock() -> None:
    stamps = SampleStamps()
    found = [
        stamps.on_block("s", n * BLOCK, BLOCK, RATE_HZ, 100 + n * BLOCK_S - (50 if n > 20 else 0)) for n in range(60)
    ]
    known = [each for each in found if each is not None]
    assert len(known) == 60
    assert known == sorted(known)
