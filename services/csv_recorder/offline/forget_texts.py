"""Find and remove what people typed about one student: in the rows of events and in messages that were refused.

A text that mentions the student becomes stars of the same length: no file changes its size, so a removal that a crash
breaks off leaves the recorder's inbox right.
"""

import contextlib
import csv
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterable
from typing import Final

from neuroone.contract.files import CHECK_CHARS, COLUMNS, EVENTS, search_key

CODE_MIN_CHARS: Final = 4
"""A shorter class code is looked for in no text: it is an ordinary word, like a class "6" or "A"."""
_SPACE: Final = r"(?:\s|\\[bfnrt]|\\u00[01].)+"
"""Stands for spaces and characters that end a row: rows have a space for them, JSON escapes them."""
_TEXT_AT: Final = COLUMNS[EVENTS].index("text")

Mentions = Callable[[object], bool]


def mentions_of(*words: str | None) -> Mentions:
    """Return what tells if a text has one of the names in it, as whole words, without case and accents."""
    wanted = [_as_written(key) for key in map(search_key, filter(None, words)) if is_told_apart(key)]
    if not wanted:
        return lambda text: False
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(wanted)})(?!\w)")
    return lambda text: isinstance(text, str) and pattern.search(search_key(text)) is not None


def is_told_apart(name: str) -> bool:
    """Return False for a sign or a single letter, as which a name is not known in what people write."""
    key = search_key(name)
    return not key.isascii() or sum(map(str.isalnum, key)) > 1


def _as_written(key: str) -> str:
    """Return a pattern for a text in rows and in JSON, where a quote is doubled or has a backslash before it."""
    words = (re.escape(each).replace(r"\\", r"\\{1,2}") for each in re.split(r"[\s\x00-\x1f]+", key))
    return _SPACE.join(words).replace('"', r'(?:\\?"){1,2}')


def without_mentions(content: bytes, is_mentioned: Mentions) -> bytes:
    """Return rows of events, whole or torn, with stars for each text that mentions the student."""
    if not is_mentioned(content.decode(errors="replace")):
        return content
    return b"".join(_clean(line, is_mentioned) for line in content.splitlines(keepends=True))


def _clean(line: bytes, is_mentioned: Mentions) -> bytes:
    if not is_mentioned(line.decode(errors="replace")):
        return line
    row = line.rstrip(b"\r\n")
    head = b"".join(each + b"," for each in row.split(b",")[:_TEXT_AT])
    cells = next(csv.reader([row.decode(errors="replace")]), [])
    has_check = len(cells) == len(COLUMNS[EVENTS]) and row[-CHECK_CHARS - 1 : -CHECK_CHARS] == b","
    stars = b"*" * (len(row) - len(head) - (CHECK_CHARS + 1 if has_check else 0))
    if not has_check:
        return head + stars + line[len(row) :]
    return b"%s%s,%08x%s" % (head, stars, zlib.crc32(head + stars + b","), line[len(row) :])


def spellings(words: Iterable[str]) -> set[bytes]:
    """Return the bytes that texts may have in a file: composed or not, and escaped as JSON is."""
    found = set()
    for word in words:
        for form in (word, unicodedata.normalize("NFC", word), unicodedata.normalize("NFD", word)):
            of_row = " ".join(re.split(r"[\x00-\x1f]+", form)).replace('"', '""')
            found |= {each.encode(errors="replace") for each in (form, of_row, json.dumps(form)[1:-1])}
    return found


class Traces:
    """What tells a student in texts: ``words`` are the name and the codes that nobody else has.

    ``groups`` are these codes in topics, ``streams`` (group/source) the student's.
    """

    def __init__(
        self, words: Collection[str] = (), groups: Collection[str] = (), streams: Collection[str] = ()
    ) -> None:
        self.groups = frozenset(groups)
        self.words = frozenset(each for each in words if each)
        self.is_mentioned = mentions_of(*self.words)
        self.spellings = spellings(filter(is_told_apart, self.words))
        self._streams = frozenset(streams)
        self._topics = [f"/streams/{each}/" for each in streams] + [f"/groups/{each}/" for each in groups]

    def is_of(self, group: str, source: str) -> bool:
        """Return True if a stream is the student's."""
        return f"{group}/{source}" in self._streams

    def is_in_letter(self, line: bytes) -> bool:
        """Return True if a refused message came from the student's topics, or mentions the student."""
        try:
            letter = json.loads(line)
            return self.is_in(str(letter["topic"]), bytes.fromhex(letter["payload"]))
        except (ValueError, KeyError, TypeError):
            return False

    def is_in(self, topic: str, payload: bytes) -> bool:
        """Return True if a message is on one of the student's topics, or mentions the student, whatever its bytes."""
        if any(each in f"/{topic}" for each in self._topics) or any(each in payload for each in self.spellings):
            return True
        text = payload.decode(errors="replace")
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False)
        return self.is_mentioned(text)
