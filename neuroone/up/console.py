"""Write to the terminal what people are to read."""

import queue
import shutil
import textwrap
import threading
from collections.abc import Iterable
from typing import Final, TextIO

from neuroone.service.terminal import printable

WAITING_MAX: Final = 1000
"""Lines that wait for a terminal that takes none, because somebody selects text in it: a few minutes' worth."""
CLOSE_S: Final = 1.0
"""Time for the last lines at the end."""


class Console:
    """Write lines in a thread of its own: a terminal that is held up, or closed, holds up nothing else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._waiting: queue.Queue[str | None] = queue.Queue(WAITING_MAX)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def show(self, lines: Iterable[str]) -> None:
        """Write these lines."""
        for line in lines:
            try:
                self._waiting.put_nowait(line)
            except queue.Full:
                self.dropped += 1

    def say(self, sentences: str) -> None:
        """Write sentences."""
        self.show([wrapped(sentences, self._out)])

    def close(self) -> None:
        """Write what waits, as far as the terminal takes it soon."""
        try:
            self._waiting.put(None, timeout=CLOSE_S)
            self._thread.join(CLOSE_S)
        except queue.Full:
            pass

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                print(printable(line, self._out), file=self._out, flush=True)
            except (OSError, ValueError):  # the terminal is gone
                return


def wrapped(sentences: str, out: TextIO) -> str:
    """Break sentences between words, where a terminal would break them anywhere; leave them whole in a file."""
    if not out.isatty():
        return sentences
    width = shutil.get_terminal_size().columns
    return textwrap.fill(sentences, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
