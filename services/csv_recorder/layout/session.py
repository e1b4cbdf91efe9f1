"""The recorded session: where its files are, and what its sidecar says. Pure; docs/recordings.md describes it.

Field names of ``bids`` are those of BIDS-EEG 1.10, section "Electroencephalography", ``*_eeg.json``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from csv_recorder.layout.rows import EVENTS_COLUMNS, RAW_COLUMNS, READINGS_COLUMNS, header
from csv_recorder.live.inbox import Session
from neuroone.contract.fields import fields_of
from neuroone.contract.messages import RAW_RATE_HZ, Kind, RawBlock, Reading

SCHEMA: Final = 1
SESSIONS: Final = "sessions"
SIDECAR: Final = "session.json"
READINGS: Final = "readings"
RAW: Final = "raw"
EVENTS: Final = "events"
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    READINGS: READINGS_COLUMNS,
    RAW: RAW_COLUMNS,
    EVENTS: EVENTS_COLUMNS,
}
HEADERS: Final[Mapping[str, bytes]] = {kind: header(columns) for kind, columns in COLUMNS.items()}
READINGS_RATE_HZ: Final = 1
"""A ThinkGear chip computes eSense and band powers once a second."""

_DESCRIPTIONS: Final = {
    "valid": "1: good contact (poor_signal 0). 0: poor contact. Empty: the source does not say.",
    "samples": "Signed 16-bit ADC counts, parted by spaces; volts = count * (1.8 / 4096) / 2000.",
    "check": "CRC-32 of the row's bytes up to and with the comma before this column, 8 hexadecimal digits.",
    "event": (
        "marker, session_start, session_stop: set by a person. online, stale, offline: the source. "
        "gap, duplicates, recorder_start, recorder_stop: the recording."
    ),
    "first_seq": "The first reading that the event is about; empty: none.",
    "last_seq": "The last one.",
    "text": "A note, the name of a class, or a number of readings.",
}
_BIDS: Final = {
    "TaskName": "classroom",
    "Manufacturer": "NeuroSky",
    "EEGReference": "left earlobe",
    "EEGGround": "left earlobe",
    "EEGPlacementScheme": "single dry electrode at Fp1 (10-20)",
    "EEGChannelCount": 1,
    "SamplingFrequency": RAW_RATE_HZ,
    "PowerLineFrequency": 60,
    "SoftwareFilters": "n/a",
    "RecordingType": "continuous",
}


def directories(time: datetime, stream: str) -> Iterator[str]:
    """Where a session that began at ``time`` may have its files: the first that is free."""
    group, _, source = stream.partition("/")
    first = f"{SESSIONS}/{time:%Y-%m-%d}/{time:%H%M%S}_{group}_{source}"
    yield first
    number = 2
    while True:
        yield f"{first}-{number}"
        number += 1


def part(directory: str, kind: str, number: int) -> str:
    """The path of one part of a session's files, counted from 1."""
    return f"{directory}/{kind}.csv" if number == 1 else f"{directory}/{kind}-{number}.csv"


def group_events(time: datetime, group: str) -> str:
    """The path of the events of a whole group on one day."""
    return f"{SESSIONS}/{time:%Y-%m-%d}/{EVENTS}_{group}.csv"


def header_of(path: str) -> bytes:
    """The header of a session's or a group's file."""
    name = path.rpartition("/")[2]
    return next(head for kind, head in HEADERS.items() if name.startswith(kind))


def sidecar(session: Session, site: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """What ``session.json`` says. ``files``: those that are written to no more, by name, with their content."""
    about = session.about
    group, _, source = session.stream.partition("/")
    readings = [content for name, content in files.items() if name.startswith(READINGS)]
    content = {
        "schema": SCHEMA,
        "software": f"neuroone {version}",
        "site": site,
        "group": group,
        "source": source,
        "session": session.session,
        **{key: about[key] for key in ("kind", "name", "code", "class", "start")},
        "end": None if session.open else _last_time(readings),
        "status": "open" if session.open else "closed",
        "rates_hz": {READINGS: READINGS_RATE_HZ, **({RAW: RAW_RATE_HZ} if about["kind"] == Kind.HEADSET else {})},
        "counts": {
            "readings": session.rows,
            "valid": sum(_count_valid(each, b"1") for each in readings),
            "unknown": sum(_count_valid(each, b"") for each in readings),
            "duplicates": session.duplicates,
            "missing": session.gaps,
            "raw_blocks": _rows_in(files, RAW),
            "events": _rows_in(files, EVENTS),
        },
        "files": {
            name: {
                "rows": _rows(content),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in files.items()
        },
        "columns": {f"{kind}.csv": _described(kind) for kind in COLUMNS},
        "bids": _BIDS,
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _rows(content: bytes) -> int:
    return max(0, content.count(b"\n") - 1)


def _rows_in(files: Mapping[str, bytes], kind: str) -> int:
    return sum(_rows(content) for name, content in files.items() if name.startswith(kind))


def _count_valid(content: bytes, value: bytes) -> int:
    at = -(len(READINGS_COLUMNS) - READINGS_COLUMNS.index("valid"))  # from the right: a session may have a comma
    return sum(line.split(b",")[at] == value for line in content.splitlines()[1:])


def _last_time(readings: list[bytes]) -> str | None:
    lines = readings[-1].splitlines()[1:] if readings else []
    return max((line.partition(b",")[0].decode() for line in lines), default=None)


def _described(kind: str) -> dict[str, dict[str, str]]:
    contract = fields_of(Reading if kind == READINGS else RawBlock)
    described = {}
    for column in COLUMNS[kind]:
        field = contract.get(column) if column not in _DESCRIPTIONS else None
        words = _DESCRIPTIONS.get(column) or (field.doc if field else "")
        described[column] = {"description": words, **({"unit": field.unit} if field and field.unit else {})}
    return described
