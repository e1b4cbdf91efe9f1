"""What each stream of the Lab Streaming Layer looks like, and the values of its samples. Pure.

One stream for each rate: raw samples (``EEG``), the numbers of each second (``NeuroSky``), and markers (``Markers``).
"""

from typing import Final

from neuroone.contract.messages import BANDS, MICROVOLTS_PER_COUNT, EventType, GroupEvent, RawBlock, Reading

EEG: Final = "EEG"
NEUROSKY: Final = "NeuroSky"
MARKERS: Final = "Markers"
IRREGULAR: Final = 0.0
"""LSL's rate of a stream whose samples come when they come."""
SOURCE_IDS: Final = "neuroone/"
"""What every ``source_id`` of ours begins with."""
BRIDGE_COUNTER: Final = "lsl_messages"
"""In the states of streams that their bridge sends to LSL itself: what it has sent. `lsl-outlet` leaves these alone."""
UNKNOWN_QUALITY: Final = -1.0
"""``poor_signal`` of a source that does not say it."""


VALUES: Final = (
    ("attention", "eSense 0..100", "eSense"),
    ("meditation", "eSense 0..100", "eSense"),
    ("poor_signal", "0..255", "quality"),
    *((band, "a.u.", "band power") for band in BANDS),
)
KINDS: Final = {
    EEG: ("float32", (("Fp1", "microvolts", "EEG"),)),
    NEUROSKY: ("float32", VALUES),
    MARKERS: ("string", (("marker", "text", "marker"),)),
}
"""The format of each type of stream, and its channels: label, unit and type, as the metadata say them."""


def microvolts(block: RawBlock) -> list[float]:
    """Return the samples of a block in microvolts."""
    return [count * MICROVOLTS_PER_COUNT for count in block.samples]


def values(reading: Reading) -> list[float]:
    """Return one value for each channel of a reading."""
    quality = UNKNOWN_QUALITY if reading.poor_signal is None else float(reading.poor_signal)
    bands = (float(getattr(reading, band)) for band in BANDS)
    return [float(reading.attention), float(reading.meditation), quality, *bands]


def marker(event: GroupEvent) -> str:
    """Return the text of an event: a marker's own, or ``session_start: lesson``; about a source with its id before."""
    words = [] if event.source is None else [event.source]
    words += [] if event.type is EventType.MARKER else [event.type.value]
    words += [event.text] if event.text or not words else []
    return ": ".join(words)
