"""Read the markers of other LSL programs, such as PsychoPy, in a thread of its own: LSL's calls may block."""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pylsl

from neuroone.contract.messages import NOTE_MAX_CHARS
from neuroone.lsl.descriptions import MARKERS, SOURCE_IDS

PERIOD_S: Final = 0.05
"""Time between two reads; a marker's own stamp says when it was."""
SEARCH_PERIOD_S: Final = 1.0
INLETS_MAX: Final = 16
"""Programs whose markers are read at a time; an experiment has one or two."""
BUFFERED_MAX: Final = 100
"""Markers of one program that wait to be read; older ones give way. LSL bounds their number, not their bytes."""
CHANNELS_MAX: Final = 16
"""Streams with more channels are no markers: each of their samples may be as large as it likes."""
MARKERS_MAX: Final = 30
"""Markers a second of one program: what a teacher's page may send at once. More are counted and left out."""
AGE_MAX_S: Final = 60.0
"""A marker's stamp that lies in the future or further back is wrong: then its arrival counts."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Program:
    """A program whose markers are read, and how many it has sent in this second."""

    inlet: pylsl.StreamInlet
    second: int = 0
    sent: int = 0


class MarkerReader(threading.Thread):
    """Call ``on_marker`` with the text of each marker and its age in seconds, in this thread."""

    def __init__(self, on_marker: Callable[[str, float], object], on_moved: Callable[[], object]) -> None:
        super().__init__(name="markers", daemon=True)
        self.counters = Counter(markers_in=0, markers_dropped=0)
        self.programs: dict[str, Program] = {}
        """By the id of their outlet, which is new each time a program starts."""
        self._on_marker = on_marker
        self._on_moved = on_moved
        self._stopping = threading.Event()

    def close(self, timeout_s: float) -> None:
        """Stop reading; wait for the end, at most ``timeout_s``."""
        self._stopping.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Read until `close` is called."""
        resolver = pylsl.ContinuousResolver(pred=f"type='{MARKERS}' and not(starts-with(source_id,'{SOURCE_IDS}'))")
        searched_s = float("-inf")
        while not self._stopping.wait(PERIOD_S):
            self._on_moved()
            if time.monotonic() - searched_s >= SEARCH_PERIOD_S:
                searched_s = time.monotonic()
                self._search(resolver)
            for uid, program in tuple(self.programs.items()):
                self._on_moved()  # LSL may wait 5 s for the clock of each program
                if not self._read(program):
                    del self.programs[uid]
        self.programs.clear()

    def _search(self, resolver: pylsl.ContinuousResolver) -> None:
        for info in resolver.results():
            if len(self.programs) >= INLETS_MAX:
                return
            with contextlib.suppress(UnicodeDecodeError, RuntimeError):  # a name that is no text; no port for an inlet
                if info.uid() in self.programs or not is_readable(info):
                    continue
                log.info("reading the markers of %r", info.name()[:NOTE_MAX_CHARS])
                inlet = pylsl.StreamInlet(
                    info, max_buflen=BUFFERED_MAX // 100, recover=False, processing_flags=pylsl.proc_clocksync
                )
                self.programs[info.uid()] = Program(inlet)

    def _read(self, program: Program) -> bool:
        """Read the markers that have come; return False if the stream has ended."""
        for _ in range(BUFFERED_MAX):
            try:
                sample, stamp_s = program.inlet.pull_sample(timeout=0.0)
            except UnicodeDecodeError:
                self.counters["markers_dropped"] += 1
                continue
            except RuntimeError as error:  # all errors of pylsl are
                log.info("a stream of markers has ended: %s", error)
                return False
            if sample is None:
                break
            self._accept(program, text_of(sample), pylsl.local_clock() - stamp_s)
        return True

    def _accept(self, program: Program, text: str, age_s: float) -> None:
        second = int(time.monotonic())
        program.sent = program.sent + 1 if second == program.second else 1
        program.second = second
        if not text or program.sent > MARKERS_MAX:
            self.counters["markers_dropped"] += 1
            return
        self.counters["markers_in"] += 1
        self._on_marker(text, age_s if 0.0 <= age_s <= AGE_MAX_S else 0.0)


def is_readable(info: pylsl.StreamInfo) -> bool:
    """Return True if this stream may be one of markers."""
    return 0 < int(info.channel_count()) <= CHANNELS_MAX and bool(info.channel_format() != pylsl.cf_undefined)


def text_of(sample: list[object]) -> str:
    """Return a marker as text: numbers as people write them, several channels with commas between them."""
    parts = (
        f"{each:.0f}" if isinstance(each, float) and each.is_integer() else str(each)[:NOTE_MAX_CHARS]
        for each in sample
    )
    return ",".join(parts).replace("\0", "").strip()[:NOTE_MAX_CHARS]
