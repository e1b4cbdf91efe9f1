"""The files that rows go to now: which there are, where they lie, and when the next part of one begins."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from csv_recorder.live.inbox import File, Inbox, output_of_file, output_of_session
from csv_recorder.live.output import Disk, Output
from csv_recorder.live.sessions import Session, Sessions
from neuroone.contract.files import (
    DEAD_LETTERS_FILE,
    HEADERS,
    READINGS,
    file_key,
    header_of,
    part_name,
    session_folders,
)

_NONE_YET: Final = -1
"""The synced size of a file that is not in our care."""


class Outputs:
    """The files that are written to. ``due`` are those with something to write, by their keys.

    ``steady`` is a steady clock in seconds. A session's file is ended at ``rotate_bytes`` or after ``rotate_s``; its
    session is then in ``with_new_parts``, until somebody takes it from there.
    """

    def __init__(
        self,
        inbox: Inbox,
        disk: Disk,
        sessions: Sessions,
        steady: Callable[[], float],
        *,
        rotate_bytes: int,
        rotate_s: float,
    ) -> None:
        self._inbox = inbox
        self._disk = disk
        self._sessions = sessions
        self._steady = steady
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._by_key: dict[str, Output] = {}
        self._readings: dict[int, Output] = {}
        self.due: dict[str, Output] = {}
        self.with_new_parts: list[Session] = []

    def __iter__(self) -> Iterator[Output]:
        return iter(self._by_key.values())

    def load(self, files: Iterable[File], owing: set[str]) -> None:
        """Begin with the stored files; what stands behind the synced size of one must be cut."""
        for known in (self._by_key, self._readings, self.due, self.with_new_parts):
            known.clear()
        for file in files:
            self._load_file(file, owing)
        for key in owing - self._by_key.keys():
            self._load_unplaced(key)

    def _load_file(self, file: File, owing: set[str]) -> None:
        """Make the output of a stored file, where there is something to write or to cut."""
        if file.session is None:
            key = DEAD_LETTERS_FILE if file.path == DEAD_LETTERS_FILE else output_of_file(file.id)
        else:
            session = self._sessions.by_id(file.session)
            if session is None or session.about is None:
                return
            name = file.path.rpartition("/")[2]
            found = next((k for k, number in session.about.parts.items() if part_name(k, number) == name), None)
            if found is None:
                return  # an earlier part, finished and synced
            key = output_of_session(file.session, found)
        output = self._new(key, file)
        output.must_be_cut = file.synced_bytes >= 0 and self._disk.size_bytes(file.path) != file.synced_bytes
        output.owed_since_s = output.since_s if key in owing else float("inf")
        if output.must_be_cut or output.is_owed or file.session is not None:
            self._by_key[key] = output
        if output.must_be_cut or output.is_owed:
            self.due[key] = output

    def _load_unplaced(self, key: str) -> None:
        """Make the output of a session that has no folder yet, and is owed rows."""
        room, _, rest = key.partition("/")
        session = self._sessions.by_id(int(rest.partition("/")[0])) if room == "session" else None
        if session is not None:
            output = self.due[key] = self.of_session(session, rest.partition("/")[2])
            output.owed_since_s = self._steady()

    def _new(self, key: str, file: File) -> Output:
        header = b"" if file.path == DEAD_LETTERS_FILE else header_of(file.path)
        return Output(key, file.id, file.path, header, file.synced_bytes, max(0, file.synced_bytes), self._steady())

    # --- finding one -----------------------------------------------------------------------------

    def of_readings(self, session: Session) -> Output:
        """Return where the readings of a session go."""
        output = self._readings.get(session.id)
        if output is None:
            output = self._readings[session.id] = self.of_session(session, READINGS)
        return output

    def of_session(self, session: Session, kind: str) -> Output:
        """Return where rows of one kind of a session go."""
        key = output_of_session(session.id, kind)
        if key not in self._by_key:
            self._by_key[key] = Output(key, 0, "", HEADERS[kind], _NONE_YET, 0, self._steady())
        return self._by_key[key]

    def of_file(self, file: File) -> Output:
        """Return the output of a stored file that is no session's."""
        key = output_of_file(file.id)
        if key not in self._by_key:
            self._by_key[key] = self._new(key, file)
        return self._by_key[key]

    def of_group_events(self, id: int) -> Output | None:
        """Return the file of a group's events by its number; None if it is forgotten."""
        known = self._by_key.get(output_of_file(id))
        if known is not None:
            return known
        file = self._inbox.file(id)
        return None if file is None else self.of_file(file)

    def of_letters(self) -> Output:
        """Return the file of invalid messages."""
        if DEAD_LETTERS_FILE not in self._by_key:
            file = self._inbox.file_by_key(file_key(DEAD_LETTERS_FILE))
            known = file or File(0, DEAD_LETTERS_FILE, None, None, _NONE_YET)
            self._by_key[DEAD_LETTERS_FILE] = self._new(DEAD_LETTERS_FILE, known)
        return self._by_key[DEAD_LETTERS_FILE]

    def of(self, session: Session) -> Iterator[Output]:
        """Yield the outputs of a session."""
        for kind in HEADERS:
            output = self._by_key.get(output_of_session(session.id, kind))
            if output is not None:
                yield output

    # --- taking a file into our care -------------------------------------------------------------

    def adopt(self, output: Output) -> None:
        """Take a file into our care: from now on what stands behind its synced size is ours.

        Works in the transaction of the inbox. Raises OSError.
        """
        session = self._session_of(output)
        if session is not None and not output.path:
            self._find_path(output, session)
        size = self._disk.adopt(output.path)
        if not output.file:
            known = self._inbox.file_by_key(file_key(output.path))
            owner = None if session is None else session.id
            file = known or self._inbox.add_file(file_key(output.path), output.path, None, owner, size)
            output.file = file.id
        self._inbox.note_sizes([(output.file, size)])
        output.synced_bytes = output.size_bytes = size

    def _find_path(self, output: Output, session: Session) -> None:
        """Make the folder of a session, unless it has one, and name the file in it. Raises OSError."""
        about = session.about
        if about is None:
            return
        kind = output.key.rpartition("/")[2]
        directory = about.directory or self._make_folder(session, about.start)
        number = about.parts.get(kind, 1)
        output.path = f"{directory}/{part_name(kind, number)}"
        session.about = msgspec.structs.replace(about, directory=directory, parts={**about.parts, kind: number})
        self._inbox.describe([session])  # a part that has ended is stored with the file of the next one

    def _make_folder(self, session: Session, start: str) -> str:
        for folder in session_folders(datetime.fromisoformat(start), session.stream):
            is_known = self._inbox.file_by_key(file_key(f"{folder}/{part_name(READINGS, 1)}")) is not None
            if not is_known and self._disk.make_folder(folder):
                return folder
        raise AssertionError("there is always another folder")

    def _session_of(self, output: Output) -> Session | None:
        room, _, rest = output.key.partition("/")
        return self._sessions.by_id(int(rest.partition("/")[0])) if room == "session" else None

    # --- ending one ------------------------------------------------------------------------------

    def end_old_parts(self) -> None:
        """Let sessions go on in new files where the files of now are old enough."""
        before_s = self._steady() - self._rotate_s
        for output in [each for each in self if each.since_s <= before_s and each.size_bytes]:
            self._end_part(output)

    def end_full_part(self, output: Output) -> None:
        """Let a session go on in a new file if the file of now is large enough."""
        if output.synced_bytes >= self._rotate_bytes:
            self._end_part(output)

    def _end_part(self, output: Output) -> None:
        session = self._session_of(output)
        if session is None or session.about is None or not output.is_settled:
            return
        kind = output.key.rpartition("/")[2]
        parts = {**session.about.parts, kind: session.about.parts.get(kind, 1) + 1}
        session.about = msgspec.structs.replace(session.about, parts=parts)
        self.with_new_parts.append(session)
        self.drop(output)

    def drop_idle(self, busy: set[int]) -> None:
        """Forget the files of students that wrote nothing since the last settling; ``busy`` are ids of objects."""
        for output in [each for key, each in self._by_key.items() if key.startswith("file/") and id(each) not in busy]:
            if output.is_settled:
                self.drop(output)

    def drop(self, output: Output) -> None:
        """Forget an output, and close its file."""
        self._disk.close(output.path)
        self._by_key.pop(output.key, None)
        self.due.pop(output.key, None)
        if output.key.endswith(f"/{READINGS}"):
            session = self._session_of(output)
            if session is not None:
                self._readings.pop(session.id, None)
