"""Let a running `neuroone up` go over to another version of its clone, when `neuroone update` asks for it.

`up` ends its programs and starts the chosen version as its child, through run.py. It stays, so that its terminal, or
whatever started it, notices nothing.
"""

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from neuroone.contract.files import UP_FILE, UP_RESTART
from neuroone.maintenance.checkouts import clone_of
from neuroone.service.healthcheck import is_fresh
from neuroone.service.lifecycle import STOP_ON_EOF, Stop
from neuroone.service.local_address import host_here
from neuroone.up import command
from neuroone.up.children import Child
from neuroone.up.command import CHECK_PERIOD_S, RESTART, UpSettings

LOOK_S: Final = 1.0
"""Far less than after what `is_fresh` takes a file for forgotten."""
FOLDER: Final = Path(__file__).absolute().parents[2]
RUN_PY: Final = clone_of(FOLDER) / "run.py"


def run(given: UpSettings, stop: Stop) -> int:
    """Run the system until ``stop``; go over to another version whenever that is asked for. Raises SettingsError."""
    data = given.data.resolve()
    request = data / UP_RESTART
    # The child of an `up` or of a window; no clone; a second `up`, which will be refused since its ports are in use.
    if os.environ.get(STOP_ON_EOF) or not RUN_PY.exists() or _is_used(data):
        return command.run(given, stop)
    here = Stop()
    stop.call(lambda: here.set(stop.exit_code))
    with _said(data, given):
        threading.Thread(target=_look, args=(data, here, stop), name="other-version", daemon=True).start()
        code = command.run(given, here)
        return code if stop.is_set() or not request.exists() else _run_chosen(request, stop)


def _look(data: Path, here: Stop, stop: Stop) -> None:
    """Show all the time that this `up` runs; end what runs here as soon as another version is asked for."""
    while not stop.wait(LOOK_S):
        with contextlib.suppress(OSError):
            os.utime(data / UP_FILE)
        if (data / UP_RESTART).exists():
            here.set()


def _run_chosen(request: Path, stop: Stop) -> int:
    """Run the version that run.py starts; start it again if it dies, and whenever another one is chosen."""
    words = sys.argv[2:] if sys.argv[1:2] == ["up"] else sys.argv[1:]
    child = Child("neuroone up", [sys.executable, str(RUN_PY), "up", *words])
    rng = random.Random()
    try:
        while not stop.is_set():
            if request.exists():
                child.stop()
                request.unlink(missing_ok=True)
            child.restart_if_dead(RESTART, rng)
            stop.wait(CHECK_PERIOD_S)
    finally:
        child.stop()
    return stop.exit_code


def _is_used(data: Path) -> bool:
    with contextlib.suppress(OSError):
        return is_fresh(data / UP_FILE, time.time())
    return False


@contextlib.contextmanager
def _said(data: Path, given: UpSettings) -> Iterator[None]:
    """Say in the directory of the recordings that this `up` runs, and how to see that it works."""
    file = data / UP_FILE
    with contextlib.suppress(OSError):  # whatever it is, `up` will say it
        data.mkdir(parents=True, exist_ok=True)
        (data / UP_RESTART).unlink(missing_ok=True)
        file.write_text(
            json.dumps(
                {
                    "ready": f"http://{host_here(given.host or '')}:{given.ws_port}/readyz",
                    "gui": given.gui,
                    "folder": FOLDER.name,
                }
            ),
            "utf-8",
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
