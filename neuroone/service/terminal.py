"""What people read and answer in a terminal."""

import signal
import sys
from typing import Final, TextIO

_YES: Final = ("y", "yes", "s", "sim")


def printable(text: str, out: TextIO) -> str:
    """Replace what the terminal's encoding has no characters for."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def agrees(question: str, out: TextIO) -> bool:
    """Ask, and read the answer; Ctrl-C and the end of the input mean no."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(printable(question, out), end="", file=out, flush=True)
        return sys.stdin.readline().strip().casefold() in _YES
    except KeyboardInterrupt:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
