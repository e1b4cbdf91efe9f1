"""Limit how often one student's readings go to the broker; coalesce faster ones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ws_gateway.dialects.first import StudentFrame
from ws_gateway.token_bucket import TokenBucket

BURST_S: Final = 2.0
"""Seconds' worth of readings that may go out at once: a phone whose Wi-Fi hung sends what piled up in one go."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A student's frame and the moment it arrived, also as ``arrived_s`` of the steady clock."""

    frame: StudentFrame
    time: datetime
    arrived_s: float


class RateLimiter:
    """Let ``rate_hz`` readings a second through on average, and keep the newest of those that are faster.

    A reading with values is kept before a blank one: apps that send 513 frames a second send their one full reading
    among zeros. ``coalesced`` counts the readings that another one replaced. Times are in seconds of one steady clock.
    """

    __slots__ = ("_bucket", "coalesced", "waiting")

    def __init__(self, rate_hz: float, now_s: float) -> None:
        self._bucket = TokenBucket(rate_hz, max(1.0, BURST_S * rate_hz), now_s)
        self.waiting: Arrival | None = None
        self.coalesced = 0

    def offer(self, arrival: Arrival, now_s: float) -> Arrival | None:
        """Accept a reading, and return the one to send now, if the rate allows one."""
        if self.waiting is None:
            self.waiting = arrival
        else:
            self.coalesced += 1
            if not arrival.frame.is_blank or self.waiting.frame.is_blank:
                self.waiting = arrival
        return self.release(now_s)

    def release(self, now_s: float) -> Arrival | None:
        """Return the reading that waits, if there is one and the rate allows it now."""
        if self.waiting is None or not self._bucket.has_token(now_s):
            return None
        self._bucket.spend(now_s)
        arrival, self.waiting = self.waiting, None
        return arrival
