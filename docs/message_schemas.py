"""The JSON Schema of every message, on MQTT and of both dialects, for docs/asyncapi.yaml."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.json import schema_components

from neuroone.contract.checks import Message
from neuroone.contract.messages import (
    GroupEvent,
    LessonState,
    RawBlock,
    Reading,
    RecordedStream,
    StreamState,
    Waiting,
    WaitingStudent,
)
from neuroone.contract.topics import ID_MAX_CHARS
from ws_gateway.dialects import first
from ws_gateway.dialects.v1 import (
    KEPT_OUT,
    LESSON_KEYS,
    RECEIPT_KEYS,
    DecisionRequest,
    DoorRequest,
    Hello,
    Marker,
    RawRequest,
    RemoveRequest,
    Stage,
    StudentRaw,
    Watch,
)

Schema = dict[str, Any]

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": ID_MAX_CHARS}
_STREAM: Final = {"group": _ID, "source": _ID}
_NUMBERED: Final = {"id": {"type": ["integer", "null"], "minimum": 1}, **_STREAM}


def schema_of(message: type[Message]) -> Schema:
    """Return the JSON Schema of a message class, without references."""
    (schema,), components = schema_components([message], ref_template="{name}")
    found: Schema = _without_references(schema, components)
    return found


def _without_references(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_without_references(each, components) for each in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: _without_references(value, components) for key, value in schema.items() if key != "$ref"}
    return {**_without_references(components[schema["$ref"]], components), **own} if "$ref" in schema else own


def _object(properties: Mapping[str, Any], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _properties(message: type[Message], *without: str) -> Schema:
    return {name: schema for name, schema in schema_of(message)["properties"].items() if name not in without}


def _typed(kind: str, properties: Mapping[str, Any], optional: tuple[str, ...] = ()) -> Schema:
    return _object({"type": {"const": kind}, **properties}, optional)


def _request(kind: str, message: type[Message]) -> Schema:
    schema = schema_of(message)
    optional = tuple(name for name in schema["properties"] if name not in schema["required"])
    return _typed(kind, schema["properties"], optional)


def _first_values() -> Schema:
    return {theirs: _properties(Reading)[ours] for theirs, ours in first.VALUES.items()}


_FAULT: Final = {"code": _TEXT, "field": _TEXT, "message": _TEXT}
V1_FROM_CLIENT: Final[Mapping[str, Schema]] = {
    "hello": _request("hello", Hello),
    "reading": _typed(
        "reading",
        _properties(Reading, "session", "name", "code", "kind", "simulated"),
        optional=("time", "poor_signal"),
    ),
    "raw": _request("raw", StudentRaw),
    "marker": _request("marker", Marker),
    "watch": _request("watch", Watch),
    "door": _request("door", DoorRequest),
    "admit": _typed("admit", _properties(DecisionRequest, "decision")),
    "refuse": _typed("refuse", _properties(DecisionRequest, "decision")),
    "remove": _request("remove", RemoveRequest),
    "raw_wanted": _request("raw_wanted", RawRequest),
}
"""Messages that clients of `neuroone.v1` send."""
V1_TO_CLIENT: Final[Mapping[str, Schema]] = {
    "welcome": _typed(
        "welcome",
        {"session": _or_null(_TEXT), "group": _or_null(_ID), "source": _or_null(_ID), "next_seq": _or_null(_WHOLE)},
    ),
    "link": _typed(
        "link",
        {
            "broker": {"type": "boolean"},
            "recorder": {"type": "boolean"},
            "missing": {"type": "array", "items": _TEXT, "description": "Shards without a recorder: dashboards only."},
        },
        ("missing",),
    ),
    "ack": _typed("ack", {"stage": {"enum": [str(stage) for stage in Stage]}, "seq": _WHOLE}),
    "marker_ack": _typed("ack", {"stage": {"const": str(Stage.BROKER)}, "marker": _TEXT}),
    "reading": _typed("reading", {**_NUMBERED, **_properties(Reading)}, ("simulated",)),
    "state": _typed("state", {**_NUMBERED, **_properties(StreamState, "run")}, ("measured_hz", "simulated")),
    "event": _typed(
        "event", {"group": _ID, "event": _properties(GroupEvent)["type"], **_properties(GroupEvent, "type")}
    ),
    "lesson": _typed(
        "lesson",
        {"group": _ID, **{name: _properties(LessonState)[name] for name in LESSON_KEYS}, "raw": {"type": "boolean"}},
    ),
    "raw_wanted": _typed("raw_wanted", {"wanted": {"type": "boolean"}}),
    "door": _typed("door", {"state": {"enum": list(KEPT_OUT)}}),
    "waiting": _typed(
        "waiting",
        {
            "students": {
                "type": "array",
                "items": _object({**_properties(WaitingStudent, "waits_s"), "since": _properties(Waiting)["time"]}),
            },
            "more": _WHOLE,
            "removed": {"type": "array", "items": _object({"id": _TEXT, **_STREAM})},
        },
    ),
    "recorded": _typed(
        "recorded",
        {
            "streams": {
                "type": "array",
                "items": _object({name: _properties(RecordedStream)[name] for name in RECEIPT_KEYS}),
            }
        },
    ),
    "raw": _typed("raw", {**_STREAM, **_properties(RawBlock)}, ("measured_hz",)),
    "error": _typed("error", _FAULT),
    "reading_error": _typed("error", {**_FAULT, "seq": _properties(Reading)["seq"]}),
}
"""Messages that clients of `neuroone.v1` receive."""
FIRST_FROM_CLIENT: Final[Mapping[str, Schema]] = {
    "dash": {"enum": ["dash"], "description": "Also with quotes or white space around it."},
    "student": {
        **_object(
            {"Nome": _or_null(_TEXT), "Codigo": {"type": ["string", "number", "null"]}, **_first_values()},
            optional=("Nome", "Codigo", *first.VALUES),
        ),
        "anyOf": [{"required": [name]} for name in first.VALUES],
    },
}
"""Messages that clients of the first dialect send."""
FIRST_TO_CLIENT: Final[Mapping[str, Schema]] = {
    "dashboard": _object(
        {
            "ID": {"type": "integer", "minimum": 1},
            "Nome": _or_null(_TEXT),
            "Codigo": _or_null(_TEXT),
            **{name: _first_values()[name] for name in ("Att", "Med")},
        }
    ),
    "listener": _object(_first_values()),
    "error": _object({"error": _object(_FAULT)}),
}
"""Messages that clients of the first dialect receive."""
