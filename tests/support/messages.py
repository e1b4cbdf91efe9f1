"""One valid message of each kind, and strategies that make any valid one."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from neuroone.contract.checks import fields_of
from neuroone.contract.messages import (
    BANDS,
    Admission,
    Decision,
    EventType,
    GroupEvent,
    Health,
    Kind,
    LessonState,
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
    Waiting,
    WaitingReason,
    WaitingStudent,
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


RUN = "7d9f0c2b4e6a8135"
GOLDEN: dict[str, Message] = {
    "reading": reading(),
    "raw": RawBlock(
        session=SESSION, seq=3, time=NOON, first_sample=192, rate_hz=512, samples=(-2048, -61, 0, 24, 2047)
    ),
    "stream_state": stream_state(),
    "group_event": GroupEvent(id="c0ffee", time=NOON, type=EventType.MARKER, text="olhos fechados", source=None),
    "lesson": LessonState(name="Ciências", began=NOON),
    "lesson_raw": LessonState(name="Ciências", began=NOON, revision=1, raw=True),
    "waiting": Waiting(
        time=NOON,
        students=(
            WaitingStudent(
                id="5e0c", group="5KXPVN", name="Maria", code="5KXPVN", reason=WaitingReason.NEW, waits_s=12
            ),
        ),
        more=0,
    ),
    "admission": Admission(time=NOON, id="5e0c", decision=Decision.ADMIT),
    "service_state": ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1795372831000, connection=1),
    "stream_state_run": stream_state(run=RUN),
    "reading_simulated": reading(simulated=True),
    "stream_state_simulated": stream_state(simulated=True),
    "stream_state_measured": stream_state(run=RUN, measured_hz=None),
    "raw_measured": RawBlock(
        session=SESSION, seq=3, time=NOON, first_sample=192, rate_hz=250, samples=(-2048, 2047), measured_hz=249
    ),
    "service_state_run": ServiceState(
        status=ServiceStatus.OFFLINE,
        version="0.1.0",
        epoch=1795372831000,
        connection=2,
        fault="the disk is full",
        run=RUN,
    ),
    "service_state_shard": ServiceState(
        status=ServiceStatus.ONLINE, version="0.1.0", epoch=1795372831000, connection=1, run=RUN, shard=2, shards=3
    ),
    "health": Health(time=NOON, uptime_s=61.5, memory_bytes=31457280, counters={"published": 61}, gauges={"outbox": 0}),
    "recorded": Recorded(
        time=NOON,
        streams=(
            RecordedStream(group="ABC123", source="Joao_Silva", session=SESSION, seq=60, rows=61, duplicates=1, gaps=0),
        ),
    ),
    "recorded_shard": Recorded(time=NOON, streams=(), shard=2, shards=3),
}
"""A message of every kind, and those with the keys that came later, by the name of its file in tests/golden."""


def any_value(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any valid value of a field."""
    match kind:
        case inspect.IntType(ge=low, le=high):
            return st.integers(low, high)
        case inspect.BoolType():
            return st.booleans()
        case inspect.StrType(min_length=low, max_length=high):
            return st.text(min_size=low or 0, max_size=min(high or 40, 40))
        case inspect.EnumType(cls=of):
            return st.sampled_from(list(of))
        case inspect.DateTimeType():
            return st.datetimes(timezones=st.just(UTC)) | st.just(NOON.replace(microsecond=0))
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            return st.lists(any_value(item), min_size=low or 0, max_size=high and min(high, 64)).map(tuple)
        case inspect.DictType(value_type=number):
            return st.dictionaries(st.text(max_size=10), any_value(number), max_size=5)
        case inspect.UnionType(types=(whole, inspect.FloatType(ge=low, le=high))):
            return any_value(whole) | st.floats(low, high)
        case inspect.StructType(cls=of):
            return any_message(of)
    raise AssertionError(f"no strategy for {kind}")


def any_message(of: Any) -> st.SearchStrategy[Any]:
    """Any valid message of a class."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in fields_of(of).items():
        values = st.none() | any_value(field.type) if field.optional else any_value(field.type)
        (required if field.required else optional)[name] = values
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: of(**values))
