"""The dialect of the first clients, to the byte: students, dashboards and games.

Translate between their JSON and the contract, without I/O. These clients cannot be changed: the student's app sends as
soon as it is connected and ignores all replies; games parse every frame as JSON.
"""

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, defstruct
from msgspec.json import Decoder
from msgspec.structs import asdict

from neuroone.contract.errors import BadMessage, NeuroOneError
from neuroone.contract.json import load_object
from neuroone.contract.messages import BAND_MAX, BANDS, ESENSE_MAX, Reading

VALUES: Final[Mapping[str, str]] = dict(
    zip(
        ("Att", "Med", "Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta", "LowGamma", "MiddleGamma"),
        ("attention", "meditation", *BANDS),
        strict=True,
    )
)
"""The ten numbers in the order of every frame and CSV row: the clients' name of each, and the contract's."""
_HIGHEST: Final = {name: ESENSE_MAX if name in ("Att", "Med") else BAND_MAX for name in VALUES}
_DASH: Final = (b"dash", b'"dash"')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class BadFrame(NeuroOneError):
    """A frame that does not follow the dialect.

    ``code`` is for programs (``bad_json`` or ``bad_value``), ``field`` the client's own name of the faulty value
    ("" for the whole frame), ``message`` for people. None of them quotes the value: it may be a child's. ``seq`` is
    the number of a reading of the new dialect.
    """

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(code, field, message)
        self.code = code
        self.field = field
        self.message = message
        self.seq: int | None = None


class StudentFrame(Struct, frozen=True, gc=False):
    """One reading as a student's app sends it; ``values`` has the contract's name of each of the ten numbers."""

    name: str | None
    code: str | None
    values: Mapping[str, int]

    @property
    def is_blank(self) -> bool:
        """True if all ten numbers are 0: the app had no values yet."""
        return not any(self.values.values())


_AppsFrame: Final = defstruct(
    "_AppsFrame",
    [
        ("name", str),
        ("code", str),
        *((ours, Annotated[int, Meta(ge=0, le=_HIGHEST[theirs])]) for theirs, ours in VALUES.items()),
    ],
    rename={"name": "Nome", "code": "Codigo", **{ours: theirs for theirs, ours in VALUES.items()}},
    forbid_unknown_fields=True,
    gc=False,
)
"""The frame of the students' app: these twelve keys and no others. Every other frame is read key by key."""
_apps_frame: Final = Decoder(_AppsFrame).decode


def is_dash(message: bytes) -> bool:
    """Return True for ``dash`` or ``"dash"``, also with white space around it: the client becomes a dashboard."""
    return message.strip() in _DASH


def student_frame(message: bytes) -> StudentFrame:
    """Parse a student's frame. Raises BadFrame.

    Missing numbers count as 0, a missing or empty name or code as None. A code may be a number: its decimal text
    counts. An object with none of the ten numbers is no reading: other programs' messages are objects too.
    """
    try:
        values = asdict(_apps_frame(message))
    except (ValueError, RecursionError):
        return _any_frame(message)
    return StudentFrame(values.pop("name") or None, values.pop("code") or None, values)


def _any_frame(message: bytes) -> StudentFrame:
    try:
        given = load_object(message)
    except BadMessage:
        raise BadFrame("bad_json", "", "the message must be one JSON object") from None
    if VALUES.keys().isdisjoint(given):
        raise BadFrame("bad_value", "", f"the message must have one of {', '.join(VALUES)}")
    code = given.get("Codigo")
    return StudentFrame(
        _text("Nome", given.get("Nome")),
        _text("Codigo", str(code) if type(code) in (int, float) else code),
        {ours: _whole(theirs, given.get(theirs, 0)) for theirs, ours in VALUES.items()},
    )


def dashboard_frame(student_id: int, reading: Reading) -> str:
    """Make the frame that shows a reading on dashboards."""
    name, code = _json_text(reading.name), _json_text(reading.code)
    return (
        f'{{"ID": {student_id}, "Nome": {name}, "Codigo": {code}, '
        f'"Att": {reading.attention}, "Med": {reading.meditation}}}'
    )


def listener_frame(reading: Reading) -> str:
    """Make the frame with the local headset's reading, for clients that only listen."""
    return json.dumps({theirs: getattr(reading, ours) for theirs, ours in VALUES.items()})


def error_frame(fault: BadFrame) -> str:
    """Make the frame that tells a client what is wrong with its own."""
    return json.dumps({"error": {"code": fault.code, "field": fault.field, "message": fault.message}})


def _json_text(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def _text(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise BadFrame("bad_value", field, f"{field} must be text")
    # UTF-8 has no lone surrogates, JSON escapes can spell them.
    return _SURROGATE.sub("\ufffd", value) or None


def _whole(field: str, value: Any) -> int:
    # A float that is whole is what some languages make of every number.
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _HIGHEST[field]:
        raise BadFrame("bad_value", field, f"{field} must be a whole number from 0 to {_HIGHEST[field]}")
    return value
