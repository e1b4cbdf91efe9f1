"""Name the sources that students of one name may have."""

from collections.abc import Iterator
from itertools import count
from typing import Final

from neuroone.contract import topics
from neuroone.contract.topics import ID_MAX_CHARS

NAMESAKES_MAX: Final = 100
"""Sources of a name that are passed over in search of a silent namesake."""
ANONYMOUS: Final = "anonymous"
"""The source of a student without a name."""


def sources_of(name: str | None) -> Iterator[str]:
    """Yield the sources that students of a name may have, in order."""
    wanted = topics.id_from_text(name) if name else ANONYMOUS
    yield wanted
    for number in count(2):
        yield f"{wanted[: ID_MAX_CHARS - 1 - len(str(number))]}-{number}"
