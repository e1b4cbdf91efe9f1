"""Decode a capture for people and other programs: to rows, to messages, or to sums."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite
from operator import add
from pathlib import Path
from typing import Any, Final

from neuroone.contract.messages import BANDS, RawBlock, Reading
from neuroone.service.wearers import Owner
from serial_bridge.blink import HeadsetBlinks
from serial_bridge.captures.files import content, parts
from serial_bridge.headsets import Decoder
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Row, raw_samples
from serial_bridge.stream import Stream

BEGAN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The times of a capture's messages count from here: a capture does not tell when it was made."""


def events(decoder: Decoder, path: Path) -> Iterator[Event]:
    """Yield every event of a capture. Raises BadCapture, OSError."""
    for arrived in content(path):
        yield from decoder.feed(arrived)
    yield from decoder.flush()


def messages(decoder: Decoder, path: Path) -> Iterator[Reading | RawBlock]:
    """Yield the messages that a bridge makes of a capture. Raises BadCapture, OSError."""
    stream, at_s = Stream(Owner()), 0.0
    for at_s, arrived in parts(path):
        yield from stream.on_events(decoder.feed(arrived), BEGAN + timedelta(seconds=at_s), at_s)
    yield from stream.on_events(decoder.flush(), BEGAN + timedelta(seconds=at_s), at_s)
    yield from stream.end()


def json_rows(found: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Yield an object for each row: the number of its frame, and its quantity with the value.

    Blinks that are estimated from raw samples come in between, as ``blink_estimated``.
    """
    number, blinks = 0, HeadsetBlinks()
    for event in found:
        if isinstance(event, Raw):
            for sample in event.samples:
                yield {"frame": number, "raw": sample}
                number += 1
        elif isinstance(event, Frame):
            for row in event.rows:
                yield {"frame": number, str(row.quantity): _json_value(row)}
            number += 1
        yield from ({"frame": number - 1, "blink_estimated": strength} for strength in blinks.find_in(event))


def csv_rows(found: Iterable[Event]) -> Iterator[tuple[object, ...]]:
    """Yield the lines of a long table: frame, quantity, value; each band power has its own line."""
    yield ("frame", "quantity", "value")
    for row in json_rows(found):
        number = row.pop("frame")
        for quantity, value in row.items():
            if isinstance(value, list):
                yield from ((number, band, power) for band, power in zip(BANDS, value, strict=True))
            elif isinstance(value, dict):
                yield (number, f"{quantity} {value['code']} level {value['level']}", value["hex"])
            else:
                yield (number, quantity, value)


def summary(found: Iterable[Event], decoder: Decoder) -> dict[str, Any]:
    """Count and sum up the values of all events that the decoder finds."""
    raw: dict[str, Any] = {"n": 0, "sum": 0, "min": None, "max": None}
    esense: dict[Quantity, list[Any]] = {Quantity.POOR_SIGNAL: [], Quantity.ATTENTION: [], Quantity.MEDITATION: []}
    bands = [0] * len(BANDS)
    for event in found:
        if samples := raw_samples(event):
            raw["n"] += len(samples)
            raw["sum"] += sum(samples)
            raw["min"] = min(samples) if raw["min"] is None else min(raw["min"], min(samples))
            raw["max"] = max(samples) if raw["max"] is None else max(raw["max"], max(samples))
        if isinstance(event, Frame):
            for row in event.rows:
                value: Any = row.value
                if row.quantity is Quantity.BANDS:
                    bands = list(map(add, bands, value))
                elif row.quantity in esense:
                    esense[row.quantity].append(value)
    return {
        **{name: decoder.counters[name] for name in ("frames", "checksum_failures", "skipped_bytes")},
        "raw": raw,
        **{str(quantity): {"n": len(values), "sum": sum(values)} for quantity, values in esense.items()},
        "bands": bands,
    }


def _json_value(row: Row) -> Any:
    if row.quantity is Quantity.UNKNOWN and isinstance(row.value, bytes):
        return {"code": f"0x{row.code:02x}", "level": row.level, "hex": row.value.hex()}
    if isinstance(row.value, tuple):
        return [number if isfinite(number) else None for number in row.value]  # JSON has no NaN
    return row.value.hex() if isinstance(row.value, bytes) else row.value
