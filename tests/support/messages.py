"""One valid message of each kind, and strategies that make any valid one."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from neuroone.contract import fields
from neuroone.contract.messages import (
    BANDS,
    EventType,
    GroupEvent,
    Health,
    Kind,
    Link,
    Message,
    RawBlock,
    Reading,
    Recorded,
    RecordedStream,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)

NOON = datetime(2026, 11, 22, 18, 20, 31, 123456, UTC)
SEED_BANDS = (123456, 234567, 345678, 456789, 567890, 678901, 789012, 890123)
SESSION = "0f3c9a5e7b1d4c2a8e6f0a1b2c3d4e5f"


def reading(**changes: Any) -> Reading:
    """The reading of the seed's example student."""
    values: dict[str, Any] = {
        "session": SESSION,
        "seq": 0,
        "time": NOON,
        "kind": Kind.CLIENT,
        "name": "Joao_Silva",
        "code": "ABC123",
        "poor_signal": None,
        "attention": 85,
        "meditation": 72,
        **dict(zip(BANDS, SEED_BANDS, strict=True)),
    }
    return Reading(**{**values, **changes})


def stream_state(**changes: Any) -> StreamState:
    """The state of a headset on a bench."""
    values: dict[str, Any] = {
        "status": StreamStatus.ONLINE,
        "session": SESSION,
        "time": NOON,
        "kind": Kind.HEADSET,
        "name": None,
        "code": None,
        "link": Link.CONNECTED,
        "hint": None,
        "device": "/dev/ttyUSB0",
        "service": "serial_bridge",
        "instance": "bench-1",
        "epoch": 1795372831000,
        "counters": {"frames": 5130, "checksum_failures": 2},
    }
    return StreamState(**{**values, **changes})


GOLDEN: dict[str, Message] = {
    "reading": reading(),
    "raw": RawBlock(
        session=SESSION, seq=3, time=NOON, first_sample=192, rate_hz=512, samples=(-2048, -61, 0, 24, 2047)
    ),
    "stream_state": stream_state(),
    "group_event": GroupEvent(id="c0ffee", time=NOON, type=EventType.MARKER, text="olhos fechados", source=None),
    "service_state": ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1795372831000, connection=1),
    "health": Health(time=NOON, uptime_s=61.5, memory_bytes=31457280, counters={"published": 61}, gauges={"outbox": 0}),
    "recorded": Recorded(
        time=NOON,
        streams=(
            RecordedStream(group="ABC123", source="Joao_Silva", session=SESSION, seq=60, rows=61, duplicates=1, gaps=0),
        ),
    ),
}
"""A message of every kind, by the name of its file in tests/golden."""


def any_value(kind: fields.Field) -> st.SearchStrategy[Any]:
    """Any valid value of a field."""
    match kind:
        case fields.Integer():
            values: st.SearchStrategy[Any] = st.integers(kind.low, kind.high)
        case fields.Number():
            values = st.floats(kind.low, allow_nan=False, allow_infinity=False)
        case fields.Text():
            values = st.text(min_size=kind.low, max_size=min(kind.high, 40))
        case fields.Choice():
            values = st.sampled_from(kind.of)
        case fields.Utc():
            values = st.datetimes(timezones=st.just(UTC))
        case fields.Integers():
            values = st.lists(st.integers(kind.low, kind.high), min_size=1, max_size=kind.most).map(tuple)
        case fields.Numbers():
            numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
            values = st.dictionaries(st.text(max_size=10), numbers, max_size=5)
        case fields.Items():
            values = st.lists(any_message(kind.of), max_size=3).map(tuple)
        case _:
            raise AssertionError(f"no strategy for {kind}")
    return st.none() | values if kind.optional else values


def any_message(of: Any) -> st.SearchStrategy[Any]:
    """Any valid message of a class."""
    return st.builds(of, **{name: any_value(kind) for name, kind in fields.fields_of(of).items()})
