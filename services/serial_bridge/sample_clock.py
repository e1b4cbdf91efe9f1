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
        self._leasts: list[float] = []
        """The least delay after each pause since then."""
        self._early: deque[tuple[int, float | None]] = deque(maxlen=EARLY_MAX_ARRIVALS)
        """Numbers of samples before the rate is known, and when they arrived; None: they are lost."""
        self._lost_early = 0

    def on_lost(self, n: int, rate_hz: int | None) -> None:
        """Count samples that are known to be lost; ``rate_hz`` is None while it is not known."""
        if rate_hz is None:
            self._early.append((n, None))
        else:
            self._counted_s += n / rate_hz

    @property
    def pauses(self) -> int:
        """The number of pauses that are not understood yet."""
        return len(self._leasts)

    def on_samples(self, n: int, rate_hz: int | None, at_s: float) -> list[int] | None:
        """Count samples that arrived now; return how many are missing at each pause that is not understood yet.

        None: it is not known yet, hold these samples. What is missing before the rate is known is counted once it is.
        """
        if rate_hz is None:
            self._early.append((n, at_s))
            return [0]
        while self._early:
            early, early_s = self._early.popleft()
            if early_s is None:
                self.on_lost(early, rate_hz)
            else:
                self._lost_early += sum(self._count(early, rate_hz, early_s) or ())
        missing = self._count(n, rate_hz, at_s)
        return None if missing is None else self._with_early(missing)

    def decide(self, rate_hz: int) -> list[int]:
        """Return how many samples are missing at each pause; no more come to tell."""
        return self._with_early(self._decided(rate_hz))

    def _with_early(self, missing: list[int]) -> list[int]:
        lost_early, self._lost_early = self._lost_early, 0
        return [lost_early + sum(missing[:1]), *missing[1:]]

    def _count(self, n: int, rate_hz: int, at_s: float) -> list[int] | None:
        if self._began_s is None:
            self._began_s, self._last_s = at_s, at_s
            return [0]
        self._counted_s += n / rate_hz
        delay_s = at_s - self._began_s - self._counted_s
        is_pause, self._last_s = at_s - self._last_s >= PAUSE_S, at_s
        if is_pause and self._delays:
            self._paused_s = at_s if self._paused_s is None else self._paused_s
            self._resumed_s = at_s
            self._leasts.append(delay_s)
        if self._paused_s is None:
            return [self._lost_one_by_one(delay_s, rate_hz, at_s)]
        self._leasts[-1] = min(self._leasts[-1], delay_s)
        is_late = self._leasts[-1] - min(self._delays) > LOSS_MIN_S
        if is_late and at_s - self._resumed_s < CONFIRM_S and at_s - self._paused_s < HELD_MAX_S:
            return None
        return self._decided(rate_hz)

    def _decided(self, rate_hz: int) -> list[int]:
        """Return how many samples are missing at each pause: of what is late after it, only what stays late."""
        leasts, self._leasts, self._paused_s = self._leasts, [], None
        usual_s = min(self._delays, default=0.0)
        lost = []
        for n in range(len(leasts)):
            late_s = min(leasts[n:]) - usual_s
            lost.append(self._lose(late_s, rate_hz) if late_s > LOSS_MIN_S else 0)
            usual_s += late_s if lost[n] else 0
        return lost

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
