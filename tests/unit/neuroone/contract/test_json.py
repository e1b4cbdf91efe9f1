"""Messages to bytes and back."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract import topics
from neuroone.contract.errors import BadMessage
from neuroone.contract.json import PAYLOAD_MAX_BYTES, decode, encode
from neuroone.contract.messages import Health, LessonState, Message, Reading
from neuroone.service.process_memory import resident_bytes
from tests.support.messages import GOLDEN, any_message, reading

KINDS = [rule.message for rule in topics.TOPICS]
GOLDEN_READING = encode(reading())
WRONG_TIMES = [
    "2026-11-22T18:20:31Z",
    "2026-11-22T18:20:31.123Z",
    "2026-11-22T18:20:31.1234567Z",
    "2026-11-22t18:20:31.123456Z",
    "2026-11-22T18:20:31.123456z",
    "2026-11-22 18:20:31.123456Z",
    "2026-11-22T18:20:31,123456Z",
    "2026-11-22T18:20:31.123456+00:00",
    "2026-11-22T15:20:31.123456-03:00",
    "2026-11-22T18:20:31.123456",
    "2026-11-22T23:59:60.123456Z",
    "2026-02-30T18:20:31.123456Z",
    "2026-W48-7T18:20:31.123456Z",
    "\u0662\u0660\u0662\u0666-11-22T18:20:31.123456Z",
    1795372831,
]


@pytest.mark.parametrize("of", KINDS)
@given(sample=st.data())
def test_decode_is_the_exact_inverse_of_encode(of: type[Message], sample: Any) -> None:
    message = sample.draw(any_message(of))
    assert decode(of, encode(message)) == message


@pytest.mark.parametrize("of", KINDS)
@given(payload=st.binary() | st.text().map(str.encode))
def test_any_bytes_give_a_message_or_a_documented_error(of: type[Message], payload: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(of, payload)


ANY_TEXT = st.text(st.characters())  # lone surrogates, too: json.dumps escapes them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)


def field_at_fault(of: type[Message], payload: bytes) -> str | None:
    try:
        decode(of, payload)
    except BadMessage as error:
        return error.field
    return None


@pytest.mark.parametrize("name", GOLDEN)
@given(sample=st.data())
def test_any_value_in_any_field_gives_a_message_or_names_the_field(name: str, sample: Any) -> None:
    fields = json.loads(encode(GOLDEN[name]))
    field = sample.draw(st.sampled_from(sorted(fields)))
    fields[field] = sample.draw(JSON)
    at_fault = field_at_fault(type(GOLDEN[name]), json.dumps(fields).encode())
    assert at_fault is None or at_fault.partition(".")[0] in ("", field)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attention": 101}, "attention: must be 0 to 100"),
        ({"attention": 8.5}, "attention: must be a whole number"),
        ({"attention": True}, "attention: must be a whole number"),
        ({"delta": 2**24}, "delta: must be 0 to 16777215"),
        ({"poor_signal": 256}, "poor_signal: must be 0 to 255"),
        ({"seq": -1}, "seq: must be 0 to 9007199254740991"),
        ({"time": "2026-11-22T18:20:31Z"}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),
        ({"time": "2026-02-30T18:20:31.123456Z"}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),
        ({"kind": "robot"}, "kind: must be one of headset, client"),
        ({"name": ""}, "name: must have 1 to 8192 characters"),
        ({"session": 5}, "session: must be text"),
    ],
)
def test_an_error_names_the_field_and_the_fault(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(Reading, json.dumps({**json.loads(encode(reading())), **change}).encode())
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'{"attention": NaN}',
        b"\xff\xfe{}",
        "{}".encode("utf-16"),
        b"[" * 50_000,
        b'{"seq": ' + b"9" * 5000 + b"}",
        b" " * (PAYLOAD_MAX_BYTES + 1),
        b'{"name": "\\ud800"}',
        b"\xef\xbb\xbf" + GOLDEN_READING,
        GOLDEN_READING + b"x",
        GOLDEN_READING + GOLDEN_READING,
        GOLDEN_READING[:-1] + b',"added_later":NaN}',
        GOLDEN_READING[:-1] + b',"added_later":"\xff"}',
        GOLDEN_READING[:-1] + b',"added_later":"\x01"}',
        GOLDEN_READING[:-1] + b',"added_later":01}',
        GOLDEN_READING[:-1] + b',"added_later":' + b"[" * 50_000 + b"}",
        GOLDEN_READING[:-1] + b',"added_later":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
)
def test_hostile_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(Reading, payload)


def test_unknown_keys_are_ignored_and_missing_ones_named() -> None:
    """A later version may add keys; an absent one is a fault."""
    fields = json.loads(encode(reading()))
    assert decode(Reading, json.dumps({**fields, "added_later": [1]}).encode()) == reading()
    del fields["theta"]
    with pytest.raises(BadMessage, match="theta: is missing"):
        decode(Reading, json.dumps(fields).encode())


def test_no_message_is_longer_than_a_payload_may_be() -> None:
    """The longest mark of a recorder and the longest name fit."""
    from neuroone.contract.messages import (
        NAME_MAX_CHARS,
        NOTE_MAX_CHARS,
        RECORDED_STREAMS_MAX,
        REMOVED_MAX,
        SEQ_MAX,
        Recorded,
        RecordedStream,
        Removed,
    )

    entry = RecordedStream(
        group="g" * 64, source="s" * 64, session="x" * 32, seq=SEQ_MAX, rows=SEQ_MAX, duplicates=SEQ_MAX, gaps=SEQ_MAX
    )
    removed = (Removed(group="g" * 64, source="s" * 64),) * REMOVED_MAX
    lesson = LessonState(name="\x01" * NOTE_MAX_CHARS, began=reading().time, removed=removed)
    assert len(encode(lesson)) <= PAYLOAD_MAX_BYTES
    mark = Recorded(time=reading().time, streams=(entry,) * RECORDED_STREAMS_MAX)
    assert len(encode(mark)) <= PAYLOAD_MAX_BYTES
    assert len(encode(reading(name="\U0001f9e0" * NAME_MAX_CHARS))) <= PAYLOAD_MAX_BYTES


@pytest.mark.parametrize("wrong", WRONG_TIMES)
def test_a_time_has_six_digits_and_z(wrong: Any) -> None:
    words = "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"
    given = {**json.loads(GOLDEN_READING), "time": wrong}
    inside = {**given, "added_later": json.loads(GOLDEN_READING)}
    twice = GOLDEN_READING[:-1] + b',"time":' + json.dumps(wrong).encode() + b"}"
    compact = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()
    for payload in (compact, json.dumps(given).encode(), json.dumps(inside).encode(), twice):
        with pytest.raises(BadMessage) as caught:
            decode(Reading, payload)
        assert str(caught.value) == words


@pytest.mark.parametrize("wrong", WRONG_TIMES)
def test_the_time_of_a_lesson_is_spelled_as_every_other(wrong: Any) -> None:
    given = json.dumps({"name": "Ciências", "began": wrong})
    with pytest.raises(BadMessage, match="began: must be a UTC time"):
        decode(LessonState, given.encode())
    whole = LessonState(name='"began":"', began=datetime(2026, 1, 2, 3, 4, 5, 0, UTC))
    assert b'"began":"2026-01-02T03:04:05.000000Z"' in encode(whole)
    assert decode(LessonState, encode(whole)) == whole


def test_a_whole_second_has_six_digits_too() -> None:
    noon = reading(time=datetime(1, 2, 3, 12, 0, 0, 0, UTC), session='x","time":"Z"')
    assert b'"time":"0001-02-03T12:00:00.000000Z"' in encode(noon)
    assert decode(Reading, encode(noon)) == noon


def test_of_a_key_that_stands_there_twice_the_last_one_counts() -> None:
    payload = GOLDEN_READING[:-1] + b',"attention":7}'
    assert decode(Reading, payload) == reading(attention=7)
    with pytest.raises(BadMessage, match="attention: must be 0 to 100"):
        decode(Reading, GOLDEN_READING.replace(b'"attention":85', b'"attention":7,"attention":101'))


@pytest.mark.parametrize("spell", [json.dumps, lambda given: json.dumps(given, indent=2, sort_keys=True)])
def test_another_spelling_is_the_same_message(spell: Callable[[Any], str]) -> None:
    for message in GOLDEN.values():
        assert decode(type(message), spell(json.loads(encode(message))).encode()) == message


@pytest.mark.parametrize("key", ["counters", "gauges"])
@pytest.mark.parametrize(
    ("name", "number"), [("a", 10**400), ("a", 2**63), ("a", "1"), ("a", True), ("\ud800", 1), ("x" * 65, 1)]
)
def test_a_counter_that_nobody_could_send_on_is_refused(key: str, name: str, number: Any) -> None:
    given = json.loads(encode(GOLDEN["health"])) | {key: {name: number}}
    with pytest.raises(BadMessage) as caught:
        decode(Health, json.dumps(given).encode())
    assert caught.value.field == key


@pytest.mark.parametrize("name", GOLDEN)
@given(sample=st.data())
def test_a_payload_with_some_bytes_changed_gives_a_message_or_a_documented_error(name: str, sample: Any) -> None:
    payload = bytearray(encode(GOLDEN[name]))
    for _ in range(sample.draw(st.integers(1, 3))):
        at = sample.draw(st.integers(0, len(payload) - 1))
        payload[at : at + sample.draw(st.integers(0, 2))] = sample.draw(st.binary(max_size=3))
    try:
        message = decode(type(GOLDEN[name]), bytes(payload))
    except BadMessage:
        return
    assert decode(type(message), encode(message)) == message


def test_a_payload_that_is_kept_owns_little_more_memory_than_its_size() -> None:
    before = resident_bytes()
    if before is None:
        pytest.skip("this system does not say how much memory a process has")
    kept = [encode(reading(seq=seq)) for seq in range(10_000)]
    used = (resident_bytes() or 0) - before
    assert used < 2 * sum(map(sys.getsizeof, kept))
