"""Write recordings as docs/recordings.md describes them, with own code: the recorder's readers are tested on them."""

import csv
import hashlib
import io
import json
import random
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NOON = datetime(2026, 11, 22, 18, 20, 31, 123456, UTC)
SEED_HEADER = "Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
SEED_FILE = SEED_HEADER + "85,72,123456,234567,345678,456789,567890,678901,789012,890123\n"
READINGS = (
    "time,session,seq,poor_signal,valid,attention,meditation,"
    "delta,theta,low_alpha,high_alpha,low_beta,high_beta,low_gamma,mid_gamma,check"
)
RAW = "time,session,seq,first_sample,rate_hz,samples,check"
EVENTS = "time,event,first_seq,last_seq,text,check"
BLOCK = 64
RATE_HZ = 512


def checked(cells: Sequence[object]) -> bytes:
    """Return a row with its check."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    content = text.getvalue().encode() + b","
    return content + b"%08x\n" % zlib.crc32(content)


def time_text(time: datetime) -> str:
    """Format a time as the files do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def reading_rows(
    seconds: int,
    start: datetime = NOON,
    session: str = "5e55",
    seed: int = 1,
    poor: Callable[[int], int | str] = lambda n: 0,
    lost: range = range(0),
) -> list[bytes]:
    """Make one reading a second with poor signal ``poor(n)``, but none in ``lost``. Attention rises by 6 a minute."""
    chance = random.Random(seed)
    rows = []
    for n in range(seconds):
        if n in lost:
            continue
        signal = poor(n)
        valid = "" if signal == "" else int(signal == 0)
        esense = (0, 0) if signal not in ("", 0) else (min(100, 40 + n // 10), 50 + n % 3)
        bands = [chance.randrange(1000, 900_000) for _ in range(8)]
        rows.append(checked([time_text(start + timedelta(seconds=n)), session, n, signal, valid, *esense, *bands]))
    return rows


def raw_rows(seconds: int, start: datetime = NOON, session: str = "5e55", lost: range = range(0)) -> list[bytes]:
    """Make a rising ramp from -2048, 8 blocks a second, without the blocks in ``lost``."""
    rows = []
    for n in range(seconds * RATE_HZ // BLOCK):
        if n in lost:
            continue
        samples = " ".join(str((n * BLOCK + each) % 4096 - 2048) for each in range(BLOCK))
        time = start + timedelta(seconds=(n + 1) * BLOCK / RATE_HZ)
        rows.append(checked([time_text(time), session, n, n * BLOCK, RATE_HZ, samples]))
    return rows


def event_row(time: datetime, event: str, text: str = "", seqs: tuple[object, object] = ("", "")) -> bytes:
    """Make one event."""
    return checked([time_text(time), event, *seqs, text])


def write_session(
    root: Path,
    name: str | None = "Joao_Silva",
    group: str = "ABC123",
    source: str = "Joao_Silva",
    start: datetime = NOON,
    readings: Sequence[bytes] = (),
    raw: Sequence[bytes] = (),
    events: Sequence[bytes] = (),
    parts: int = 1,
    is_open: bool = False,
    session: str = "5e55",
    **about: Any,
) -> Path:
    """Write a session's directory, its readings in ``parts`` files. An open session lists no files."""
    folder = root / "sessions" / f"{start:%Y-%m-%d}" / f"{start:%H%M%S}_{group}_{source}"
    folder.mkdir(parents=True)
    contents: dict[str, bytes] = {}
    size = -(-len(readings) // parts)
    for part in range(parts):
        rows = readings[part * size : (part + 1) * size]
        contents["readings.csv" if part == 0 else f"readings-{part + 1}.csv"] = _file(READINGS, rows)
    if raw:
        contents["raw.csv"] = _file(RAW, raw)
    contents["events.csv"] = _file(EVENTS, events or [event_row(start, "online")])
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    cells = [row.split(b",") for row in readings]
    seqs = {int(each[2]) for each in cells}
    sidecar = {
        "schema": 1,
        "software": "neuroone 0.1.0",
        "site": "local",
        "group": group,
        "source": source,
        "session": session,
        "kind": "headset",
        "name": name,
        "code": group,
        "class": None,
        "start": time_text(start),
        "end": None if is_open else (cells[-1][0].decode() if cells else time_text(start)),
        "status": "open" if is_open else "closed",
        "rates_hz": {"readings": 1, "raw": RATE_HZ},
        "counts": {
            "readings": len(readings),
            "valid": sum(each[4] == b"1" for each in cells),
            "unknown": sum(each[4] == b"" for each in cells),
            "duplicates": 0,
            "missing": (max(seqs) + 1 - len(seqs)) if seqs else 0,
            "raw_blocks": len(raw),
            "events": max(1, len(events)),
        },
        "files": {}
        if is_open
        else {
            file: {
                "rows": content.count(b"\n") - 1,
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for file, content in contents.items()
        },
        "columns": {"readings.csv": {"delta": {"unit": "none", "description": "power, 0.5 to 2.75 Hz"}}},
        "bids": {
            "TaskName": "classroom",
            "Manufacturer": "NeuroSky",
            "EEGReference": "left earlobe",
            "SamplingFrequency": RATE_HZ,
            "PowerLineFrequency": 60,
            "SoftwareFilters": "n/a",
            "EEGPlacementScheme": "single dry electrode at Fp1 (10-20)",
            "EEGChannelCount": 1,
        },
    } | about
    (folder / "session.json").write_text(json.dumps(sidecar, ensure_ascii=False, indent=1), encoding="utf-8")
    return folder


def write_index(root: Path, names: dict[str, str]) -> None:
    """Write ``names.csv``: the file of each name."""
    with (root / "names.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("name", "file"), *names.items()])


def _file(header: str, rows: Sequence[bytes]) -> bytes:
    return header.encode() + b"\n" + b"".join(rows)
