"""End a service that hangs, so that Docker, systemd, supervisor or `neuroone up` start it again.

All of them restart a process that ends. None of them restarts one whose event loop waits for ever.
"""

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from neuroone.service.lifecycle import FAILED

PERIOD_S: Final = 1.0
"""Time between two looks at the beats. The slowest loop, the recorder's, beats once a second."""
MISSED_S: Final = 3.0
"""After so long without a beat the service is no longer called alive; a busy one is late by less."""
LOG_S: Final = 1.0
"""Time for the last line: what hangs may be the log itself."""
PLACES: Final = 5
"""Calls of the hanging thread that are named, the innermost first."""

log = logging.getLogger(__name__)


class Watchdog:
    """Watch the loops of a service, and end the process if one has not moved for ``limit_s`` (0: never).

    It is a context: the service runs inside it, its last words to the broker and to the disk included. It counts its
    own looks and reads no clock, so a computer that slept has missed nothing. If even this thread cannot run, because
    a call holds Python's lock, a timer of faulthandler ends the process after twice the limit, with a traceback instead
    of the line. A process that was stopped for so long ends as well; by then its connections are lost anyway.
    ``on_alive`` is called in the watchdog's thread, every PERIOD_S in which all loops moved lately.
    """

    def __init__(
        self,
        limit_s: float,
        end: Callable[[int], object] = os._exit,
        on_alive: Callable[[], object] = lambda: None,
    ) -> None:
        self._limit_s = limit_s
        self._end = end
        self._on_alive = on_alive
        self._loops: dict[str, _Loop] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def watch(self, name: str) -> Callable[[], None]:
        """Watch one more loop, from now on; return the function that it must call at least once a second."""
        loop = self._loops[name] = _Loop()
        return loop.beat

    def __enter__(self) -> None:
        self._wind()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Count beats once; end the process if a loop has missed too many."""
        loops = tuple(self._loops.items())
        for name, loop in loops:
            loop.missed_s = 0.0 if loop.has_moved else loop.missed_s + PERIOD_S
            loop.has_moved = False
            if 0 < self._limit_s <= loop.missed_s:
                self._say(f"it hangs and ends: its {name} has not moved for {self._limit_s:g} s, at {loop.place()}")
                self._end(FAILED)
                return
        if loops and all(loop.missed_s < MISSED_S for _, loop in loops):
            self._on_alive()

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            self._wind()
            self.look()
        faulthandler.cancel_dump_traceback_later()

    def _wind(self) -> None:
        if self._limit_s:
            with contextlib.suppress(RuntimeError, OSError, AttributeError):  # a program without standard error
                faulthandler.dump_traceback_later(2 * self._limit_s, exit=True)

    @staticmethod
    def _say(line: str) -> None:
        saying = threading.Thread(target=log.critical, args=("%s", line), daemon=True)
        saying.start()
        saying.join(LOG_S)


class _Loop:
    def __init__(self) -> None:
        self.has_moved = True
        self.missed_s = 0.0
        self._thread_id: int | None = None

    def beat(self) -> None:
        self.has_moved = True
        self._thread_id = threading.get_ident()

    def place(self) -> str:
        """Name the calls in which its thread is, in one line."""
        frame = sys._current_frames().get(self._thread_id or 0)  # noqa: SLF001 (documented, for this use)
        if frame is None:
            return "an unknown place"
        calls = reversed(traceback.extract_stack(frame)[-PLACES:])
        return " < ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls)
