"""Records deliveries, and decides when they may be acknowledged.

A batch goes into the inbox in one transaction, and is acknowledged after it. Its rows go to the files in the order of
their seq. From time to time the files are synced and the inbox forgets those rows. A disk fault stops all of this
before the acknowledgement, and the batch is tried again.
"""

import errno
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from csv_recorder.live import dead_letters
from csv_recorder.live.inbox import File, Inbox, Row
from csv_recorder.live.reorder import ReorderBuffer
from csv_recorder.live.sessions import SEQ_JUMP_MAX, Session
from csv_recorder.live.sidecar import write_sidecar
from csv_recorder.live.student_files import StudentFiles
from csv_recorder.live.writer import Writer, write_whole
from neuroone.contract import files
from neuroone.contract.errors import BadMessage, ContractError, SettingsError
from neuroone.contract.messages import (
    EventType,
    GroupEvent,
    RawBlock,
    Reading,
    RecordedStream,
    StreamState,
    StreamStatus,
)
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.session import SESSION_EXPIRY_S

SESSIONS_MAX: Final = 20_000
"""Sessions kept in memory for speed, 20 MB; beyond that, closed ones are read from the inbox again."""
IDLE_S: Final = 3600.0
"""A session without an end is closed after an hour without a reading; a later reading opens it again."""
AFTER_END_S: Final = 10.0
"""Readings that were under way when a stream ended have arrived by then."""
UNSETTLED_MAX_BYTES: Final = 256 * 2**20
"""Rows whose files are not synced, 100 s at 10,000 rows/s; beyond that, no batch is accepted until they are."""
SIDECARS_A_TURN: Final = 20
"""Sidecars written between two batches: a class of 30 needs two turns, 1000 students less than a minute."""
COUNTERS: Final = (
    *("rows", "raw_blocks", "events", "duplicates", "gaps", "unnamed", "dead_letters", "dead_letters_dropped"),
    *("disk_faults", "mended_files", "sessions_opened", "sessions_closed", "rows_taken_away"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is written. ``csv``: also ``{Nome}.csv``. A session continues in a new file at a size or an age."""

    site: str = "local"
    version: str = "0"
    csv: bool = True
    rotate_bytes: int = 64 * 2**20
    rotate_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """The files of one moment while they are synced: their ``sizes`` by id, and their paths."""

    batch: int
    batch_bytes: int
    held: list[Row]
    sizes: dict[int, int]
    files: list[str]
    folders: set[str]


@dataclass(slots=True)
class _Batch:
    """The effects of deliveries within one transaction.

    ``readings`` hold the session, the seq that it expected, and the reading's seq and rows.
    """

    readings: list[tuple[Session, int, int, list[Row]]] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    touched: dict[int, Session] = field(default_factory=dict)
    doubles: list[tuple[int, int]] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)


class Recorder:
    """Records into a directory. ``clock`` returns seconds since 1970. One thread uses it."""

    def __init__(self, directory: Path, options: Options = Options(), clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._options = options
        self._clock = clock
        self._inbox = Inbox(directory / files.INBOX_FILE)
        self._writer = Writer(directory)
        self._student_files = StudentFiles(self._inbox, self._writer.adopt)
        self._by_id: dict[int, File] = {}
        self._sessions: dict[tuple[str, str], Session] = {}
        self._of_session: dict[int | None, list[File]] = {}
        self._status: dict[int, StreamStatus] = {}
        self._classes: dict[str, str] = {}
        self._parts: dict[tuple[int, str], File] = {}
        self._buffers: dict[int, ReorderBuffer[list[Row]]] = {}
        self._ready: dict[int, list[bytes]] = {}
        self._doubles: dict[int, list[int]] = {}
        self._unsynced: set[int] = set()
        self._unsettled_bytes = 0
        self._folders: set[str] = set()
        self._changed: dict[tuple[str, str], None] = {}
        self._described: dict[int, Session] = {}
        self._notes: list[tuple[int, str, tuple[int, int] | None, str]] = []
        self._undescribed: dict[int, Session] = {}
        self._inode = 0
        self._indexed = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    @property
    def unwritten(self) -> int:
        """Count the rows that wait for their files or for an earlier reading."""
        return sum(map(len, self._ready.values())) + sum(len(buffer.held) for buffer in self._buffers.values())

    @property
    def is_full(self) -> bool:
        """Return True if so much waits for a sync that no batch should be accepted."""
        return self._unsettled_bytes > UNSETTLED_MAX_BYTES

    def open(self) -> None:
        """Open the directory and repair what a crash left. Raises SettingsError."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._inbox.open()
            self._inode = _inode(self._directory / files.INBOX_FILE)
            self._load()
            self._mend(self._inbox.waiting())
            self._note_in_all("recorder_start")
            self.settle()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise SettingsError([f"--dir: another recorder uses {self._directory}"]) from None
            raise SettingsError([f"--dir: {self._directory} is not writable ({error})"]) from None
        except sqlite3.DatabaseError as error:
            raise SettingsError([f"--dir: {self._directory / files.INBOX_FILE} is damaged: {error}"]) from None
        except OSError as error:
            raise SettingsError([f"--dir: {self._directory} is not writable ({error.strerror})"]) from None

    def replace_filters(self, filters: Collection[str]) -> set[str]:
        """Store the present subscriptions; return those of earlier runs that are obsolete."""
        with self._inbox.transaction():
            return self._inbox.add_filters(filters)

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Make a batch durable; it may be acknowledged when this returns.

        Raises OSError or sqlite3.Error if the disk refuses; then nothing is recorded, and the batch may come again.
        """
        if len(self._sessions) >= SESSIONS_MAX:  # not within a batch, when they are ahead of the inbox
            self._sessions = {key: session for key, session in self._sessions.items() if session.open}
        self._check_directory()
        batch = _Batch()
        size_bytes = 0
        with self._transaction():
            for delivery in deliveries:
                self._accept_delivery(delivery, batch)
            rows = [row for reading in batch.readings for row in reading[3]] + batch.others
            if rows:
                size_bytes = self._inbox.put(rows)
            self._inbox.save(batch.touched.values())
        self._unsettled_bytes += size_bytes
        self._changed.update(dict.fromkeys((each.stream, each.session) for each in batch.touched.values()))
        for session, next_seq, seq, rows in batch.readings:
            buffer = self._buffers.get(session.id)
            if buffer is None:
                buffer = self._buffers[session.id] = ReorderBuffer(next_seq)
            buffer.held[seq] = rows
        self._queue(batch.others)
        for id, seq in batch.doubles:
            self._doubles.setdefault(id, []).append(seq)
        if batch.letters:
            path = self._directory / files.DEAD_LETTERS_FILE
            self.counters["dead_letters_dropped"] += dead_letters.keep(path, batch.letters)

    def write(self, *, all: bool = False) -> None:
        """Append rows to the files; with ``all``, also those that wait for an earlier reading.

        Raises OSError; the next call tries again what was not written.
        """
        now_s = self._clock()
        for id, buffer in tuple(self._buffers.items()):
            items, holes = buffer.pop(now_s, all=all)
            for rows in items:
                self._queue(rows)
            self._notes += [(id, "gap", hole, "") for hole in holes]
            if not buffer.held:
                del self._buffers[id]
        for id, seqs in tuple(self._doubles.items()):
            self._notes.append((id, "duplicates", (min(seqs), max(seqs)), str(len(seqs))))
            del self._doubles[id]
        self._write_notes()
        for file, contents in tuple(self._ready.items()):
            known = self._by_id[file]
            if not known.size_bytes:
                self._folders.update(map(str, PurePosixPath(known.path).parents))
            known.size_bytes = self._writer.append(known.path, files.header_of(known.path), b"".join(contents))
            known.is_full |= known.size_bytes >= self._options.rotate_bytes
            self._unsynced.add(file)
            del self._ready[file]

    def begin_settling(self) -> Settling | None:
        """Return what to sync now, for `sync` in any thread and then `finish_settling` in this one.

        Raises OSError or sqlite3.Error.
        """
        self.write()
        if not self._unsynced:
            return None
        unsynced = [self._by_id[id] for id in self._unsynced]
        settling = Settling(
            batch=self._inbox.last_batch(),
            batch_bytes=self._unsettled_bytes,
            held=[row for buffer in self._buffers.values() for rows in buffer.held.values() for row in rows],
            sizes={file.id: file.size_bytes for file in unsynced},
            files=sorted(file.path for file in unsynced),
            folders=self._folders,
        )
        self._unsynced, self._folders = set(), set()
        return settling

    def sync(self, settling: Settling) -> None:
        """Sync the files to the disk. Raises OSError."""
        self._writer.sync(settling.files, settling.folders)

    def finish_settling(self, settling: Settling) -> None:
        """Remove the rows whose files are synced from the inbox. Raises sqlite3.Error or OSError."""
        try:
            with self._inbox.transaction():
                self._inbox.settle(settling.batch, settling.held, settling.sizes.items())
                self._inbox.prune(self._clock() - SESSION_EXPIRY_S)
        except BaseException:
            self.cancel_settling(settling)
            raise
        self._unsettled_bytes -= settling.batch_bytes
        for id, size in settling.sizes.items():
            if id in self._by_id:
                self._by_id[id].synced_bytes = size
        self._write_index()

    def cancel_settling(self, settling: Settling) -> None:
        """Sync these files again later, because their sync failed."""
        self._folders |= settling.folders
        self._unsynced |= settling.sizes.keys() & self._by_id.keys()

    def settle(self) -> None:
        """Sync the files in this thread. Raises OSError or sqlite3.Error."""
        settling = self.begin_settling()
        if settling is None:
            return
        try:
            self.sync(settling)
        except OSError:
            self.cancel_settling(settling)
            raise
        self.finish_settling(settling)

    def update_sessions(self, most: int = SIDECARS_A_TURN) -> int:
        """Close sessions that have ended and write sidecars, ``most`` of them; return their number. Call every second.

        Raises OSError or sqlite3.Error; the next call tries again what was not done.
        """
        self._end_old_parts()
        done = 0
        for id, session in tuple(self._described.items()):
            # A session without its folder has a first row that waits for an earlier reading: others are not to wait.
            if done < most and (self._directory / session.about["directory"]).exists():
                self._write_sidecar(session)
                del self._described[id]
                done += 1
        now_s = self._clock()
        for session in tuple(self._sessions.values()):
            if done >= most:
                break
            wait_s = AFTER_END_S if self._status.get(session.id) is StreamStatus.OFFLINE else IDLE_S
            if session.is_recording and now_s - session.last_s > wait_s:
                done += self._close(session)
        return done

    def receipts(self) -> list[RecordedStream]:
        """Return what became durable since the last call."""
        sessions = [self._sessions.get(key) or self._inbox.session(*key) for key in self._changed]
        self._changed.clear()
        return [session.receipt() for session in sessions if session is not None]

    def close(self, within_s: float = 10.0) -> None:
        """Sync the files, close as many sessions as the time allows, and close the inbox. Idempotent.

        Raises OSError or sqlite3.Error; all acknowledged readings are safe even then.
        """
        if not self._inbox.is_open:
            return
        until_s = time.monotonic() + within_s
        try:
            self.write(all=True)
            self._note_in_all("recorder_stop")
            self.settle()
            for session in tuple(self._sessions.values()):
                if session.is_recording and time.monotonic() < until_s:
                    self._close(session)
            self.settle()
        finally:
            self._inbox.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Change the inbox and the state in memory together; load the state again if that fails."""
        counted = dict(self.counters)
        try:
            with self._inbox.transaction():
                yield
                self._inbox.describe(self._undescribed.values())
        except BaseException:
            self.counters.update(counted)
            self._load()
            raise
        self._undescribed.clear()

    def _check_directory(self) -> None:
        """Begin a new inbox if somebody deleted it: rows would go into a file without a name. Raises OSError."""
        try:
            if _inode(self._directory / files.INBOX_FILE) == self._inode:
                return
        except FileNotFoundError:
            if not self._directory.is_dir():
                raise FileNotFoundError(errno.ENOENT, "the directory of the recordings is gone") from None
        log.error("the recordings were removed; starting again in %s", self._directory)
        self.counters["rows_taken_away"] += self.unwritten
        self._inbox.close()
        for waiting in (self._buffers, self._ready, self._doubles, self._unsynced, self._changed, self._described):
            waiting.clear()
        self._notes.clear()
        self._by_id.clear()
        self._folders.clear()
        self._unsettled_bytes = self._indexed = 0
        self.open()

    def _load(self) -> None:
        """Load the state from the inbox."""
        written = self._by_id
        self._by_id = self._inbox.files()
        for id, file in self._by_id.items():
            known = written.get(id)
            file.size_bytes = file.synced_bytes if known is None else known.size_bytes
        self._unsynced &= self._by_id.keys()
        self._student_files.load(self._by_id, self._clock())
        self._parts.clear()
        self._of_session.clear()
        for file in self._by_id.values():
            self._of_session.setdefault(file.session, []).append(file)
        self._undescribed.clear()
        self._sessions = {(each.stream, each.session): each for each in self._inbox.open_sessions()}
        described = (each for each in self._sessions.values() if each.id in self._described)
        self._described = {each.id: each for each in described}

    def _mend(self, waiting: dict[int, list[Row]]) -> None:
        """Repair files that may hold a part of the rows that wait, and queue the missing rows."""
        by_file: dict[int, list[bytes]] = {}
        for rows in waiting.values():
            for each in rows:
                by_file.setdefault(each.file, []).append(each.content)
        missing: dict[int, Counter[bytes]] = {}
        for id, contents in by_file.items():
            file = self._by_id[id]
            header = files.header_of(file.path)
            file.size_bytes, left = self._writer.mend(file.path, header, file.synced_bytes, contents)
            missing[id] = Counter(left)
            self._unsynced.add(id)
            self.counters["mended_files"] += 1
        sessions = {each.id: each for each in self._sessions.values()}
        for id, rows in waiting.items():
            session = sessions.get(id)
            first_seq = min((each.seq for each in rows if each.seq >= 0), default=0)
            # A hole that may still be filled; one before all rows that wait was given up long ago.
            hole = next((first for first, last in session.holes if last + 1 >= first_seq), None) if session else None
            for each in rows:
                if missing[each.file][each.content]:
                    missing[each.file][each.content] -= 1
                    if hole is not None and each.seq > hole:
                        buffer = self._buffers.setdefault(id, ReorderBuffer(hole))
                        buffer.held.setdefault(each.seq, []).append(each)
                    else:
                        self._queue([each])

    def _accept_delivery(self, delivery: Delivery, batch: _Batch) -> None:
        if not delivery.payload and delivery.topic.endswith("/state"):  # a gateway removed it from the broker
            return
        try:
            topic, message = delivery.open()
            of = "/".join(topic.ids)
            match message:
                case Reading():
                    self._on_reading(of, message, batch)
                case RawBlock():
                    self._on_raw(of, message, batch)
                case StreamState():
                    self._on_state(of, message, batch)
                case GroupEvent():
                    self._on_event(of, message, batch)
        except ContractError as error:
            self.counters["dead_letters"] += 1
            log.warning("message %d breaks the contract: %s", self.counters["dead_letters"], error)
            batch.letters.append(dead_letters.letter_of(delivery, error))

    def _on_reading(self, stream: str, reading: Reading, batch: _Batch) -> None:
        key = (stream, reading.session)
        session = self._sessions.get(key) or self._inbox.session(*key)
        if reading.seq - (-1 if session is None else session.seq) > SEQ_JUMP_MAX:
            raise BadMessage("seq", f"is more than {SEQ_JUMP_MAX} ahead of the session")
        session = self._sessions[key] = session or self._inbox.add_session(*key)
        batch.touched[session.id] = session
        next_seq, seq = session.seq + 1, reading.seq
        if not session.accept(seq):
            self.counters["duplicates"] += 1
            batch.doubles.append((session.id, seq))
            return
        self.counters["gaps"] += max(0, seq - next_seq)
        if not session.is_recording:
            self._begin(session, reading, batch)
        now_s = session.last_s = self._clock()
        rows = [Row(self._part(session, files.READINGS).id, session.id, seq, files.reading_row(reading))]
        if reading.name is None:
            self.counters["unnamed"] += 1
        elif self._options.csv:
            file = self._student_files.file_of(stream, reading.name, reading.code, now_s)
            rows.append(Row(file.id, session.id, seq, files.student_row(reading)))
        batch.readings.append((session, next_seq, seq, rows))
        self.counters["rows"] += 1

    def _on_raw(self, stream: str, block: RawBlock, batch: _Batch) -> None:
        """Accept a raw block, which comes with QoS 0, of a session that has a reading."""
        session = self._sessions.get((stream, block.session))
        if session is not None and session.is_recording:
            batch.others.append(Row(self._part(session, files.RAW).id, session.id, -1, files.raw_row(block)))
            self.counters["raw_blocks"] += 1

    def _on_state(self, stream: str, state: StreamState, batch: _Batch) -> None:
        if state.status is StreamStatus.OFFLINE:
            self._student_files.release(stream)
        session = self._sessions.get((stream, state.session))
        if session is None or not session.is_recording:
            return
        if self._status.get(session.id, StreamStatus.ONLINE) is state.status:
            return
        self._status[session.id] = state.status
        batch.others.append(self._event_row(session, files.event_row(state.time, str(state.status))))

    def _on_event(self, group: str, event: GroupEvent, batch: _Batch) -> None:
        if not self._inbox.is_new_event(event.id, self._clock()):
            self.counters["duplicates"] += 1
            return
        self.counters["events"] += 1
        content = files.event_row(event.time, str(event.type), text=event.text)
        batch.others.append(Row(self._file(files.group_events_path(event.time, group), None).id, 0, -1, content))
        if event.type is EventType.SESSION_START:
            self._classes[group] = event.text
        elif event.type is EventType.SESSION_STOP:
            self._classes.pop(group, None)
        for session in self._sessions.values():
            in_group, _, source = session.stream.partition("/")
            if session.is_recording and in_group == group and event.source in (None, source):
                batch.others.append(self._event_row(session, content))
                if event.type is EventType.SESSION_START:
                    self._describe(session, **{"class": event.text})

    def _begin(self, session: Session, reading: Reading, batch: _Batch) -> None:
        """Open a session at its first reading, or at the first one after it was closed."""
        session.open = True
        self._status[session.id] = StreamStatus.ONLINE
        if session.about:
            batch.others.append(self._event_row(session, files.event_row(reading.time, "online")))
            return
        self.counters["sessions_opened"] += 1
        group = session.stream.partition("/")[0]
        self._describe(
            session,
            directory=self._new_directory(reading.time, session.stream),
            kind=str(reading.kind),
            name=reading.name,
            code=reading.code,
            start=files.time_text(reading.time),
            parts={},
            **{"class": self._classes.get(group)},
        )

    def _new_directory(self, time: datetime, stream: str) -> str:
        candidates = files.session_folders(time, stream)
        return next(
            each
            for each in candidates
            if not (self._directory / each).exists()
            and self._inbox.file_by_key(files.file_key(f"{each}/{files.part_name(files.READINGS, 1)}")) is None
        )

    def _describe(self, session: Session, **about: object) -> None:
        session.about |= about
        self._undescribed[session.id] = self._described[session.id] = session

    def _part(self, session: Session, kind: str) -> File:
        """Return the file of a session for new rows of a kind."""
        file = self._parts.get((session.id, kind))
        if file is not None and not file.is_full:
            return file
        parts = session.about["parts"]
        number, since_s = parts.get(kind, (0, 0.0))
        if file is not None or not number:
            number, since_s = number + 1, self._clock()
            self._describe(session, parts={**parts, kind: (number, since_s)})
        file = self._parts[session.id, kind] = self._file(
            f"{session.about['directory']}/{files.part_name(kind, number)}", session.id
        )
        return file

    def _end_old_parts(self) -> None:
        """Let sessions continue in new files if the present ones are too old."""
        before_s = self._clock() - self._options.rotate_s
        for session in self._sessions.values():
            if session.is_recording:
                for kind, (_, since_s) in session.about["parts"].items():
                    if since_s < before_s and (file := self._parts.get((session.id, kind))) is not None:
                        file.is_full = True

    def _file(self, path: str, session: int | None) -> File:
        known = self._inbox.file_by_key(files.file_key(path))
        if known is None:
            known = self._inbox.add_file(files.file_key(path), path, None, session, self._writer.adopt(path))
        if known.id not in self._by_id:
            self._by_id[known.id] = known
            self._of_session.setdefault(session, []).append(known)
        return self._by_id[known.id]

    def _event_row(self, session: Session, content: bytes) -> Row:
        return Row(self._part(session, files.EVENTS).id, session.id, -1, content)

    def _write_notes(self) -> None:
        """Record the events of the recording itself, as any other event."""
        if not self._notes:
            return
        now = datetime.fromtimestamp(self._clock(), UTC)
        sessions = {each.id: each for each in self._sessions.values() if each.is_recording}
        with self._transaction():
            rows = [
                self._event_row(sessions[id], files.event_row(now, event, seqs, text))
                for id, event, seqs, text in self._notes
                if id in sessions
            ]
            size_bytes = self._inbox.put(rows)
        self._unsettled_bytes += size_bytes
        self._notes.clear()
        self._queue(rows)

    def _queue(self, rows: Iterable[Row]) -> None:
        for each in rows:
            self._ready.setdefault(each.file, []).append(each.content)

    def _note_in_all(self, event: str) -> None:
        self._notes += [(each.id, event, None, "") for each in self._sessions.values() if each.is_recording]

    def _close(self, session: Session) -> bool:
        """Close a session; return False if its files are not synced yet."""
        of_session = self._of_session.get(session.id, [])
        if session.id in self._buffers or any(file.size_bytes != file.synced_bytes for file in of_session):
            return False
        session.open = False
        try:
            self._write_sidecar(session)
            with self._inbox.transaction():
                self._inbox.save([session])
                self._inbox.forget_files(session.id)
        except BaseException:
            session.open = True
            raise
        for file in self._of_session.pop(session.id, []):
            del self._by_id[file.id]
        for kind in files.COLUMNS:
            self._parts.pop((session.id, kind), None)
        self._status.pop(session.id, None)
        self._described.pop(session.id, None)
        self.counters["sessions_closed"] += 1
        return True

    def _write_sidecar(self, session: Session) -> None:
        folder = self._directory / session.about["directory"]
        write_sidecar(folder, session, self._options.site, self._options.version)

    def _write_index(self) -> None:
        """Write the file of every name, for people who look for one."""
        path = self._directory / files.INDEX
        named = [(file.name, file.path) for file in self._by_id.values() if file.name is not None]
        if len(named) == self._indexed and (path.exists() or not named):
            return  # no name goes while a recorder runs
        write_whole(path, files.index_content(named))
        self._indexed = len(named)


def _inode(path: Path) -> int:
    return path.stat().st_ino
