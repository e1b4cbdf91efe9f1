"""From deliveries to the disk: what is acknowledged, and when.

A batch goes into the inbox in one transaction; only then is it acknowledged, in its order. Then its rows go to
the files, and about once a second the files are synced and the inbox forgets those rows. A fault of the disk stops
all of it before the acknowledgement, and the batch is tried again.
"""

import itertools
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from csv_recorder.files import CsvFiles
from csv_recorder.inbox import File, Inbox, Session
from csv_recorder.names import file_key, safe_stem, with_hash
from csv_recorder.rows import row
from neuroone.contract.errors import ContractError, SettingsError
from neuroone.contract.messages import (
    RECORDED_STREAMS_MAX,
    Reading,
    Recorded,
    RecordedStream,
    StreamState,
    StreamStatus,
)
from neuroone.contract.topics import id_from_text
from neuroone.runtime.bus import Delivery

ACTIVE_S: Final = 30.0
"""A student who left without a word keeps the file for so long: a phone that lost its Wi-Fi is back by then."""
DEAD_LETTERS_MAX_BYTES: Final = 10 * 2**20
"""Of messages that are none, for whoever looks for their sender; more are only counted."""
SESSIONS_MAX: Final = 20_000
"""Sessions that are kept in memory too, for speed; beyond that all are read again from the inbox. About 10 MB."""
INBOX_FILE: Final = ".inbox.sqlite"
DEAD_LETTERS_FILE: Final = ".dead-letters.jsonl"

log = logging.getLogger(__name__)


class Recorder:
    """Records into a directory. ``clock`` gives seconds since 1970. One thread uses it."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._inbox = Inbox(directory / INBOX_FILE)
        self._files = CsvFiles(directory)
        self._by_id: dict[int, File] = {}
        self._sessions: dict[tuple[str, str], Session] = {}
        self._marks: dict[tuple[str, str], RecordedStream] = {}
        self._unwritten: dict[int, list[bytes]] = {}
        self._last_row = 0
        self.counters: dict[str, int] = dict.fromkeys(
            ("rows", "duplicates", "gaps", "unnamed", "dead_letters", "disk_faults", "mended_files"), 0
        )

    def open(self) -> None:
        """Open the directory and mend what a crash left. Raises SettingsError in a sentence."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._inbox.open()
            self._by_id = self._inbox.files()
            for file, waiting in self._inbox.waiting():
                known = self._by_id[file]
                self._files.mend(known.file, known.size_bytes, waiting)
                self.counters["mended_files"] += 1
            self._last_row = self._inbox.last_row()
            self.settle()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise SettingsError([f"--dir: another recorder uses {self._directory}"]) from None
            raise SettingsError([f"--dir: {self._directory} is not writable ({error})"]) from None
        except sqlite3.DatabaseError as error:
            raise SettingsError([f"--dir: {self._directory / INBOX_FILE} is damaged: {error}"]) from None
        except OSError as error:
            raise SettingsError([f"--dir: {self._directory} is not writable ({error.strerror})"]) from None

    def take(self, batch: Sequence[Delivery]) -> None:
        """Make a batch durable: when this returns, it may be acknowledged, and `write` is to be called.

        Raises OSError or sqlite3.Error when the disk says no; then nothing was taken, and the same batch may be
        given again.
        """
        self.write()
        if len(self._sessions) >= SESSIONS_MAX:
            self._sessions.clear()  # only between batches: within one they are ahead of the inbox
        counted = dict(self.counters)
        touched: dict[int, Session] = {}
        self._inbox.begin()
        try:
            for delivery in batch:
                self._take_delivery(delivery, touched)
            for session in touched.values():
                self._inbox.save(session)
            self._inbox.commit()
        except BaseException:
            self._inbox.rollback()
            self._sessions.clear()
            self._unwritten.clear()
            self.counters.update(counted)
            self._by_id = self._inbox.files()
            raise
        self._marks.update({(session.stream, session.session): _mark(session) for session in touched.values()})

    def write(self) -> None:
        """Append what was taken to the files. Raises OSError; what was not written is tried again."""
        for file, rows in tuple(self._unwritten.items()):
            self._files.append(self._by_id[file].file, b"".join(rows))
            del self._unwritten[file]

    def settle(self) -> None:
        """Sync the files, and let the inbox forget the rows that are in them. Raises OSError or sqlite3.Error."""
        self.write()
        sizes = self._files.sync()
        if not sizes:
            return
        by_name = {known.file: known.id for known in self._by_id.values()}
        self._inbox.begin()
        try:
            self._inbox.settle(self._last_row, [(by_name[file], size) for file, size in sizes.items()])
            self._inbox.commit()
        except BaseException:
            self._inbox.rollback()
            raise
        self._files.settled()

    def marks(self) -> list[Recorded]:
        """What became durable since the last call, in as many messages as it takes."""
        streams = list(self._marks.values())
        self._marks.clear()
        now = datetime.fromtimestamp(self._clock(), UTC)
        return [
            Recorded(time=now, streams=tuple(streams[start : start + RECORDED_STREAMS_MAX]))
            for start in range(0, len(streams), RECORDED_STREAMS_MAX)
        ]

    def close(self) -> None:
        """Settle and close. Raises OSError or sqlite3.Error; what is acknowledged is safe then, too."""
        try:
            self.settle()
        finally:
            self._files.close()
            self._inbox.close()

    def _take_delivery(self, delivery: Delivery, touched: dict[int, Session]) -> None:
        try:
            topic, message = delivery.open()
        except ContractError as error:
            self._bury(delivery, error)
            return
        stream = f"{topic['group']}/{topic['source']}"
        if isinstance(message, Reading):
            session = self._take_reading(stream, message)
            touched[session.id] = session
        elif isinstance(message, StreamState) and message.status is StreamStatus.OFFLINE:
            self._inbox.release(stream)

    def _take_reading(self, stream: str, reading: Reading) -> Session:
        session = self._session(stream, reading.session)
        gaps = session.gaps
        if not self._inbox.take(session, reading.seq):
            self.counters["duplicates"] += 1
            return session
        self.counters["gaps"] += max(0, session.gaps - gaps)
        if reading.name is None:
            self.counters["unnamed"] += 1
            return session
        file = self._file_of(stream, reading.name, reading.code)
        content = row(reading)
        self._last_row = self._inbox.put(file.id, content)
        self._unwritten.setdefault(file.id, []).append(content)
        self.counters["rows"] += 1
        return session

    def _session(self, stream: str, session: str) -> Session:
        known = self._sessions.get((stream, session))
        if known is None:
            known = self._sessions[stream, session] = self._inbox.session(stream, session)
        return known

    def _file_of(self, stream: str, name: str, code: str | None) -> File:
        """The file of a stream: that of its name, or one with its code while another student has that one."""
        now_s = self._clock()
        last = self._inbox.place_of(stream, name)
        if last is not None and not self._inbox.is_held(last, stream, now_s - ACTIVE_S):
            file = self._by_id[last]
        else:
            candidates = (self._known_file(stem, name) for stem in _stems(name, code))
            file = next(each for each in candidates if not self._inbox.is_held(each.id, stream, now_s - ACTIVE_S))
        self._inbox.hold(stream, name, file.id, now_s)
        return file

    def _known_file(self, stem: str, name: str) -> File:
        """The file with that stem, made known when it is new; another one when the stem is another name's."""
        file = f"{stem}.csv"
        known = self._inbox.file_by_key(file_key(file))
        if known is not None and known.name != name:
            file = f"{with_hash(stem, name)}.csv"
            known = self._inbox.file_by_key(file_key(file))
        if known is None:
            known = self._inbox.add_file(file_key(file), file, name, self._files.adopt(file))
            self._by_id[known.id] = known
        return known

    def _bury(self, delivery: Delivery, error: ContractError) -> None:
        """A message that is none will not become one by coming again: keep it for a person to look at."""
        self.counters["dead_letters"] += 1
        log.warning("message %d is no reading: %s", self.counters["dead_letters"], error)
        path = self._directory / DEAD_LETTERS_FILE
        letter = {"topic": delivery.topic, "fault": str(error), "payload": delivery.payload.hex()}
        line = json.dumps(letter) + "\n"
        if not path.exists() or path.stat().st_size + len(line) <= DEAD_LETTERS_MAX_BYTES:
            with path.open("a", encoding="utf-8") as letters:
                letters.write(line)


def _mark(session: Session) -> RecordedStream:
    """How far a session is on the disk, as it stands now."""
    group, _, source = session.stream.partition("/")
    return RecordedStream(
        group=group,
        source=source,
        session=session.session,
        seq=session.seq,
        rows=session.rows,
        duplicates=session.duplicates,
        gaps=session.gaps,
    )


def _stems(name: str, code: str | None) -> Iterator[str]:
    """The file names, without an ending, that a student may have: each is tried when another has the one before."""
    yield safe_stem(name)
    with_code = f"{safe_stem(name)}__{id_from_text(code or 'sem-codigo')}"
    yield with_code
    for number in itertools.count(2):
        yield f"{with_code}-{number}"
