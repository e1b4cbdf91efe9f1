"""Chooses the ``{Nome}.csv`` of each student: one file per name, and never two active students in one file."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from csv_recorder.live.inbox import File, Inbox
from neuroone.contract.files import file_key, safe_stem, with_hash
from neuroone.contract.topics import id_from_text

ACTIVE_S: Final = 30.0
"""Time for which a silent student keeps the file: a phone that lost its Wi-Fi is back by then."""


@dataclass(slots=True)
class _Use:
    file: File
    last_s: float


class StudentFiles:
    """The files of names. Works in the transaction of its inbox. ``adopt`` is `Writer.adopt`."""

    def __init__(self, inbox: Inbox, adopt: Callable[[str], int]) -> None:
        self._inbox = inbox
        self._adopt = adopt
        self._by_stream: dict[str, dict[str, _Use]] = {}
        self._by_file: dict[int, dict[str, float]] = {}
        self._files: dict[int, File] = {}

    def load(self, files: dict[int, File], now_s: float) -> None:
        """Load the files from the inbox; whoever uses one counts as active now."""
        self._files = files
        self._by_stream.clear()
        self._by_file.clear()
        for file, stream, name in self._inbox.holders():
            self._by_stream.setdefault(stream, {})[name] = _Use(files[file], now_s)
            self._by_file.setdefault(file, {})[stream] = now_s

    def file_of(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        """Return the file of a stream: that of its name, or one with its code while another student uses that."""
        use = self._by_stream.get(stream, {}).get(name)
        if use is None or now_s - use.last_s > ACTIVE_S:
            file = self._find(stream, name, code, now_s)
            self._inbox.hold(stream, name, file.id)
            use = self._by_stream.setdefault(stream, {})[name] = _Use(file, now_s)
        use.last_s = self._by_file.setdefault(use.file.id, {})[stream] = now_s
        return use.file

    def release(self, stream: str) -> None:
        """Let other students use the files of a stream that has ended."""
        self._inbox.release(stream)
        for use in self._by_stream.pop(stream, {}).values():
            self._by_file.get(use.file.id, {}).pop(stream, None)

    def _find(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        last = self._inbox.file_of(stream, name)
        if last is not None and not self._is_used(last, stream, now_s):
            return self._files[last]
        candidates = (self._known(stem, name) for stem in _stems(name, code))
        return next(each for each in candidates if not self._is_used(each.id, stream, now_s))

    def _is_used(self, file: int, stream: str, now_s: float) -> bool:
        holders = self._by_file.get(file, {})
        return any(each != stream and now_s - last_s <= ACTIVE_S for each, last_s in holders.items())

    def _known(self, stem: str, name: str) -> File:
        """Return the file with this stem; one with a hash if the stem is another name's."""
        path = f"{stem}.csv"
        known = self._inbox.file_by_key(file_key(path))
        if known is not None and known.name != name:
            path = f"{with_hash(stem, name)}.csv"
            known = self._inbox.file_by_key(file_key(path))
        if known is None:
            known = self._inbox.add_file(file_key(path), path, name, None, self._adopt(path))
        return self._files.setdefault(known.id, known)


def _stems(name: str, code: str | None) -> Iterator[str]:
    """Yield the file names, without an ending, that a student may use; the first free one counts."""
    yield safe_stem(name)
    with_code = f"{safe_stem(name)}__{id_from_text(code or 'sem-codigo')}"
    yield with_code
    for number in itertools.count(2):
        yield f"{with_code}-{number}"
