"""The messages: frozen, checked when they are made, each field with its unit and range.

A message that exists is valid: a wrong type or range raises BadMessage, which names the field. The contract is
stated in the annotations below and nowhere else: JSON, ``docs/contract.md`` and ``docs/asyncapi.yaml`` come from them.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from sys import float_info
from typing import Annotated, Any, ClassVar, Final

from msgspec import UNSET, Meta, UnsetType

from neuroone.contract.checks import COUNTER_NAME_MAX_CHARS, INT64_MAX, INT64_MIN
from neuroone.contract.checks import Message as Message
from neuroone.contract.shards import SHARDS_MAX

NAME_MAX_CHARS: Final = 8192
"""A student's WebSocket message has at most 8 KiB, so no name that arrives is cut."""
NOTE_MAX_CHARS: Final = 1000
"""A marker's note: a paragraph, not a document."""
RAW_RATE_HZ: Final = 512
"""Raw samples a second of every ThinkGear chip (ThinkGear Serial Stream Guide, CODE 0x80)."""
MICROVOLTS_PER_COUNT: Final = 1e6 * (1.8 / 4096) / 2000
"""NeuroSky's ADC: 1.8 V over 4096 counts, behind a gain of 2000."""
RAW_BLOCK_SAMPLES: Final = 64
"""Samples in a full raw block: 8 blocks a second keep a live trace smooth and a broker calm."""
ESENSE_MAX: Final = 100
"""eSense is 0 to 100 (ThinkGear Serial Stream Guide, CODE 0x04 and 0x05)."""
POOR_SIGNAL_MAX: Final = 255
"""Signal quality is one byte (CODE 0x02)."""
OFF_SKIN: Final = 200
"""Poor signal of a headset that no one wears (ThinkGear Serial Stream Guide, CODE 0x02): its bands are noise."""
BAND_MAX: Final = 2**24 - 1
"""A band power is three bytes, big-endian, on the wire of the headset (CODE 0x83)."""
COUNTERS_MAX: Final = 100
"""Names in one set of counters: a service has a few dozen."""
RECORDED_STREAMS_MAX: Final = 125
"""Streams in one receipt, below 64 KiB; a recorder with more changed streams sends several."""
REMOVED_MAX: Final = 300
"""Students that a lesson's state lists as removed: ten classes, below 64 KiB."""
WAITING_MAX: Final = 60
"""Students that a gateway lists as waiting: two classes, below 64 KiB. The others are counted."""
WAITS_MAX_S: Final = 7 * 24 * 3600
"""How long a student may wait at the door, as it is said: a week."""
SHORT_MAX_CHARS: Final = 64
"""Names in lists for people: longer ones are cut."""
MISSING_MAX: Final = 3
"""Gaps that a receipt lists for one stream: 125 streams with so many each stay below 64 KiB. Senders keep two minutes
of readings, in which there is rarely more than one gap."""
SEQ_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259 section 6)."""
BANDS: Final = ("delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma")
"""The eight band powers in the headset's order."""


class Kind(StrEnum):
    """Where the readings of a source are decoded."""

    HEADSET = "headset"
    CLIENT = "client"


class StreamStatus(StrEnum):
    """Whether a source is connected and sends readings."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"


class ServiceStatus(StrEnum):
    """Whether a service is running."""

    ONLINE = "online"
    OFFLINE = "offline"


class Link(StrEnum):
    """What the link to a source does; ``hint`` says what to do about it."""

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


class Door(StrEnum):
    """Who may come into a lesson."""

    OPEN = "open"
    ASK = "ask"
    CLOSED = "closed"


class WaitingReason(StrEnum):
    """Why a student has to wait at the door."""

    NEW = "new"
    WAS_HERE = "was_here"
    REMOVED = "removed"


class Decision(StrEnum):
    """What a teacher says to a student who waits at the door."""

    ADMIT = "admit"
    REFUSE = "refuse"


def about(doc: str, unit: str = "", **limits: Any) -> Meta:
    """Return what the contract says of a field: its meaning, its unit and its limits."""
    words = f"{doc} Unit: {unit}." if unit else doc
    return Meta(description=words, extra={"doc": doc, "unit": unit}, **limits)


Label = Annotated[str, Meta(min_length=1, max_length=64)]
Title = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_CHARS)]
Note = Annotated[str, Meta(min_length=1, max_length=NOTE_MAX_CHARS)]
Count = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
Number = (
    Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)] | Annotated[float, Meta(ge=-float_info.max, le=float_info.max)]
)
"""A finite number. Whole ones stay whole: 5 is not written as 5.0."""
Duration = Annotated[int, Meta(ge=0, le=INT64_MAX)] | Annotated[float, Meta(ge=0, le=float_info.max)]
Numbers = Mapping[Annotated[str, Meta(max_length=COUNTER_NAME_MAX_CHARS)], Number]

Id = Annotated[Label, about("An id of the topic table.")]
Session = Annotated[Label, about("Id of this run of this source, new at every start.")]
Time = Annotated[datetime, about("When the bytes arrived, UTC; stamped once, there.", tz=True)]
Now = Annotated[datetime, about("When the sender made this message, UTC.", tz=True)]
Seq = Annotated[Count, about("Starts at 0 in a session and rises by one with each message of its kind.")]
Epoch = Annotated[Count, about("Start of the sending service's run, since 1970: for information only.", "ms")]
Run = Annotated[Label, about("Random id of the run; compared for equality only. Absent: sent by an older version.")]
SourceKind = Annotated[Kind, about("headset: decoded by serial_bridge. client: decoded by a student's app.")]
Name = Annotated[Title | None, about("The name as it was typed; null: none was given.")]
Code = Annotated[Title | None, about("The class code as it was typed; null: none was given.")]
PoorSignal = Annotated[
    Annotated[int, Meta(ge=0, le=POOR_SIGNAL_MAX)] | None,
    about("0: good contact. 1 to 199: poor, eSense is frozen. 200: off the skin. null: the source does not say."),
]
ESense = Annotated[int, about("0: not computed. Valid only while poor_signal is 0.", "eSense", ge=0, le=ESENSE_MAX)]
BandPower = Annotated[int, about("No physical unit: compare a source only with itself.", "a.u.", ge=0, le=BAND_MAX)]
MeasuredRate = Annotated[
    Annotated[int, Meta(ge=1, le=65535)] | None,
    about(
        "Raw samples between two of the headset's frames of a second; null: not steady yet. Absent: not measured.", "Hz"
    ),
]
FirstSample = Annotated[Count, about("Number of the first sample here since the session began.")]
SamplingRate = Annotated[int, about("Samples a second: as measured, 512 before that.", "Hz", ge=1, le=65535)]
Samples = Annotated[
    tuple[Annotated[int, Meta(ge=-32768, le=32767)], ...],
    about(
        "Signed 16-bit; a ThinkGear chip uses -2048 to 2047, volts = count * (1.8 / 4096) / 2000.",
        "ADC counts",
        min_length=1,
        max_length=RAW_BLOCK_SAMPLES,
    ),
]
DEMO: Final = "Demo"
"""Name of the simulated headset of `neuroone up --port sim` if it is given none; the second one is "Demo 2"."""
Simulated = Annotated[bool, about("true: invented by a simulator, measured on nobody. Absent: measured.")]
ShardNumber = Annotated[
    int, about("Which share of the streams a recorder records; absent: all of them.", ge=1, le=SHARDS_MAX)
]
ShardsNumber = Annotated[int, about("Among how many recorders the streams are divided.", ge=1, le=SHARDS_MAX)]
Counters = Annotated[Numbers, about("Totals since the start, by name.", max_length=COUNTERS_MAX)]


class Reading(Message, frozen=True, kw_only=True):
    """What a headset sends once a second: signal quality, eSense and the eight band powers."""

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
    simulated: Simulated | UnsetType = UNSET


class RawBlock(Message, frozen=True, kw_only=True):
    """Consecutive raw samples; a jump of ``first_sample`` from block to block is a gap."""

    session: Session
    seq: Seq
    time: Annotated[datetime, about("When the bytes of the last sample arrived, UTC.", tz=True)]
    first_sample: FirstSample
    rate_hz: SamplingRate
    samples: Samples
    measured_hz: MeasuredRate | UnsetType = UNSET


class StreamState(Message, frozen=True, kw_only=True):
    """Whether a source is connected, its name and kind, the state of its link, and its counters."""

    status: Annotated[StreamStatus, about("stale: linked, but no reading for 3 s. offline: gone, or none for 10 s.")]
    session: Session
    time: Now
    kind: SourceKind
    name: Name
    code: Code
    link: Annotated[Link, about("What the link to the source is doing.")]
    hint: Annotated[Note | None, about("What to do about it, in plain words; null: nothing.")]
    device: Annotated[Note | None, about("The port or file of a headset; null for clients.")]
    service: Id
    instance: Id
    epoch: Epoch
    counters: Counters
    run: Run | UnsetType = UNSET
    measured_hz: MeasuredRate | UnsetType = UNSET
    simulated: Simulated | UnsetType = UNSET


class GroupEvent(Message, frozen=True, kw_only=True):
    """A moment that somebody marked in a group, or the start or stop of a lesson."""

    id: Annotated[Label, about("Tells two events apart, and one from its repetition.")]
    time: Now
    type: Annotated[EventType, about("What happened.")]
    text: Annotated[str, about("The note, or the name of the lesson; may be empty.", max_length=NOTE_MAX_CHARS)]
    source: Annotated[Label | None, about("Id of the source it is about; null: the whole group.")]


class Removed(Message, frozen=True, kw_only=True):
    """A student whom the teacher removed from the lesson."""

    group: Id
    source: Id


class LessonState(Message, frozen=True, kw_only=True):
    """The lesson that runs in a group, or of everybody; retained, for all who come while it runs."""

    time_field: ClassVar[str] = "began"
    name: Annotated[Note | None, about("The lesson's name; null: it has none, or no lesson runs.")]
    began: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, about("The time of its session_start, UTC; null: no lesson runs.")
    ]
    door: Annotated[Door, about("Who may come in. open: everybody. ask: whom a teacher admits. closed: nobody.")] = (
        Door.OPEN
    )
    removed: Annotated[tuple[Removed, ...], about("Students who were removed.", max_length=REMOVED_MAX)] = ()
    revision: Annotated[
        Count, about("Rises with each change of door, removed and raw; of two states of one lesson the higher counts.")
    ] = 0
    raw: Annotated[bool, about("true: students' apps send raw samples, too. Absent: they do not.")] | UnsetType = UNSET


class WaitingStudent(Message, frozen=True, kw_only=True):
    """A student who waits for a teacher's permission."""

    id: Annotated[Label, about("Made by the gateway for this connection; a decision names it.")]
    group: Id
    name: Annotated[
        Annotated[str, Meta(max_length=SHORT_MAX_CHARS)] | None, about("The name, cut if it is long; null: none.")
    ]
    code: Annotated[
        Annotated[str, Meta(max_length=SHORT_MAX_CHARS)] | None, about("The class code, cut if it is long; null: none.")
    ]
    reason: Annotated[
        WaitingReason,
        about(
            "new: not in this lesson yet. was_here: a student of this name was, with another code, or still sends. "
            "removed: was removed from this lesson."
        ),
    ]
    waits_s: Annotated[int, about("How long the student has waited.", "s", ge=0, le=WAITS_MAX_S)]


class Waiting(Message, frozen=True, kw_only=True):
    """The students who wait at the door of one gateway."""

    time: Now
    students: Annotated[tuple[WaitingStudent, ...], about("In the order in which they came.", max_length=WAITING_MAX)]
    more: Annotated[Count, about("How many others wait, who are not listed.")] = 0


class Admission(Message, frozen=True, kw_only=True):
    """What a teacher says to one student who waits."""

    time: Now
    id: Annotated[Label, about("The waiting student's id.")]
    decision: Annotated[Decision, about("admit: comes in. refuse: is kept out like one who was removed.")]


class ServiceState(Message, frozen=True, kw_only=True):
    """Whether a service is running; retained, and also the service's Last Will."""

    status: Annotated[ServiceStatus, about("online from connect; offline at exit or as Will.")]
    version: Annotated[Label, about("The version of NeuroOne that runs.")]
    epoch: Epoch
    connection: Annotated[
        int, about("Which connection of this run; a Last Will has that of the birth it ends.", ge=1, le=SEQ_MAX)
    ]
    fault: Annotated[
        Note | None, about("What keeps an online service from its work, in plain words; null: nothing.")
    ] = None
    run: Run | UnsetType = UNSET
    shard: ShardNumber | UnsetType = UNSET
    shards: ShardsNumber | UnsetType = UNSET


class Health(Message, frozen=True, kw_only=True):
    """How a service is doing, every 10 s."""

    time: Now
    uptime_s: Annotated[Duration, about("Since the service started.", "s")]
    memory_bytes: Annotated[Count | None, about("Resident memory; null: the system does not say.", "bytes")]
    counters: Counters
    gauges: Annotated[Numbers, about("Values of this moment, by name.", max_length=COUNTERS_MAX)]


class Missing(Message, frozen=True, kw_only=True):
    """Consecutive readings that are not on disk."""

    first: Annotated[Count, about("The first seq that is missing.")]
    last: Annotated[Count, about("The last of them.")]


class RecordedStream(Message, frozen=True, kw_only=True):
    """How far one stream's session is safe on disk."""

    group: Id
    source: Id
    session: Session
    seq: Annotated[Count, about("Every reading up to this one is on disk, or counted as a gap.")]
    rows: Annotated[Count, about("Rows of this session on disk.")]
    duplicates: Annotated[Count, about("Readings that came again and were dropped.")]
    gaps: Annotated[Count, about("Readings of this session that never came.")]
    missing: Annotated[
        tuple[Missing, ...],
        about("Which ones, in rising order; if they are many, only the newest.", max_length=MISSING_MAX),
    ] = ()


class Recorded(Message, frozen=True, kw_only=True):
    """A receipt: the streams whose files grew since the last one."""

    time: Now
    streams: Annotated[
        tuple[RecordedStream, ...], about("One entry for each stream and session.", max_length=RECORDED_STREAMS_MAX)
    ]
    shard: ShardNumber | UnsetType = UNSET
    shards: ShardsNumber | UnsetType = UNSET
