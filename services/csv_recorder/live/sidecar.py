"""The sidecar of a session: who was recorded, how much, and the hash of every file that no longer grows."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
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
    rows = {name: max(0, content.count(b"\n") - 1) for name, content in contents.items()}
    valid = _count_valid(readings)
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
            "valid": valid[b"1"],
            "unknown": valid[b""],
            "duplicates": session.duplicates,
            "missing": session.gaps,
            "raw_blocks": sum(rows[name] for name in rows if name.startswith(files.RAW)),
            "events": sum(rows[name] for name in rows if name.startswith(files.EVENTS)),
        },
        "files": {
            name: {"rows": rows[name], "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
        "columns": files.described_columns(),
        "bids": files.BIDS,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_whole(folder / files.SIDECAR, text.encode(), sync=not session.open)


def _count_valid(readings: Iterable[bytes]) -> Counter[bytes]:
    """Count the values of the column; a line that is no row, whoever wrote it, counts for nothing."""
    columns = files.COLUMNS[files.READINGS]
    at = columns.index("valid") - len(columns)  # from the right: a session may have a comma
    rows = (line.split(b",") for content in readings for line in content.splitlines()[1:])
    return Counter(cells[at] for cells in rows if len(cells) >= len(columns))


def _last_time(readings: Sequence[bytes]) -> str | None:
    lines = readings[-1].splitlines()[1:] if readings else []
    return max((line.partition(b",")[0].decode(errors="replace") for line in lines), default=None)
