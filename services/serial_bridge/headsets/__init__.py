"""The headset types the bridge can read: one decoder each, listed in :data:`HEADSETS`.

A decoder does no I/O and reads no clock: bytes in, events out. To support another type of headset,
write ``headsets/<name>.py`` with a class that fits :class:`Decoder`, and add its line below.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from serial_bridge.headsets import thinkgear
from serial_bridge.headsets.events import Event


class Decoder(Protocol):
    """Turns the bytes of one headset into events. The same bytes give the same events, however they are cut."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Totals since the decoder was made: at least frames, checksum_failures and skipped_bytes."""
        ...

    def feed(self, arrived: bytes) -> list[Event]:
        """Take bytes as they came; return what they complete. Never raises."""
        ...

    def idle(self) -> list[Event]:
        """The line has been quiet: return frames that an unfinished header before them held back."""
        ...

    def flush(self) -> list[Event]:
        """The stream ended: return what is left, give up the rest, be ready for another stream."""
        ...


HEADSETS: Final[Mapping[str, Callable[[], Decoder]]] = {
    "thinkgear": thinkgear.Decoder,  # NeuroSky MindWave, MindWave Mobile, MindSet, TGAM modules
}
