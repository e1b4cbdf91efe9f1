"""The messages: frozen, checked when they are made, each field with its unit and range.

A message that exists is valid: a wrong type or range raises BadMessage, which names the field. The
annotations below are the single statement of the contract; the codec, ``docs/contract.md`` and
``docs/asyncapi.yaml`` are read from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from neuroone.contract.fields import (
    Choice,
    Integer,
    Integers,
    Items,
    Number,
    Numbers,
    Text,
    Utc,
    check,
)

NAME_MAX_CHARS: Final = 8192
"""A whole WebSocket message of a student is at most 8 KiB, so a name is never cut on its way."""
NOTE_MAX_CHARS: Final = 1000
"""A marker's note: a paragraph, not a document."""
RAW_RATE_HZ: Final = 512
"""Raw samples a second of every ThinkGear chip (ThinkGear Serial Stream Guide, CODE 0x80)."""
RAW_BLOCK_SAMPLES: Final = 64
"""Samples in a full raw block: 8 blocks a second keep a live trace smooth and a broker calm."""
BAND_MAX: Final = 2**24 - 1
"""A band power is three bytes, big-endian, on the wire of the headset (CODE 0x83)."""
COUNTERS_MAX: Final = 100
"""Names in one set of counters: a service has a few dozen."""
RECORDED_STREAMS_MAX: Final = 125
"""Streams in one mark, below 64 KiB; a recorder with more changed streams sends several."""
MISSING_MAX: Final = 3
"""Holes that one stream's mark names: 125 streams with so many each stay below 64 KiB. Senders keep two minutes, and
have rarely more than one hole in that."""
SEQ_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259 section 6)."""
BANDS: Final = (
    "delta",
    "theta",
    "low_alpha",
    "high_alpha",
    "low_beta",
    "high_beta",
    "low_gamma",
    "mid_gamma",
)
"""The eight band powers in the headset's order."""


class Kind(StrEnum):
    """Where a source's readings are decoded."""

    HEADSET = "headset"
    CLIENT = "client"


class StreamStatus(StrEnum):
    """Whether a source is there."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"


class ServiceStatus(StrEnum):
    """Whether a service is there."""

    ONLINE = "online"
    OFFLINE = "offline"


class Link(StrEnum):
    """What the link to a source is doing; ``hint`` says what to do about it."""

    CONNECTED = "connected"
    SEARCHING = "searching"
    NO_PORT = "no_port"
    NO_PERMISSION = "no_permission"
    PORT_BUSY = "port_busy"
    UNPLUGGED = "unplugged"
    SILENT = "silent"
    NO_FRAMES = "no_frames"
    STANDBY = "standby"
    SCANNING = "scanning"
    NO_HEADSET = "no_headset"
    ENDED = "ended"


class EventType(StrEnum):
    """What happened in a group."""

    MARKER = "marker"
    SESSION_START = "session_start"
    SESSION_STOP = "session_stop"


class Message:
    """The base of all messages: checks every field when a message is made. Raises BadMessage."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check(self)


Id = Annotated[str, Text(low=1, high=64, doc="An id of the topic table.")]
Session = Annotated[str, Text(low=1, high=64, doc="Id of this run of this source, new at every start.")]
Time = Annotated[datetime, Utc(doc="When the bytes arrived, UTC; stamped once, there.")]
Now = Annotated[datetime, Utc(doc="When the sender made this message, UTC.")]
Seq = Annotated[
    int,
    Integer(
        low=0,
        high=SEQ_MAX,
        doc="Starts at 0 in a session and rises by one with each message of its kind.",
    ),
]
Epoch = Annotated[
    int,
    Integer(
        low=0,
        high=SEQ_MAX,
        unit="ms",
        doc="Start of the run of the service that sent this, since 1970: of two states, the lower one is the older.",
    ),
]
SourceKind = Annotated[
    Kind,
    Choice(of=Kind, doc="headset: decoded by serial_bridge. client: decoded by a student's app."),
]
Name = Annotated[
    str | None,
    Text(
        low=1,
        high=NAME_MAX_CHARS,
        optional=True,
        doc="The name as it was typed; null: none was given.",
    ),
]
Code = Annotated[
    str | None,
    Text(
        low=1,
        high=NAME_MAX_CHARS,
        optional=True,
        doc="The class code as it was typed; null: none was given.",
    ),
]
PoorSignal = Annotated[
    int | None,
    Integer(
        low=0,
        high=255,
        optional=True,
        doc="0: good contact. 1 to 199: poor, eSense is frozen. 200: off the skin. null: the source does not say.",
    ),
]
ESense = Annotated[
    int,
    Integer(low=0, high=100, unit="eSense", doc="0: not computed. Valid only while poor_signal is 0."),
]
BandPower = Annotated[
    int,
    Integer(
        low=0,
        high=BAND_MAX,
        unit="a.u.",
        doc="No physical unit: compare a source only with itself.",
    ),
]
Counters = Annotated[Mapping[str, float], Numbers(most=COUNTERS_MAX, doc="Totals since the start, by name.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Message):
    """What a headset says once a second: signal quality, eSense and the eight band powers."""

    session: Session
    seq: Seq
    time: Time
    kind: SourceKind
    name: Name
    code: Code
    poor_signal: PoorSignal
    attention: ESense
    meditation: ESense
    delta: BandPower
    theta: BandPower
    low_alpha: BandPower
    high_alpha: BandPower
    low_beta: BandPower
    high_beta: BandPower
    low_gamma: BandPower
    mid_gamma: BandPower


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBlock(Message):
    """Consecutive raw samples; a jump of ``first_sample`` from block to block is a gap."""

    session: Session
    seq: Seq
    time: Annotated[datetime, Utc(doc="When the bytes of the last sample arrived, UTC.")]
    first_sample: Annotated[
        int,
        Integer(low=0, high=SEQ_MAX, doc="Number of the first sample here since the session began."),
    ]
    rate_hz: Annotated[int, Integer(low=1, high=65535, unit="Hz", doc="Samples a second.")]
    samples: Annotated[
        tuple[int, ...],
        Integers(
            low=-32768,
            high=32767,
            most=RAW_BLOCK_SAMPLES,
            unit="ADC counts",
            doc="Signed 16-bit; a ThinkGear chip uses -2048 to 2047, volts = count * (1.8 / 4096) / 2000.",
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState(Message):
    """Whether a source is there, who and what it is, what its link does, and its counters."""

    status: Annotated[
        StreamStatus,
        Choice(
            of=StreamStatus,
            doc="stale: linked, but no reading for 3 s. offline: gone, or none for 10 s.",
        ),
    ]
    session: Session
    time: Now
    kind: SourceKind
    name: Name
    code: Code
    link: Annotated[Link, Choice(of=Link, doc="What the link to the source is doing.")]
    hint: Annotated[
        str | None,
        Text(
            low=1,
            high=NOTE_MAX_CHARS,
            optional=True,
            doc="What to do about it, in plain words; null: nothing.",
        ),
    ]
    device: Annotated[
        str | None,
        Text(
            low=1,
            high=NOTE_MAX_CHARS,
            optional=True,
            doc="The port or file that a headset hangs on; else null.",
        ),
    ]
    service: Id
    instance: Id
    epoch: Epoch
    counters: Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent(Message):
    """A moment that somebody marked in a group, or the start or stop of a class."""

    id: Annotated[str, Text(low=1, high=64, doc="Tells two events apart, and one from its repetition.")]
    time: Now
    type: Annotated[EventType, Choice(of=EventType, doc="What happened.")]
    text: Annotated[str, Text(high=NOTE_MAX_CHARS, doc="The note, or the name of the class; may be empty.")]
    source: Annotated[
        str | None,
        Text(
            low=1,
            high=64,
            optional=True,
            doc="Id of the source it is about; null: the whole group.",
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState(Message):
    """Whether a service is there; retained, and also the service's Last Will."""

    status: Annotated[
        ServiceStatus,
        Choice(of=ServiceStatus, doc="online from connect; offline at exit or as Will."),
    ]
    version: Annotated[str, Text(low=1, high=64, doc="The version of NeuroOne that runs.")]
    epoch: Epoch
    connection: Annotated[
        int,
        Integer(low=1, high=SEQ_MAX, doc="Which connection of this run; a Last Will has that of the birth it ends."),
    ]
    fault: Annotated[
        str | None,
        Text(
            low=1,
            high=NOTE_MAX_CHARS,
            optional=True,
            doc="What keeps an online service from its work, in plain words; null: nothing.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Message):
    """How a service does, every 10 s."""

    time: Now
    uptime_s: Annotated[float, Number(unit="s", doc="Since the service started.")]
    memory_bytes: Annotated[
        int | None,
        Integer(
            low=0,
            high=SEQ_MAX,
            optional=True,
            unit="bytes",
            doc="Resident memory; null: the system does not say.",
        ),
    ]
    counters: Counters
    gauges: Annotated[Mapping[str, float], Numbers(most=COUNTERS_MAX, doc="Values of this moment, by name.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Message):
    """Consecutive readings that are not on disk."""

    first: Annotated[int, Integer(low=0, high=SEQ_MAX, doc="The first seq that is missing.")]
    last: Annotated[int, Integer(low=0, high=SEQ_MAX, doc="The last of them.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStream(Message):
    """How far one stream's session is safe on disk."""

    group: Id
    source: Id
    session: Session
    seq: Annotated[
        int,
        Integer(low=0, high=SEQ_MAX, doc="Every reading up to this one is on disk, or counted as a gap."),
    ]
    rows: Annotated[int, Integer(low=0, high=SEQ_MAX, doc="Rows of this session on disk.")]
    duplicates: Annotated[int, Integer(low=0, high=SEQ_MAX, doc="Readings that came again and were dropped.")]
    gaps: Annotated[int, Integer(low=0, high=SEQ_MAX, doc="Readings of this session that never came.")]
    missing: Annotated[
        tuple[Missing, ...],
        Items(of=Missing, most=MISSING_MAX, doc="Which ones, in rising order: the newest of them, if they are many."),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Message):
    """The streams whose files grew since the last such message."""

    time: Now
    streams: Annotated[
        tuple[RecordedStream, ...],
        Items(of=RecordedStream, most=RECORDED_STREAMS_MAX, doc="One entry a stream and session."),
    ]
