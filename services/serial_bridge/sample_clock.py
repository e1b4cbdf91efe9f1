"""Tell by the time how many raw samples never came. No I/O, no clock.

Samples that the radio loses leave no trace in the bytes. What is late comes in a burst and catches up with the time;
what is lost stays behind it.
"""

from collections import deque
from typing import Final

PAUSE_S: Final = 0.25
"""After such a pause samples are held until it is known whether those of the pause come late or never."""
CONFIRM_S: Final = 1.0
"""Samples that have not caught up for so long after a pause do not any more."""
HELD_MAX_S: Final = 5.0
"""Samples are held no longer, however often the flow pauses meanwhile."""
LOSS_MIN_S: Final = 0.1
"""Less than this behind its usual delay, the flow has caught up: Bluetooth and systems deliver so unevenly."""
CREEP_S: Final = 0.15
"""Samples that are lost one by one, without a pause, are counted when so much has come together."""
USUAL_S: Final = 30
"""The usual delay is the least one of so many seconds: a headset's clock runs apart by a few ms in this time."""
RECENT_S: Final = 3
EARLY_MAX_ARRIVALS: Final = 10_000
"""Arrivals that are kept until the sampling rate is known: a minute of them, 6 ms apart; the rate takes some seconds.
"""


class SampleClock:
    """Compare the samples of one session with a steady clock; all times are of that clock."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._counted_s = 0.0
        """The time that the samples of the session took, those that are missing too."""
        self._last_s = 0.0
        self._delays: deque[float] = deque(maxlen=USUAL_S)
        """The least delay of each of the last seconds."""
        self._second = 0
        self._paused_s: float | None = None
        """When the flow went on after the first pause that is not understood yet; None: there is none."""
        self._resumed_s = 0.0
        self._least_s = 0.0
        self._early: deque[tuple[int, float | None]] = deque(maxlen=EARLY_MAX_ARRIVALS)
        """Numbers of samples before the rate is known, and when they arrived; None: they are lost."""
        self._lost_early = 0

    def on_lost(self, n: int, rate_hz: int | None) -> None:
        """Count samples that are known to be lost; ``rate_hz`` is None while it is not known."""
        if rate_hz is None:
            self._early.append((n, None))
        else:
            self._counted_s += n / rate_hz

    def on_samples(self, n: int, rate_hz: int | None, at_s: float) -> int | None:
        """Count samples that arrived now; return how many are missing before those that are held and these.

        None: it is not known yet, hold these too. What is missing before the rate is known is counted once it is.
        """
        if rate_hz is None:
            self._early.append((n, at_s))
            return 0
        while self._early:
            early, early_s = self._early.popleft()
            if early_s is None:
                self.on_lost(early, rate_hz)
            else:
                self._lost_early += self._count(early, rate_hz, early_s) or 0
        missing = self._count(n, rate_hz, at_s)
        if missing is None:
            return None
        lost_early, self._lost_early = self._lost_early, 0
        return missing + lost_early

    def _count(self, n: int, rate_hz: int, at_s: float) -> int | None:
        if self._began_s is None:
            self._began_s, self._last_s = at_s, at_s
            return 0
        self._counted_s += n / rate_hz
        delay_s = at_s - self._began_s - self._counted_s
        is_pause, self._last_s = at_s - self._last_s >= PAUSE_S, at_s
        if is_pause:
            self._paused_s = at_s if self._paused_s is None else self._paused_s
            self._resumed_s, self._least_s = at_s, delay_s
        if self._paused_s is None or not self._delays:
            self._paused_s = None
            return self._lost_one_by_one(delay_s, rate_hz, at_s)
        self._least_s = min(self._least_s, delay_s)
        late_s = self._least_s - min(self._delays)
        if late_s <= LOSS_MIN_S:
            self._paused_s = None
            return 0
        if at_s - self._resumed_s < CONFIRM_S and at_s - self._paused_s < HELD_MAX_S:
            return None
        self._paused_s = None
        return self._lose(late_s, rate_hz)

    def decide(self, rate_hz: int) -> int:
        """Return how many samples are missing before those that are held; no more come to tell."""
        lost_early, self._lost_early = self._lost_early, 0
        if self._paused_s is None:
            return lost_early
        self._paused_s = None
        late_s = self._least_s - min(self._delays)
        return lost_early + (self._lose(late_s, rate_hz) if late_s > LOSS_MIN_S else 0)

    def _lost_one_by_one(self, delay_s: float, rate_hz: int, at_s: float) -> int:
        if not self._delays or int(at_s) != self._second:
            self._second = int(at_s)
            self._delays.append(delay_s)
        self._delays[-1] = min(self._delays[-1], delay_s)
        late_s = min(list(self._delays)[-RECENT_S:]) - min(self._delays)
        return self._lose(late_s, rate_hz) if late_s > CREEP_S else 0

    def _lose(self, late_s: float, rate_hz: int) -> int:
        lost = round(late_s * rate_hz)
        self._counted_s += lost / rate_hz
        return lost
