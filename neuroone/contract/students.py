"""Tell who is who: a student is the name; two students of one name at the same time are told apart by their codes.

If both have the same code, the second one gets a number behind it. The production app makes a new code at each start,
so that one student has many codes, and a code is no class.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

OVERLAP_MAX_S: Final = 30.0
"""Two streams of one name that overlap no longer are one phone that came back: its old connection still hung."""

STEM_MAX_CHARS: Final = 60
"""What all sources of one long name have in common: an id has 64, and namesakes have up to -100 behind it."""
_NUMBERS: Final = re.compile(r"(-\d+)+\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stay:
    """One session of somebody: under which name and code, and from when to when, in seconds of one clock."""

    name: str
    code: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Person:
    """One of those who have a name: what tells the person from the others, all codes, and the end of the last stay."""

    code: str
    codes: set[str] = field(default_factory=set)
    end_s: float = float("-inf")


def name_key(name: str) -> str:
    """Return the same key for names that look the same."""
    return unicodedata.normalize("NFC", name).strip()


def who_is_who(stays: Sequence[Stay]) -> list[tuple[str, str]]:
    """Return whose each stay is: the name, and where several have it the code of the person's first stay."""
    people: dict[str, list[_Person]] = {}
    owners: dict[int, _Person] = {}
    for number in sorted(range(len(stays)), key=lambda each: (stays[each].start_s, stays[each].code)):
        stay = stays[number]
        of_name = people.setdefault(name_key(stay.name), [])
        free = [each for each in of_name if each.end_s <= stay.start_s + OVERLAP_MAX_S]
        same = [each for each in free if stay.code in each.codes]
        person = next(iter(same or free), None)
        if person is None:
            namesakes = sum(stay.code in each.codes for each in of_name)
            person = _Person(f"{stay.code}-{namesakes + 1}".lstrip("-") if namesakes else stay.code)
            of_name.append(person)
        person.codes.add(stay.code)
        person.end_s = max(person.end_s, stay.end_s)
        owners[number] = person
    names = map(name_key, (stay.name for stay in stays))
    return [(name, owners[at].code if len(people[name]) > 1 else "") for at, name in enumerate(names)]


def stem_of(source: str) -> str:
    """Return what all sources of a name have in common; the sources of a few other names have it too."""
    return _NUMBERS.sub("", source)[:STEM_MAX_CHARS]
