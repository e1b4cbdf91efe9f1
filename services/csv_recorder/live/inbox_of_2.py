"""Bring an inbox of an earlier version to the present one."""

import json
import sqlite3
import struct
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from csv_recorder.live.rows import Kind, Row, pack

VERSION: Final = 2
"""The earlier version, whose rows name their files."""
_ROW: Final = struct.Struct("<IIqI")


def convert(db: sqlite3.Connection) -> None:
    """Bring what an inbox of version 2 holds to version 3."""
    db.execute("UPDATE sessions SET last_s = 0")
    db.execute("UPDATE events SET last_s = 0")
    for id, text in db.execute("SELECT id, about FROM sessions").fetchall():
        about = json.loads(text)
        if about:
            about["parts"] = {kind: number for kind, (number, _) in about["parts"].items()}
            db.execute("UPDATE sessions SET about = ? WHERE id = ?", (json.dumps(about), id))
    files = {id: of for id, *of in db.execute("SELECT id, path, name, session FROM files")}
    for number, blob in db.execute("SELECT id, rows FROM batches").fetchall():
        rows = [_converted(row, file, *files[file]) for file, row in _unpack(blob)]
        db.execute("UPDATE batches SET rows = ? WHERE id = ?", (pack(rows), number))


def _converted(row: Row, file: int, path: str, name: str | None, session: int | None) -> Row:
    if name is not None:
        return replace(row, kind=Kind.STUDENT)
    if session is None:
        return replace(row, owner=file, kind=Kind.GROUP_EVENT)
    file_name = path.rpartition("/")[2]
    kinds = {"readings": Kind.READING_ALONE, "raw": Kind.RAW, "events": Kind.EVENT}
    return replace(row, kind=next(kind for start, kind in kinds.items() if file_name.startswith(start)))


def _unpack(blob: bytes) -> Iterator[tuple[int, Row]]:
    at = 0
    while at < len(blob):
        file, session, seq, length = _ROW.unpack_from(blob, at)
        at += _ROW.size + length
        yield file, Row(session, 0, seq, blob[at - length : at])
