"""The recorder without a network: intake, writer and descriptions of sessions around one inbox.

A fault of a file or of a session is that one's alone. A fault of the inbox holds up the acknowledgements; after one
that leaves in doubt what is stored, everything in memory begins again from what is stored.
"""

import contextlib
import errno
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from csv_recorder.live.dead_letters import LetterLog
from csv_recorder.live.descriptions import Describing, Descriptions
from csv_recorder.live.inbox import Inbox, check_whole, words_of_refusal
from csv_recorder.live.intake import Batch, Intake
from csv_recorder.live.output import HANDLES_MAX, Disk
from csv_recorder.live.outputs import Outputs
from csv_recorder.live.reorder import Hole
from csv_recorder.live.rows import Kind, Row
from csv_recorder.live.sessions import Sessions
from csv_recorder.live.student_files import write_index
from csv_recorder.live.writer import Settling, Writer
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import INBOX_FILE, INDEX, event_row
from neuroone.contract.messages import RecordedStream
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.session import SESSION_EXPIRY_S

UNSETTLED_MAX_BYTES: Final = 64 * 2**20
"""Rows whose files are not synced: 20 s at 10,000 rows/s. Then nothing is accepted until they are."""
TURN_MIN_S: Final = 1.0
TURN_MAX_S: Final = 5.0
TURN_OF_SESSION_S: Final = 0.002
"""A class sees its rows after a second, 2500 students after five. The inbox is what is durable."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is written, as the settings of these names say. ``handles_max`` files are kept open."""

    site: str = "local"
    version: str = "0"
    csv: bool = True
    raw: bool = True
    rotate_bytes: int = 64 * 2**20
    rotate_s: float = 24 * 3600.0
    handles_max: int = HANDLES_MAX
    shard: str = ""


@dataclass(slots=True)
class _Stored:
    """Where the inbox stands: its file, its newest batch, and how much of it is not settled.

    The oldest row that is not settled is there since ``unsettled_since_s`` of the steady clock; infinite for none.
    A ``generation`` ends when memory begins again from what is stored: what was under way belongs to an earlier one.
    The progress of ``changed`` sessions is stored at the next settling.
    """

    generation: int = 0
    inode: int = 0
    last_batch: int = 0
    settled_batch: int = 0
    unsettled_bytes: int = 0
    unsettled_since_s: float = float("inf")
    ran_s: float = 0.0
    since_s: float = 0.0
    is_in_doubt: bool = False
    changed: dict[int, None] = field(default_factory=dict)


class Recorder:
    """Records into a directory. ``now`` is the wall clock, for stamps only; ``steady`` is a steady clock.

    One thread uses it; only `sync` and `write_sidecars` may run in another.
    """

    def __init__(
        self,
        directory: Path,
        options: Options = Options(),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._now = now
        self._steady = steady
        self._inbox = Inbox(directory / INBOX_FILE, options.shard)
        self._sessions = Sessions()
        self._intake = Intake(self._inbox, self._sessions, steady, self._running_s, with_headsets=options.raw)
        self.disk = Disk(directory, options.handles_max)
        outputs = Outputs(
            self._inbox,
            self.disk,
            self._sessions,
            steady,
            rotate_bytes=options.rotate_bytes,
            rotate_s=options.rotate_s,
        )
        self._writer = Writer(self._inbox, self.disk, self._sessions, outputs, steady, with_students=options.csv)
        self._descriptions = Descriptions(
            directory, options.site, options.version, self._inbox, self._sessions, self._writer, steady
        )
        self._stored = _Stored()
        self._receipts: dict[tuple[str, str, str], None] = {}
        self._notes: list[Row] = []
        self._indexed = 0
        self._letter_log = LetterLog(steady)
        self._counters = dict.fromkeys(("rows_taken_away", "restarts_from_stored"), 0)

    # --- what others ask -------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """Return what was counted since the start."""
        others = {"sessions_closed": self._descriptions.closed, "disk_faults": self.disk.faults.total()}
        return {**self._intake.counters, **self._writer.counters, **self._counters, **others}

    @property
    def unwritten(self) -> int:
        """Count the rows that wait for their files."""
        return self._writer.unwritten

    @property
    def turn_s(self) -> float:
        """Return the time between two writes to the files: a system call for each file, so longer for thousands."""
        return min(TURN_MAX_S, max(TURN_MIN_S, self._sessions.recording * TURN_OF_SESSION_S))

    @property
    def is_full(self) -> bool:
        """Return True if so much waits for a sync that nothing more should be accepted."""
        return self._stored.unsettled_bytes > UNSETTLED_MAX_BYTES

    def gauges(self) -> dict[str, float]:
        """Return values of the moment for metrics. The age is that of the oldest row that is not synced in its file."""
        now_s = self._steady()
        since_s = min(now_s, self._stored.unsettled_since_s, self._writer.owing_since_s)
        return {
            "unwritten_rows": self.unwritten,
            "oldest_unsettled_row_age_seconds": now_s - since_s,
            "sessions_open": self._sessions.recording,
        }

    def faults(self) -> list[str]:
        """Return what keeps files and sessions from being written, in words without a name: that may be a child's."""
        words = [f"file {number} cannot be written ({reason})" for number, reason in self._writer.faults()]
        sessions = self._descriptions.faults.items()
        return words + [f"the sidecar of session {id} cannot be written ({fault.reason})" for id, fault in sessions]

    # --- opening and closing ---------------------------------------------------------------------

    def open(self) -> None:
        """Open the directory, and begin with what is stored. Raises SettingsError in a sentence."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            check_whole(self._directory)
            self._begin()
            self._note_in_all("recorder_start")
            self.settle()
        except sqlite3.Error as error:
            self._inbox.close()
            raise SettingsError([f"--dir: {words_of_refusal(self._directory / INBOX_FILE, error)}"]) from None
        except OSError as error:
            raise SettingsError([f"--dir: {self._directory} is not writable ({error.strerror})"]) from None

    def close(self, within_s: float = 10.0) -> None:
        """Settle, close the sessions as far as the time allows, and close the inbox. Idempotent.

        Raises OSError or sqlite3.Error; what is acknowledged is safe then, too.
        """
        if not self._inbox.is_open:
            return
        until_s = time.monotonic() + within_s
        try:
            self._write(all=True)
            self._note_in_all("recorder_stop")
            self.settle()
            while self.update_sessions(closes_all=True) and time.monotonic() < until_s:
                pass
        finally:
            self._inbox.close()
            self._writer.close()

    def _begin(self) -> None:
        """Open the inbox and begin with what is stored. Raises sqlite3.Error or OSError."""
        stored = self._stored
        self._inbox.open(is_in_doubt=stored.is_in_doubt)
        stored.generation += 1
        self._indexed = 0
        stored.inode = self._inode()
        stored.ran_s, stored.since_s = self._inbox.running_s(), self._steady()
        stored.last_batch, stored.settled_batch, stored.unsettled_bytes = self._inbox.last_batch(), 0, 0
        stored.is_in_doubt, stored.unsettled_since_s = False, float("inf")
        self._notes.clear()
        sessions = self._inbox.open_sessions()
        by_id = {session.id: session for session in sessions}
        waiting = [*self._inbox.waiting()]
        for row in waiting:
            stored.unsettled_since_s = stored.since_s
            if row.kind in (Kind.READING, Kind.READING_ALONE) and row.owner in by_id:
                session = by_id[row.owner]
                session.progress = session.progress.with_reading(row.seq) or session.progress
        for session in sessions:
            session.active_s = stored.since_s
        stored.changed = dict.fromkeys(session.id for session in sessions)
        self._sessions.replace(sessions)
        self._intake.load()
        self._writer.load(waiting)
        self._descriptions.load()

    def _begin_again(self) -> None:
        """Begin again from what is stored. Raises sqlite3.Error or OSError, and may be called again."""
        self._stored.is_in_doubt = True
        self._inbox.close()
        self._counters["restarts_from_stored"] += 1
        self._begin()

    # --- intake ----------------------------------------------------------------------------------

    def replace_filters(self, filters: Iterable[str]) -> set[str]:
        """Store what is subscribed to now; return the filters of earlier runs that are not wanted any more."""
        self._inbox.begin()
        old = self._inbox.filters()
        self._inbox.note_filters(filters)
        self._inbox.commit()
        return old - set(filters)

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Make a batch durable: when this returns, it may be acknowledged.

        Raises OSError or sqlite3.Error if the inbox refuses; then the same batch may be given again.
        """
        self._check_inbox()
        self._sessions.forget_closed()
        try:
            with self._transaction():
                batch = self._intake.accept(deliveries)
        except (OSError, sqlite3.Error):
            raise
        except Exception as error:  # a fault of ours: one message must not stop everybody
            if len(deliveries) > 1:
                half = len(deliveries) // 2
                self.accept(deliveries[:half])
                self.accept(deliveries[half:])
                return
            if self._letter_log.traceback_is_due():
                log.error("a fault of ours: a message cannot be recorded and is kept as an invalid one", exc_info=error)
            self._check_inbox()
            with self._transaction():
                batch = self._intake.set_aside(deliveries[0], error)
        self._accepted(batch)
        self._receipts.update(batch.streams)
        for session in batch.described.values():
            self._descriptions.add(session)
        now = self._now()
        for id, seqs in batch.duplicates.items():
            known = self._sessions.by_id(id)
            if known is not None and known.is_recording:
                content = event_row(now, "duplicates", (min(seqs), max(seqs)), str(len(seqs)))
                self._notes.append(Row(id, Kind.EVENT, -1, content))
        self._letter_log.add(batch.faults)

    def receipts(self) -> list[RecordedStream]:
        """Return what became durable since the last call."""
        streams = []
        for group, source, id in self._receipts:
            session = self._sessions.by_key((group, id)) or self._inbox.session(group, id)
            if session is not None:
                streams.append(session.receipt(group, source))
        self._receipts.clear()
        return streams

    def _accepted(self, batch: Batch) -> None:
        if batch.number:
            self._stored.last_batch = batch.number
            self._stored.unsettled_since_s = min(self._stored.unsettled_since_s, self._steady())
        self._stored.unsettled_bytes += batch.size_bytes
        self._stored.changed.update(dict.fromkeys(batch.progress))
        self._writer.distribute(batch.rows, batch.next_seqs, batch.released)

    def _check_inbox(self) -> None:
        """Begin again if the inbox is in doubt, or not the file that it was. Raises OSError or sqlite3.Error."""
        stored = self._stored
        if not stored.is_in_doubt:
            try:
                if self._inode() == stored.inode:
                    return
            except FileNotFoundError:
                if not self._directory.is_dir():
                    raise FileNotFoundError(errno.ENOENT, "the directory of the recordings is gone") from None
            log.error("the recordings were taken away: beginning anew with what is in the directory now")
            self._counters["rows_taken_away"] += self.unwritten
        self._begin_again()

    def _inode(self) -> int:
        return (self._directory / INBOX_FILE).stat().st_ino

    @contextlib.contextmanager
    def _transaction(self, *, on_copies: bool = True) -> Iterator[None]:
        """Undo what the inbox refused.

        Where even that fails, or is in doubt, or memory is ahead of it, everything begins again from what is stored.
        """
        try:
            yield
        except BaseException as error:
            is_harmless = on_copies and getattr(error, "sqlite_errorcode", None) in _HARMLESS
            try:
                self._inbox.rollback()
            except sqlite3.Error:
                is_harmless = False
            if not is_harmless:
                self._stored.is_in_doubt = True
            raise

    # --- writing and settling --------------------------------------------------------------------

    def write(self, *, all: bool = False) -> None:
        """Append to the files what has its turn, with ``all`` also what waits for an earlier reading.

        Raises OSError or sqlite3.Error for a fault of the inbox; a fault of a file is one of `faults`.
        """
        self._check_inbox()
        self._write(all=all)

    def _write(self, *, all: bool = False) -> None:
        self._letter_log.write(all=all)
        with self._transaction(on_copies=False):
            holes = self._writer.write(all=all)
        self._note_holes(holes)
        if not self._notes:
            return
        notes, self._notes = self._notes, []
        with self._transaction():
            batch = self._intake.note(notes)
        self._accepted(batch)
        with self._transaction(on_copies=False):
            self._writer.write(all=all)

    def begin_settling(self) -> Settling | None:
        """Return what is to be synced now, for `sync` in any thread and then `finish_settling` in this one."""
        self.write()
        stored = self._stored
        changed = map(self._sessions.by_id, stored.changed)
        progress = [(each.id, each.progress) for each in changed if each is not None]
        settling = self._writer.begin_settling(stored.last_batch, progress)
        if not settling.outputs and not settling.owed and stored.settled_batch == stored.last_batch:
            return None
        settling.batch_bytes, settling.generation = stored.unsettled_bytes, stored.generation
        settling.began_s = self._steady()
        settling.since_s = min(settling.began_s, stored.unsettled_since_s)
        return settling

    def sync(self, settling: Settling) -> None:
        """Bring files onto the disk. May run in another thread. Raises OSError."""
        self._writer.sync(settling)

    def finish_settling(self, settling: Settling) -> None:
        """Let the inbox forget what is synced. Raises sqlite3.Error; the next settling has it then."""
        stored = self._stored
        if settling.generation != stored.generation or stored.is_in_doubt:
            return
        running_s = self._running_s()
        with self._transaction():
            is_settled = self._writer.finish_settling(settling, running_s, running_s - SESSION_EXPIRY_S)
        if is_settled:
            stored.settled_batch = settling.up_to
            stored.unsettled_since_s = settling.began_s if stored.last_batch > settling.up_to else float("inf")
            stored.unsettled_bytes -= settling.batch_bytes
            for id, progress in settling.progress:
                session = self._sessions.by_id(id)
                if session is None or session.progress is progress:
                    stored.changed.pop(id, None)
        while self._writer.with_new_parts:
            self._descriptions.add(self._writer.with_new_parts.pop())
        self._write_index()

    def settle(self) -> None:
        """Sync and forget at once. Raises OSError or sqlite3.Error."""
        settling = self.begin_settling()
        if settling is not None:
            self.sync(settling)
            self.finish_settling(settling)

    # --- sessions --------------------------------------------------------------------------------

    def begin_describing(self, *, closes_all: bool = False) -> Describing:
        """Return sidecars to write now, for `write_sidecars` in any thread and then `finish_describing` in this one."""
        if self._stored.is_in_doubt:
            return Describing([])  # a folder that the inbox does not have would get a sidecar
        return self._descriptions.begin(closes_all=closes_all)

    def write_sidecars(self, describing: Describing) -> None:
        """Write sidecars. May run in another thread."""
        self._descriptions.write(describing)

    def finish_describing(self, describing: Describing) -> None:
        """Close sessions that have ended. Raises sqlite3.Error."""
        for error in describing.failed.values():
            self.disk.count_fault(error)
        if not self._stored.is_in_doubt:
            with self._transaction():
                self._descriptions.finish(describing)

    def update_sessions(self, *, closes_all: bool = False) -> bool:
        """Write sidecars that are due and close what has ended; return False if there was nothing.

        Raises sqlite3.Error.
        """
        describing = self.begin_describing(closes_all=closes_all)
        self.write_sidecars(describing)
        self.finish_describing(describing)
        return bool(describing.sidecars)

    def _note_holes(self, holes: Iterable[tuple[int, Hole]]) -> None:
        now = self._now()
        for id, hole in holes:
            session = self._sessions.by_id(id)
            if session is not None and session.is_recording:
                self._notes.append(Row(id, Kind.EVENT, -1, event_row(now, "gap", hole)))

    def _note_in_all(self, event: str) -> None:
        content = event_row(self._now(), event)
        self._notes += [Row(session.id, Kind.EVENT, -1, content) for session in self._sessions if session.is_recording]

    def _running_s(self) -> float:
        """Return how long recorders have run here, by steady clocks: a wall clock may be set."""
        return self._stored.ran_s + self._steady() - self._stored.since_s

    def _write_index(self) -> None:
        """Write the file of every name, for a person who looks for one; a fault leaves it to the next time."""
        names = self._writer.student_files.names
        if len(names) == self._indexed and ((self._directory / INDEX).exists() or not names):
            return  # names come, and never go while the inbox is open
        with contextlib.suppress(OSError):
            write_index(self._directory, names)
            self._indexed = len(names)


_HARMLESS: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""After these the transaction is undone and the rest stands."""
