"""Measure how many raw samples a headset sends a second, by its own frames of a second. No I/O, no clock."""

from collections import deque
from statistics import fmean, median
from typing import Final

from neuroone.contract.messages import RAW_RATE_HZ

SECONDS: Final = 6
"""Whole seconds, without damage, that are compared."""
STEADY_SECONDS: Final = 3
"""So many of them must agree. A frame of a second may come some samples early or late."""
CHANGE_SECONDS: Final = 5
"""So many to change a rate that is known: where samples are missing, some seconds agree by chance."""
TOLERANCE: Final = 0.01
"""Seconds that agree differ by at most so much from their median; 250 and 256 Hz differ by 2.4 %."""
USUAL_HZ: Final = (RAW_RATE_HZ, 250, 256, 500)
"""ThinkGear chips, and receivers that send fewer; a measured rate this near to one of them is that one."""


class SamplingRate:
    """The sampling rate of one stream, from the number of samples between its frames of a second."""

    def __init__(self) -> None:
        self.rate_hz = RAW_RATE_HZ
        """The rate to reckon with: the last steady one; before there is one, that of every ThinkGear chip."""
        self.measured_hz: int | None = None
        """The mean of the seconds that agree, as it is; None while they do not."""
        self.known_hz: int | None = None
        """``rate_hz`` once it has been steady."""
        self._seconds: deque[int] = deque(maxlen=SECONDS)
        self._samples = 0
        self._is_whole = False

    def on_samples(self, n: int) -> None:
        """Count samples."""
        self._samples += n

    def on_damage(self) -> None:
        """Leave out the second that has lost bytes."""
        self._is_whole = False

    def on_second(self) -> None:
        """Note a frame of a second."""
        if self._is_whole and self._samples:
            self._seconds.append(self._samples)
            self._measure()
        self._samples, self._is_whole = 0, True

    def _measure(self) -> None:
        middle = median(self._seconds)
        agreeing = [n for n in self._seconds if abs(n - middle) <= TOLERANCE * middle]
        usual = min(USUAL_HZ, key=lambda usual_hz: abs(usual_hz - middle))
        rate_hz = usual if abs(usual - middle) <= TOLERANCE * usual else round(middle)
        is_other = self.known_hz not in (None, rate_hz)
        if len(agreeing) < (CHANGE_SECONDS if is_other else max(STEADY_SECONDS, len(self._seconds) / 2)):
            self.measured_hz = None
            return
        self.measured_hz = round(fmean(agreeing))
        self.rate_hz = self.known_hz = rate_hz
