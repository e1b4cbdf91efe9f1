"""Estimate eye blinks from raw samples: no headset sends blinks, and a twitch of the jaw looks the same."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from neuroone.contract.messages import RAW_RATE_HZ

THRESHOLD: Final = 350
"""ADC counts above the baseline, about 77 uV at the electrode: above nearly all EEG, below most blinks."""
SHORTEST_S: Final = 0.03
LONGEST_S: Final = 0.3
"""Above the threshold: the upper half of a blink of 100 to 400 ms."""
PAUSE_S: Final = 0.25
"""Between two blinks: the second half of a blink, which swings to the other side, is not another one."""
PART_SAMPLES: Final = 64
"""Judged together while nothing happens: 125 ms."""
BASELINE_SHARE: Final = 0.1
"""Weight of each part in the moving baseline, which follows drifts of a second and more."""
COUNTS_PER_STRENGTH: Final = 6
"""Scales a peak to the vendor's 1 to 255; a peak of 1530 counts is the strongest."""


class Blink(NamedTuple):
    """A blink: samples from the first one searched to its peak, and its strength, 1 to 255."""

    peak_at: int
    strength: int


class BlinkEstimator:
    """Find blinks in consecutive samples."""

    def __init__(self, rate_hz: float = RAW_RATE_HZ) -> None:
        self._lengths = range(int(SHORTEST_S * rate_hz), int(LONGEST_S * rate_hz) + 1)
        self._pause_samples = int(PAUSE_S * rate_hz)
        self._searched = 0
        self._peak_at = 0
        self._baseline = 0.0
        self._above = 0
        self._peak = 0.0
        self._pause = 0

    def skip(self, samples: int) -> None:
        """Leave out samples that are lost or mean nothing; what began before them is no blink."""
        self._searched += samples
        self._above, self._peak, self._pause = 0, 0.0, self._pause_samples

    def find(self, samples: Sequence[float]) -> list[Blink]:
        """Return the blinks that end in these samples."""
        found: list[Blink] = []
        for at in range(0, len(samples), PART_SAMPLES):
            part = samples[at : at + PART_SAMPLES]
            if not self._above and max(part) - self._baseline < THRESHOLD:
                self._baseline += BASELINE_SHARE * len(part) / PART_SAMPLES * (sum(part) / len(part) - self._baseline)
                self._pause = max(0, self._pause - len(part))
                self._searched += len(part)
            else:
                found += self._find_by_sample(part)
        return found

    def _find_by_sample(self, part: Sequence[float]) -> list[Blink]:
        found: list[Blink] = []
        for sample in part:
            height = sample - self._baseline
            self._searched += 1
            if height >= THRESHOLD:
                self._above += 1
                if height > self._peak:
                    self._peak, self._peak_at = height, self._searched - 1
                continue
            if self._above in self._lengths and not self._pause:
                found.append(Blink(self._peak_at, max(1, min(255, round(self._peak / COUNTS_PER_STRENGTH)))))
                self._pause = self._pause_samples
            elif self._above >= self._lengths.stop:
                self._baseline += height  # not a blink: the electrode's level has changed
            self._above, self._peak = 0, 0.0
            self._pause = max(0, self._pause - 1)
        return found
