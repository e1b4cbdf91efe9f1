"""Filter raw samples as they come: a notch for the mains, a high-pass, a band-pass.

All are second-order sections that run forwards only, as an amplifier's do: the past of a trace never changes, and what
is slow arrives late. A Butterworth band-pass of 1 to 40 Hz delays 10 Hz by 8 ms, one of 8 to 13 Hz by 92 ms.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitor_gui.history import Floats

MAINS_HZ: Final = (0, 50, 60)
"""Notches to choose; 0: none."""
PASSBANDS_HZ: Final = ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 40.0), (3.0, 30.0), (8.0, 13.0))
"""Bands to choose, lowest and highest frequency; 0: no bound."""
NOTCH_Q: Final = 30.0
"""A notch of 60 Hz is 2 Hz wide: the mains keep within 0.1 Hz, and its neighbours stay."""
ORDER: Final = 2
"""Of a Butterworth filter at each bound: 12 dB an octave."""
USABLE: Final = 0.45
"""Part of the sampling rate up to which a filter can be made; half of it is the theoretical end."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The chosen filters. ``passband_hz`` is one of `PASSBANDS_HZ`."""

    mains_hz: int = 0
    passband_hz: tuple[float, float] = (0.0, 0.0)

    @property
    def are_off(self) -> bool:
        """Return True if samples stay as they are."""
        return self == Filters()

    def fit(self, rate_hz: float) -> bool:
        """Return True if this sampling rate is high enough for the filters."""
        return max(self.mains_hz, *self.passband_hz) <= USABLE * rate_hz

    def sections(self, rate_hz: float) -> Any:
        """Return the second-order sections for a sampling rate that fits."""
        from scipy import signal

        low_hz, high_hz = self.passband_hz
        sections = [np.empty((0, 6))]
        if self.mains_hz:
            sections.append(signal.tf2sos(*signal.iirnotch(self.mains_hz, NOTCH_Q, fs=rate_hz)))
        if low_hz and high_hz:
            sections.append(signal.butter(ORDER, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos"))
        elif low_hz:
            sections.append(signal.butter(ORDER, low_hz, "highpass", fs=rate_hz, output="sos"))
        return np.concatenate(sections)


class LiveFilter:
    """Filter one portion after the other. After a hole (NaN) begin as if the first value had always been there."""

    def __init__(self, filters: Filters, rate_hz: float) -> None:
        from scipy import signal

        self._sections = filters.sections(rate_hz)
        self._rest = signal.sosfilt_zi(self._sections)
        self._state: Any = None
        """None after a hole."""

    def run(self, values: Floats) -> Floats:
        """Return the filtered values; holes stay holes."""
        from scipy import signal

        filtered = np.full_like(values, np.nan)
        for first, stop in runs_of(values):
            if self._state is None or first:
                self._state = self._rest * values[first]
            filtered[first:stop], self._state = signal.sosfilt(self._sections, values[first:stop], zi=self._state)
        if len(values) and np.isnan(values[-1]):
            self._state = None
        return filtered


def runs_of(values: Floats) -> list[tuple[int, int]]:
    """Return where values without NaN begin and stop."""
    is_hole = np.isnan(values)
    if not is_hole.any():  # as nearly always: the rest takes ten times as long
        return [(0, len(values))] if len(values) else []
    edges = np.flatnonzero(np.diff(is_hole, prepend=True, append=True))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
