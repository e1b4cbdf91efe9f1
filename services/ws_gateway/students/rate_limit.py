"""How often one student's readings go out: a rate with a burst, and what comes faster is coalesced."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ws_gateway.dialects.first import StudentFrame

BURST_S: Final = 2.0
"""Seconds' worth of readings that may go out at once: a phone whose Wi-Fi hung sends what piled up in one go."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A student's frame and the moment it arrived."""

    frame: StudentFrame
    time: datetime


class RateLimiter:
    """Lets through ``rate_hz`` readings a second on average; of what comes faster the newest waits for its turn.

    A reading with something in it waits before a blank one: apps that send 513 frames a second put their one full
    reading among zeros. ``coalesced`` counts the readings that another took the place of. Times are in seconds of
    one steady clock.
    """

    __slots__ = ("_burst", "_rate_hz", "_ready", "_ready_at_s", "coalesced", "waiting")

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._burst = max(1.0, BURST_S * rate_hz)
        self._ready = self._burst
        self._ready_at_s = 0.0
        self.waiting: Arrival | None = None
        self.coalesced = 0

    def offer(self, arrival: Arrival, now_s: float) -> Arrival | None:
        """A reading came: the one to send now, if its turn has come."""
        if self.waiting is None:
            self.waiting = arrival
        else:
            self.coalesced += 1
            if not arrival.frame.is_blank or self.waiting.frame.is_blank:
                self.waiting = arrival
        return self.take(now_s)

    def take(self, now_s: float) -> Arrival | None:
        """The reading that waits, once its turn has come."""
        self._ready = min(self._burst, self._ready + (now_s - self._ready_at_s) * self._rate_hz)
        self._ready_at_s = now_s
        if self.waiting is None or self._ready < 1:
            return None
        self._ready -= 1
        arrival, self.waiting = self.waiting, None
        return arrival
