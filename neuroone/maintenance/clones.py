"""Update a clone that run.py runs: each version is a folder with an environment of its own.

A file says which one run.py starts. It counts only while the clone itself is at the commit at which it was then: after
a `git pull` by hand run.py starts the clone.
"""

import json
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.files import UP_FILE, UP_RESTART
from neuroone.maintenance.checkouts import VERSIONS, Checkout
from neuroone.maintenance.versions import LOOK_S, READY_TIMEOUT_S, Installation, wait_ready
from neuroone.service.healthcheck import is_fresh

CURRENT: Final = "current"
"""The file in `.versions`; run.py reads it too."""


class Clone(Installation):
    """A clone, and the directory of the recordings of an `up` that may run."""

    def __init__(self, clone: Checkout, data: Path) -> None:
        super().__init__(clone)
        self._request = data / UP_RESTART
        self._said = data / UP_FILE
        self._file = clone.root / VERSIONS / CURRENT
        self._before: dict[str, str] = {}

    def commit(self) -> str:
        """Return the commit of what run.py starts."""
        return self.clone.git("rev-parse", self._choice().get("current") or "HEAD")

    def install(self, folder: Path, commit: str) -> None:
        """Make the version's environment, run its self-test, and let run.py start it."""
        self._before = self._choice()
        window = ["--gui"] if self._up.get("gui") else ["--no-gui"]
        for command in (["up", *window, "--version"], ["exec", "neuroone", "self-test"]):
            try:
                subprocess.run([sys.executable, str(folder / "run.py"), *command], check=True, cwd=folder)
            except subprocess.CalledProcessError:
                raise NeuroOneError(f"{folder.name} does not work on this machine; nothing was changed") from None
        self.clone.remove_others(folder.name, *self._before.values(), self._up.get("folder", ""))
        self._choose(self._before.get("current", ""), folder.name)

    def fault(self) -> str | None:
        """Let a running `up` start the chosen version, and wait for it."""
        if not self._up:
            print(f"no `up` runs with {self._said.parent}: the next one starts this version")
            return None
        self._request.touch()
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while self._request.exists():
            if time.monotonic() > deadline_s:
                self._request.unlink(missing_ok=True)
                return "the running `up` does not start it"
            time.sleep(LOOK_S)
        return wait_ready(self._up["ready"])

    def go_back(self) -> None:
        """Let run.py start the version before."""
        choice = self._choice()
        if "previous" not in choice:
            raise NeuroOneError("there is no earlier version to go back to")
        self._choose(choice["current"], choice["previous"])

    def forget_previous(self) -> None:
        """Choose as it was before the update."""
        if self._before:
            self._choose(self._before["previous"], self._before["current"])
        else:
            self._file.unlink()

    def _choice(self) -> dict[str, str]:
        """Return what run.py starts, and what it started before; nothing if that is the clone itself."""
        try:
            choice: dict[str, str] = json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return choice if choice.get("base") == self.clone.head() else {}

    def _choose(self, previous: str, current: str) -> None:
        """Let run.py start a version; an empty name is the clone itself."""
        choice = {"base": self.clone.head(), "previous": previous, "current": current}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(choice), encoding="utf-8")
        new.replace(self._file)

    @cached_property
    def _up(self) -> dict[str, Any]:
        """What a running `up` says of itself; nothing if none runs. `up` touches this file all the time."""
        try:
            said: dict[str, Any] = json.loads(self._said.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if is_fresh(self._said, time.time()) else {}
