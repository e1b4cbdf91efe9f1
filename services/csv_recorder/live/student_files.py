"""Which student writes to which ``{Nome}.csv``: one name one file, and never two active students in one."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csv_recorder.live.inbox import File, Inbox
from csv_recorder.live.output import write_whole
from neuroone.contract.files import INDEX, file_key, index_content, safe_stem, student_file_name
from neuroone.contract.topics import id_from_text, with_hash

ACTIVE_S: Final = 30.0
"""A student who left without a word keeps the file for so long: a phone that lost its Wi-Fi is back by then."""


@dataclass(slots=True)
class _Place:
    file: File
    last_s: float


class StudentFiles:
    """The files of names. Works in the transaction of its inbox; times are of a steady clock."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._by_stream: dict[str, dict[str, _Place]] = {}
        self._by_file: dict[int, dict[str, float]] = {}
        self._files: dict[int, File] = {}

    def load(self, files: Iterable[File], now_s: float) -> None:
        """Begin with what the inbox has; every stream that held a file then has been active just now."""
        self._files = {file.id: file for file in files if file.name is not None}
        self._by_stream.clear()
        self._by_file.clear()
        for file, stream, name in self._inbox.holders():
            if file in self._files:
                self._by_stream.setdefault(stream, {})[name] = _Place(self._files[file], now_s)
                self._by_file.setdefault(file, {})[stream] = now_s

    @property
    def names(self) -> list[tuple[str, str]]:
        """Return every name and its file, in order."""
        return sorted((file.name, file.path) for file in self._files.values() if file.name is not None)

    def file(self, id: int) -> File | None:
        """Return the file of a name with that number in the inbox."""
        return self._files.get(id)

    def held(self, stream: str, name: str, now_s: float) -> File | None:
        """Return the file that a stream holds under a name, and keep it held; None if it must be found or made."""
        place = self._by_stream.get(stream, {}).get(name)
        if place is None or now_s - place.last_s > ACTIVE_S:
            return None
        place.last_s = self._by_file[place.file.id][stream] = now_s
        return place.file

    def find(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        """Give a stream the file of its name, or one with its code while another student has that one."""
        file = self._find(stream, name, code, now_s)
        self._inbox.hold(stream, name, file.id)
        self._by_stream.setdefault(stream, {})[name] = _Place(file, now_s)
        self._by_file.setdefault(file.id, {})[stream] = now_s
        return file

    def release(self, stream: str) -> None:
        """Take its files from a stream that has ended."""
        self._inbox.release(stream)
        for place in self._by_stream.pop(stream, {}).values():
            self._by_file.get(place.file.id, {}).pop(stream, None)

    def _find(self, stream: str, name: str, code: str | None, now_s: float) -> File:
        last = self._inbox.place_of(stream, name)
        if last in self._files and not self._is_held(last, stream, now_s):
            return self._files[last]
        candidates = (self._known(file_name, name) for file_name in _file_names(name, code))
        return next(each for each in candidates if not self._is_held(each.id, stream, now_s))

    def _is_held(self, file: int, stream: str, now_s: float) -> bool:
        holders = self._by_file.get(file, {})
        return any(each != stream and now_s - last_s <= ACTIVE_S for each, last_s in holders.items())

    def _known(self, path: str, name: str) -> File:
        """Return the file of that path, stored if it is new; another one if the path is another name's."""
        known = self._inbox.file_by_key(file_key(path))
        if known is not None and known.name != name:
            path = student_file_name(with_hash(path.removesuffix(".csv"), name))
            known = self._inbox.file_by_key(file_key(path))
        if known is None:
            known = self._inbox.add_file(file_key(path), path, name, None, -1)
        return self._files.setdefault(known.id, known)


def _file_names(name: str, code: str | None) -> Iterator[str]:
    """Yield the file names that a student may have: each is tried when another student has the one before."""
    stem = safe_stem(name)
    yield student_file_name(stem)
    with_code = f"__{id_from_text(code or 'sem-codigo')}"
    yield student_file_name(stem, with_code)
    for number in itertools.count(2):
        yield student_file_name(stem, f"{with_code}-{number}")


def write_index(directory: Path, names: Iterable[tuple[str, str]]) -> None:
    """Write the names and their files, for a person who looks for one. Raises OSError."""
    write_whole(directory / INDEX, index_content(names))
