"""Keep in the inbox which share of the streams its directory holds, so that no other recorder writes there."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from neuroone.contract.files import INBOX_FILE, SESSIONS

RETIRED: Final = "retired"
"""Stands in place of the shard in a directory that records no more after `csv-recorder reshard`."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS shard (text TEXT NOT NULL)"
"""No change of the schema's version: an earlier version of the program opens the inbox and records all streams."""
_URI: Final = "file:{}?mode=ro"
_WORDS: Final = {"": "holds recordings of all students", RETIRED: "records no more"}


class WrongShard(sqlite3.DatabaseError):
    """The directory holds another share of the streams."""


def claim(db: sqlite3.Connection, directory: Path, wanted: str | None) -> None:
    """Claim a directory without recordings for a recorder's shard; an empty text is all streams, None any share.

    Raises WrongShard for a directory of another one.
    """
    db.execute(_TABLE)
    stored = shard_in(db)
    if wanted == "" and (inside := next(_shards_in(directory), None)) is not None:
        raise WrongShard(f"{directory} holds directories of shards, like {inside}: --shard is not given")
    if wanted is None or wanted == stored:
        return
    if stored or has_recordings(db, directory):
        holds = _WORDS.get(stored, f"is of shard {stored}")
        given = f"is {wanted}" if wanted else "is not given"
        raise WrongShard(f"{directory} {holds}, and --shard {given}: csv-recorder reshard divides recordings anew")
    note_shard(db, wanted)


def _shards_in(directory: Path) -> Iterator[str]:
    """Yield the names of the directories of shards that are in a directory: it is none of a recorder of all streams."""
    for path in sorted(directory.resolve().glob(f"[!.]*/{INBOX_FILE}")):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(_URI.format(path), uri=True)) as db:
            if shard_in(db) not in ("", RETIRED):
                yield path.parent.name


def has_recordings(db: sqlite3.Connection, directory: Path) -> bool:
    """Return True if anything was recorded in a directory, which has this inbox."""
    return (directory / SESSIONS).exists() or db.execute("SELECT 1 FROM sessions").fetchone() is not None


def shard_in(db: sqlite3.Connection) -> str:
    """Return which share of the streams is recorded here, as K/M; empty for all, or `RETIRED`."""
    found = db.execute("SELECT text FROM shard").fetchone()
    return "" if found is None else str(found[0])


def note_shard(db: sqlite3.Connection, text: str) -> None:
    """Store which share of the streams is recorded here."""
    db.execute("DELETE FROM shard")
    if text:
        db.execute("INSERT INTO shard VALUES (?)", (text,))
