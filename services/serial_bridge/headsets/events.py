"""The events of a decoder, the same for all types of headset."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Quantity(StrEnum):
    """The quantity in a row of a frame; the comments give the type of its value."""

    RAW = "raw"  # int, signed ADC counts
    POOR_SIGNAL = "poor_signal"  # int, 0 good to 200 off the skin
    ATTENTION = "attention"  # int, eSense 0 to 100
    MEDITATION = "meditation"  # int, eSense 0 to 100
    BANDS = "bands"  # eight ints, delta to mid gamma
    BANDS_FLOAT = "bands_float"  # eight floats, delta to mid gamma
    BATTERY = "battery"  # int
    HEART_RATE = "heart_rate"  # int, beats a minute
    RR_INTERVAL = "rr_ms"  # int, ms
    BLINK = "blink"  # int, strength 1 to 255
    RAW_8_BIT = "raw8"  # int, 0 to 255
    RAW_MARKER = "raw_marker"  # int
    HEADSET_FOUND = "headset_found"  # bytes, the headset's id
    HEADSET_NOT_FOUND = "headset_not_found"  # bytes, the headset's id, or none
    HEADSET_LOST = "headset_lost"  # bytes, the headset's id
    REQUEST_DENIED = "request_denied"  # bytes
    DONGLE_STATUS = "dongle_status"  # int, 0 standby, 1 scanning
    UNKNOWN = "unknown"  # bytes


Value: TypeAlias = int | bytes | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a frame. ``code`` and ``level`` are its name on the wire; level 0 is the standard one."""

    quantity: Quantity
    value: Value
    code: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class Raw:
    """Consecutive raw samples, each from a frame of its own."""

    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows of one frame that is not just one raw sample."""

    rows: tuple[Row, ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes that belong to no frame: data was lost or damaged here."""

    n_bytes: int


Event: TypeAlias = Raw | Frame | Skipped


def raw_samples(event: Event) -> tuple[int, ...]:
    """Return the raw samples of an event."""
    if isinstance(event, Raw):
        return event.samples
    rows = event.rows if isinstance(event, Frame) else ()
    return tuple(row.value for row in rows if row.quantity is Quantity.RAW)  # type: ignore[misc]
