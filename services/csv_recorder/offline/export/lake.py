"""Writes sessions into a lake: Parquet files by site, day and class, in a folder or in S3.

Each file lists its sessions in its own metadata and is replaced in one step. So the lake itself says what is in it, and
a program that is killed leaves no session half written. Readings are written last: a session is complete when the
readings list it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem

from csv_recorder.live.output import write_whole
from csv_recorder.offline.export.exporter import day_and_class, partition, tables
from csv_recorder.offline.forget_inbox import Student
from csv_recorder.offline.lessons import parts_of
from csv_recorder.offline.report.attendance import in_lesson
from csv_recorder.settings import S3
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import EVENTS, RAW, READINGS
from neuroone.data import readings
from neuroone.data.recordings import Recording

LISTED: Final = b"neuroone.sessions"
"""The key of a file's metadata that lists its sessions, each with its version, as JSON."""
FORMAT: Final = 1
"""The number of the lake's columns: with another one every session is written anew."""
KINDS: Final = (RAW, EVENTS, READINGS)
WHOSE: Final = ("recording", "group", "source", "name")
"""The columns that say whose a row is, in each kind of files."""
PART_ROWS_MAX: Final = 1_000_000
"""Rows from which on another file begins, about 25 MB of readings: a file is read and written whole for each change."""
BATCH_BYTES: Final = 16_000_000
"""Bytes of recorded files that are written at a time: 40 hours of readings, or 2 hours of raw samples, which take
0.4 GB of memory."""
_PART: Final = re.compile(r"(.+)-([1-9][0-9]*)\.parquet\Z")
"""The name of a file: its exporter, and its number."""


@dataclass(slots=True, eq=False)
class Part:
    """A file of the lake: its sessions and their versions; those to ``drop``, and those to ``add`` with tables."""

    folder: str
    instance: str
    number: int
    rows: int = 0
    sessions: Mapping[str, str] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    add: dict[str, tuple[str, pa.Table]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Return the file's path in the lake."""
        return f"{self.folder}/{self.instance}-{self.number}.parquet"


@dataclass(frozen=True, slots=True)
class Session:
    """A session on its way into the lake. Its ``version`` changes with everything that its sidecar says."""

    recording: Recording
    key: str
    folder: str
    version: str

    @classmethod
    def of(cls, recording: Recording) -> "Session":
        """Return the session of a recording."""
        about = recording.about
        text = json.dumps([FORMAT, about], sort_keys=True, default=str)
        key = f"{recording.label}_{about.get('session') or ''}"
        return cls(recording, key, day_and_class(recording), blake2b(text.encode(), digest_size=8).hexdigest())

    @property
    def day(self) -> str:
        """Return the folders with the sessions of the same site and day."""
        return f"{partition('site', str(self.recording.about.get('site') or ''))}/{self.folder.partition('/')[0]}"

    @property
    def size_bytes(self) -> int:
        """Return the size of the recorded files. Raises OSError."""
        return sum(path.stat().st_size for kind in KINDS for path in self.recording.files(kind))


class Storage:
    """The files of a lake by their paths in it. Methods raise OSError if the folder or S3 refuses."""

    def __init__(self, target: str) -> None:
        """Open the place. Credentials of S3 come from the environment, as pyarrow finds them."""
        self._folder = None if target.startswith(S3) else Path(target).absolute()
        if self._folder is None:
            self._files, self._base = FileSystem.from_uri(target)
            self._base = self._base.rstrip("/")
        else:
            self._files, self._base = LocalFileSystem(), self._folder.as_posix()

    def parts(self, folder: str, instance: str | None = None) -> list[Part]:
        """Return the files of one exporter, or of all, under a folder, in the order of their numbers."""
        found = []
        for info in self._files.get_file_info(
            FileSelector(f"{self._base}/{folder}", allow_not_found=True, recursive=True)
        ):
            name = _PART.match(info.base_name)
            if name and info.is_file and instance in (None, name[1]):
                below = info.path.removeprefix(f"{self._base}/").rpartition("/")[0]
                found.append(Part(below, name[1], int(name[2]), *self._listed(info.path)))
        return sorted(found, key=lambda each: each.number)

    def read(self, part: Part, columns: Sequence[str] | None = None) -> list[pa.Table]:
        """Read the groups of rows of a file, or some of their columns; one without rows if there are none."""
        with self._files.open_input_file(f"{self._base}/{part.path}") as stream:
            file = pq.ParquetFile(stream)
            groups = [file.read_row_group(number, columns) for number in range(file.num_row_groups)]
            return groups or [file.read(columns)]

    def put(self, part: Part, content: pa.Buffer) -> None:
        """Write a file, or replace it in one step."""
        if self._folder is not None:
            path = self._folder / part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content.to_pybytes())
            return
        with self._files.open_output_stream(f"{self._base}/{part.path}") as stream:
            stream.write(content)

    def delete(self, part: Part) -> None:
        """Delete a file."""
        self._files.delete_file(f"{self._base}/{part.path}")

    def _listed(self, path: str) -> tuple[int, dict[str, str]]:
        """Return the rows and the sessions of a file; none of a damaged one: it is written anew."""
        try:
            with self._files.open_input_file(path) as file:
                about = pq.read_metadata(file)
            sessions = json.loads((about.metadata or {}).get(LISTED, b"{}"))
        except ValueError:  # as pyarrow's ArrowInvalid is
            return 0, {}
        except OSError as error:
            if self._folder is None or error.errno is not None:
                raise
            return 0, {}  # damage, for which pyarrow has the same error without a number
        return about.num_rows, sessions if isinstance(sessions, dict) else {}


class Lake:
    """Adds sessions to a lake: each is in it once, in its newest version. ``faults`` says which cannot be read."""

    def __init__(self, storage: Storage, instance: str) -> None:
        self._storage = storage
        self._instance = instance
        self.faults: dict[Path, str] = {}

    def add(self, recordings: Iterable[Recording], is_stopped: Callable[[], bool] = lambda: False) -> Iterator[Path]:
        """Add closed sessions, and yield the path of each that is in the lake. Raises OSError and ArrowException."""
        self.faults.clear()
        days: defaultdict[str, dict[str, Session]] = defaultdict(dict)
        for session in map(Session.of, recordings):
            days[session.day][session.key] = session
        for day, sessions in days.items():
            held = self._storage.parts(f"{READINGS}/{day}", self._instance)
            missing = []
            for session in sessions.values():
                places = [(each.folder, each.sessions[session.key]) for each in held if session.key in each.sessions]
                if places == [(_folder(READINGS, session), session.version)]:
                    yield session.recording.path
                else:
                    missing.append(session)
            for batch in self._batches(missing):
                if is_stopped():
                    return
                for kind in KINDS:
                    self._change(kind, day, [(session, found[kind]) for session, found in batch])
                yield from (session.recording.path for session, _ in batch)

    def _batches(self, sessions: Iterable[Session]) -> Iterator[list[tuple[Session, dict[str, pa.Table]]]]:
        """Read sessions, and yield some at a time."""
        batch, size_bytes = [], 0
        for session in sessions:
            try:
                size_bytes += session.size_bytes
                batch.append((session, _tables(session)))
            except Exception as error:  # noqa: BLE001 (also a fault of ours is that session's alone)
                self.faults[session.recording.path] = str(error)
            if size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _change(self, kind: str, day: str, sessions: Iterable[tuple[Session, pa.Table]]) -> None:
        """Bring sessions of one day into the files of a kind, and older versions of them out."""
        parts = self._storage.parts(f"{kind}/{day}", self._instance)
        for session, table in sessions:
            folder = _folder(kind, session)
            holders = [each for each in parts if session.key in each.sessions]
            here = [each for each in holders if each.folder == folder]
            right = [each for each in here if each.sessions[session.key] == session.version][:1]
            for each in holders:
                if each not in right:
                    each.drop.add(session.key)
            if not right and (len(table) or kind == READINGS):
                part = here[0] if here else _with_room(parts, folder, self._instance)
                part.add[session.key] = (session.version, table)
                part.rows += len(table)
        # Those that only drop first, then those that also drop: a session that moves must not be there twice.
        for each in sorted(parts, key=lambda part: (bool(part.add), not part.drop)):
            if each.drop or each.add:
                _write(self._storage, each)


def find_student(target: str, site: str, student: Student) -> tuple[int, Callable[[], None]]:
    """Return how many sessions of a student a lake has, and what removes them. Raises SettingsError."""
    parts, keys = [], set()
    with _named_faults():
        storage = Storage(target)
        for kind in KINDS:
            for part in storage.parts(f"{kind}/{partition('site', site)}"):
                parts.append(part)
                rows = pa.concat_tables(storage.read(part, WHOSE), promote_options="permissive")
                for whose in rows.group_by([*WHOSE]).aggregate([]).to_pylist():
                    if student.is_of(f"{whose['group']}/{whose['source']}", whose["name"]):
                        keys.add(whose["recording"])

    def remove() -> None:
        with _named_faults():
            for part in parts:
                part.drop = keys & part.sessions.keys()
                if part.drop:
                    _write(storage, part)

    return len(keys), remove


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SettingsError([f"--lake: {error}"]) from None


def _write(storage: Storage, part: Part) -> None:
    kept = {key: version for key, version in part.sessions.items() if key not in part.drop}
    sessions = kept | {key: version for key, (version, _) in part.add.items()}
    if not sessions:
        storage.delete(part)
        return
    old = storage.read(part) if kept else []
    if part.drop:
        old = [each.filter(pc.is_in(each["recording"], pa.array([*kept], each["recording"].type))) for each in old]
    new = [table for _, table in part.add.values()]
    storage.put(
        part, _content([*old, *([pa.concat_tables(new, promote_options="permissive")] if new else [])], sessions)
    )


def _content(groups: Sequence[pa.Table], sessions: Mapping[str, str]) -> pa.Buffer:
    """Return the content of a file with these groups of rows, and its list of sessions.

    The bytes of the first groups are those that they had in the file before. So a query that has read the end of the
    old file, which says where its groups lie, finds them in the new one, too.
    """
    schema = pa.unify_schemas([each.schema.remove_metadata() for each in groups], promote_options="permissive")
    stream = pa.BufferOutputStream()
    listed = schema.with_metadata({LISTED: json.dumps(sessions).encode()})
    with pq.ParquetWriter(stream, listed, compression="zstd") as writer:
        for each in groups:
            if len(each):
                writer.write_table(each.cast(schema), row_group_size=len(each))
    return stream.getvalue()


def _folder(kind: str, session: Session) -> str:
    return f"{kind}/{session.day}/{session.folder.partition('/')[2]}"


def _with_room(parts: list[Part], folder: str, instance: str) -> Part:
    """Return a file of a folder that lists nothing (a damaged one), or the last if more fits into it, or a new one."""
    here = [each for each in parts if each.folder == folder]
    found = next((each for each in here if not (each.sessions or each.add)), here[-1] if here else None)
    if found is None or found.rows >= PART_ROWS_MAX:
        found = Part(folder, instance, here[-1].number + 1 if here else 1)
        parts.append(found)
    return found


def _tables(session: Session) -> dict[str, pa.Table]:
    """Return the tables of a session, each row with the session's key. Raises Unreadable and OSError."""
    found = tables(session.recording)
    found[READINGS] = _with_lessons(session.recording, found[READINGS])
    return {
        kind: pa.Table.from_pandas(frame.assign(recording=session.key), preserve_index=False)
        for kind, frame in found.items()
    }


def _with_lessons(recording: Recording, frame: pd.DataFrame) -> pd.DataFrame:
    """Add the lesson of each reading, and whether a report by lesson counts it: one beside the lessons it does not."""
    parts = parts_of(recording.about)
    names = pd.Series(pd.NA, index=frame.index, dtype="str")
    began = names.copy()
    if parts:
        found = readings.read(recording)
        for part in {each.key: each for each in parts}.values():
            is_in = in_lesson(found, parts, part.key)
            names[is_in], began[is_in] = part.name, part.began
    return frame.assign(lesson=names, lesson_began=began, in_report=began.notna() if parts else True)
