"""Read a capture of a headset: the program ``serial-bridge decode`` makes its messages."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from monitor_gui.local_bridge import command
from monitor_gui.playing.recording import Played, Unplayable
from neuroone.contract.errors import ContractError
from neuroone.contract.json import PAYLOAD_MAX_BYTES, decode
from neuroone.contract.messages import RawBlock, Reading

HEAD_BYTES: Final = 64 * 1024
"""Ten seconds of a headset: bytes without a frame's begin in them are of something else."""
SYNC: Final = b"\xaa\xaa"
TIMED: Final = b'{"format":"neuroone-capture"'
SILENT_MAX_S: Final = 30.0
"""The program needs 2 s to start on a slow computer, and no second for the next line: one that says nothing hangs."""
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
        watch = Watch(decoder)
        with decoder:
            yield from _messages_from(decoder, path, watch)
            code = decoder.wait()
        if watch.has_ended_it:
            raise Unplayable("play.silent", path, f"{SILENT_MAX_S:.0f}")
        if code:
            said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_MAX_BYTES))
            last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Unplayable("play.damaged", path, last.partition(": ")[2] or last)


class Watch:
    """End a program that is waited for and says nothing for SILENT_MAX_S, in a thread of its own."""

    def __init__(self, program: "subprocess.Popen[bytes]") -> None:
        self.has_ended_it = False
        self._program = program
        self._turns = 0
        """Begins and ends of waits for a line: odd in a wait. While a line is used, the program may rest."""
        self._seen = 0
        self._is_over = threading.Event()
        threading.Thread(target=self._run, name="decoder's watch", daemon=True).start()

    def read_line(self, stream: IO[bytes]) -> bytes:
        """Return the next line of the program."""
        self._turns += 1
        line = stream.readline(PAYLOAD_MAX_BYTES)
        self._turns += 1
        return line

    def hangs(self) -> bool:
        """Return True if somebody has waited for the same line since the last call."""
        seen, self._seen = self._seen, self._turns
        return seen == self._seen and seen % 2 == 1

    def close(self) -> None:
        """Watch no longer."""
        self._is_over.set()

    def _run(self) -> None:
        while not self._is_over.wait(SILENT_MAX_S):
            if self.hangs():
                self.has_ended_it = True
                self._program.kill()
                return


def _messages_from(decoder: "subprocess.Popen[bytes]", path: Path, watch: Watch) -> Iterator[Played]:
    assert decoder.stdout is not None  # noqa: S101 (it is a pipe)
    try:
        while line := watch.read_line(decoder.stdout):
            is_block = b'"samples":' in line
            yield decode(RawBlock, line) if is_block else decode(Reading, line)
        decoder.wait(SILENT_MAX_S)
    except BaseException as error:  # also where nobody wants the rest
        decoder.kill()
        if watch.has_ended_it or isinstance(error, subprocess.TimeoutExpired):
            raise Unplayable("play.silent", path, f"{SILENT_MAX_S:.0f}") from None
        if isinstance(error, ContractError):
            raise Unplayable("play.damaged", path, error) from None
        raise
    finally:
        watch.close()
