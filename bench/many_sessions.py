"""Write a directory with very many recorded sessions, for the scripts that measure reports and lists.

1000 students of 34 classes, each of whom has one session a week, every other one in a lesson. A real lesson has 2,000
to 3,000 rows; these have 60 to 300, so that 25,000 sessions (4.5 million rows, 0.5 GB) are written in a minute or two.
"""

import hashlib
import json
import random
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from neuroone.contract import files

STUDENTS: Final = 1000
GROUP_OF: Final = 30
ROWS: Final = (60, 300)
FIRST_DAY: Final = datetime(2026, 2, 2, 10, 0, 0, 123456, UTC)
_ROWS_MADE: Final = 4096
"""Different rows that the sessions take their values from."""


def write(root: Path, sessions: int, seed: int = 1) -> int:
    """Write the sessions and each student's file; return the number of readings."""
    chance = random.Random(seed)
    values = [_values(chance) for _ in range(_ROWS_MADE)]
    about = {"columns": files.described_columns(), "bids": dict(files.BIDS)}
    for student in range(min(STUDENTS, sessions)):
        (root / f"Student {student:04}.csv").parent.mkdir(parents=True, exist_ok=True)
        (root / f"Student {student:04}.csv").write_bytes(files.STUDENT_HEADER)
    readings = 0
    for number in range(sessions):
        lesson, student = divmod(number, STUDENTS)
        group = student // GROUP_OF
        start = FIRST_DAY + timedelta(days=lesson * 7 + group % 5, hours=group % 7, seconds=student % GROUP_OF)
        count = chance.randint(*ROWS)
        rows = _rows(values, start, number, count)
        _write_session(root, student, f"CLASS{group}", start, rows, about, is_in_lesson=bool(lesson % 2))
        readings += count
    return readings


def _values(chance: random.Random) -> bytes:
    poor = 0 if chance.random() < 0.9 else chance.choice((26, 51, 200))
    esense = (chance.randrange(101), chance.randrange(101)) if poor == 0 else (0, 0)
    bands = (int(chance.lognormvariate(11, 1)) for _ in range(8))
    return ",".join(map(str, (poor, int(poor == 0), *esense, *bands))).encode()


def _rows(values: list[bytes], start: datetime, number: int, count: int) -> list[bytes]:
    rows = []
    session = f"{number:08x}"
    for seq in range(count):
        time = files.time_text(start + timedelta(seconds=seq))
        row = b"%s,%s,%d,%s," % (time.encode(), session.encode(), seq, values[(number * 7 + seq) % len(values)])
        rows.append(b"%s%08x\n" % (row, zlib.crc32(row)))
    return rows


def _write_session(
    root: Path,
    student: int,
    group: str,
    start: datetime,
    rows: list[bytes],
    described: dict[str, object],
    *,
    is_in_lesson: bool,
) -> None:
    source = f"student-{student:04}"
    folder = root / files.SESSIONS / f"{start:%Y-%m-%d}" / f"{start:%H%M%S}_{group}_{source}"
    folder.mkdir(parents=True)
    end = start + timedelta(seconds=len(rows) - 1)
    contents = {
        "readings.csv": files.HEADERS[files.READINGS] + b"".join(rows),
        "events.csv": files.HEADERS[files.EVENTS] + files.event_row(start, "online") + files.event_row(end, "offline"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    valid = sum(row.split(b",", 5)[4] == b"1" for row in rows)
    began = start.replace(second=0, microsecond=0)
    lesson = {"group": group, "name": f"Biology {group[5:]}", "began": files.time_text(began)}
    lesson |= {"ended": files.time_text(began + timedelta(minutes=50)), "first_seq": 0, "last_seq": len(rows) - 1}
    sidecar = {
        "schema": files.SCHEMA,
        "software": "neuroone 0.1.0",
        "site": "local",
        "group": group,
        "source": source,
        "session": f"{student:08x}",
        "kind": "client",
        "name": f"Student {student:04}",
        "code": group,
        "class": f"Biology {group[5:]}",
        "lessons": [lesson] if is_in_lesson else [],
        "start": files.time_text(start),
        "end": files.time_text(end),
        "status": files.CLOSED,
        "rates_hz": {"readings": 1, "raw": None},
        "counts": {
            **{"readings": len(rows), "valid": valid, "unknown": 0, "duplicates": 0},
            **{"missing": 0, "raw_blocks": 0, "events": 2},
        },
        "files": {
            name: {
                "rows": content.count(b"\n") - 1,
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in contents.items()
        },
        **described,
    }
    (folder / files.SIDECAR).write_text(json.dumps(sidecar, ensure_ascii=False, indent=1), encoding="utf-8")
