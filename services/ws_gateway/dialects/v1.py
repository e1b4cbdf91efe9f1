"""The dialect ``neuroone.v1``: typed JSON messages over WebSocket, as docs/websocket.md describes them.

Translate between the clients' JSON and the contract, without I/O.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from neuroone.contract.checks import M, Message
from neuroone.contract.errors import BadMessage
from neuroone.contract.json import encode, from_object, load_object, to_object
from neuroone.contract.messages import (
    NOTE_MAX_CHARS,
    SEQ_MAX,
    Code,
    Count,
    Decision,
    Door,
    EventType,
    FirstSample,
    GroupEvent,
    Label,
    LessonState,
    MeasuredRate,
    Name,
    RawBlock,
    Reading,
    RecordedStream,
    Removed,
    Samples,
    SamplingRate,
    StreamState,
    WaitingStudent,
    about,
)
from neuroone.contract.topics import ID_MAX_CHARS, Topic, is_id
from neuroone.mqtt.replay import Stream
from ws_gateway.dialects.first import BadFrame

SUBPROTOCOL: Final = "neuroone.v1"
TOKEN_MAX_CHARS: Final = 256
RECEIPT_KEYS: Final = ("group", "source", "session", "seq", "rows", "duplicates", "gaps")
"""What dashboards are told of a receipt."""
KEPT_OUT: Final = ("ask", "closed", "removed")
"""What students are told who may not come in: they wait for a teacher, or the door is closed, or they were removed."""
LESSON_KEYS: Final = ("name", "began", "door")
"""What dashboards are told of a lesson, beside whether students send raw samples."""


class Role(StrEnum):
    """The two kinds of client."""

    STUDENT = "student"
    DASHBOARD = "dashboard"


class Stage(StrEnum):
    """How far a reading has come: the broker has it, or a recorder has it on disk."""

    BROKER = "broker"
    RECORDED = "recorded"


class Hello(Message, frozen=True, kw_only=True):
    """The first message of every client."""

    role: Annotated[Role, about("student or dashboard.")]
    name: Name = None
    code: Code = None
    session: Annotated[
        Annotated[str, Meta(min_length=8, max_length=ID_MAX_CHARS)] | None,
        about("An id that the student's app made for this run, or the session to resume."),
    ] = None
    token: Annotated[
        Annotated[str, Meta(max_length=TOKEN_MAX_CHARS)] | None,
        about("A dashboard's token, or a student's join code."),
    ] = None
    acks: Annotated[Stage, about("broker: acknowledge what the broker has. recorded: also what is on disk.")] = (
        Stage.BROKER
    )


class Marker(Message, frozen=True, kw_only=True):
    """A moment to mark."""

    id: Annotated[Label, about("Made by the client; comes back in the ack.")]
    event: Annotated[EventType, about("What happened.")] = EventType.MARKER
    text: Annotated[str, about("A note; may be empty.", max_length=NOTE_MAX_CHARS)] = ""
    code: Code = None


class Watch(Message, frozen=True, kw_only=True):
    """A dashboard asks for the raw samples of one stream, or of none."""

    group: Annotated[Label | None, about("The stream's group; null: no stream.")] = None
    source: Annotated[Label | None, about("The stream's source; null: no stream.")] = None


class DoorRequest(Message, frozen=True, kw_only=True):
    """A teacher opens or closes the door of a lesson."""

    state: Annotated[Door, about("open: everybody comes in. ask: newcomers wait. closed: no newcomer comes in.")]
    group: Annotated[Label | None, about("The lesson's group; null: the dashboard's own class, else everybody.")] = None


class DecisionRequest(Message, frozen=True, kw_only=True):
    """A teacher admits or refuses a student who waits, or admits one who was removed."""

    id: Annotated[str, about("The student's id in `waiting`.", min_length=1, max_length=2 * ID_MAX_CHARS + 1)]
    decision: Annotated[Decision, about("The type of the message.")]


class RemoveRequest(Message, frozen=True, kw_only=True):
    """A teacher removes a student from the lesson."""

    group: Annotated[Label, about("The stream's group.")]
    source: Annotated[Label, about("The stream's source.")]


class RawRequest(Message, frozen=True, kw_only=True):
    """A teacher asks the apps of a lesson's students for raw samples, or for none."""

    wanted: Annotated[bool, about("true: apps send raw samples until the lesson ends. false: they send none.")]
    group: Annotated[Label | None, about("The lesson's group; null: the dashboard's own class, else everybody.")] = None


class StudentRaw(Message, frozen=True, kw_only=True):
    """A block of raw samples, as a student's app sends it: the contract's without session."""

    seq: Annotated[
        Count | None, about("Rises by one with each block of a session; null: the gateway numbers the blocks.")
    ] = None
    time: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        about("When the bytes of the last sample arrived, UTC; null: when the block arrives."),
    ] = None
    first_sample: FirstSample
    rate_hz: SamplingRate
    samples: Samples
    measured_hz: MeasuredRate | UnsetType = UNSET


TeacherRequest = DoorRequest | DecisionRequest | RemoveRequest | RawRequest
StudentReading = Mapping[str, Any]
"""A reading as the student's app sends it: the contract's without session, name and code. Not checked yet."""


def parse(message: bytes) -> Hello | Marker | Watch | TeacherRequest | StudentRaw | StudentReading:
    """Parse what a client sent. Raises BadFrame."""
    try:
        given = load_object(message)
    except BadMessage as error:
        raise BadFrame("bad_json", "", str(error)) from None
    match given.get("type"):
        case "hello":
            hello = _checked(Hello, given)
            if hello.session is not None and not is_id(hello.session):
                raise BadFrame("bad_value", "session", "session may have the characters A-Z a-z 0-9 _ - only")
            return hello
        case "reading":
            return given
        case "raw":
            return _checked(StudentRaw, given)
        case "marker":
            return _checked(Marker, given)
        case "watch":
            return _checked(Watch, given)
        case "door":
            return _checked(DoorRequest, given)
        case "admit" | "refuse" as decision:
            return _checked(DecisionRequest, {**given, "decision": decision})
        case "remove":
            return _checked(RemoveRequest, given)
        case "raw_wanted":
            return _checked(RawRequest, given)
    raise BadFrame(
        "bad_value",
        "type",
        "type must be one of hello, reading, raw, marker, watch, door, admit, refuse, remove, raw_wanted",
    )


def student_reading(
    given: StudentReading, *, session: str, name: str | None, code: str | None, now: datetime
) -> Reading:
    """Make the contract's reading; ``now`` is its time if the app gave none. Raises BadFrame."""
    own = {"session": session, "name": name, "code": code, "kind": "client"}
    try:
        return _checked(Reading, {"time": now, "poor_signal": None, **given, **own})
    except BadFrame as fault:
        seq = given.get("seq")
        if type(seq) is int and 0 <= seq <= SEQ_MAX:  # else there is nothing that the client could know it by
            fault.seq = seq
        raise


def welcome(stream: Stream | None = None, next_seq: int | None = None) -> str:
    """Answer a student's hello with its stream and the first seq to send; a dashboard's with nulls."""
    group, source, session = stream or (None, None, None)
    return _frame("welcome", {"session": session, "group": group, "source": source, "next_seq": next_seq})


def ack(stage: Stage, seq: int) -> str:
    """Tell a student that every reading up to ``seq`` is at the broker, or on disk."""
    return _frame("ack", {"stage": stage, "seq": seq})


def marker_ack(marker_id: str) -> str:
    """Tell a client that the broker has its marker."""
    return _frame("ack", {"stage": Stage.BROKER, "marker": marker_id})


@lru_cache(maxsize=16)  # thousands of clients get one of a few
def link(*, broker: bool, recorder: bool, missing: tuple[str, ...] = ()) -> str:
    """Tell a client whether the broker and the recorders are there, a dashboard also which shards have none."""
    return _frame("link", {"broker": broker, "recorder": recorder, **({"missing": missing} if missing else {})})


def reading(student_id: int | None, topic: Topic, message: Reading) -> str:
    """Show a reading on dashboards; the id is null for a headset without a name."""
    return _frame_of("reading", _whose(student_id, topic), message)


def state(student_id: int | None, topic: Topic, message: StreamState) -> str:
    """Show on dashboards whether a student or headset is there."""
    given = to_object(message)
    given.pop("run", None)
    return _frame("state", _whose(student_id, topic) | given)


def event(topic: Topic, message: GroupEvent) -> str:
    """Show a marker, or the start or end of a session, on dashboards."""
    given = to_object(message)
    return _frame("event", {"group": topic["group"], "event": given.pop("type"), **given})


def lesson(group: str, state: LessonState) -> str:
    """Show on dashboards which lesson runs in a group, or of everybody; ``began`` is null when none does."""
    given = to_object(state)
    shown = {key: given[key] for key in LESSON_KEYS}
    return _frame("lesson", {"group": group, **shown, "raw": state.raw is True})


def door(state: str) -> str:
    """Tell a student that the door keeps it out, in one of the words of `KEPT_OUT`."""
    return _frame("door", {"state": state})


def raw_wanted(*, wanted: bool) -> str:
    """Tell a student's app whether the lesson wants raw samples."""
    return _frame("raw_wanted", {"wanted": wanted})


def waiting(students: Iterable[tuple[datetime, WaitingStudent]], more: int, removed: Iterable[Removed]) -> str:
    """Show teachers who waits, and since when, how many more wait, and who was removed."""
    shown = [
        {
            "id": student.id,
            "group": student.group,
            "name": student.name,
            "code": student.code,
            "since": since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reason": student.reason,
        }
        for since, student in students
    ]
    blocked = [{"id": f"{each.group}/{each.source}", "group": each.group, "source": each.source} for each in removed]
    return _frame("waiting", {"students": shown, "more": more, "removed": blocked})


def recorded(streams: Sequence[RecordedStream]) -> str:
    """Show on dashboards up to which reading streams are on disk."""
    return _frame("recorded", {"streams": [{key: getattr(stream, key) for key in RECEIPT_KEYS} for stream in streams]})


def raw(topic: Topic, block: RawBlock) -> str:
    """Show raw samples on the dashboards that asked for them."""
    return _frame_of("raw", {"group": topic["group"], "source": topic["source"]}, block)


def error(fault: BadFrame) -> str:
    """Tell a client what is wrong with its message."""
    content = {"code": fault.code, "field": fault.field, "message": fault.message}
    return _frame("error", content if fault.seq is None else {**content, "seq": fault.seq})


def _whose(student_id: int | None, topic: Topic) -> dict[str, Any]:
    return {"id": student_id, "group": topic["group"], "source": topic["source"]}


def _frame(kind: str, content: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, **content}, ensure_ascii=False, separators=(",", ":"))


def _frame_of(kind: str, whose: Mapping[str, Any], message: Reading | RawBlock) -> str:
    # The message's own bytes: it holds no fractions, and msgspec escapes text as the standard library does.
    return f"{_frame(kind, whose)[:-1]},{encode(message)[1:].decode()}"


def _checked(of: type[M], given: Mapping[str, Any]) -> M:
    try:
        return from_object(of, given)
    except BadMessage as fault:
        raise BadFrame("bad_value", fault.field, str(fault)) from None
