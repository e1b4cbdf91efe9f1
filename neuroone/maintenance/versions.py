"""Change the version in use, and change back if it does not work. Needs none of our packages."""

import http.client
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from neuroone.maintenance.checkouts import NAME_CHARS, Checkout

READY_TIMEOUT_S: Final = 90.0
"""A busy machine starts everything within 30 s; this is three times that."""
STEADY_S: Final = 3.0
"""Time between two looks that must both find the system ready: one that crashes again and again is not."""
LOOK_S: Final = 0.5
ANSWER_TIMEOUT_S: Final = 5.0
ANSWER_MAX_BYTES: Final = 10_000


class Installation(ABC):
    """One way in which this system is installed, with the clone that it came from."""

    def __init__(self, clone: Checkout) -> None:
        self.clone = clone

    @abstractmethod
    def commit(self) -> str:
        """Return the commit in use. Raises NeuroOneError."""

    @abstractmethod
    def install(self, folder: Path, commit: str) -> None:
        """Make a version beside the one in use, test it, and go over to it. Raises NeuroOneError before the change."""

    @abstractmethod
    def fault(self) -> str | None:
        """Wait until the system works; return what is wrong with it, None if nothing is."""

    @abstractmethod
    def go_back(self) -> None:
        """Go over to the version before. Raises NeuroOneError if there is none."""

    @abstractmethod
    def forget_previous(self) -> None:
        """Let nobody go back to the version before: it did not work."""


def update(here: Installation, source: str | None, ref: str | None) -> bool:
    """Bring an installation to another version; return False if it does not work and the one before is back.

    Raises NeuroOneError; then nothing was changed.
    """
    commit = here.clone.fetch(source, ref)
    if commit == here.commit():
        print(f"{commit[:NAME_CHARS]} is in use already")
        return True
    print(f"updating {here.commit()[:NAME_CHARS]} to {commit[:NAME_CHARS]} ...", flush=True)
    here.install(here.clone.add(commit), commit)
    if (fault := here.fault()) is None:
        print(f"{commit[:NAME_CHARS]} works; `rollback` goes back")
        return True
    print(f"{commit[:NAME_CHARS]} does not work: {fault}; going back ...", flush=True)
    here.go_back()
    here.forget_previous()
    print(f"{here.commit()[:NAME_CHARS]} is in use again" + ("" if (fault := here.fault()) is None else f": {fault}"))
    return False


def roll_back(here: Installation) -> bool:
    """Go back to the version before; return False if it does not work. Raises NeuroOneError."""
    here.go_back()
    fault = here.fault()
    print(f"{here.commit()[:NAME_CHARS]} " + ("works" if fault is None else f"does not work: {fault}"))
    return fault is None


def wait_ready(url: str) -> str | None:
    """Wait until a gateway says that it is ready, and says it again; return what it said instead, None if it did."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    since_s: float | None = None
    while True:
        said, now_s = answer(url), time.monotonic()
        since_s = (since_s or now_s) if said.startswith("ready") else None
        if since_s is not None and now_s - since_s >= STEADY_S:
            return None
        if since_s is None and now_s > deadline_s:
            return said.strip()
        time.sleep(LOOK_S)


def answer(url: str) -> str:
    """Return what is said at an address of this machine, or why nothing is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ANSWER_TIMEOUT_S) as found:
            return str(found.read(ANSWER_MAX_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return str(error.read(ANSWER_MAX_BYTES).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers at {url} ({error})"
