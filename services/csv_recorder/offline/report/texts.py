"""The texts of a report, and its formats of numbers and times, in English and Brazilian Portuguese."""

import math
import os
import re
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final

from neuroone.service.language import language_of, texts_in

ENGLISH: Final = "en"
PORTUGUESE: Final = "pt-BR"
UNKNOWN: Final = "–"
BY_LESSON: Final = "lesson"
BY_CODE: Final = "code"
BY_DAY: Final = "day"
BY: Final = (BY_LESSON, BY_CODE, BY_DAY)
"""What a class of a report may be."""

_STEERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


load = partial(texts_in, Path(__file__).parent)
"""The texts of a language, by key."""


@dataclass(frozen=True, slots=True)
class Words:
    """One language and one time zone (None: this computer's)."""

    language: str = ENGLISH
    zone: tzinfo | None = None

    def __call__(self, key: str, *values: object) -> str:
        """Return a text with values in it."""
        return load(self.language)[key].format(*values)

    def number(self, value: Any, decimals: int = 1, *, sign: bool = False) -> str:
        """Write a number; a dash if there is none."""
        if value is None or math.isnan(value):
            return UNKNOWN
        written = f"{value:{'+' if sign else ''}.{decimals}f}"
        return written.replace(".", ",") if self.language == PORTUGUESE else written

    def percent(self, share: Any) -> str:
        """Write a share of one as a percentage."""
        return UNKNOWN if share is None or math.isnan(share) else f"{self.number(100 * share)} %"

    def time(self, time: Any, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        """Write a time of pandas; a dash if there is none, or if it is after the year 9999, as a plot may end."""
        return UNKNOWN if time != time or time.year > MAXYEAR else f"{local(time.to_pydatetime(), self.zone):{form}}"

    def zone_name(self, at: Any) -> str:
        """Write the difference to UTC at a time of pandas."""
        return UNKNOWN if at != at else f"UTC{local(at.to_pydatetime(), self.zone).isoformat()[-6:]}"


def local(time: datetime, zone: tzinfo | None) -> datetime:
    """Return a time in a zone, or in this computer's; in UTC if its year would be before 1 or after 9999."""
    try:
        return time.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return time


def duration(seconds: Any) -> str:
    """Write hours, minutes and seconds; a dash if there are none."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"


def of_system() -> str:
    """Return the language of this computer if a report has it, else English."""
    return language_of(os.environ)


def printable(text: str) -> str:
    """Replace characters that would control a terminal, change the text direction or break its lines."""
    return _STEERS.sub("�", text)
