"""`neuroone self-test`: run the whole system once, with a simulated headset, beside whatever runs here."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.files import student_file_name
from neuroone.contract.messages import DEMO
from neuroone.service import programs
from neuroone.service.lifecycle import OK, STOP_ON_EOF, Stop
from neuroone.service.local_address import LOOPBACK, free_port

TIMEOUT_S: Final = 60.0
"""A school's machine needs 5 to 10 s; one that also serves a class, some times that."""
LOOK_S: Final = 0.2
ROWS: Final = 2
"""Lines of the file: its header, and a reading that went all the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestSettings:
    """`neuroone self-test` has no settings, so that what runs beside it cannot be meant."""

    READS_ENVIRONMENT: ClassVar[bool] = False


def run(given: SelfTestSettings, stop: Stop) -> int:
    """Return OK once a simulated reading is in its file. Raises NeuroOneError."""
    with tempfile.TemporaryDirectory(prefix="neuroone-") as folder:
        file = Path(folder) / student_file_name(DEMO)
        command = programs.command("neuroone", "up", "--port", "sim", "--host", LOOPBACK, "--data", folder)
        command += ["--ws-port", str(free_port()), "--mqtt-port", str(free_port()), "--log-level", "warning"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("NEUROONE_")}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ | {STOP_ON_EOF: "1"}
        ) as popen:
            try:
                _wait(popen, file, stop)
            finally:
                popen.communicate()  # ends its input, and so the system
    print("self-test passed: a simulated reading went from the headset to its file")
    return OK


def _wait(popen: "subprocess.Popen[bytes]", file: Path, stop: Stop) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not file.exists() or file.read_bytes().count(b"\n") < ROWS:
        if popen.poll() is not None:
            raise NeuroOneError("self-test: the system does not start; the reason is above")
        if time.monotonic() > deadline_s or stop.wait(LOOK_S):
            raise NeuroOneError(f"self-test: no reading was recorded within {TIMEOUT_S:.0f} s")
