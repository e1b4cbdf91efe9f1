"""Read a session's folder, as the recorder writes it: readings, raw samples and what people marked. No Qt."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from monitor_gui.feed import EVENTS_MAX, StreamId
from monitor_gui.playing.recording import About, Unplayable
from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.files import COLUMNS, EVENTS, HEADERS, PART, RAW, READINGS, SIDECAR, VALUES, checked_rows
from neuroone.contract.messages import EventType, GroupEvent, Kind, RawBlock, Reading

CHUNK_BYTES: Final = 1024 * 1024
"""Read at once; a longer line is damage: a row with 64 samples has 500 bytes."""
SIDECAR_MAX_BYTES: Final = 1024 * 1024
"""A sidecar has 5 kB, and lists the session's lessons: 200 bytes each."""
PARTS_MAX: Final = 1000
"""Files of one kind: at 64 MB or a day each, more than anybody records in one session."""

T = TypeVar("T")


class _Sidecar(msgspec.Struct):
    group: str | None = None
    source: str | None = None
    name: str | None = None


def is_part(path: Path) -> bool:
    """Return True for a file of a session's folder."""
    return path.name == SIDECAR or PART.match(path.name) is not None


def about_of(folder: Path) -> About:
    """Return what is known of a session. Raises Unplayable."""
    try:
        if not any(is_part(path) for path in folder.iterdir()):
            raise Unplayable("play.no_session", folder)
        with (folder / SIDECAR).open("rb") as file:
            sidecar = msgspec.json.decode(file.read(SIDECAR_MAX_BYTES), type=_Sidecar)
    except (FileNotFoundError, msgspec.MsgspecError, RecursionError, UnicodeError):
        sidecar = _Sidecar()  # it only describes what the other files hold
    except OSError as error:
        raise Unplayable("play.unreadable", folder, error.strerror or error) from None
    stream = StreamId(
        topics.group_id(sidecar.group or None), topics.id_from_text(sidecar.source or folder.resolve().name or "-")
    )
    about = About(folder, stream, sidecar.name or stream.source)
    events = deque(_rows(about, EVENTS, _event), maxlen=EVENTS_MAX)
    about.events = [event for event in events if event is not None]
    return about


def tracks_of(about: About) -> tuple[Iterator[Reading], Iterator[RawBlock]]:
    """Return the readings and the raw blocks of a session; rows at fault are counted. Raises Unplayable."""
    return _rows(about, READINGS, _reading), _rows(about, RAW, _block)


def _rows(about: About, kind: str, parse: Callable[[list[str]], T]) -> Iterator[T]:
    for path in _parts(about.path, kind):
        try:
            for lines in _lines(about, path, kind):
                for line in lines:
                    try:
                        cells = next(csv.reader([line.decode()], strict=True))
                        if len(cells) != len(COLUMNS[kind]):
                            raise ValueError
                        yield parse(cells)
                    except (ValueError, OverflowError, csv.Error, ContractError):
                        about.rows_left_out += 1
        except OSError as error:
            raise Unplayable("play.unreadable", path, error.strerror or error) from None


def _parts(folder: Path, kind: str) -> list[Path]:
    """Return the files of a kind, in the order in which they were written; what is no plain file is none."""
    found = []
    for path in folder.iterdir():
        match = PART.match(path.name)
        if match and match[1] == kind and len(match[2] or "1") <= len(str(PARTS_MAX)) and path.is_file():
            found.append((int(match[2] or 1), path))
    return [path for _, path in sorted(found)[:PARTS_MAX]]


def _lines(about: About, path: Path, kind: str) -> Iterator[list[bytes]]:
    """Yield the lines of a file that match their checks, some at a time."""
    with path.open("rb") as file:
        header, rest, is_long = file.read(len(HEADERS[kind])), b"", False
        if header != HEADERS[kind]:
            about.rows_left_out += bool(header)
            return
        while chunk := file.read(CHUNK_BYTES):
            whole, end, rest = (rest + chunk).rpartition(b"\n")
            if is_long and end:  # what was left of a line too long to keep
                whole, is_long = whole.partition(b"\n")[2], False
            rows = checked_rows(header + whole + end)
            about.rows_left_out += len(rows.faulty)
            yield rows.lines
            if len(rest) >= CHUNK_BYTES:
                about.rows_left_out += not is_long
                rest, is_long = b"", True
        about.rows_left_out += bool(rest)


def _reading(cells: list[str]) -> Reading:
    time, session, seq, poor = cells[:4]
    values = dict(zip(VALUES, map(int, cells[5:-1]), strict=True))
    return Reading(
        session=session,
        seq=int(seq),
        time=_time(time),
        kind=Kind.HEADSET,
        name=None,
        code=None,
        poor_signal=int(poor) if poor else None,
        **values,  # type: ignore[arg-type]
    )


def _block(cells: list[str]) -> RawBlock:
    time, session, seq, first_sample, rate_hz, samples = cells[:-1]
    return RawBlock(
        session=session,
        seq=int(seq),
        time=_time(time),
        first_sample=int(first_sample),
        rate_hz=int(rate_hz),
        samples=tuple(map(int, samples.split())),
    )


def _event(cells: list[str]) -> GroupEvent | None:
    """Return what a person set; None for an event of the source or of the recording."""
    time, kind, *_, text, _check = cells
    if kind not in tuple(EventType):
        return None
    return GroupEvent(id=f"{kind} {time}"[:64], time=_time(time), type=EventType(kind), text=text, source=None)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(text)
    return time.astimezone(UTC)
