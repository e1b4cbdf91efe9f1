"""Readings that this gateway has just sent: what comes back from the broker need not be decoded again."""

from typing import Final

from neuroone.contract.messages import Reading

RECENT_MAX: Final = 20_000
"""Readings on their way to the broker and back, the oldest forgotten first: 2 s of 10,000 students, about 20 MB."""


class Recent:
    """Readings by payload. A reading that is forgotten is only decoded."""

    def __init__(self, most: int = RECENT_MAX) -> None:
        self._most = most
        self._readings: dict[bytes, Reading] = {}

    def put(self, payload: bytes, reading: Reading) -> None:
        """A reading goes to the broker."""
        if len(self._readings) >= self._most:
            del self._readings[next(iter(self._readings))]
        self._readings[payload] = reading

    def pop(self, payload: bytes) -> Reading | None:
        """The reading that came back, if it was sent from here a moment ago."""
        return self._readings.pop(payload, None)
