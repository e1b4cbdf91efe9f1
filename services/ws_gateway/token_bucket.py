"""The one way the gateway limits how often something may happen."""


class TokenBucket:
    """Allow a burst, then a steady rate. Times are in seconds of one steady clock."""

    __slots__ = ("_at_s", "_burst", "_rate_hz", "_tokens")

    def __init__(self, rate_hz: float, burst: float, now_s: float) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def balance(self, now_s: float) -> float:
        """Return how many more are allowed now; below 0 how many too many were spent."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        return self._tokens

    def has_token(self, now_s: float) -> bool:
        """Return True if one more is allowed now."""
        return self.balance(now_s) >= 1

    def spend(self, now_s: float, cost: float = 1) -> float:
        """Count one more, or something of that cost, and return the seconds until it is allowed (0 for at once)."""
        tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_hz) - cost
        self._tokens, self._at_s = tokens, now_s
        return 0.0 if tokens >= 0 else -tokens / self._rate_hz
