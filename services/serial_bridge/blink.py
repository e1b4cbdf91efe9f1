"""Estimate eye blinks from raw samples: no headset sends blinks, and a twitch of the jaw looks the same."""

from typing import Final

from neuroone.contract.messages import RAW_RATE_HZ
from serial_bridge.headsets.events import Event, Frame, Quantity, raw_samples

THRESHOLD: Final = 350
"""ADC counts above the baseline, about 77 uV at the electrode: above nearly all EEG, below most blinks."""
SHORTEST_SAMPLES: Final = RAW_RATE_HZ * 30 // 1000
LONGEST_SAMPLES: Final = RAW_RATE_HZ * 300 // 1000
"""Above the threshold, 30 to 300 ms: the upper half of a blink of 100 to 400 ms."""
PAUSE_SAMPLES: Final = RAW_RATE_HZ // 4
"""Between two blinks: the second half of a blink, which swings to the other side, is not another one."""
PART_SAMPLES: Final = 64
"""Judged together while nothing happens: 125 ms."""
BASELINE_SHARE: Final = 0.1
"""Weight of each part in the moving baseline, which follows drifts of a second and more."""
COUNTS_PER_STRENGTH: Final = 6
"""Scales a peak to the vendor's 1 to 255; a peak of 1530 counts is the strongest."""


class BlinkEstimator:
    """Find blinks in consecutive samples, while the contact is good: without contact every sample swings."""

    def __init__(self) -> None:
        self._baseline = 0.0
        self._above = 0
        self._peak = 0.0
        self._pause = 0
        self._has_contact = True  # some headsets never send their signal quality

    def find_in(self, event: Event) -> list[int]:
        """Return the strengths of the blinks that end in this event; note what it says of the contact."""
        if isinstance(event, Frame):
            for row in event.rows:
                if row.quantity is Quantity.POOR_SIGNAL:
                    self._has_contact = row.value == 0
        return self.find(raw_samples(event))

    def find(self, samples: tuple[int, ...]) -> list[int]:
        """Return the strengths, 1 to 255, of the blinks that end in these samples."""
        if not self._has_contact:
            self._above, self._peak, self._pause = 0, 0.0, PAUSE_SAMPLES
            return []
        found: list[int] = []
        for at in range(0, len(samples), PART_SAMPLES):
            part = samples[at : at + PART_SAMPLES]
            if not self._above and max(part) - self._baseline < THRESHOLD:
                self._baseline += BASELINE_SHARE * len(part) / PART_SAMPLES * (sum(part) / len(part) - self._baseline)
                self._pause = max(0, self._pause - len(part))
            else:
                found += self._find_by_sample(part)
        return found

    def _find_by_sample(self, part: tuple[int, ...]) -> list[int]:
        found: list[int] = []
        for sample in part:
            height = sample - self._baseline
            if height >= THRESHOLD:
                self._above += 1
                self._peak = max(self._peak, height)
                continue
            if self._above and SHORTEST_SAMPLES <= self._above <= LONGEST_SAMPLES and not self._pause:
                found.append(max(1, min(255, round(self._peak / COUNTS_PER_STRENGTH))))
                self._pause = PAUSE_SAMPLES
            elif self._above > LONGEST_SAMPLES:
                self._baseline += height  # not a blink: the electrode's level has changed
            self._above, self._peak = 0, 0.0
            self._pause = max(0, self._pause - 1)
        return found
