"""Messages to bytes and back: UTF-8 JSON objects.

``decode(type(message), encode(message)) == message`` for every message.
"""

import json
from typing import Any, Final, NoReturn, TypeVar

import orjson

from neuroone.contract.errors import BadMessage
from neuroone.contract.fields import from_json, to_json
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic, parse

M = TypeVar("M", bound=Message)

PAYLOAD_MAX_BYTES: Final = 64 * 1024
"""No message of the contract is longer: a full `Recorded` has about 60 kB, a name 32 kB. Brokers are set to it."""


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)


_FROM_TEXT: Final = json.JSONDecoder(parse_constant=_not_json).decode


def encode(message: Message) -> bytes:
    """The payload of a message, keys in the order of its fields."""
    return orjson.dumps(to_json(message))


def decode(of: type[M], payload: bytes) -> M:
    """The message in a payload.

    Unknown keys are ignored. Raises BadMessage, and nothing else, for any bytes that are no such message.
    """
    message: M = from_json(of, load_object(payload))
    return message


def open_delivery(topic: str, payload: bytes) -> tuple[Topic, Message]:
    """What a broker delivered: the topic taken apart and the message that travels on it.

    Raises BadTopic or BadMessage.
    """
    parsed = parse(topic)
    return parsed, decode(parsed.rule.message, payload)


def load_object(payload: bytes | str) -> dict[str, Any]:
    """The JSON object in a payload, by RFC 8259: no NaN, no Infinity. Raises BadMessage for anything else.

    A whole number of more than 64 bits comes as a float; `exactly` keeps its digits.
    """
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise BadMessage("", f"is longer than {PAYLOAD_MAX_BYTES} bytes")
    try:
        value = orjson.loads(payload)
    except ValueError:
        value = exactly(payload)  # RFC 8259 has texts that orjson has not: escapes of lone surrogates
    if type(value) is not dict:
        raise BadMessage("", "must be a JSON object")
    return value


def exactly(payload: bytes | str) -> Any:
    """Any JSON value, with whole numbers as they stand. Raises BadMessage."""
    try:
        return _FROM_TEXT(payload if isinstance(payload, str) else payload.decode())
    except (ValueError, RecursionError):
        raise BadMessage("", "is no JSON text in UTF-8") from None
