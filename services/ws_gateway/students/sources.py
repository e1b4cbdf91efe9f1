"""Name the sources that students of one name may have."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Final

from neuroone.contract import topics
from neuroone.contract.topics import ID_MAX_CHARS

NAMESAKES_MAX: Final = 100
"""Sources of a name that are passed over in search of a silent namesake."""
ANONYMOUS: Final = "anonymous"
"""The source of a student without a name."""
STEM_MAX_CHARS: Final = ID_MAX_CHARS - 1 - len(str(NAMESAKES_MAX))
"""What all sources of one long name have in common: the rest is room for their numbers."""

_NUMBERS: Final = re.compile(r"(-\d+)+\Z")


def sources_of(name: str | None) -> Iterator[str]:
    """Yield the sources that students of a name may have, in order."""
    wanted = topics.id_from_text(name) if name else ANONYMOUS
    yield wanted
    for number in count(2):
        yield f"{wanted[: ID_MAX_CHARS - 1 - len(str(number))]}-{number}"


def stem_of(source: str) -> str:
    """Return what all sources of a name have in common; the sources of a few other names have it too."""
    return _NUMBERS.sub("", source)[:STEM_MAX_CHARS]
