"""The kinds of field that a message can have: range, unit, JSON form and JSON Schema of each.

A field kind stands in the annotation of a message's attribute, as in
``attention: Annotated[int, Integer(low=0, high=100, unit="eSense", doc="...")]``.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final, get_args, get_type_hints

from neuroone.contract.errors import BadMessage

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one attribute may hold. ``unit`` is "" where there is none."""

    doc: str = ""
    unit: str = ""
    optional: bool = False

    def fault(self, value: Any) -> str | None:
        """What is wrong with ``value``, in words that follow the field's name; None when nothing is."""
        raise NotImplementedError

    def test(self, me: str) -> str:
        """A Python expression: true for a valid value ``v``, else `fault` must look. ``me`` is this field's name in it.

        It may be false for rare valid values where that makes it quicker.
        """
        return f"{me}.fault(v) is None"

    def to_json(self, value: Any) -> Any:
        """The JSON form of a valid value."""
        return value

    def from_json(self, value: Any) -> Any:
        """The value of a JSON form; something that is none comes back as it is, for `fault` to name."""
        return value

    def schema(self) -> dict[str, Any]:
        """The field's JSON Schema."""
        raise NotImplementedError

    def _or_none(self, test: str) -> str:
        return f"v is None or {test}" if self.optional else test

    def _described(self, schema: dict[str, Any]) -> dict[str, Any]:
        if self.optional:
            schema["type"] = [schema["type"], "null"]
        words = self.doc + (f" Unit: {self.unit}." if self.unit else "")
        return schema | ({"description": words} if words else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer(Field):
    """A whole number between ``low`` and ``high``, both included."""

    low: int
    high: int

    def fault(self, value: Any) -> str | None:
        if type(value) is int:
            return None if self.low <= value <= self.high else f"must be {self.low} to {self.high}"
        if value is None and self.optional:
            return None
        return "must be a whole number"

    def test(self, me: str) -> str:
        return self._or_none(f"type(v) is int and {self.low} <= v <= {self.high}")

    def schema(self) -> dict[str, Any]:
        return self._described({"type": "integer", "minimum": self.low, "maximum": self.high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Field):
    """A finite number of at least ``low``."""

    low: float = 0.0

    def fault(self, value: Any) -> str | None:
        if type(value) not in (int, float) or not math.isfinite(value):
            return "must be a finite number"
        return None if value >= self.low else f"must be at least {self.low:g}"

    def schema(self) -> dict[str, Any]:
        return self._described({"type": "number", "minimum": self.low})


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Field):
    """Unicode text of ``low`` to ``high`` characters, without lone surrogates (UTF-8 has none)."""

    low: int = 0
    high: int

    def fault(self, value: Any) -> str | None:
        if type(value) is not str:
            return None if value is None and self.optional else "must be text"
        if not self.low <= len(value) <= self.high:
            return f"must have {self.low} to {self.high} characters"
        return None if value.isascii() or _is_utf8(value) else "must be Unicode text"

    def test(self, me: str) -> str:
        return self._or_none(f"type(v) is str and {self.low} <= len(v) <= {self.high} and v.isascii()")

    def schema(self) -> dict[str, Any]:
        return self._described({"type": "string", "minLength": self.low, "maxLength": self.high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Field):
    """One of the members of a StrEnum."""

    of: type[StrEnum]

    def fault(self, value: Any) -> str | None:
        if isinstance(value, self.of) or (value is None and self.optional):
            return None
        return f"must be one of {', '.join(self.of)}"

    def test(self, me: str) -> str:
        return self._or_none(f"type(v) is {me}.of")

    def to_json(self, value: Any) -> Any:
        return value if value is None else str(value)

    def from_json(self, value: Any) -> Any:
        return self.of._value2member_map_.get(value, value) if isinstance(value, str) else value

    def schema(self) -> dict[str, Any]:
        choices: list[str | None] = [str(member) for member in self.of]
        return self._described({"type": "string", "enum": choices + [None] * self.optional})


@dataclass(frozen=True, slots=True, kw_only=True)
class Utc(Field):
    """A moment in UTC to the microsecond, as ``2026-11-22T18:20:31.123456Z``."""

    def fault(self, value: Any) -> str | None:
        if type(value) is datetime and value.tzinfo is UTC:
            return None
        return "must be a UTC time like 2026-11-22T18:20:31.123456Z"

    def test(self, me: str) -> str:
        return "type(v) is datetime and v.tzinfo is UTC"

    def to_json(self, value: datetime) -> str:
        return value.isoformat(timespec="microseconds")[:-6] + "Z"

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str) or _TIME.match(value) is None:
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value

    def schema(self) -> dict[str, Any]:
        return self._described({"type": "string", "format": "date-time"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers(Field):
    """A list of 1 to ``most`` whole numbers between ``low`` and ``high``; a tuple in Python."""

    low: int
    high: int
    most: int

    def fault(self, value: Any) -> str | None:
        if type(value) is not tuple or not 1 <= len(value) <= self.most:
            return f"must be a list of 1 to {self.most} whole numbers"
        if set(map(type, value)) != {int}:
            return "must hold whole numbers only"
        if min(value) < self.low or max(value) > self.high:
            return f"must hold numbers of {self.low} to {self.high}"
        return None

    def to_json(self, value: tuple[int, ...]) -> Any:
        return list(value)

    def from_json(self, value: Any) -> Any:
        return tuple(value) if type(value) is list else value

    def schema(self) -> dict[str, Any]:
        item = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return self._described({"type": "array", "minItems": 1, "maxItems": self.most, "items": item})


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers(Field):
    """Named finite numbers; at most ``most`` names of at most 64 characters."""

    most: int

    def fault(self, value: Any) -> str | None:
        if not isinstance(value, Mapping) or len(value) > self.most:
            return f"must be an object of at most {self.most} numbers"
        for name, number in value.items():
            if type(name) is not str or len(name) > 64:
                return "must have names of at most 64 characters"
            if type(number) not in (int, float) or not math.isfinite(number):
                return "must hold finite numbers only"
        return None

    def schema(self) -> dict[str, Any]:
        return self._described(
            {
                "type": "object",
                "maxProperties": self.most,
                "additionalProperties": {"type": "number"},
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Field):
    """A list of at most ``most`` objects of one kind; a tuple of dataclass instances in Python."""

    of: type[Any]
    most: int

    def fault(self, value: Any) -> str | None:
        if type(value) is not tuple or len(value) > self.most:
            return f"must be a list of at most {self.most} objects"
        return None if all(type(item) is self.of for item in value) else "must hold objects only"

    def to_json(self, value: tuple[Any, ...]) -> Any:
        return [to_json(item) for item in value]

    def from_json(self, value: Any) -> Any:
        if type(value) is not list or not all(type(item) is dict for item in value):
            return value
        return tuple(from_json(self.of, item) for item in value)

    def schema(self) -> dict[str, Any]:
        return self._described({"type": "array", "maxItems": self.most, "items": schema_of(self.of)})


@cache
def fields_of(cls: Any) -> Mapping[str, Field]:
    """The field kinds of a message class, by name, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _kind_in(hints[field.name]) for field in fields(cls)}


@cache
def validity_of(cls: Any) -> Callable[[Any], bool]:
    """A function of a message of this class: true when all its fields are valid, false when `check` must look closer.

    Its code is made of the fields' tests, as dataclasses make theirs: a call for each field costs several times as
    much, and every reading is checked where it is made and again wherever it is read.
    """
    kinds = fields_of(cls)
    tests = "".join(
        f"    v = message.{name}\n    if not ({kind.test(f'kinds[{name!r}]')}): return False\n"
        for name, kind in kinds.items()
    )
    namespace: dict[str, Any] = {"kinds": kinds, "datetime": datetime, "UTC": UTC}
    exec(f"def is_valid(message):\n{tests}    return True\n", namespace)  # noqa: S102 (of this module's text only)
    is_valid: Callable[[Any], bool] = namespace["is_valid"]
    return is_valid


def check(message: Any) -> None:
    """Raise BadMessage for the first field of a message that is not valid."""
    cls: Any = type(message)
    if validity_of(cls)(message):
        return
    for name, kind in fields_of(cls).items():
        fault = kind.fault(getattr(message, name))
        if fault is not None:
            raise BadMessage(name, fault)


@cache
def _values_of(cls: Any) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the values of all fields out of a message."""
    names = tuple(fields_of(cls))
    return attrgetter(*names) if len(names) > 1 else lambda message: (getattr(message, names[0]),)


@cache
def _readers_of(cls: Any) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """The fields whose JSON form is not their value, and what makes the value of it."""
    return tuple(
        (n, kind.from_json) for n, kind in fields_of(cls).items() if type(kind).from_json is not Field.from_json
    )


@cache
def _writers_of(cls: Any) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """The fields whose JSON form is not their value, and what makes it of the value."""
    return tuple((n, kind.to_json) for n, kind in fields_of(cls).items() if type(kind).to_json is not Field.to_json)


@cache
def required_of(cls: Any) -> frozenset[str]:
    """The fields that a message must bring: those without a default."""
    return frozenset(field.name for field in fields(cls) if field.default is MISSING)


def to_json(message: Any) -> dict[str, Any]:
    """The JSON object of a message, keys in the order of its fields."""
    cls: Any = type(message)
    made = dict(zip(fields_of(cls), _values_of(cls)(message), strict=True))
    for name, write in _writers_of(cls):
        made[name] = write(made[name])
    return made


def from_json(cls: Any, json_object: Mapping[str, Any]) -> Any:
    """The message of a JSON object; unknown keys are ignored. Raises BadMessage."""
    names = fields_of(cls)
    given = {name: json_object[name] for name in names if name in json_object}
    for name, read in _readers_of(cls):
        if name in given:
            try:
                given[name] = read(given[name])
            except BadMessage as error:
                raise BadMessage(f"{name}.{error.field}", error.fault) from None
    if len(given) < len(names) and (missing := required_of(cls) - given.keys()):
        raise BadMessage(min(missing), "is missing")
    return cls(**given)


def schema_of(cls: Any) -> dict[str, Any]:
    """The JSON Schema of a message class."""
    return {
        "type": "object",
        "required": [name for name in fields_of(cls) if name in required_of(cls)],
        "properties": {name: kind.schema() for name, kind in fields_of(cls).items()},
    }


def _kind_in(hint: Any) -> Field:
    return next(part for part in get_args(hint) if isinstance(part, Field))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
