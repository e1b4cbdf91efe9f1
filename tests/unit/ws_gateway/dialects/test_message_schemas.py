"""The schemas of the dialects agree with the code."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from docs import message_schemas
from neuroone.contract import topics
from neuroone.contract.messages import EventType, GroupEvent, Kind, LessonState, RawBlock, Recorded, Removed, Waiting
from tests.support.messages import GOLDEN, NOON, SESSION, reading, stream_state
from ws_gateway.dialects import first, v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Stage
from ws_gateway.door.rules import Verdict
from ws_gateway.websocket.server import MESSAGE_MAX_BYTES

GOLDEN_FILES = Path(__file__).parents[3] / "golden"
STREAM = topics.reading("local", "ABC123", "Joao_Silva")
FAULT = BadFrame("bad_value", "Att", "Att must be a whole number from 0 to 100")
BAD_READING = BadFrame("bad_value", "delta", "delta must be a whole number")
BAD_READING.seq = 7
EVENT, LESSON, LESSON_RAW, RECORDED, BLOCK, WAITING = (
    GOLDEN[name] for name in ("group_event", "lesson", "lesson_raw", "recorded", "raw", "waiting")
)
assert isinstance(EVENT, GroupEvent)
assert isinstance(LESSON, LessonState)
assert isinstance(LESSON_RAW, LessonState)
assert isinstance(RECORDED, Recorded)
assert isinstance(BLOCK, RawBlock)
assert isinstance(WAITING, Waiting)
RECEIVED = {
    "welcome": [
        v1.welcome(("A", "Ana", SESSION), 0),
        v1.welcome(),
    ],
    "link": [v1.link(broker=True, recorder=False)],
    "ack": [v1.ack(stage, 7) for stage in Stage],
    "marker_ack": [v1.marker_ack("m1")],
    "reading": [v1.reading(1, STREAM, reading()), v1.reading(None, STREAM, reading(kind=Kind.HEADSET))],
    "state": [v1.state(1, topics.stream_state("local", "A", "Ana"), stream_state())],
    "event": [v1.event(topics.event("local", "A"), EVENT)],
    "lesson": [
        v1.lesson(topics.ALL, LESSON),
        v1.lesson("A", LessonState(name=None, began=None)),
        v1.lesson("A", LESSON_RAW),
    ],
    "raw_wanted": [v1.raw_wanted(wanted=True)],
    "door": [v1.door(verdict) for verdict in (Verdict.ASK, Verdict.CLOSED, Verdict.REMOVED)],
    "waiting": [
        v1.waiting([], 0, []),
        v1.waiting([(NOON, WAITING.students[0])], 3, [Removed(group="A", source="Ana")]),
    ],
    "recorded": [v1.recorded(RECORDED.streams)],
    "raw": [v1.raw(topics.raw("local", "A", "Ana"), BLOCK)],
    "error": [v1.error(FAULT)],
    "reading_error": [v1.error(BAD_READING)],
}
FIRST_RECEIVED = {
    "dashboard": [first.dashboard_frame(1, reading()), first.dashboard_frame(2, reading(name=None, code=None))],
    "listener": [first.listener_frame(reading())],
    "error": [first.error_frame(FAULT)],
}
SENT: list[dict[str, Any]] = [
    {"type": "hello", "role": "student", "name": "Ana", "code": "A", "session": SESSION, "acks": "recorded"},
    {"type": "hello", "role": "dashboard", "token": "t"},
    {"type": "marker", "id": "m1"},
    {"type": "marker", "id": "m1", "event": EventType.SESSION_START, "text": "7B", "code": None},
    {"type": "watch", "group": "A", "source": "Ana"},
    {"type": "watch"},
    {"type": "door", "state": "ask"},
    {"type": "door", "state": "closed", "group": "A"},
    {"type": "admit", "id": "5e0c"},
    {"type": "refuse", "id": "A/Ana"},
    {"type": "remove", "group": "A", "source": "Ana"},
    {"type": "raw_wanted", "wanted": True},
    {"type": "raw_wanted", "wanted": False, "group": "A"},
    {"type": "raw", "first_sample": 64, "rate_hz": 512, "samples": [0]},
]


def is_valid(message: Any, schema: message_schemas.Schema) -> bool:
    return jsonschema.Draft202012Validator({**schema, "additionalProperties": False}).is_valid(message)


@pytest.mark.parametrize(
    ("received", "declared"),
    [(RECEIVED, message_schemas.V1_TO_CLIENT), (FIRST_RECEIVED, message_schemas.FIRST_TO_CLIENT)],
)
def test_what_clients_receive_is_declared(received, declared):
    """Every frame that the gateway makes has exactly the declared keys and values."""
    assert set(received) == set(declared)
    for name, frames in received.items():
        for frame in frames:
            message = json.loads(frame)
            assert is_valid(message, declared[name]), name
            for key in message:
                assert not is_valid({k: v for k, v in message.items() if k != key}, declared[name]), key


@pytest.mark.parametrize("message", SENT)
def test_what_clients_send_is_declared(message):
    """The schema and the gateway accept and refuse the same."""
    schema = message_schemas.V1_FROM_CLIENT[message["type"]]
    assert is_valid(message, schema)
    v1.parse(json.dumps(message).encode())
    for key in message:
        for wrong in (5, "x" * 5000):
            changed = {**message, key: wrong}
            if not is_valid(changed, schema):
                with pytest.raises(BadFrame):
                    v1.parse(json.dumps(changed).encode())


def test_a_students_reading_is_declared():
    """It is the contract's reading without session, name and code."""
    message = {"type": "reading", "seq": 0, "attention": 85, "meditation": 72}
    message |= {
        name: kind["maximum"]
        for name, kind in message_schemas.V1_FROM_CLIENT["reading"]["properties"].items()
        if "delta" in name
    }
    message |= dict.fromkeys(("theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma"), 1)
    schema = message_schemas.V1_FROM_CLIENT["reading"]
    assert is_valid(message, schema)
    for key in message:
        assert not is_valid({k: v for k, v in message.items() if k != key}, schema)
    assert is_valid({**message, "time": "2026-11-22T18:20:31.123456Z", "poor_signal": None}, schema)


def test_what_first_clients_send_is_declared():
    """The first app's frame, and one of an app that sends its code as a number and no bands."""
    schema = message_schemas.FIRST_FROM_CLIENT["student"]
    sent = json.loads((GOLDEN_FILES / "ws_student.json").read_bytes())["sent"]
    for frame in (sent, '{"Nome": "Ana", "Codigo": 4821, "Att": 5}'):
        assert is_valid(json.loads(frame), schema)
        first.student_frame(frame.encode())
    for frame in ('{"Att": 101}', '{"Delta": -1}', '{"Nome": 5, "Att": 1}', '{"Nome": "Ana"}', "{}"):
        assert not is_valid(json.loads(frame), schema)
        with pytest.raises(BadFrame):
            first.student_frame(frame.encode())


def test_the_javascript_client_checks_the_ranges_of_the_contract():
    source = (Path(__file__).parents[4] / "clients" / "neuroone.js").read_text("utf-8")
    numbers = {
        name: int(value.replace("_", "")) for name, value in re.findall(r"^const (\w+) = ([\d_]+);", source, re.M)
    }
    ranges = re.findall(r"(\w+): (\w+)", source[source.index("const RANGES") : source.index("const POOR_SIGNAL_MAX")])
    checked = {name: numbers[most] if most in numbers else int(most) for name, most in ranges}
    declared = message_schemas.V1_FROM_CLIENT["reading"]["properties"]
    numeric = {name for name in declared if name not in ("type", "seq", "time", "poor_signal")}
    assert checked == {name: declared[name]["maximum"] for name in numeric}
    assert {declared[name]["minimum"] for name in numeric} == {0}
    assert numbers["MESSAGE_MAX_BYTES"] == MESSAGE_MAX_BYTES
