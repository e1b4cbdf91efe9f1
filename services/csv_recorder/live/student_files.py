"""Which student writes to which ``{Nome}.csv``: one name one file, and never two active students in one."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from csv_recorder.live.inbox import File, Inbox
from neuroone.contract.files import file_key, safe_stem, with_hash
from neuroone.contract.topics import id_from_text

ACTIVE_S: Final = 30.0
"""A student who left without a word keeps the file for so long: a phone that lost its Wi-Fi is back by then."""


@dataclass(slots=True)
class _Place:
    file: File
    last_s: float


class Places:
    """The files of names. Works in the transaction of its inbox. ``adopt`` takes a file into care, see `Files`."""

    def __init__(self, inbox: Inbox, adopt: Callable[[str], int]) -> None:
        self._inbox = inbox
        self._adopt = adopt
        self._by_stream: dict[str, dict[str, _Place]] = {}
        self._by_file: dict[int, dict[str, float]] = {}
        self._files: dict[int, File] = {}

    def load(self, files: dict[int, File], now_s: float) -> None:
        """Begin with what the inbox says; who held a file when it was noted has been active just now."""
        self._files = files
        self._by_stream.clear()
        self._by_file.clear()
        for file, stream, name in self._inbox.holders():
            self._by_stream.setdefault(stream, {})[name] = _Place(files[file], now_s)
            self._by_file.setdefault(file, {})[stream] = now_s

    def file_of(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        """The file of a stream: that of its name, or one with its code while another student has that one."""
        place = self._by_stream.get(stream, {}).get(name)
        if place is None or now_s - place.last_s > ACTIVE_S:
            file = self._find(stream, name, code, now_s)
            self._inbox.hold(stream, name, file.id)
            place = self._by_stream.setdefault(stream, {})[name] = _Place(file, now_s)
        place.last_s = self._by_file.setdefault(place.file.id, {})[stream] = now_s
        return place.file

    def release(self, stream: str) -> None:
        """The stream has ended: it holds no file any more."""
        self._inbox.release(stream)
        for place in self._by_stream.pop(stream, {}).values():
            self._by_file.get(place.file.id, {}).pop(stream, None)

    def _find(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        last = self._inbox.place_of(stream, name)
        if last is not None and not self._is_held(last, stream, now_s):
            return self._files[last]
        candidates = (self._known(stem, name) for stem in _stems(name, code))
        return next(each for each in candidates if not self._is_held(each.id, stream, now_s))

    def _is_held(self, file: int, stream: str, now_s: float) -> bool:
        holders = self._by_file.get(file, {})
        return any(each != stream and now_s - last_s <= ACTIVE_S for each, last_s in holders.items())

    def _known(self, stem: str, name: str) -> File:
        """The file with that stem, made known when it is new; another one when the stem is another name's."""
        path = f"{stem}.csv"
        known = self._inbox.file_by_key(file_key(path))
        if known is not None and known.name != name:
            path = f"{with_hash(stem, name)}.csv"
            known = self._inbox.file_by_key(file_key(path))
        if known is None:
            known = self._inbox.add_file(file_key(path), path, name, None, self._adopt(path))
        return self._files.setdefault(known.id, known)


def _stems(name: str, code: str | None) -> Iterator[str]:
    """The file names, without an ending, that a student may have: each is tried when another has the one before."""
    yield safe_stem(name)
    with_code = f"{safe_stem(name)}__{id_from_text(code or 'sem-codigo')}"
    yield with_code
    for number in itertools.count(2):
        yield f"{with_code}-{number}"
