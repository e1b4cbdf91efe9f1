"""csv-recorder as a process that can be stopped for a moment, killed, and given another disk."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STOP_TIMEOUT_S = 40.0
_PROGRAM = """
import sys
import csv_recorder.service as service
assert service.NICENESS
service.NICENESS = 0
settle_s, rotate_bytes = float(sys.argv.pop(1)), int(sys.argv.pop(1))
options = service.Options
if settle_s:
    assert service.SETTLE_PERIOD_S
    service.SETTLE_PERIOD_S = settle_s
if rotate_bytes:
    service.Options = lambda **given: options(**{**given, "rotate_bytes": rotate_bytes})
from csv_recorder.__main__ import main
sys.exit(main())
"""
"""The command, but it does not leave the processor to others, who would starve it beside a load of tests. Files are
synced every 30 s and go on in new ones at 1 MB at least; a test that waits for it uses less."""


class RecorderProcess:
    """A running csv-recorder.

    Where they are not the usual ones: ``settle_s`` is the time between two syncs of its files, ``rotate_bytes`` the
    size at which a session goes on in a new file.
    """

    def __init__(
        self,
        url: str,
        directory: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        settle_s: float = 0.0,
        rotate_bytes: int = 0,
        log: Path | None = None,
    ) -> None:
        program = [sys.executable, "-c", _PROGRAM, str(settle_s), str(rotate_bytes)]
        command = [*program, "--broker", url, "--dir", str(directory), *options]
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("ab")) if log else None
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    @property
    def is_alive(self) -> bool:
        """Return True while it runs."""
        return self.process.poll() is None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it in the middle of what it does, and let it go on afterwards."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            while not all(self._states_are_stopped()):
                time.sleep(0.001)
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _states_are_stopped(self) -> Iterator[bool]:
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            yield (task / "stat").read_text().rpartition(")")[2].split()[0] in "Tt"

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in good order; return the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> "RecorderProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
