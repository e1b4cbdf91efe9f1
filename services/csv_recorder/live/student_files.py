"""Chooses the ``{Nome}.csv`` of each student: one file per name, and never two active students in one file."""

import itertools
from collections.abc import Callable, Iterator
from typing import Final

from csv_recorder.live.inbox import File, Inbox
from neuroone.contract.files import file_key, safe_stem, student_file_name
from neuroone.contract.topics import id_from_text, with_hash

ACTIVE_S: Final = 30.0
"""Time for which a silent student keeps the file: a phone that lost its Wi-Fi is back by then."""


class StudentFiles:
    """The files of names. Works in the transaction of its inbox. ``adopt`` is `Writer.adopt`."""

    def __init__(self, inbox: Inbox, adopt: Callable[[str], int]) -> None:
        self._inbox = inbox
        self._adopt = adopt
        self._by_stream: dict[str, dict[str, File]] = {}
        """The file that each stream uses under each name."""
        self._active_s: dict[int, dict[str, float]] = {}
        """When each stream used each file last."""
        self._files: dict[int, File] = {}

    def load(self, files: dict[int, File], now_s: float) -> None:
        """Load the files from the inbox; whoever uses one counts as active now."""
        self._files = files
        self._by_stream.clear()
        self._active_s.clear()
        for file, stream, name in self._inbox.holders():
            self._by_stream.setdefault(stream, {})[name] = files[file]
            self._active_s.setdefault(file, {})[stream] = now_s

    def file_of(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        """Return the file of a stream: that of its name, or one with its code while another student uses that."""
        file = self._by_stream.get(stream, {}).get(name)
        if file is None or now_s - self._active_s[file.id][stream] > ACTIVE_S:
            file = self._find(stream, name, code, now_s)
            self._inbox.hold(stream, name, file.id)
            self._by_stream.setdefault(stream, {})[name] = file
        self._active_s.setdefault(file.id, {})[stream] = now_s
        return file

    def release(self, stream: str) -> None:
        """Let other students use the files of a stream that has ended."""
        self._inbox.release(stream)
        for file in self._by_stream.pop(stream, {}).values():
            self._active_s[file.id].pop(stream, None)

    def _find(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        last = self._inbox.file_of(stream, name)
        if last is not None and not self._is_used(last, stream, now_s):
            return self._files[last]
        candidates = (self._known(path, name) for path in _file_names(name, code))
        return next(each for each in candidates if not self._is_used(each.id, stream, now_s))

    def _is_used(self, file: int, stream: str, now_s: float) -> bool:
        users = self._active_s.get(file, {})
        return any(each != stream and now_s - last_s <= ACTIVE_S for each, last_s in users.items())

    def _known(self, path: str, name: str) -> File:
        """Return the file with this path; one with a hash if the path is another name's."""
        known = self._inbox.file_by_key(file_key(path))
        if known is not None and known.name != name:
            path = student_file_name(with_hash(path.removesuffix(".csv"), name))
            known = self._inbox.file_by_key(file_key(path))
        if known is None:
            known = self._inbox.add_file(file_key(path), path, name, None, self._adopt(path))
        return self._files.setdefault(known.id, known)


def _file_names(name: str, code: str | None) -> Iterator[str]:
    """Yield the file names that a student may use; the first free one counts."""
    stem, with_code = safe_stem(name), f"__{id_from_text(code or 'sem-codigo')}"
    yield student_file_name(stem)
    yield student_file_name(stem, with_code)
    for number in itertools.count(2):
        yield student_file_name(stem, f"{with_code}-{number}")
