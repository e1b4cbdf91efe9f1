"""Turn messages into bytes and back: UTF-8 JSON objects.

``decode(type(message), encode(message)) == message`` for every message.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import msgspec

from neuroone.contract.checks import M, Message
from neuroone.contract.errors import BadMessage
from neuroone.contract.topics import TOPICS

PAYLOAD_MAX_BYTES: Final = 64 * 1024
"""No message of the contract is longer: a full `Recorded` has about 60 kB, a name 32 kB. Brokers are set to it."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_to_json: Final = msgspec.json.Encoder().encode
_DECODERS: Final = {rule.message: msgspec.json.Decoder(rule.message).decode for rule in TOPICS}


def encode(message: Message) -> bytes:
    """Return the payload of a message, keys in the order of its fields."""
    payload = _to_json(message)
    time = getattr(message, message.time_field, None)
    if time is not None and not time.microsecond:  # msgspec leaves out a fraction of zero
        short = f'"{message.time_field}":'.encode() + _to_json(time)
        payload = payload.replace(short, short[:-2] + b'.000000Z"', 1)
    return payload


def decode(of: type[M], payload: bytes) -> M:
    """Return the message in a payload; ``of`` is a class of the topic table.

    Unknown keys are ignored; of a key that stands there twice the last one counts. Raises BadMessage, and nothing
    else, for any bytes that are not such a message.
    """
    if len(payload) <= PAYLOAD_MAX_BYTES:
        try:
            message: Any = _DECODERS[of](payload)
            time = getattr(message, of.time_field, None)
            if _to_json(message) == payload and (time is None or (time.microsecond and time.tzinfo is UTC)):
                own: M = message
                return own
        except (ValueError, RecursionError):
            pass
    # msgspec allows other spellings of a time and does not check what stands under unknown keys. So only a payload
    # that is spelled like our own is accepted at once; every other one is read again, strictly.
    return from_object(of, load_object(payload))


def load_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in a payload, by RFC 8259: no NaN, no Infinity. Raises BadMessage for anything else."""
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise BadMessage("", f"is longer than {PAYLOAD_MAX_BYTES} bytes")
    try:
        value = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        value = _load_slowly(payload)
    if type(value) is not dict:
        raise BadMessage("", "must be a JSON object")
    return value


def from_object(of: type[M], given: Mapping[str, Any]) -> M:
    """Return the message of a JSON object; unknown keys are ignored. Raises BadMessage."""
    known = {name: given[name] for name in of.__struct_fields__ if name in given}
    text = known.get(of.time_field)
    if type(text) is str and _TIME.fullmatch(text):
        try:
            known[of.time_field] = datetime.fromisoformat(text)
        except ValueError:  # the 30th of February: it stays a text, which is no time
            pass
    return of(**known)


def to_object(message: Message) -> dict[str, Any]:
    """Return the JSON object of a message, keys in the order of its fields."""
    made: dict[str, Any] = json.loads(encode(message))
    return made


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _load_slowly(payload: bytes) -> Any:
    """Return any JSON value; the standard library also reads escapes of lone surrogates, which RFC 8259 allows."""
    try:
        return json.loads(payload.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadMessage("", "is no JSON text in UTF-8") from None
