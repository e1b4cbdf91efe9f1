"""The headset types that the bridge can read: one decoder each, listed in :data:`HEADSETS`.

A decoder does no I/O and reads no clock: bytes in, events out. To support another type of headset,
write ``headsets/<name>.py`` with a class that implements :class:`Decoder`, and add its line below.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from serial_bridge.headsets import thinkgear
from serial_bridge.headsets.events import Event


class Decoder(Protocol):
    """Decode the bytes of one headset to events. Chunks of any size of the same bytes give the same events."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Totals since the decoder was made: at least frames, checksum_failures and skipped_bytes."""

    def feed(self, arrived: bytes) -> list[Event]:
        """Return the events that these bytes complete. Never raises."""

    def idle(self) -> list[Event]:
        """Return complete frames behind an unfinished header; call it when the line has been quiet."""

    def flush(self) -> list[Event]:
        """Return what is left at the end of a stream, discard the rest, and get ready for another stream."""


HEADSETS: Final[Mapping[str, Callable[[], Decoder]]] = {
    "thinkgear": thinkgear.Decoder,  # NeuroSky MindWave, MindWave Mobile, MindSet, TGAM modules
}
