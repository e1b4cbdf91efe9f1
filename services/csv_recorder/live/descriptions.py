"""Open, describe and close sessions: when a sidecar is due, and when a session has ended."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.output import Fault, next_fault
from csv_recorder.live.sessions import Session, Sessions
from csv_recorder.live.sidecar import write_sidecar
from csv_recorder.live.writer import Writer
from neuroone.contract.files import INBOX_FILE

IDLE_S: Final = 3600.0
"""A session without an end is closed after an hour without a reading; it is opened again by one that comes."""
AFTER_END_S: Final = 10.0
"""What was under way when a stream ended is there by then."""
SIDECARS_AT_ONCE: Final = 50
"""Sidecars written in one go, in a thread: of 1000 students within half a minute."""


@dataclass(slots=True)
class Describing:
    """Sidecars that are being written: sessions as they were, and whether each is closing. ``failed``: faults."""

    sidecars: list[tuple[Session, bool]]
    failed: dict[int, Exception] = field(default_factory=dict)


class Descriptions:
    """The sidecars of sessions. A fault of one is tried again later, and holds up no other."""

    def __init__(
        self,
        directory: Path,
        site: str,
        version: str,
        inbox: Inbox,
        sessions: Sessions,
        writer: Writer,
        steady: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._site = site
        self._version = version
        self._inbox = inbox
        self._sessions = sessions
        self._writer = writer
        self._steady = steady
        self._due: dict[int, None] = {}
        self.faults: dict[int, Fault] = {}
        self.closed = 0

    def load(self) -> None:
        """Begin with the open sessions: what their sidecars say may be older than a crash."""
        self.faults.clear()
        self._due = {session.id: None for session in self._sessions if session.is_recording}

    def add(self, session: Session) -> None:
        """Note that a session's sidecar is not up to date."""
        self._due[session.id] = None

    def begin(self, *, closes_all: bool = False, most: int = SIDECARS_AT_ONCE) -> Describing:
        """Return sidecars to write now, of new and of ended sessions; with ``closes_all`` of every open one."""
        now_s = self._steady()
        found: list[tuple[Session, bool]] = []
        for id in [*self._due]:
            if len(found) >= most:
                break
            session = self._sessions.by_id(id)
            if session is None or not session.is_recording:
                del self._due[id]
            elif self._is_time(id, now_s) and session.about and session.about.directory:
                found.append((session, False))
        for session in self._sessions if len(found) < most else ():
            quiet_s = now_s - session.active_s
            is_over = closes_all or quiet_s > (AFTER_END_S if session.has_ended else IDLE_S)
            can_close = session.is_recording and is_over and self._is_time(session.id, now_s)
            if can_close and self._writer.is_settled(session):
                found.append((session, True))
                if len(found) >= most:
                    break
        last = {session.id: (session, is_closing) for session, is_closing in found}
        return Describing([(session.copy(), is_closing) for session, is_closing in last.values()])

    def write(self, describing: Describing) -> None:
        """Write sidecars. May run in another thread."""
        for session, is_closing in describing.sidecars:
            try:
                write_sidecar(self._directory, session, self._site, self._version, is_closing=is_closing)
            except FileNotFoundError as error:
                # A folder that somebody moved has nothing that could be described; a directory that is away comes back.
                if not (self._directory / INBOX_FILE).exists():
                    describing.failed[session.id] = error
            except Exception as error:  # noqa: BLE001 (also a fault of ours is that session's alone)
                describing.failed[session.id] = error

    def finish(self, describing: Describing) -> None:
        """Close the sessions whose sidecars say so, unless they went on meanwhile. Raises sqlite3.Error."""
        now_s = self._steady()
        closed = []
        for before, is_closing in describing.sidecars:
            session = self._sessions.by_id(before.id)
            error = describing.failed.get(before.id)
            if error is not None:
                self._fail(before.id, error, now_s)
                continue
            self.faults.pop(before.id, None)
            self._due.pop(before.id, None)
            if session is None:
                continue
            went_on = session.about != before.about or (is_closing and session.progress != before.progress)
            if went_on:
                self._due[before.id] = None  # the sidecar must not say that it is closed
            elif is_closing and self._writer.is_settled(session):
                closed.append(session)
        if closed:
            self._close(closed)

    def _close(self, sessions: list[Session]) -> None:
        copies = [session.copy() for session in sessions]
        self._inbox.begin()
        try:
            for copy in copies:
                copy.open = False
            self._inbox.describe(copies)
            self._inbox.commit()
        except sqlite3.Error:
            self._due.update(dict.fromkeys(session.id for session in sessions))
            raise
        for copy in copies:
            self._sessions.put(copy)
            self._writer.forget(copy)
        self.closed += len(copies)

    def _is_time(self, id: int, now_s: float) -> bool:
        fault = self.faults.get(id)
        return fault is None or now_s >= fault.retry_s

    def _fail(self, id: int, error: Exception, now_s: float) -> None:
        self.faults[id] = next_fault(self.faults.get(id), error, now_s)
