"""``python -m neuroone.up.mosquitto_state FILE``: make a state of Mosquitto readable again, before it starts.

On a full disk Mosquitto 2.0 replaces its state by a part of it, and then does not start any more (2.1 checks that all
was written). What is whole is kept: the sessions and what waits for them are written before the retained states.
"""

import logging
import mmap
import struct
import sys
from pathlib import Path
from typing import Final

MAGIC: Final = b"\x00\xb5\x00mosquitto db"
VERSIONS: Final = (5, 6)
"""Formats whose chunks begin with a kind and a length of four bytes each: Mosquitto 1.6 and newer."""
HEADER: Final = struct.Struct("!15sII")
CHUNK: Final = struct.Struct("!II")

log = logging.getLogger(__name__)


def mend(file: Path) -> int:
    """Cut an incomplete end off the state; return how many bytes were cut. Raises OSError."""
    if not file.exists():
        return 0
    with file.open("r+b") as state:
        size = state.seek(0, 2)
        whole = _whole_bytes(state.fileno(), size) if size else 0
        state.truncate(whole)
    return size - whole


def _whole_bytes(descriptor: int, size: int) -> int:
    """Return where the last whole chunk ends; the size, if this is not a state that we know."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as state:
        if size < HEADER.size:
            return 0 if MAGIC.startswith(state[: len(MAGIC)]) else size
        magic, _, version = HEADER.unpack_from(state)
        if magic != MAGIC or version not in VERSIONS:
            return size
        at = HEADER.size
        while at + CHUNK.size <= size:
            kind, length = CHUNK.unpack_from(state, at)
            end = at + CHUNK.size + length
            if not kind or end > size:  # zeros, as a power cut may leave them, or a part of a chunk
                break
            at = end
        return at


def mend_and_log(file: Path) -> None:
    """Do the same, and log what was cut or why it cannot be done."""
    try:
        cut_bytes = mend(file)
    except OSError as error:
        log.error("%s cannot be checked (%s)", file, error.strerror or error)
        return
    if cut_bytes:
        log.warning(
            "%s was incomplete: the disk was full when Mosquitto wrote it. Its last %d bytes were cut off",
            file,
            cut_bytes,
        )


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    mend_and_log(Path(sys.argv[1]))
