"""Notice that raw samples are missing because something takes bytes away. No I/O, no clock."""

from typing import Final

from neuroone.contract.messages import RAW_RATE_HZ
from serial_bridge.headsets.events import Event, Skipped, raw_samples

WINDOW_S: Final = 5.0
"""Samples are counted over so long: a gap of the radio of some tenths of a second is not yet worth a hint."""
ENOUGH_SHARE: Final = 0.85
"""Share of the samples that must arrive. Two programs on one port get about half each."""
CUTS_MIN: Final = 5
"""Places in the window where bytes of a frame are missing: a headset that sends fewer samples has none."""


class SampleWatch:
    """Compare the raw samples of the last seconds with what the headset sends. Times are of a steady clock."""

    def __init__(self) -> None:
        self.misses_samples = False
        self.rate_hz = RAW_RATE_HZ
        """What the headset sends a second."""
        self._began_s: float | None = None
        self._samples = self._cuts = 0

    def restart(self) -> None:
        """Begin anew with the next bytes: the port was closed, or nothing was read for a while."""
        self._began_s = None

    def on_events(self, events: list[Event], now_s: float) -> None:
        """Count the events that arrived now."""
        if self._began_s is None:
            self._began_s, self._samples, self._cuts = now_s, 0, 0
            return
        for event in events:
            self._cuts += isinstance(event, Skipped)
            self._samples += len(raw_samples(event))
        elapsed_s = now_s - self._began_s
        if elapsed_s >= WINDOW_S:
            is_short = 0 < self._samples < ENOUGH_SHARE * self.rate_hz * elapsed_s
            self.misses_samples = is_short and self._cuts >= CUTS_MIN
            self._began_s, self._samples, self._cuts = now_s, 0, 0
