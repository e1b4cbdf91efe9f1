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
_QUICK = """
import sys
import csv_recorder.service as service
assert hasattr(service, "SETTLE_PERIOD_S")
service.SETTLE_PERIOD_S = float(sys.argv.pop(1))
from csv_recorder.__main__ import main
sys.exit(main())
"""
"""Files are synced every 30 s; a test that waits for it uses a shorter period."""


class RecorderProcess:
    """A running csv-recorder. ``settle_s``: the time between two syncs of its files, where it is not the usual one."""

    def __init__(
        self,
        url: str,
        directory: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        settle_s: float | None = None,
        log: Path | None = None,
    ) -> None:
        program = ["-m", "csv_recorder"] if settle_s is None else ["-c", _QUICK, str(settle_s)]
        command = [sys.executable, *program, "--broker", url, "--dir", str(directory), *options]
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
