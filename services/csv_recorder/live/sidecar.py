"""The sidecar of a session: who was recorded, how much, and the hash of every file that no longer grows."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from csv_recorder.live.sessions import Session
from csv_recorder.live.writer import write_whole
from neuroone.contract import files
from neuroone.contract.messages import RAW_RATE_HZ, Kind


def write_sidecar(folder: Path, session: Session, site: str, version: str) -> None:
    """Write ``session.json``. The files that still grow are not in it. Raises OSError."""
    parts = session.about["parts"].items() if session.open else ()
    growing = {files.part_name(kind, number) for kind, (number, _) in parts}
    contents = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv")) if path.name not in growing}
    about = session.about
    group, _, source = session.stream.partition("/")
    readings = [content for name, content in contents.items() if name.startswith(files.READINGS)]
    rates_hz = {files.READINGS: files.READINGS_RATE_HZ}
    if about["kind"] == Kind.HEADSET:
        rates_hz[files.RAW] = RAW_RATE_HZ
    content = {
        "schema": files.SCHEMA,
        "software": f"neuroone {version}",
        "site": site,
        "group": group,
        "source": source,
        "session": session.session,
        **{key: about[key] for key in ("kind", "name", "code", "class", "start")},
        "end": None if session.open else _last_time(readings),
        "status": files.OPEN if session.open else files.CLOSED,
        "rates_hz": rates_hz,
        "counts": {
            "readings": session.rows,
            "valid": sum(_count_valid(each, b"1") for each in readings),
            "unknown": sum(_count_valid(each, b"") for each in readings),
            "duplicates": session.duplicates,
            "missing": session.gaps,
            "raw_blocks": _rows_in(contents, files.RAW),
            "events": _rows_in(contents, files.EVENTS),
        },
        "files": {
            name: {"rows": _rows(content), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
        "columns": files.described_columns(),
        "bids": files.BIDS,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_whole(folder / files.SIDECAR, text.encode(), sync=not session.open)


def _rows(content: bytes) -> int:
    return max(0, content.count(b"\n") - 1)


def _rows_in(contents: Mapping[str, bytes], kind: str) -> int:
    return sum(_rows(content) for name, content in contents.items() if name.startswith(kind))


def _count_valid(content: bytes, value: bytes) -> int:
    columns = files.COLUMNS[files.READINGS]
    at = columns.index("valid") - len(columns)  # from the right: a session may have a comma
    return sum(line.split(b",")[at] == value for line in content.splitlines()[1:])


def _last_time(readings: list[bytes]) -> str | None:
    lines = readings[-1].splitlines()[1:] if readings else []
    return max((line.partition(b",")[0].decode() for line in lines), default=None)
