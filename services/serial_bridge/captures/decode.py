"""Decode a capture for people and other programs: to rows, or to sums."""

from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Any

from neuroone.contract.messages import BANDS
from serial_bridge.blink import BlinkEstimator
from serial_bridge.headsets import Decoder
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Row


def events(decoder: Decoder, stream: Iterable[bytes]) -> Iterator[Event]:
    """Yield every event of a whole stream."""
    for arrived in stream:
        yield from decoder.feed(arrived)
    yield from decoder.flush()


def json_rows(found: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Yield an object for each row: the number of its frame, and its quantity with the value.

    Blinks that are estimated from raw samples come in between, as ``blink_estimated``.
    """
    number, blinks = 0, BlinkEstimator()
    for event in found:
        if isinstance(event, Raw):
            for sample in event.samples:
                yield {"frame": number, "raw": sample}
                number += 1
            for strength in blinks.find(event.samples):
                yield {"frame": number - 1, "blink_estimated": strength}
        elif isinstance(event, Frame):
            for row in event.rows:
                yield {"frame": number, str(row.quantity): _json_value(row)}
            number += 1


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


def summary(new_decoder: Callable[[], Decoder], stream: Iterable[bytes]) -> dict[str, Any]:
    """Count the frames and values of a stream, and sum them up."""
    decoder = new_decoder()
    raw: dict[str, Any] = {"n": 0, "sum": 0, "min": None, "max": None}
    sums = {str(each): {"n": 0, "sum": 0} for each in (Quantity.POOR_SIGNAL, Quantity.ATTENTION, Quantity.MEDITATION)}
    bands: list[Any] = [0] * len(BANDS)
    for event in events(decoder, stream):
        if isinstance(event, Raw):
            _add_raw(raw, event.samples)
        elif isinstance(event, Frame):
            for row in event.rows:
                value: Any = row.value
                if row.quantity is Quantity.RAW:
                    _add_raw(raw, (value,))
                elif row.quantity is Quantity.BANDS:
                    bands = [total + power for total, power in zip(bands, value, strict=True)]
                elif sums_of_quantity := sums.get(row.quantity):
                    sums_of_quantity["n"] += 1
                    sums_of_quantity["sum"] += value
    counted = {name: decoder.counters[name] for name in ("frames", "checksum_failures", "skipped_bytes")}
    return {**counted, "raw": raw, **sums, "bands": bands}


def _add_raw(raw: dict[str, Any], samples: tuple[int, ...]) -> None:
    raw["n"] += len(samples)
    raw["sum"] += sum(samples)
    raw["min"] = min(samples) if raw["min"] is None else min(raw["min"], *samples)
    raw["max"] = max(samples) if raw["max"] is None else max(raw["max"], *samples)


def _json_value(row: Row) -> Any:
    if row.quantity is Quantity.UNKNOWN and isinstance(row.value, bytes):
        return {"code": f"0x{row.code:02x}", "level": row.level, "hex": row.value.hex()}
    if isinstance(row.value, tuple):
        return [number if isfinite(number) else None for number in row.value]  # JSON has no NaN
    return row.value.hex() if isinstance(row.value, bytes) else row.value
