"""Write the rows of recorded files as a Portuguese spreadsheet program opens them by a double click.

Semicolons, a byte order mark, local times, and no text that would run as a formula. Rows are read and written in
pieces; those that do not match their check are left out.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final

from neuroone.contract.doubt import Doubt, Doubts
from neuroone.contract.files import COLUMNS, EVENTS, HEADERS, READINGS, STUDENT_HEADER, VALUES, checked_rows
from neuroone.contract.messages import EventType, Kind, Reading
from neuroone.contract.spreadsheets import PORTUGUESE_COLUMNS, guarded_cell
from ws_gateway.http.pieces import PIECE_BYTES

BOM: Final = "\ufeff"
TIME: Final = "horario"
SHOWN: Final = ("poor_signal", "valid", *VALUES)
"""What a table of readings shows of each row, after the time and before the doubt."""
EVENT_SHOWN: Final = ("event", "first_seq", "last_seq", "text")
UNDECIDED_MAX: Final = 1000
"""Equal readings whose doubt is not known yet: 10 s of them are frozen, and no stream has a hundred a second."""


def of_readings(files: Sequence[Path], zone: tzinfo) -> Iterator[bytes]:
    """Return the readings of a session, with the doubt of each in Portuguese. Raises OSError."""
    yield _encode([[TIME, *(PORTUGUESE_COLUMNS.get(each, each) for each in (*SHOWN, "doubt"))]], BOM)
    doubts = Doubts()
    undecided: list[tuple[list[str], Doubt | None]] = []
    for rows in _rows(files, READINGS):
        decided: list[tuple[list[str], Doubt | None]] = []
        for row in rows:
            doubt = doubts.add(_reading(row))
            if doubts.same == 1 or len(undecided) >= UNDECIDED_MAX:
                decided += undecided
                undecided.clear()
            if doubt is Doubt.FROZEN:  # and so are all the equal rows before it
                decided += [(each, before if before is Doubt.POOR_CONTACT else doubt) for each, before in undecided]
                undecided.clear()
                decided.append((row, doubt))
            else:
                undecided.append((row, doubt))
        yield _encode(_shown(decided, zone))
    yield _encode(_shown(undecided, zone))


def of_events(files: Sequence[Path], zone: tzinfo) -> Iterator[bytes]:
    """Return the events of a session. Raises OSError."""
    yield _encode([[TIME, *(PORTUGUESE_COLUMNS.get(each, each) for each in EVENT_SHOWN)]], BOM)
    for rows in _rows(files, EVENTS):
        yield _encode([[_local(row[0], zone), *row[1:-2], guarded_cell(row[-2])] for row in rows])


def has_marks(files: Sequence[Path]) -> bool:
    """Return True if somebody marked a moment of a session. Raises OSError."""
    return any(row[1] == EventType.MARKER for rows in _rows(files, EVENTS) for row in rows)


def of_student_file(file: Path) -> Iterator[bytes]:
    """Return a ``{Nome}.csv``, whose rows are whole numbers only. Raises OSError."""
    columns = STUDENT_HEADER.decode().strip()
    with file.open("rb") as opened:
        opened.readline()
        yield (BOM + columns.replace(",", ";") + "\r\n").encode()
        while lines := opened.readlines(PIECE_BYTES):
            whole = (line.strip() for line in lines if line.endswith(b"\n"))
            yield b"".join(line.replace(b",", b";") + b"\r\n" for line in whole if line.replace(b",", b"").isdigit())


def _rows(files: Sequence[Path], kind: str) -> Iterator[list[list[str]]]:
    """Yield the good rows of a session's files of one kind, some at a time."""
    for file in files:
        with file.open("rb") as opened:
            opened.readline()
            while lines := opened.readlines(PIECE_BYTES):
                good = checked_rows(HEADERS[kind] + b"".join(lines)).lines
                rows = csv.reader(line.decode(errors="replace") for line in good)
                yield [row for row in rows if len(row) == len(COLUMNS[kind])]


def _reading(row: Sequence[str]) -> Reading:
    """Make the reading of a row that the recorder wrote."""
    cells = dict(zip(COLUMNS[READINGS], row, strict=True))
    poor = int(cells["poor_signal"]) if cells["poor_signal"] else None
    values = {name: int(cells[name]) for name in VALUES}
    whose = {"session": cells["session"], "seq": int(cells["seq"]), "name": None, "code": None, "kind": Kind.CLIENT}
    return Reading(time=datetime.fromisoformat(cells["time"]), poor_signal=poor, **whose, **values)  # type: ignore[arg-type]


def _shown(rows: Iterable[tuple[list[str], Doubt | None]], zone: tzinfo) -> Iterator[list[str]]:
    places = [COLUMNS[READINGS].index(name) for name in SHOWN]
    for row, doubt in rows:
        word = "" if doubt is None else doubt.words("pt-BR").word
        yield [_local(row[0], zone), *(row[place] for place in places), word]


def _local(time: str, zone: tzinfo) -> str:
    local = datetime.fromisoformat(time).astimezone(zone)
    return f"{local:%d/%m/%Y %H:%M:%S},{local.microsecond // 1000:03}"


def _encode(rows: Iterable[Sequence[str]], before: str = "") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(rows)
    return (before + text.getvalue()).encode()
