"""Bring rows from the inbox to their files, each file by itself.

Rows that a file does not take now are no reason for another file to wait: at the next settling the inbox keeps them as
*owed* to that file, and it is tried again with growing delays.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import Disk, KnownRows, MovedAway, Output, folders_of
from csv_recorder.live.outputs import Outputs
from csv_recorder.live.reorder import Hole, ReorderBuffer
from csv_recorder.live.rows import Kind, Row
from csv_recorder.live.sessions import Progress, Session, Sessions
from csv_recorder.live.student_files import StudentFiles
from neuroone.contract.files import (
    DEAD_LETTERS_FILE,
    EVENTS,
    RAW,
    READINGS,
    student_row_of,
)

DEAD_LETTERS_MAX_BYTES: Final = 10 * 2**20
"""Size of the file of invalid messages; more of them are only counted."""
KIND_OF: Final = {Kind.READING: READINGS, Kind.READING_ALONE: READINGS, Kind.RAW: RAW, Kind.EVENT: EVENTS}
COUNTERS: Final = ("files_cut_back", "dead_letters_dropped", "rows_owed")


@dataclass(slots=True)
class Settling:
    """The files of a moment, while they are synced: each output with its unsynced rows and its size then.

    ``owed`` are outputs that cannot be written, with the rows that wait for each and how many they were; ``held`` are
    rows that wait for an earlier reading. `sync` puts outputs that failed into ``failed``, with what the disk said.
    The oldest row is there ``since_s``.
    """

    up_to: int
    outputs: list[tuple[Output, int, int]]
    owed: list[tuple[Output, list[bytes], int]]
    held: list[Row]
    progress: list[tuple[int, Progress]]
    paths: list[str]
    folders: set[str]
    batch_bytes: int = 0
    generation: int = 0
    since_s: float = 0.0
    began_s: float = 0.0
    failed: dict[int, Exception] = field(default_factory=dict)


class Writer:
    """Writes rows. ``steady`` is a steady clock in seconds; ``with_students`` writes ``{Nome}.csv`` too."""

    def __init__(
        self,
        inbox: Inbox,
        disk: Disk,
        sessions: Sessions,
        outputs: Outputs,
        steady: Callable[[], float],
        *,
        with_students: bool,
    ) -> None:
        self._inbox = inbox
        self._disk = disk
        self._sessions = sessions
        self._outputs = outputs
        self._steady = steady
        self._with_students = with_students
        self._reorder: dict[int, ReorderBuffer[bytes]] = {}
        self._ready: list[tuple[Session, list[bytes]]] = []
        self._released: list[str] = []
        self._may_stand_there = KnownRows()
        self.student_files = StudentFiles(inbox)
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    # --- what there is to write ------------------------------------------------------------------

    def load(self, waiting: Sequence[Row]) -> None:
        """Begin with what the inbox has: every file is cut back to its synced size, and what waits is written again."""
        self._disk.close_all()
        for kept in (self._reorder, self._ready, self._released):
            kept.clear()
        files = self._inbox.files()
        self.student_files.load(files, self._steady())
        self._outputs.load(files, self._inbox.owing())
        self._may_stand_there = KnownRows(content for row in waiting for content in _contents(row))
        self.distribute(waiting, self._next_seqs(waiting))

    def _next_seqs(self, rows: Iterable[Row]) -> dict[int, int]:
        """Return the seq that each session's student file waits for: a hole that may still be filled, or the first."""
        first: dict[int, int] = {}
        for row in rows:
            if row.kind in (Kind.READING, Kind.STUDENT):
                first[row.owner] = min(row.seq, first.get(row.owner, row.seq))
        for owner, seq in first.items():
            session = self._sessions.by_id(owner)
            holes = () if session is None else session.progress.holes
            first[owner] = next((start for start, end in holes if end + 1 >= seq), seq)
        return first

    def distribute(self, rows: Iterable[Row], next_seqs: Mapping[int, int], released: Iterable[str] = ()) -> None:
        """Give rows to their files.

        ``next_seqs`` has, by session, the seq that was to come before these rows; ``released`` are ended streams.
        """
        by_id, due, of_readings = self._sessions.by_id, self._outputs.due, self._outputs.of_readings
        for row in rows:
            if row.kind == Kind.READING:
                session = by_id(row.owner)
                if session is not None:
                    output = of_readings(session)
                    output.pending.append(row.content)
                    due[output.key] = output
                    self._order(session, row, next_seqs)
            elif row.kind == Kind.STUDENT:
                session = by_id(row.owner)
                if session is not None:
                    self._order(session, row, next_seqs)
            else:
                output_or_none = self._output_of(row)
                if output_or_none is not None:
                    output_or_none.pending.append(row.content)
                    due[output_or_none.key] = output_or_none
        self._released += released

    def _order(self, session: Session, row: Row, next_seqs: Mapping[int, int]) -> None:
        """Give a row to the student's file, by way of the buffer that puts them in order."""
        buffer = self._reorder.get(session.id)
        if buffer is None:
            if not self._with_students or session.about is None or session.about.name is None:
                return
            buffer = self._reorder[session.id] = ReorderBuffer(next_seqs.get(session.id, row.seq))
        buffer.held[row.seq] = student_row_of(row.content) if row.kind == Kind.READING else row.content

    def _output_of(self, row: Row) -> Output | None:
        if row.kind == Kind.LETTER:
            return self._outputs.of_letters()
        if row.kind == Kind.GROUP_EVENT:
            return self._outputs.of_group_events(row.owner)
        session = self._sessions.by_id(row.owner)
        return None if session is None else self._outputs.of_session(session, KIND_OF[Kind(row.kind)])

    # --- writing ---------------------------------------------------------------------------------

    @property
    def with_new_parts(self) -> list[Session]:
        """The sessions that went on in a new file; whoever reads them takes them out."""
        return self._outputs.with_new_parts

    @property
    def unwritten(self) -> int:
        """Count the rows that wait for their files."""
        waiting = sum(len(output.pending) for output in self._outputs.due.values())
        return waiting + sum(len(buffer.held) for buffer in self._reorder.values())

    @property
    def owing_since_s(self) -> float:
        """Return since when (steady clock) the file waits that is owed the oldest rows; infinite without one."""
        return min((each.owed_since_s for each in self._outputs), default=float("inf"))

    def faults(self) -> list[tuple[int, str]]:
        """Return the files that cannot be written, by their numbers in the inbox, and why. 0: a folder of a session."""
        return [(each.file, each.fault.reason) for each in self._outputs.due.values() if each.fault is not None]

    def write(self, *, all: bool = False) -> list[tuple[int, Hole]]:
        """Append what waits, with ``all`` also what waits for an earlier reading.

        Return the holes that were given up, by session. Raises sqlite3.Error; a fault of a file is noted at that file.
        """
        now_s = self._steady()
        holes = self._pop(now_s, all=all)
        self._place(now_s)
        for key, output in [*self._outputs.due.items()]:
            self._write_output(output, now_s)
            if not output.pending and not output.fault and not output.is_moved:
                del self._outputs.due[key]
        if self._may_stand_there and not any(each.must_be_cut for each in self._outputs.due.values()):
            self._may_stand_there = KnownRows()
        return holes

    def _pop(self, now_s: float, *, all: bool) -> list[tuple[int, Hole]]:
        given_up = []
        for id, buffer in tuple(self._reorder.items()):
            rows, holes = buffer.pop(now_s, all=all)
            given_up += [(id, hole) for hole in holes]
            session = self._sessions.by_id(id)
            if rows and session is not None:
                self._ready.append((session, rows))
            if session is None or (not buffer.held and not session.is_recording):
                del self._reorder[id]
        return given_up

    def _place(self, now_s: float) -> None:
        """Give every row a file that is stored in the inbox, in one transaction. Raises sqlite3.Error."""
        homeless = []
        for session, rows in self._ready:
            about = session.about
            file = None if about is None else self.student_files.held(session.stream, about.name or "", now_s)
            if file is None:
                homeless.append((session, rows))
            else:
                self._add(self._outputs.of_file(file), rows)
        new = [each for each in self._outputs.due.values() if each.synced_bytes < 0 and _is_time(each, now_s)]
        if homeless or new or self._released:
            self._inbox.begin()
            # An ended stream gives its file free first: the same student may have begun the next one already.
            ended = set(self._released)
            self._find_files([each for each in homeless if each[0].stream in ended], new, now_s)
            for stream in ended:
                self.student_files.release(stream)
            self._find_files([each for each in homeless if each[0].stream not in ended], new, now_s)
            for output in {each.key: each for each in new}.values():
                try:
                    self._outputs.adopt(output)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 (also a fault of ours is that file's alone)
                    self._fail(output, error, now_s)
            self._inbox.commit()
            self._released.clear()
        self._ready.clear()

    def _find_files(self, homeless: list[tuple[Session, list[bytes]]], new: list[Output], now_s: float) -> None:
        """Find or make the students' files of rows; those that are not in our care yet are ``new``."""
        for session, rows in homeless:
            if session.about is not None:
                name, code = session.about.name or "", session.about.code
                output = self._outputs.of_file(self.student_files.find(session.stream, name, code, now_s))
                self._add(output, rows)
                if output.synced_bytes < 0:
                    new.append(output)

    def _add(self, output: Output, rows: list[bytes]) -> None:
        output.pending += rows
        self._outputs.due[output.key] = output

    def _write_output(self, output: Output, now_s: float) -> None:
        if output.synced_bytes < 0 or output.is_moved or not _is_time(output, now_s):
            return
        try:
            owed = self._inbox.owed(output.key) if output.is_owed and not output.owed_rows else []
            if output.must_be_cut:
                self._disk.cut_back(output, (KnownRows([*owed, *output.pending]), self._may_stand_there))
                self.counters["files_cut_back"] += 1
            contents = owed + self._bounded(output)
            if contents:
                self._disk.append(output, b"".join(contents))
        except MovedAway:
            output.is_moved = True
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 (also a fault of ours is that file's alone)
            self._fail(output, error, now_s)
        else:
            output.owed_rows += len(owed)
            output.unsynced += contents
            output.pending = []
            output.fault = None

    def _bounded(self, output: Output) -> list[bytes]:
        """Return the rows to append: of invalid messages no more than there is room for."""
        if output.key != DEAD_LETTERS_FILE:
            return output.pending
        kept, size = [], output.size_bytes
        for content in output.pending:
            size += len(content)
            if size > DEAD_LETTERS_MAX_BYTES:
                self.counters["dead_letters_dropped"] += 1
            else:
                kept.append(content)
        return kept

    def _fail(self, output: Output, error: Exception, now_s: float) -> None:
        self._disk.count_fault(error)
        output.fail(error, now_s)

    # --- settling --------------------------------------------------------------------------------

    def begin_settling(self, up_to: int, progress: list[tuple[int, Progress]]) -> Settling:
        """Return what is to be synced now: everything up to a batch. Call `write` first."""
        self._outputs.end_old_parts()
        outputs = [each for each in self._outputs if each.unsynced or each.is_moved]
        synced = [(each, len(each.unsynced), each.size_bytes) for each in outputs]
        due = [each for each in self._outputs.due.values() if each.pending]
        owed = [(each, each.pending, len(each.pending)) for each in due]
        held = [
            Row(id, Kind.STUDENT, seq, content)
            for id, buffer in self._reorder.items()
            for seq, content in buffer.held.items()
        ]
        paths = [each.path for each in outputs]
        new = folders_of(each.path for each in outputs if each.synced_bytes <= 0)
        return Settling(up_to, synced, owed, held, progress, paths, new)

    def sync(self, settling: Settling) -> None:
        """Sync files, and the folders of new ones. May run in another thread. Raises OSError for a folder."""
        for number, path in enumerate(settling.paths):
            try:
                self._disk.sync(path)
            except Exception as error:  # noqa: BLE001 (as in `_write_output`)
                settling.failed[number] = error
        for folder in sorted(settling.folders):
            self._disk.sync(folder)

    def finish_settling(self, settling: Settling, running_s: float, prune_s: float) -> bool:
        """Let the inbox forget rows whose files are synced, and keep those that are owed.

        Return False if something was written meanwhile that the next settling has. Raises sqlite3.Error.
        """
        if any(output.pending is not rows for output, rows, _ in settling.owed):
            return False
        now_s = self._steady()
        owed = {id(output): (output, count) for output, _, count in settling.owed}
        for number, error in settling.failed.items():
            output, rows, _ = settling.outputs[number]
            rows -= output.owed_rows
            output.cut_back()
            self._fail(output, error, now_s)
            self._outputs.due[output.key] = output
            owed[id(output)] = output, rows + owed.get(id(output), (output, 0))[1]
        good = [each for number, each in enumerate(settling.outputs) if number not in settling.failed]
        self._inbox.begin()
        self._inbox.note_sizes((output.file, 0 if output.is_moved else size) for output, _, size in good)
        for output, _, _ in good:
            if output.owed_rows:
                self._inbox.pay(output.key)
        for output, count in owed.values():
            self._inbox.owe(output.key, output.pending[:count])
        self._inbox.settle(settling.up_to, settling.held)
        self._inbox.save_progress(settling.progress, running_s)
        self._inbox.prune(prune_s)
        self._inbox.commit()
        for output, rows, size in good:
            self._settled(output, rows, size)
        for output, count in owed.values():
            del output.pending[:count]
            output.owed_since_s = min(output.owed_since_s, settling.since_s)
            self.counters["rows_owed"] += count
        self._outputs.drop_idle({id(output) for output, _, _ in settling.outputs})
        return True

    def close(self) -> None:
        """Let go of every file."""
        self._disk.close_all()

    def _settled(self, output: Output, rows: int, size: int) -> None:
        del output.unsynced[:rows]
        output.synced_bytes = size
        if output.owed_rows:
            output.owed_rows, output.owed_since_s = 0, float("inf")
        if output.is_moved:
            output.synced_bytes = output.size_bytes = output.inode = 0
            output.is_moved = False
        file = self.student_files.file(output.file)
        if file is not None:
            file.synced_bytes = output.synced_bytes
        self._outputs.end_full_part(output)

    # --- sessions --------------------------------------------------------------------------------

    def is_settled(self, session: Session) -> bool:
        """Return True if every row of a session is synced in its files."""
        buffer = self._reorder.get(session.id)
        return not (buffer and buffer.held) and all(each.is_settled for each in self._outputs.of(session))

    def forget(self, session: Session) -> None:
        """Let go of the files of a closed session."""
        for output in [*self._outputs.of(session)]:
            self._outputs.drop(output)
        self._reorder.pop(session.id, None)


def _is_time(output: Output, now_s: float) -> bool:
    return output.fault is None or now_s >= output.fault.retry_s


def _contents(row: Row) -> Iterator[bytes]:
    yield row.content
    if row.kind == Kind.READING:
        with contextlib.suppress(ValueError):
            yield student_row_of(row.content)
