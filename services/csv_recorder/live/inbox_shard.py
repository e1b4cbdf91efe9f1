"""Keep in the inbox which share of the streams its directory holds, so that no other recorder writes there."""

import sqlite3
from pathlib import Path
from typing import Final

from neuroone.contract.files import SESSIONS

RETIRED: Final = "retired"
"""Stands in place of the shard in a directory that records no more after `csv-recorder reshard`."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS shard (text TEXT NOT NULL)"
"""No change of the schema's version: an earlier version of the program opens the inbox and records all streams."""
_WORDS: Final = {"": "holds recordings of all students", RETIRED: "records no more"}


class WrongShard(sqlite3.DatabaseError):
    """The directory holds another share of the streams."""


def claim(db: sqlite3.Connection, directory: Path, wanted: str | None) -> None:
    """Claim a directory without recordings for a recorder's shard; an empty text is all streams, None any share.

    Raises WrongShard for a directory of another one.
    """
    db.execute(_TABLE)
    stored = shard_in(db)
    if wanted is None or wanted == stored:
        return
    if stored or (directory / SESSIONS).exists() or db.execute("SELECT 1 FROM sessions").fetchone():
        holds = _WORDS.get(stored, f"is of shard {stored}")
        given = f"is {wanted}" if wanted else "is not given"
        raise WrongShard(f"{directory} {holds}, and --shard {given}: csv-recorder reshard divides recordings anew")
    note_shard(db, wanted)


def shard_in(db: sqlite3.Connection) -> str:
    """Return which share of the streams is recorded here, as K/M; empty for all, or `RETIRED`."""
    found = db.execute("SELECT text FROM shard").fetchone()
    return "" if found is None else str(found[0])


def note_shard(db: sqlite3.Connection, text: str) -> None:
    """Store which share of the streams is recorded here."""
    db.execute("DELETE FROM shard")
    if text:
        db.execute("INSERT INTO shard VALUES (?)", (text,))
