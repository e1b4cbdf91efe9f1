"""Messages to bytes and back: UTF-8 JSON objects.

``decode(type(message), encode(message)) == message`` for every message.
"""

import json
from typing import Any, Final, NoReturn, TypeVar

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
_TO_TEXT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(message: Message) -> bytes:
    """The payload of a message, keys in the order of its fields."""
    return _TO_TEXT(to_json(message)).encode()


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
    """The JSON object in a payload, by RFC 8259: no NaN, no Infinity. Raises BadMessage for anything else."""
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise BadMessage("", f"is longer than {PAYLOAD_MAX_BYTES} bytes")
    try:
        text = payload if isinstance(payload, str) else payload.decode()
        value = _FROM_TEXT(text)
    except (ValueError, RecursionError):
        raise BadMessage("", "is no JSON text in UTF-8") from None
    if type(value) is not dict:
        raise BadMessage("", "must be a JSON object")
    return value
