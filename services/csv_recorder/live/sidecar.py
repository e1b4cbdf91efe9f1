"""The sidecar of a session: who was recorded, how much, and the hash of every file that no longer grows.

It is written in a thread of its own and reads files in pieces: a session of 1 GB takes no more memory than a short
one.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from csv_recorder.live.output import write_whole
from csv_recorder.live.sessions import About, Session
from neuroone.contract.files import (
    BIDS,
    CLOSED,
    COLUMNS,
    EVENTS,
    OPEN,
    PART,
    RAW,
    READINGS,
    READINGS_RATE_HZ,
    SCHEMA,
    SIDECAR,
    SIDECAR_FIELDS,
    SIMULATED_BIDS,
    described_columns,
    part_name,
)
from neuroone.contract.messages import RAW_RATE_HZ, Kind

PIECE_BYTES: Final = 2**20


@dataclass(slots=True)
class _Finished:
    """What the rows of one finished file add up to."""

    rows: int = -1  # the header is no row
    valid: int = 0
    unknown: int = 0
    last_time: str | None = None
    size_bytes: int = 0
    sha256: str = ""


def write_sidecar(directory: Path, session: Session, site: str, version: str, *, is_closing: bool) -> None:
    """Write ``session.json`` of a session that has a folder; ``is_closing``: it ends, and every file is finished.

    Raises OSError.
    """
    about = session.about
    if about is None:
        return
    folder = f"{directory}{os.sep}{about.directory or ''}"
    growing = set() if is_closing else {part_name(kind, number) for kind, number in about.parts.items()}
    names = sorted(name for name in os.listdir(folder) if PART.match(name) and name not in growing)  # noqa: PTH208
    files = {name: _read(Path(folder, name)) for name in names if os.path.isfile(f"{folder}{os.sep}{name}")}  # noqa: PTH113
    content = _sidecar(session, about, files, is_closing) | {"software": f"neuroone {version}", "site": site}
    # Ten times as fast as the standard library's encoder, which is written in Python where it indents.
    text = msgspec.json.format(msgspec.json.encode({key: content[key] for key in SIDECAR_FIELDS}), indent=1)
    write_whole(Path(folder, SIDECAR), text + b"\n", sync=is_closing)


def _sidecar(session: Session, about: About, files: dict[str, _Finished], is_closing: bool) -> dict[str, Any]:
    progress = session.progress
    group, _, source = session.stream.partition("/")
    readings = [each for name, each in files.items() if name.startswith(READINGS)]
    has_raw = about.kind == Kind.HEADSET or RAW in about.parts
    ends = [each.last_time for each in readings if each.last_time is not None]
    return {
        "schema": SCHEMA,
        "group": group,
        "source": source,
        "session": session.session,
        "kind": about.kind,
        "simulated": about.simulated,
        "name": about.name,
        "code": about.code,
        "class": about.class_,
        "lessons": about.lessons,
        "start": about.start,
        "end": max(ends, default=None) if is_closing else None,
        "status": CLOSED if is_closing else OPEN,
        "rates_hz": {READINGS: READINGS_RATE_HZ, **({RAW: RAW_RATE_HZ} if has_raw else {})},
        "counts": {
            "readings": progress.rows,
            "valid": sum(each.valid for each in readings),
            "unknown": sum(each.unknown for each in readings),
            "duplicates": progress.duplicates,
            "missing": progress.gaps,
            "raw_blocks": sum(each.rows for name, each in files.items() if name.startswith(RAW)),
            "events": sum(each.rows for name, each in files.items() if name.startswith(EVENTS)),
            **({"elsewhere": about.elsewhere} if about.elsewhere else {}),
        },
        "files": {
            name: {"rows": each.rows, "bytes": each.size_bytes, "sha256": each.sha256} for name, each in files.items()
        },
        "columns": _columns(),
        "bids": {**BIDS, **(SIMULATED_BIDS if about.simulated else {})},
    }


@cache
def _columns() -> dict[str, Any]:
    return described_columns()


def _read(path: Path) -> _Finished:
    """Add up a file, whatever stands in it."""
    found, digest = _Finished(), hashlib.sha256()
    columns = COLUMNS[READINGS]
    valid_at = columns.index("valid") - len(columns)  # from the right: a session may have a comma
    is_readings, is_header = path.name.startswith(READINGS), True
    for piece in _pieces(path):
        digest.update(piece)
        found.size_bytes += len(piece)
        found.rows += piece.count(b"\n")
        for line in piece.splitlines()[is_header:] if is_readings else ():
            cells = line.split(b",")
            if len(cells) >= len(columns):  # whoever wrote another line, it counts for nothing
                found.valid += cells[valid_at] == b"1"
                found.unknown += cells[valid_at] == b""
                found.last_time = max(found.last_time or "", cells[0].decode(errors="replace"))
        is_header = False
    found.rows = max(0, found.rows)
    found.sha256 = digest.hexdigest()
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield a file in pieces of whole lines; a line longer than PIECE_BYTES in several."""
    rest = b""
    with path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            whole, end, rest_of_piece = piece.rpartition(b"\n")
            if end:
                yield rest + whole + end
                rest = rest_of_piece
            elif len(rest) < PIECE_BYTES:
                rest += piece
            else:  # no line of ours: NULs that a power cut left, or another program's
                yield rest
                rest = piece
    if rest:
        yield rest
