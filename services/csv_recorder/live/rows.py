"""Rows that wait in the inbox: where each goes, and how many are packed into one blob."""

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct

_ROW: Final = struct.Struct("<IBqI")
"""Owner, kind, seq and length of what follows."""


class Kind(IntEnum):
    """Where a row goes."""

    READING = 1
    """The session's readings, and from there the student's file."""
    RAW = 2
    EVENT = 3
    GROUP_EVENT = 4
    """The events of a group; its owner is a file."""
    STUDENT = 5
    """The student's file only: a reading that waits for an earlier one, in the session's file already."""
    LETTER = 6
    """The dead letters."""
    READING_ALONE = 7
    """The session's readings only: from an inbox of an earlier version, which has the student's row apart."""


class Row(Struct, frozen=True, gc=False):
    """One row. ``owner`` is the number of its session, or of its file for `GROUP_EVENT`; ``seq`` is -1 for none."""

    owner: int
    kind: int
    seq: int
    content: bytes


def pack(rows: Iterable[Row]) -> bytes:
    """Return rows as one blob; `unpack` is the inverse."""
    head = _ROW.pack
    parts = ((head(row.owner, row.kind, row.seq, len(row.content)), row.content) for row in rows)
    return b"".join([part for both in parts for part in both])


def unpack(blob: bytes) -> Iterator[Row]:
    """Yield the rows of a blob. Raises sqlite3.DatabaseError if it is damaged."""
    at = 0
    while at < len(blob):
        try:
            owner, kind, seq, length = _ROW.unpack_from(blob, at)
        except struct.error as error:
            raise sqlite3.DatabaseError(f"rows cannot be read ({error})") from None
        at += _ROW.size + length
        if at > len(blob) or kind > Kind.READING_ALONE:
            raise sqlite3.DatabaseError("rows cannot be read")
        yield Row(owner, kind, seq, blob[at - length : at])
