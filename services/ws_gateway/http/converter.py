"""Let the recorder's program make workbooks and reports of recordings (docs/decisions/0030).

Each is made in a process and in a folder of its own. A program that hangs, is killed or fails costs that one download.
"""

import logging
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from neuroone.service import programs
from neuroone.service.job import new_job

CONVERT_TIMEOUT_S: Final = 300.0
"""The workbooks of a class of forty, 50 minutes each, take 52 s of CPU; beside ten busy programs on two cores 195 s."""
CONVERSIONS_MAX: Final = 2
"""Programs at a time: one that hangs leaves a place. Each takes 160 MB of memory."""
NICENESS: Final = 10
"""On a machine that is too busy, the gateway goes first: the students are live."""
DIES_FIRST: Final = "1000"
"""Linux's badness of a program, from -1000 to 1000: without memory this one is ended, not the gateway."""
WORDS_MAX_BYTES: Final = 300
"""What is logged of the last words of a program that failed."""
MADE: Final = "made"
"""The folder in which a program works, beside its temporary files."""
COULD_NOT_READ_ALL: Final = 1
"""Its exit code for sessions that cannot be read, with nothing in its log: the others have been written."""
NEEDED: Final = ("csv_recorder", "filelock", "openpyxl", "pandas", "tqdm")
"""What the recorder's program needs to make workbooks and reports: the extra ``ws-gateway-downloads``."""

log = logging.getLogger(__name__)


class Busy(Exception):
    """Other workbooks and reports are being made."""


class Failed(OSError):
    """The recorder's program could not make it; ``strerror`` says why."""


class Converter:
    """Run the recorder's program, CONVERSIONS_MAX times at once, for threads that wait for what it makes."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(("conversions", "conversions_failed"), 0)
        self._places = threading.BoundedSemaphore(CONVERSIONS_MAX)
        self._programs: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    def convert(self, words: Sequence[str], sessions: Sequence[Path]) -> tempfile.TemporaryDirectory[str]:
        """Return a folder; what the program made of the sessions is in its folder MADE. Raises Busy and Failed.

        ``words`` name the command and its options, which writes into the folder in which it works.
        """
        if not self._places.acquire(blocking=False):
            raise Busy
        self.counters["conversions"] += 1
        try:
            folder = tempfile.TemporaryDirectory(prefix="neuroone-")
            try:
                self._run([*words, *(str(each.absolute()) for each in sessions)], folder.name)
            except BaseException:
                folder.cleanup()
                raise
            return folder
        except OSError as error:
            self.counters["conversions_failed"] += 1
            reason = error.strerror or str(error)
            log.warning("a workbook or report could not be made: %s", reason)
            raise Failed(None, reason) from None
        finally:
            self._places.release()

    def close(self) -> None:
        """End the programs that run, so that nobody waits for them."""
        self._is_closed = True
        for program in tuple(self._programs):
            _end(program)

    def _run(self, words: Sequence[str], folder: str) -> None:
        # The gateway's settings are not the command's; its unfinished files go with the folder.
        environ = {key: value for key, value in os.environ.items() if not key.startswith("NEUROONE_")}
        environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)
        command = programs.command("csv_recorder", *words)
        made = Path(folder, MADE)
        made.mkdir()
        with (
            new_job() as job,
            tempfile.TemporaryFile() as said,  # a pipe that nobody reads would hold the program up
            subprocess.Popen(
                command, cwd=made, env=environ, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            ) as program,
        ):
            self._programs.add(program)
            job.add(program)
            try:
                _give_way(program.pid)
                exit_code = program.wait(0 if self._is_closed else CONVERT_TIMEOUT_S)  # closed: the gateway ends
            except subprocess.TimeoutExpired:
                raise Failed(None, f"it took longer than {CONVERT_TIMEOUT_S:.0f} s") from None
            finally:
                _end(program)
                self._programs.discard(program)
            said.seek(max(0, said.seek(0, os.SEEK_END) - WORDS_MAX_BYTES))
            words_said = said.read().decode(errors="replace").strip()
        if exit_code < 0:
            raise Failed(None, f"its program was ended by signal {-exit_code}")
        if exit_code > COULD_NOT_READ_ALL or (exit_code and words_said):
            log.warning("the recorder's program ended with exit code %d: %s", exit_code, words_said)
            raise Failed(None, "its program failed")
        if not any(made.iterdir()):
            raise Failed(None, "none of the sessions can be read")


def is_available() -> bool:
    """Return True if the recorder's program is installed with what it needs."""
    return all(map(find_spec, NEEDED))


def _end(program: "subprocess.Popen[bytes]") -> None:
    """End a program and the programs that it has started; on Windows the end of its job ends those."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(program.pid, signal.SIGKILL)
    program.kill()


def _give_way(pid: int) -> None:
    """Let everything else go before a program, where the system can."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(DIES_FIRST, encoding="ascii")
