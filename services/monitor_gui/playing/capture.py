"""Read a capture of a headset: the program ``serial-bridge decode`` makes its messages."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from monitor_gui.local_bridge import command
from monitor_gui.playing.recording import Played, Unplayable
from neuroone.contract.errors import ContractError
from neuroone.contract.json import PAYLOAD_MAX_BYTES, decode
from neuroone.contract.messages import RawBlock, Reading

HEAD_BYTES: Final = 64 * 1024
"""Ten seconds of a headset: bytes without a frame's begin in them are of something else."""
SYNC: Final = b"\xaa\xaa"
TIMED: Final = b'{"format":"neuroone-capture"'
SAID_MAX_BYTES: Final = 4096
"""Of what the program says about a fault: a sentence, with the path of the file."""


def is_capture(head: bytes) -> bool:
    """Return True if a file that begins so may be a capture."""
    return head.startswith(TIMED) or SYNC in head


def messages_of(path: Path) -> Iterator[Played]:
    """Yield the messages of a capture. Raises Unplayable."""
    program = command("decode", "--messages", "--", str(path.absolute()))
    if program is None:
        raise Unplayable("play.no_bridge")
    with tempfile.TemporaryFile() as said:  # a pipe that nobody reads yet would hold the program up
        try:
            decoder = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows a console would open
            )
        except OSError as error:
            raise Unplayable("play.unreadable", program[0], error.strerror or error) from None
        with decoder:
            yield from _messages_from(decoder, path)
            code = decoder.wait()
        if code:
            said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_MAX_BYTES))
            last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Unplayable("play.damaged", path, last.partition(": ")[2] or last)


def _messages_from(decoder: "subprocess.Popen[bytes]", path: Path) -> Iterator[Played]:
    assert decoder.stdout is not None  # noqa: S101 (it is a pipe)
    try:
        while line := decoder.stdout.readline(PAYLOAD_MAX_BYTES):
            is_block = b'"samples":' in line
            yield decode(RawBlock, line) if is_block else decode(Reading, line)
    except BaseException as error:  # also where nobody wants the rest
        decoder.kill()
        if isinstance(error, ContractError):
            raise Unplayable("play.damaged", path, error) from None
        raise
