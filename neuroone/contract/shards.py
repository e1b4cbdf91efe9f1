"""Divide the streams of a site among recorders that share the work: which shard a stream is of, for ever the same.

Third parties compute it like this: SHA-256 of ``{group}/{stem}``, its first four bytes as a whole number (big-endian),
modulo the number of shards, plus 1. The stem is the source without the numbers at its end that tell namesakes apart
(``-2``), at most 60 characters: a session that goes on under another source of its name keeps its recorder.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from neuroone.contract.students import stem_of

SHARDS_MAX: Final = 99
"""One recorder records 10,000 readings a second; so many are a million students."""
STREAMS_MAX: Final = 60_000
"""Streams and topics whose hash is remembered: readings, raw blocks and states of 20,000 students. About 15 MB."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One share of the streams: ``number`` 1 to ``of``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse K/M. Raises ValueError with a message for the user."""
        number, _, of = text.partition("/")
        if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= SHARDS_MAX:
            return cls(int(number), int(of))
        raise ValueError(f"must be like 1/3: which share, and of how many (at most {SHARDS_MAX})")

    def includes(self, group: str, source: str) -> bool:
        """Return True if a stream is of this shard."""
        return _hash_of(f"{group}/{source}") % self.of + 1 == self.number

    def includes_topic(self, topic: str) -> bool:
        """Return True for a topic of a stream of this shard, and for every topic that is no stream's."""
        number = _hash_of_topic(topic)
        return number is None or number % self.of + 1 == self.number


def shard_from(number: object, of: object) -> Shard | None:
    """Return the shard that a message names; None: it names none."""
    return Shard(number, of) if isinstance(number, int) and isinstance(of, int) else None


def missing(present: Collection[Shard | None]) -> list[Shard]:
    """Return the shards without a recorder, where these have one; None is a recorder of all streams.

    Where recorders disagree on the number of shards, the number that lacks the fewest counts.
    """
    if None in present:
        return []
    lacks = [
        [Shard(number, of) for number in range(1, of + 1) if Shard(number, of) not in present]
        for of in {each.of for each in present if each is not None}
    ]
    return min(lacks, key=len, default=[])


@lru_cache(maxsize=STREAMS_MAX)
def _hash_of(stream: str) -> int:
    group, _, source = stream.partition("/")
    stream = f"{group}/{stem_of(source)}"
    return int.from_bytes(hashlib.sha256(stream.encode("utf-8", "surrogatepass")).digest()[:4], "big")


@lru_cache(maxsize=STREAMS_MAX)
def _hash_of_topic(topic: str) -> int | None:
    levels = topic.split("/")  # neuroone/v1/{site}/streams/{group}/{source}/reading
    return _hash_of(f"{levels[4]}/{levels[5]}") if len(levels) == 7 and levels[3] == "streams" else None
