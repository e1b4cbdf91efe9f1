"""Limit how often one student's readings go to the broker; coalesce faster ones."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from ws_gateway.dialects.first import StudentFrame
from ws_gateway.token_bucket import TokenBucket

BURST_S: Final = 2.0
"""Seconds' worth of readings that may go out at once, also without a silence before: what a busy network collects."""
SILENCE_S: Final = 0.9
"""A gap between two frames from which on it is a silence: phones send every second, and their timers are not exact."""
BACKLOG_MAX: Final = 120.0
"""Frames that may arrive together after a silence, one for each of its seconds: what a phone, a network or a gateway
that hung for two minutes holds. With more, an app that floods could hide behind its pauses."""


class Arrival(Struct, frozen=True, gc=False):
    """A student's frame and the moment it arrived, also as ``arrived_s`` of the steady clock."""

    frame: StudentFrame
    time: datetime
    arrived_s: float


class RateLimiter:
    """Let ``rate_hz`` readings a second through on average, and keep the newest of those that are faster.

    What arrives together after a silence goes through beside that: as many readings as the silence had seconds, at
    most `BACKLOG_MAX`. A reading with values is kept before a blank one: apps that send 513 frames a second send their
    one full reading among zeros. ``coalesced`` counts the readings that another one replaced, ``reported`` is for who
    tells the recorder of them. Times are in seconds of one steady clock.
    """

    __slots__ = ("_backlog", "_bucket", "_offered_s", "coalesced", "reported", "waiting")

    def __init__(self, rate_hz: float, now_s: float) -> None:
        self._bucket = TokenBucket(rate_hz, max(1.0, BURST_S * rate_hz), now_s)
        self._backlog = 0.0
        self._offered_s = now_s
        self.waiting: Arrival | None = None
        self.coalesced = 0
        self.reported = 0

    def continue_counts(self, earlier: "RateLimiter") -> None:
        """Go on with the numbers of the student's earlier connection."""
        self.coalesced += earlier.coalesced
        self.reported += earlier.reported

    def offer(self, arrival: Arrival, now_s: float) -> Arrival | None:
        """Accept a reading, and return the one to send now, if the rate allows one."""
        silent_s = now_s - self._offered_s
        if silent_s >= SILENCE_S:
            self._backlog = min(BACKLOG_MAX, self._backlog + silent_s)
        self._offered_s = now_s
        if self.waiting is None:
            self.waiting = arrival
        else:
            self.coalesced += 1
            if not arrival.frame.is_blank or self.waiting.frame.is_blank:
                self.waiting = arrival
        return self.release(now_s)

    def release(self, now_s: float) -> Arrival | None:
        """Return the reading that waits, if there is one and the rate allows it now."""
        if self.waiting is None:
            return None
        if self._backlog >= 1:
            self._backlog -= 1
        elif self._bucket.has_token(now_s):
            self._bucket.spend(now_s)
        else:
            return None
        arrival, self.waiting = self.waiting, None
        return arrival
