"""Check every field when a message is made, and name the field at fault.

msgspec checks types and ranges in C, but only when it decodes or converts; so a message is made by converting its
values. When msgspec refuses them, the code below finds the fault again and describes it in the contract's own words.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from msgspec import UNSET, Struct, StructMeta, ValidationError, convert, inspect, structs
from msgspec.json import Encoder

from neuroone.contract.errors import BadMessage

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
"""The largest whole number that msgspec and most other programs can hold."""
COUNTER_NAME_MAX_CHARS: Final = 64
"""A counter's name: a few words."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_to_utf8: Final = Encoder().encode


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Checked(StructMeta):
    """Check the values of every message that is made in Python."""

    def __call__(cls, **given: Any) -> Any:
        """Return a message with these values. Raises BadMessage."""
        of: Any = cls
        time = given.get(of.time_field)
        if time is None or (type(time) is datetime and time.tzinfo is UTC):
            try:
                message = convert(given, of)
                _to_utf8(message)  # msgspec does not look for lone surrogates, which UTF-8 does not have
            except (ValidationError, UnicodeEncodeError):
                pass
            else:
                if given.keys() <= fields_of(of).keys():
                    return message
        if UNSET in given.values():
            return cls(**{name: value for name, value in given.items() if value is not UNSET})
        if unknown := given.keys() - fields_of(of).keys():
            raise TypeError(f"{cls.__name__} has no field {min(unknown)}")
        check(of, given)
        raise BadMessage("", "is not valid")

    def of_valid(cls, **given: Any) -> Any:
        """Return a message with these values, which the caller has checked: a third of the time."""
        return super().__call__(**given)


class Message(Struct, frozen=True, kw_only=True, gc=False, metaclass=Checked):
    """The base of all messages. A message that exists is valid: making another one raises BadMessage.

    ``gc=False``: a message holds texts and numbers only, so it is part of no cycle. ``time_field`` names the field
    that has the message's time, if there is one.
    """

    time_field: ClassVar[str] = "time"


M = TypeVar("M", bound=Message)


def replace(message: M, **changes: Any) -> M:
    """Return a copy of a message with some values changed, checked again. Raises BadMessage."""
    return type(message)(**{**structs.asdict(message), **changes})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its meaning, its unit ("" if it has none) and its type as msgspec describes it.

    ``optional``: the value may be null. ``required``: the key must be there.
    """

    doc: str
    unit: str
    type: Any
    optional: bool
    required: bool


@cache
def fields_of(of: type[Message]) -> Mapping[str, Field]:
    """Return the fields of a message class by name, in their order."""
    fields = {}
    about: Any = inspect.type_info(of)
    for given in about.fields:
        kind: Any = given.type
        extra: Mapping[str, str] = {}
        if type(kind) is inspect.Metadata:
            kind, extra = kind.type, kind.extra or {}
        optional = type(kind) is inspect.UnionType and kind.includes_none
        if optional:
            kind = kind.types[0]
        fields[given.name] = Field(extra.get("doc", ""), extra.get("unit", ""), kind, optional, given.required)
    return fields


def item_class_of(field: Field) -> type[Message] | None:
    """Return the class of the messages that a field lists; None for any other field."""
    is_list = isinstance(field.type, inspect.VarTupleType) and isinstance(field.type.item_type, inspect.StructType)
    return field.type.item_type.cls if is_list else None


def check(of: type[Message], given: Mapping[str, Any], path: str = "") -> None:
    """Raise BadMessage for the first fault: in listed objects, then a missing key, then in the order of the fields.

    ``path`` stands before the field's name in the error.
    """
    fields = fields_of(of)
    for name, field in fields.items():
        if (item_class := item_class_of(field)) is not None and _are_objects(given.get(name)):
            for item in given[name]:
                check(item_class, item, f"{path}{name}.")
    if missing := [name for name, field in fields.items() if field.required and name not in given]:
        raise BadMessage(path + min(missing), "is missing")
    for name, field in fields.items():
        value: Any = given.get(name)
        if name not in given or (value is None and field.optional):
            continue
        if fault := _fault(field.type, value):
            raise BadMessage(path + name, fault)


def _fault(kind: Any, value: Any) -> str | None:
    """Return what is wrong with a value, in words that follow the field's name."""
    of: Any = type(kind)
    if of is inspect.IntType:
        if type(value) is not int:
            return "must be a whole number"
        return None if kind.ge <= value <= kind.le else f"must be {kind.ge} to {kind.le}"
    if of is inspect.StrType:
        return _text_fault(value, kind.min_length or 0, kind.max_length)
    if of is inspect.EnumType:
        return None if isinstance(value, str) and value in list(kind.cls) else f"must be one of {', '.join(kind.cls)}"
    if of is inspect.DateTimeType:
        is_utc = type(value) is datetime and value.tzinfo is UTC
        return None if is_utc else "must be a UTC time like 2026-11-22T18:20:31.123456Z"
    if of is inspect.DictType:
        return _numbers_fault(value, kind.max_length)
    item: Any = kind.item_type if of is inspect.VarTupleType else None
    if isinstance(item, inspect.IntType):
        return _samples_fault(value, item, kind.max_length)
    if of is inspect.VarTupleType:
        are_items = isinstance(value, tuple) and all(type(each) is item.cls for each in value)
        if (are_items or _are_objects(value)) and len(value) <= kind.max_length:
            return None
        return f"must be a list of at most {kind.max_length} objects"
    if not _is_finite(value):
        return "must be a finite number"
    return None if value >= 0 else "must be at least 0"


def _samples_fault(value: Any, item: Any, most: int) -> str | None:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
        return f"must be a list of 1 to {most} whole numbers"
    if set(map(type, value)) != {int}:
        return "must hold whole numbers only"
    is_in_range = item.ge <= min(value) and max(value) <= item.le
    return None if is_in_range else f"must hold numbers of {item.ge} to {item.le}"


def _text_fault(value: Any, low: int, high: int) -> str | None:
    if type(value) is not str:
        return "must be text"
    if not low <= len(value) <= high:
        return f"must have {low} to {high} characters"
    return "must be Unicode text" if _SURROGATE.search(value) else None


def _numbers_fault(value: Any, most: int) -> str | None:
    if not isinstance(value, Mapping) or len(value) > most:
        return f"must be an object of at most {most} numbers"
    for name, number in value.items():
        if type(name) is not str or len(name) > COUNTER_NAME_MAX_CHARS or _SURROGATE.search(name):
            return f"must have names of at most {COUNTER_NAME_MAX_CHARS} characters"
        if not _is_finite(number):
            return "must hold finite numbers only"
    return None


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _is_finite(value: Any) -> bool:
    if type(value) is int:
        return INT64_MIN <= value <= INT64_MAX
    return type(value) is float and math.isfinite(value)
