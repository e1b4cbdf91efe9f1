"""A recording while it is read and played: its messages in order, each with the time at which it is due. No Qt."""

import heapq
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from monitor_gui.feed import StreamId
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import RAW_BLOCK_SAMPLES, RAW_RATE_HZ, GroupEvent, RawBlock, Reading

Played: TypeAlias = Reading | RawBlock

PLAYED_MAX_H: Final = 12
MESSAGES_MAX: Final = PLAYED_MAX_H * 3600 * (RAW_RATE_HZ // RAW_BLOCK_SAMPLES + 1)
"""A night of a headset with raw samples: eight blocks and a reading a second, about 120 MB. The rest is left out."""
HOLE_PLAYED_S: Final = 120.0
"""Nobody waits for hours of silence: a longer hole is played as so many seconds, the longest window of the plots."""

_READING: Final = msgspec.msgpack.Decoder(Reading)
_BLOCK: Final = msgspec.msgpack.Decoder(RawBlock)
_encode: Final = msgspec.msgpack.Encoder().encode


class Unplayable(NeuroOneError):
    """A recording cannot be played. ``key`` is that of the text for people, ``words`` are put into it."""

    def __init__(self, key: str, *words: object) -> None:
        super().__init__(f"{key}: {', '.join(map(str, words))}")
        self.key, self.words = key, words


@dataclass(slots=True)
class About:
    """What is known of a recording: its file or folder, its stream, and what people set in it.

    ``rows_left_out`` are rows that are damaged, torn or no rows at all.
    """

    path: Path
    stream: StreamId
    name: str
    events: list[GroupEvent] = field(default_factory=list)
    rows_left_out: int = 0


class Recording:
    """The messages of a recording. One thread adds them while another plays those that are here.

    ``fault`` tells what kept the rest from being read, once `is_read`.
    """

    def __init__(self, about: About) -> None:
        self.about = about
        self.fault: Unplayable | None = None
        self.is_read = False
        self._lock = threading.Lock()
        self._due_s = array("d")
        self._are_blocks = bytearray()
        self._messages: list[bytes] = []
        self._last_s = 0.0

    @property
    def duration_s(self) -> float:
        """Return how long the part takes that is here."""
        with self._lock:
            return self._due_s[-1] if self._due_s else 0.0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, at_s: float, message: Played) -> bool:
        """Add the next message, of ``at_s`` seconds after the first one; return False if the recording is full."""
        with self._lock:
            if len(self._messages) >= MESSAGES_MAX:
                return False
            hole_s = min(max(0.0, at_s - self._last_s), HOLE_PLAYED_S) if self._due_s else 0.0
            self._last_s = at_s
            self._messages.append(_encode(message))
            self._are_blocks.append(isinstance(message, RawBlock))
            self._due_s.append((self._due_s[-1] if self._due_s else 0.0) + hole_s)
            return True

    def first_due(self, from_s: float) -> int:
        """Return the number of the first message that is due at ``from_s`` or later."""
        with self._lock:
            return bisect_left(self._due_s, from_s)

    def due(self, first: int, until_s: float) -> list[tuple[float, Played]]:
        """Return the messages from number ``first`` that are due until then, each with its time."""
        with self._lock:
            numbers = range(first, bisect_right(self._due_s, until_s))
            found = [(self._due_s[n], self._are_blocks[n], self._messages[n]) for n in numbers]
        return [(due_s, (_BLOCK if is_block else _READING).decode(message)) for due_s, is_block, message in found]


def in_order(*tracks: Iterator[Played]) -> Iterator[tuple[float, Played]]:
    """Yield the messages of all tracks in the order of their times, each with its seconds since the first one.

    A clock that was set back does not bring a track back: the time stands still there.
    """
    begun = [(first, track) for track in tracks if (first := next(track, None)) is not None]
    began_s = min((first.time.timestamp() for first, _ in begun), default=0.0)
    yield from heapq.merge(*(_elapsed(chain([first], track), began_s) for first, track in begun), key=itemgetter(0))


def _elapsed(track: Iterator[Played], began_s: float) -> Iterator[tuple[float, Played]]:
    elapsed_s, before_s = 0.0, began_s
    for message in track:
        time_s = message.time.timestamp()
        elapsed_s += max(0.0, time_s - before_s)
        before_s = time_s
        yield elapsed_s, message
