"""Names, columns and rows of recorded files, and the fields of a session's sidecar; docs/recordings.md describes them.

``{Nome}.csv``, a student's file, has the same bytes as that of the first server. The files of a session end each row
with a check: the CRC-32 of the row's bytes before it, as eight hexadecimal digits.
"""

import csv
import io
import itertools
import re
import sys
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter, eq, itemgetter
from typing import Final

import msgspec

from neuroone.contract.checks import fields_of
from neuroone.contract.messages import BANDS, RAW_RATE_HZ, RawBlock, Reading
from neuroone.contract.spreadsheets import guarded_exactly, unguarded
from neuroone.contract.topics import HASH_CHARS, with_hash

# Names of files and folders, as paths inside the directory of the recordings.

INBOX_FILE: Final = ".inbox.sqlite"
LOCK_FILE: Final = ".inbox.lock"
"""Whoever holds its lock is the only one who writes."""
DEAD_LETTERS_FILE: Final = ".dead-letters.jsonl"
REPORT_CACHE_FILE: Final = ".report-figures.sqlite"
"""The figures of closed sessions, by hashes of their paths; it may be deleted at any time."""
DAMAGED_INBOX: Final = "inbox.damaged-"
"""Begins the names of inboxes that `rebuild` replaced; their time follows."""
REBUILDING_INBOX: Final = ".inbox.rebuilding"
REBUILT_INBOX: Final = ".inbox.rebuilt"
"""A new inbox in the making, and one that is not in its place yet."""
APPENDED_BY_HAND: Final = ".appended-by-hand"
"""Ends the name of a file with lines that somebody else wrote into the file before it."""
RESTORING: Final = ".restoring"
"""The folder that a restore unpacks into: while it is there, the directory is not whole."""
INTERRUPTED: Final = {RESTORING: "restore", REBUILDING_INBOX: "rebuild", REBUILT_INBOX: "rebuild"}
"""What stands in a directory that a command has left half done, with the command; no recorder may start in it."""
REPLACED: Final = ".replaced-"
"""Begins the names of folders with what a restore replaced; their time follows."""
CERTIFICATES: Final = ".tls"
"""The folder of the authority that devices trust, made by `neuroone up --tls`. It holds no recording: a backup leaves
it out, and a restore leaves it where it is."""
BROKER_FOLDER: Final = ".broker"
"""The folder of the broker that `neuroone up` starts. A restore leaves one that is there where it is: that broker knows
what came since the backup."""
UP_FILE: Final = ".up.json"
UP_RESTART: Final = ".up.restart"
"""What a running `neuroone up` says of itself, and what asks it to go over to another version: `neuroone update`."""
INDEX: Final = "names.csv"
"""Lists each name and its file; a student with this name gets a hash."""
INDEX_COLUMNS: Final = ("name", "file")
SESSIONS: Final = "sessions"
SIDECAR: Final = "session.json"
READINGS: Final = "readings"
RAW: Final = "raw"
EVENTS: Final = "events"
PART: Final = re.compile(r"(readings|raw|events)(?:-([1-9][0-9]*))?\.csv\Z")
"""A session's file: its kind, and its number from the second one on."""
GROUP_EVENTS: Final = re.compile(r"events_[A-Za-z0-9_-]+\.csv\Z")

STEM_MAX_BYTES: Final = 180
"""File systems allow 255 bytes; the rest is for a code, a hash and the ending."""
FILE_NAME_MAX_BYTES: Final = 230
"""File systems allow 255 bytes; the rest is for what other programs add to a name."""
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
"""What Windows forbids, including the path separators of all systems."""
_RESERVED: Final = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³]|CONIN\$|CONOUT\$)(\..*)?\Z", re.IGNORECASE)
"""Names of devices on Windows, with any ending."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are not allowed in a file name: controls, text direction, line ends, unassigned."""

# Rows.

ESENSE: Final = ("attention", "meditation")
VALUES: Final = (*ESENSE, *BANDS)
STUDENT_HEADER: Final = b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    READINGS: ("time", "session", "seq", "poor_signal", "valid", *VALUES, "check"),
    RAW: ("time", "session", "seq", "first_sample", "rate_hz", "samples", "check"),
    EVENTS: ("time", "event", "first_seq", "last_seq", "text", "check"),
}
HEADERS: Final[Mapping[str, bytes]] = {kind: (",".join(each) + "\n").encode() for kind, each in COLUMNS.items()}
CHECK_CHARS: Final = 8
"""A CRC-32 in hexadecimal."""
CELL_MAX_CHARS: Final = 1000
"""Free text in one cell: a marker's note."""
CELLS_MAX: Final = 16_384
"""Texts whose cells are remembered: the ids of the sessions that a recorder writes in turn. At most 20 MB."""
_to_json: Final = msgspec.json.Encoder().encode
_values_of: Final = attrgetter(*VALUES)
_before_check: Final = itemgetter(slice(-CHECK_CHARS))
_check: Final = itemgetter(slice(-CHECK_CHARS, None))
_TEN: Final = ",".join(["%d"] * len(VALUES))
_ROW_ENDS: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
"""Characters that would end a row, or that nobody can see in it."""

# The sidecar of a session.

SCHEMA: Final = 1
SIDECAR_FIELDS: Final[Mapping[str, type]] = {
    **{"schema": int, "software": str, "site": str, "group": str, "source": str, "session": str},
    **{"simulated": bool, "kind": str, "name": str, "code": str, "class": str, "start": str, "end": str, "status": str},
    "lessons": list,
    **{"rates_hz": dict, "counts": dict, "files": dict, "columns": dict, "bids": dict},
}
"""The type of each field; a field may also be null or missing."""
OPEN: Final = "open"
CLOSED: Final = "closed"
READINGS_RATE_HZ: Final = 1
"""A ThinkGear chip computes eSense and band powers once a second."""
BIDS: Final[Mapping[str, str | int]] = {
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
"""Named as in BIDS-EEG 1.10, section "Electroencephalography", ``*_eeg.json``."""
SIMULATED_BIDS: Final = {"Manufacturer": "n/a", "ManufacturersModelName": "simulated by NeuroOne: measured on nobody"}
"""What differs where a simulator made the signals."""
_DESCRIPTIONS: Final = {
    "valid": "1: good contact (poor_signal 0). 0: poor contact. Empty: the source does not say.",
    "samples": "Signed 16-bit ADC counts, separated by spaces; volts = count * (1.8 / 4096) / 2000.",
    "check": "CRC-32 of the row's bytes up to and with the comma before this column, 8 hexadecimal digits.",
    "event": (
        "marker, session_start, session_stop: set by a person. online, stale, offline: the source. "
        "gap, duplicates, recorder_start, recorder_stop: the recording."
    ),
    "first_seq": "The first reading that the event is about; empty: none.",
    "last_seq": "The last one.",
    "text": "A note, the name of a class, or a number of readings.",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one file.

    ``lines`` are the rows in order, without their ends; ``faulty`` are the numbers of the other lines. ``torn_bytes``
    stand behind the last end of a line: a crash left them, or a recorder is writing them now.
    """

    header: bytes
    lines: list[bytes]
    faulty: list[int]
    torn_bytes: int


def safe_stem(name: str) -> str:
    """Return a file name, without an ending, for a name that a student typed.

    It is one path component that Linux, macOS and Windows accept. A name that is safe already stays as it is; any
    other name gets a hash, so that two names never share a file.
    """
    clean = unicodedata.normalize("NFC", name)
    clean = "".join("_" if unicodedata.category(each) in _INVISIBLE else each for each in clean)
    clean = _FORBIDDEN.sub("_", clean).strip(" ").rstrip(". ").lstrip(".")
    if _RESERVED.match(clean) or file_key(f"{clean}.csv") == INDEX:
        clean = f"_{clean}"
    if len(clean.encode()) > STEM_MAX_BYTES:
        clean = clean.encode()[:STEM_MAX_BYTES].decode(errors="ignore").rstrip(". ")
    return clean if clean == name and clean else with_hash(clean or "_", name)


def seq_of(row: bytes) -> int:
    """Return the seq of a row in ``readings.csv``. Raises ValueError for anything else."""
    columns = COLUMNS[READINGS]
    cells = row.rsplit(b",", len(columns) - columns.index("seq"))  # from the right: a session may have a comma
    if len(cells) != len(columns) - columns.index("seq") + 1:
        raise ValueError("it is no row of readings.csv")
    return int(cells[1])


def student_file_name(stem: str, ending: str = "") -> str:
    """Return the name of a file ``{Nome}.csv``, with what tells it from another of that name; a long stem is cut."""
    room = FILE_NAME_MAX_BYTES - len(f"{ending}.csv".encode())
    if len(stem.encode()) > room:
        stem = with_hash(stem.encode()[: room - HASH_CHARS - 1].decode(errors="ignore"), stem)
    return f"{stem}{ending}.csv"


def file_key(file_name: str) -> str:
    """Return the same key for two names that some system stores as one file: it ignores case and composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file_name).casefold())


def search_key(text: str) -> str:
    """Return a text as people search for it: without case, accents and outer spaces."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(each for each in plain if not unicodedata.combining(each)).strip()


def index_content(named: Iterable[tuple[str, str]]) -> bytes:
    """Return the content of the index: each name with its file. No cell runs as a formula where a person opens it."""
    text = io.StringIO()
    rows = (map(guarded_exactly, row) for row in named)
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([INDEX_COLUMNS, *rows])
    return text.getvalue().encode()


def index_names(lines: Iterable[str]) -> dict[str, str]:
    """Return the name of each file from the lines of an index: the inverse of `index_content`. Raises csv.Error."""
    rows = (row for row in csv.reader(lines) if len(row) == len(INDEX_COLUMNS) and tuple(row) != INDEX_COLUMNS)
    return {unguarded(file): unguarded(name) for name, file in rows}


def session_folders(time: datetime, stream: str) -> Iterator[str]:
    """Yield the folders that a session which began at ``time`` may use; the recorder takes the first free one."""
    group, _, source = stream.partition("/")
    first = f"{SESSIONS}/{time:%Y-%m-%d}/{time:%H%M%S}_{group}_{source}"
    yield first
    yield from (f"{first}-{number}" for number in itertools.count(2))


def part_name(kind: str, number: int) -> str:
    """Return the name of one part of a session's files, counted from 1."""
    return f"{kind}.csv" if number == 1 else f"{kind}-{number}.csv"


def group_events_path(time: datetime, group: str) -> str:
    """Return the path of the events of a whole group on one day."""
    return f"{SESSIONS}/{time:%Y-%m-%d}/{EVENTS}_{group}.csv"


def header_of(path: str) -> bytes:
    """Return the header of a recorded file."""
    if not path.startswith(f"{SESSIONS}/"):
        return STUDENT_HEADER
    name = path.rpartition("/")[2]
    return next(head for kind, head in HEADERS.items() if name.startswith(kind))


def student_row(reading: Reading) -> bytes:
    """Return the row of a reading in ``{Nome}.csv``, with its end of line."""
    return (_TEN % _values_of(reading) + "\n").encode()


def student_row_of(row: bytes) -> bytes:
    """Return the row in ``{Nome}.csv`` of a row in ``readings.csv``: its ten values."""
    return b",".join(row.rsplit(b",", len(VALUES) + 1)[1:-1]) + b"\n"


def reading_row(reading: Reading) -> bytes:
    """Return the row of a reading in ``readings.csv``.

    ``valid`` is 1 in good contact, 0 in poor contact, and empty where the source does not say.
    """
    poor = reading.poor_signal
    contact = "," if poor is None else f"{poor},{int(poor == 0)}"
    return _checked(
        f"{time_text(reading.time)},{cell(reading.session)},{reading.seq},{contact},{_TEN % _values_of(reading)},"
    )


def raw_row(block: RawBlock) -> bytes:
    """Return the row of a block in ``raw.csv``; its samples are one cell, separated by spaces."""
    samples = " ".join(map(str, block.samples))
    head = f"{time_text(block.time)},{cell(block.session)},{block.seq},{block.first_sample},{block.rate_hz}"
    return _checked(f"{head},{samples},")


def event_row(time: datetime, event: str, seqs: tuple[int, int] | None = None, text: str = "") -> bytes:
    """Return the row of an event in ``events.csv``; ``seqs`` are the first and last reading that it is about."""
    first, last = ("", "") if seqs is None else seqs
    return _checked(f"{time_text(time)},{event},{first},{last},{cell(text)},")


def checked_rows(content: bytes) -> Rows:
    """Read the content of a session's file, and compare each row with its check."""
    lines = content.split(b"\n")
    rows = lines[1:-1]
    sums = array("I", map(zlib.crc32, map(_before_check, rows)))
    if sys.byteorder == "little":
        sums.byteswap()
    if sums.tobytes().hex().encode() == b"".join(map(_check, rows)):  # all at once, in a third of the time
        return _rows(lines, None)
    checks = map(b"%08x".__mod__, map(zlib.crc32, map(_before_check, rows)))
    return _rows(lines, [*map(eq, checks, map(_check, rows))])


def student_rows(content: bytes) -> Rows:
    """Read the content of a ``{Nome}.csv``: ten whole numbers a row. Without a check, a changed number goes unseen."""
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    rows = (line.split(b",") for line in lines[1:-1])
    return _rows(lines, [len(cells) == len(VALUES) and all(map(bytes.isdigit, cells)) for cells in rows])


def time_text(time: datetime) -> str:
    """Write a UTC time as messages do."""
    if not time.microsecond:  # msgspec leaves out a fraction of zero
        return time.isoformat(timespec="microseconds")[:-6] + "Z"
    return _to_json(time)[1:-1].decode()


@lru_cache(maxsize=CELLS_MAX)
def cell(text: str) -> str:
    """Write free text as one cell: quoted where CSV needs it, without characters that would end the row."""
    text = _ROW_ENDS.sub(" ", text[:CELL_MAX_CHARS])
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"') else text


def described_columns() -> dict[str, dict[str, dict[str, str]]]:
    """Describe the columns of each kind of session file, with their units, for the sidecar."""
    described: dict[str, dict[str, dict[str, str]]] = {}
    for kind, columns in COLUMNS.items():
        contract = fields_of(Reading if kind == READINGS else RawBlock)
        of_kind = described[f"{kind}.csv"] = {}
        for column in columns:
            field = contract.get(column) if column not in _DESCRIPTIONS else None
            words = _DESCRIPTIONS.get(column) or (field.doc if field else "")
            of_kind[column] = {"description": words, **({"unit": field.unit} if field and field.unit else {})}
    return described


def _checked(cells: str) -> bytes:
    content = cells.encode()
    return b"%s%08x\n" % (content, zlib.crc32(content))


def _rows(lines: list[bytes], are_good: list[bool] | None) -> Rows:
    """Return the rows between the header and the last end of a line; None: all are good."""
    header = lines[0] if len(lines) > 1 else b""
    if are_good is None:
        return Rows(header, lines[1:-1], [], len(lines[-1]))
    faulty = [number for number, is_good in enumerate(are_good, 2) if not is_good]
    return Rows(header, list(itertools.compress(lines[1:-1], are_good)), faulty, len(lines[-1]))
