"""How long to wait before the next try."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays with a cap and jitter, so that a class of clients does not return in one moment."""

    first_s: float = 0.5
    cap_s: float = 10.0

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds before try number ``attempt`` (0 is the first retry): 50 to 100 % of the doubled delay."""
        full = min(self.cap_s, self.first_s * 2.0 ** min(attempt, 32))
        return full * (0.5 + 0.5 * rng.random())
