"""Messages to bytes and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract import topics
from neuroone.contract.errors import BadMessage, BadTopic
from neuroone.contract.json import PAYLOAD_MAX_BYTES, decode, encode, open_delivery
from neuroone.contract.messages import Message, Reading
from tests.support.messages import GOLDEN, any_message, reading

KINDS = [rule.message for rule in topics.TOPICS]


@pytest.mark.parametrize("of", KINDS)
@given(sample=st.data())
def test_decode_is_the_exact_inverse_of_encode(of: type[Message], sample: Any) -> None:
    """Whatever can be said comes back as it was said."""
    message = sample.draw(any_message(of))
    assert decode(of, encode(message)) == message


@pytest.mark.parametrize("of", KINDS)
@given(payload=st.binary() | st.text().map(str.encode))
def test_any_bytes_give_a_message_or_a_documented_error(of: type[Message], payload: bytes) -> None:
    """Rubbish from the wire is a BadMessage and nothing else."""
    with pytest.raises(BadMessage):
        decode(of, payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
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
    """A wrong value anywhere is a BadMessage that names its field."""
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
    """The error says where and what, and does not quote the value."""
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
    ],
)
def test_hostile_payloads_are_refused(payload: bytes) -> None:
    """NaN, other encodings, deep nesting, huge numbers, huge payloads and lone surrogates are refused."""
    with pytest.raises(BadMessage):
        decode(Reading, payload)


def test_unknown_keys_are_ignored_and_missing_ones_named() -> None:
    """A later version may add keys; an absent one is a fault."""
    fields = json.loads(encode(reading()))
    assert decode(Reading, json.dumps({**fields, "added_later": [1]}).encode()) == reading()
    del fields["theta"]
    with pytest.raises(BadMessage, match="theta: is missing"):
        decode(Reading, json.dumps(fields).encode())


def test_a_delivery_is_opened_by_its_topic() -> None:
    """The topic says what the payload is."""
    topic = topics.reading("local", "ABC123", "Joao_Silva")
    assert open_delivery(str(topic), encode(reading())) == (topic, reading())
    with pytest.raises(BadTopic):
        open_delivery("neuroone/v2/local/streams/a/b/reading", b"{}")


def test_no_message_is_longer_than_a_payload_may_be() -> None:
    """The longest mark of a recorder and the longest name fit."""
    from neuroone.contract.messages import NAME_MAX_CHARS, RECORDED_STREAMS_MAX, SEQ_MAX, Recorded, RecordedStream

    entry = RecordedStream(
        group="g" * 64, source="s" * 64, session="x" * 32, seq=SEQ_MAX, rows=SEQ_MAX, duplicates=SEQ_MAX, gaps=SEQ_MAX
    )
    mark = Recorded(time=reading().time, streams=(entry,) * RECORDED_STREAMS_MAX)
    assert len(encode(mark)) <= PAYLOAD_MAX_BYTES
    assert len(encode(reading(name="\U0001f9e0" * NAME_MAX_CHARS))) <= PAYLOAD_MAX_BYTES
