"""Record what headsets send into captures: alone, or while they are also read for the broker."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from neuroone.contract.errors import NeuroOneError
from serial_bridge.captures.files import SUFFIX, CaptureWriter

WAITING_MAX_BYTES: Final = 256 * 1024
"""What a port sends at one speed before it has shown a headset: 5 s at 115200 baud are 58 kB."""
BACKLOG_MAX_BYTES: Final = 2 * 1024 * 1024
"""What waits for a disk that does not answer: seven minutes of a headset with raw samples."""
HANGS: Final = "the disk does not answer"

log = logging.getLogger(__name__)


class RecordingFault(NeuroOneError):
    """A capture cannot be written."""


class Recording:
    """Write one headset's bytes into a capture; the file is made when the first ones are there.

    ``new_path`` returns the file's path. The bytes of a port that tries several speeds wait until a headset has shown
    itself, so that noise of a wrong speed is left out; with ``keeps_all`` everything is written. A thread of its own
    writes, so that a disk that hangs holds up no headset. A fault of the disk ends the recording, not the headset: it
    stays in ``fault``.
    """

    def __init__(
        self, new_path: Callable[[], Path], headset: str, *, keeps_all: bool, is_simulated: bool = False
    ) -> None:
        self.path: Path | None = None
        self.fault: RecordingFault | None = None
        self.counters = {"recorded_bytes": 0, "recordings_failed": 0}
        self._new_path = new_path
        self._headset = headset
        self._keeps_all = keeps_all
        self._is_simulated = is_simulated
        self._waiting: list[tuple[bytes, float]] = []
        self._waiting_bytes = 0
        self._passed_bytes = self._flushed_bytes = 0
        self._passed: SimpleQueue[list[tuple[bytes, float]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def on_bytes(self, arrived: bytes, now_s: float, *, has_frames: bool) -> None:
        """Write bytes that arrived now; ``has_frames``: this port has shown a headset since it was opened."""
        if self.fault is not None:
            return
        self._waiting.append((arrived, now_s))
        self._waiting_bytes += len(arrived)
        if has_frames or self._keeps_all:
            self._pass_on()
        while self._waiting_bytes > WAITING_MAX_BYTES:
            self._waiting_bytes -= len(self._waiting.pop(0)[0])

    def discard_waiting(self) -> None:
        """Forget bytes that no headset sent: the port was closed."""
        self._waiting = []
        self._waiting_bytes = 0

    def flush(self) -> None:
        """Hand what was written to the system: a killed program loses no more than what came since."""
        if self._flushed_bytes != self._passed_bytes:
            self._flushed_bytes = self._passed_bytes
            self._passed.put([])

    def close(self) -> None:
        """End the file; `join` waits until it is whole."""
        self._passed.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until everything is written."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._fail(HANGS)

    def _pass_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
            self._thread.start()
        self._passed_bytes += self._waiting_bytes
        self._passed.put(self._waiting)
        self.discard_waiting()
        if self._passed_bytes - self.counters["recorded_bytes"] > BACKLOG_MAX_BYTES:
            self._fail(HANGS)

    def _run(self) -> None:
        try:
            self.path = self._new_path()
            with self.path.open("x", encoding="ascii", newline="\n") as file:
                log.info("recording into %s", self.path)
                writer = CaptureWriter(file, self._headset, is_simulated=self._is_simulated)
                while self.fault is None and (parts := self._passed.get()) is not None:
                    for arrived, at_s in parts:
                        writer.write(arrived, at_s)
                        self.counters["recorded_bytes"] += len(arrived)
                    if not parts:
                        file.flush()
        except (OSError, ValueError) as error:
            self._fail(getattr(error, "strerror", None) or str(error))

    def _fail(self, reason: str) -> None:
        if self.fault is None:
            self.counters["recordings_failed"] += 1
            self.fault = RecordingFault(f"the capture {self.path or ''} cannot be written: {reason}")
            log.error("%s; the recording ends here", self.fault)


class Recordings:
    """Write one headset's captures, one after the other. Use it like a `Recording`.

    ``number`` tells which one is wanted now: another number begins another file, which ``new`` makes; 0 ends the last.
    """

    def __init__(self, new: Callable[[], Recording], number: Callable[[], int]) -> None:
        self._new, self._number = new, number
        self._of = 0
        self._all: list[Recording] = []
        """One for each press of a button."""

    @property
    def _last(self) -> Recording | None:
        return self._all[-1] if self._all else None

    @property
    def counters(self) -> dict[str, int]:
        """Totals of all captures; nothing before the first."""
        totals: Counter[str] = Counter()
        for each in self._all:
            totals.update(each.counters)
        return dict(totals)

    @property
    def path(self) -> Path | None:
        """Return the file of the last capture."""
        return None if self._last is None else self._last.path

    @property
    def fault(self) -> RecordingFault | None:
        """Return what ended the last capture."""
        return None if self._last is None else self._last.fault

    def on_bytes(self, arrived: bytes, now_s: float, *, has_frames: bool) -> None:
        """Write bytes that arrived now, if a capture is wanted."""
        if (recording := self._wanted()) is not None:
            recording.on_bytes(arrived, now_s, has_frames=has_frames)

    def discard_waiting(self) -> None:
        """Forget bytes that no headset sent: the port was closed."""
        if self._last is not None:
            self._last.discard_waiting()

    def flush(self) -> None:
        """Hand what was written to the system, and end a capture that is not wanted any more."""
        if (recording := self._wanted()) is not None:
            recording.flush()

    def close(self) -> None:
        """End the file; `join` waits until it is whole."""
        if self._last is not None:
            self._last.close()

    def join(self, timeout_s: float) -> None:
        """Wait until everything is written, that of captures that ended before, too."""
        until_s = time.monotonic() + timeout_s
        for each in self._all:
            each.join(max(0.0, until_s - time.monotonic()))

    def _wanted(self) -> Recording | None:
        if (number := self._number()) != self._of:
            self._of = number
            self.close()
            if number:
                self._all.append(self._new())
        return self._last if number else None


def path_in(directory: Path, source_id: str) -> Path:
    """Return a path for a new capture of a headset, named by its id and the time, UTC."""
    stem = f"{source_id}_{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}"
    return free_path(directory / f"{stem}{SUFFIX}")


def free_path(path: Path) -> Path:
    """Return ``path``, or the first one with a number appended that does not exist."""
    n, free = 1, path
    while os.path.lexists(free):
        n += 1
        free = numbered(path, n)
    return free


def numbered(path: Path, n: int) -> Path:
    """Return the path of the capture of headset ``n``, counted from 1: x.capture, x-2.capture, ..."""
    return path if n == 1 else path.with_name(f"{path.stem}-{n}{path.suffix}")
