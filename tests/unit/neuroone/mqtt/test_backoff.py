"""Waiting before the next try."""

import random

from hypothesis import given
from hypothesis import strategies as st

from neuroone.mqtt.backoff import Backoff


@given(st.integers(0, 10_000), st.integers())
def test_delays_double_have_a_cap_and_jitter(attempt: int, seed: int) -> None:
    """Between half of the doubled delay and all of it, never beyond the cap."""
    backoff = Backoff(first_s=0.5, cap_s=10.0)
    full_s = min(10.0, 0.5 * 2.0 ** min(attempt, 30))
    assert full_s / 2 <= backoff.delay_s(attempt, random.Random(seed)) <= full_s
