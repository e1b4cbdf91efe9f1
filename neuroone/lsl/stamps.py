"""When samples arrived, on the clock of this computer (LSL's ``local_clock``). Pure: it reads no clock.

Messages carry the UTC of the sender, whose clock may be wrong, may be set, and runs a little faster or slower.
"""

from collections.abc import Callable
from typing import Final

CREEP: Final = 50e-6
"""How much faster than ours a sender's clock may run: quartz clocks differ by up to 50 millionths."""
LATE_S: Final = 1.0
"""A message that is later than this waited, because the broker was away; or the sender's clock was set back."""
LATE_MAX_S: Final = 30.0
"""If all messages of this time are late, the clock was set: what waited in an outage is sent within 20 s (the bridge's
RAW_RESENT_BLOCKS)."""
WAITED_MAX_S: Final = 660.0
"""Nothing waits longer: a bridge keeps ten minutes of raw samples."""
STEP_S: Final = 1.0
"""A pause in the samples that the sender did not count, or a clock that was set."""
SMOOTHING: Final = 1 / 32
"""Share of a block's distance from its expected time that moves the stamps: jitter of 6 ms becomes one of 1 ms, and a
headset whose rate differs by 0.1 % from its nominal one is followed within 4 ms (8 blocks a second)."""
Clock = Callable[[float, float], float]
"""Returns when a message was made, on our clock, from the sender's time and when it came here."""


class SenderClock:
    """Tell a sender's clock from ours by its fastest messages: these were under way for the shortest time."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_s = 0.0
        self._late_since_s: float | None = None

    def local_s(self, time_s: float, arrived_s: float) -> float:
        """Return when a message that its sender made at ``time_s`` was made, on our clock."""
        delay_s = arrived_s - time_s
        if self._offset_s is None or self._is_set(delay_s - self._offset_s, arrived_s):
            self._offset_s = delay_s
            self._late_since_s = None
        else:
            self._offset_s = min(delay_s, self._offset_s + CREEP * max(0.0, time_s - self._last_s))
        self._last_s = time_s
        return time_s + self._offset_s

    def _is_set(self, late_s: float, arrived_s: float) -> bool:
        """Return True if a message is late because its sender's clock was set back."""
        if late_s <= LATE_S:
            self._late_since_s = None
            return False
        if self._late_since_s is None:
            self._late_since_s = arrived_s
        return late_s > WAITED_MAX_S or arrived_s - self._late_since_s > LATE_MAX_S


class SampleStamps:
    """The stamps of one headset's samples: spaced by the rate, also across counted gaps, and near their arrival."""

    def __init__(self) -> None:
        self._session = ""
        self._next_sample = 0
        self._last_s = float("-inf")
        self._blocks = 0

    def on_block(self, session: str, first_sample: int, n: int, rate_hz: int, arrived_s: float) -> float | None:
        """Return the stamp of a block's last sample; None if its samples came before, or are of an ended session."""
        next_sample = first_sample + n
        if session != self._session:
            if arrived_s < self._last_s - STEP_S:
                return None
            self._session, self._blocks = session, 0
            self._last_s = max(arrived_s, self._last_s + n / rate_hz)
        elif first_sample < self._next_sample:
            return None
        else:
            expected_s = self._last_s + (next_sample - self._next_sample) / rate_hz
            self._last_s = self._near(expected_s, arrived_s, rate_hz)
        self._next_sample = next_sample
        self._blocks += 1
        return self._last_s

    def _near(self, expected_s: float, arrived_s: float, rate_hz: int) -> float:
        error_s = arrived_s - expected_s
        if error_s >= STEP_S:  # time has passed that nobody counted
            self._blocks = 0
            return arrived_s
        if error_s <= -STEP_S:  # the sender's clock was set back, but samples cannot come before those that came
            return expected_s
        # at most half a sample earlier, so that no sample comes before the last one of the block before
        return expected_s + max(error_s * max(SMOOTHING, 1 / (self._blocks + 1)), -0.5 / rate_hz)
