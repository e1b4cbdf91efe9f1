"""The commands of maintenance for the containers of compose.yaml, on the machine that runs Docker.

Needs Python, git and Docker, and none of our packages: run.py calls it where containers of the clone are there.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError
from neuroone.maintenance import versions
from neuroone.maintenance.checkouts import NAME_CHARS, PREVIOUS, Checkout, clone_of
from neuroone.maintenance.versions import Installation

TAG: Final = "NEUROONE_TAG"
_PREVIOUS_TAG: Final = "previous"
_EXCHANGED_TAG: Final = "exchanged"
_PLACES: Final = ("--data", "/data", "--also", "secrets=/secrets", "--also", "broker=/broker", "--also", "env=/env")
"""Where the service `maintenance` of compose.yaml has everything."""


def is_used(root: Path) -> bool:
    """Return True if containers of this clone are there."""
    try:
        return bool(docker(clone_of(root), "compose", "ps", "--all", "--quiet"))
    except (OSError, NeuroOneError):
        return False


def docker(folder: Path, *words: str, **variables: str) -> str:
    """Run docker in a folder; return what it prints. Raises NeuroOneError, and OSError without Docker."""
    done = subprocess.run(
        ["docker", *words], check=False, cwd=folder, env=os.environ | variables, capture_output=True, text=True
    )
    if done.returncode:
        raise NeuroOneError(f"docker {' '.join(words[:3])}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def main(root: Path, command: str, words: list[str]) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog=f"run.py {command}", allow_abbrev=False)
    if command == "backup":
        parser.add_argument("to", type=Path, metavar="TO", help="the new folder of the backup")
    elif command == "restore":
        parser.add_argument("backup", type=Path, metavar="FROM", help="a folder that backup made")
        parser.add_argument("--replace", action="store_true", help="do not ask before what is there is moved aside")
        parser.add_argument("--with-broker", action="store_true", help="replace the broker's state too")
    elif command == "update":
        parser.add_argument("--from", dest="source", metavar="REPOSITORY", help="where the new version is (origin)")
        parser.add_argument("--to", dest="ref", metavar="REF", help="its branch or tag")
    given = parser.parse_args(words)
    stack = Stack(Checkout(clone_of(root)))
    try:
        if command == "backup":
            return stack.back_up(given.to.absolute())
        if command == "restore":
            return stack.restore(given.backup.resolve(), replace=given.replace, with_broker=given.with_broker)
        is_done = versions.update(stack, given.source, given.ref) if command == "update" else versions.roll_back(stack)
    except NeuroOneError as error:
        print(f"run.py {command}: {error}", file=sys.stderr)
        return 1
    return 0 if is_done else 1


class Stack(Installation):
    """The containers of a clone. The images of the version before stay, under a tag of their own."""

    def __init__(self, clone: Checkout) -> None:
        super().__init__(clone)
        self._fault: str | None = None

    @cached_property
    def _services(self) -> Counter[str]:
        """Count the containers of each service that runs or should, before anything is changed."""
        lines = self._compose("ps", "--all", "--format", "{{.Service}} {{.State}}").splitlines()
        return Counter(line.split()[0] for line in lines if line.split()[1] != "exited")

    # --- backup and restore: in a container, which has the volumes -----------------------------------

    def back_up(self, to: Path) -> int:
        """Write a backup into a new folder."""
        env = self.clone.root / ".env"
        settings = [f"--volume={env}:/env/.env:ro"] if env.exists() else []
        code = self._run([f"--volume={to.parent}:/backup", *settings], "backup", f"/backup/{to.name}")
        if not code:
            print(f"the backup is {to}")
        return code

    def restore(self, backup: Path, *, replace: bool, with_broker: bool) -> int:
        """Bring back a backup; the services start again in any case. Raises NeuroOneError."""
        self._services  # noqa: B018 (before the recorder is stopped)
        options = ["--replace"] * replace + ["--with-broker"] * with_broker
        self._compose("stop", *(["mosquitto"] * with_broker), "csv_recorder")
        try:
            volumes = [f"--volume={backup.parent}:/backup:ro", f"--volume={self.clone.root}:/env"]
            code = self._run(volumes, "restore", f"/backup/{backup.name}", *options)
        finally:
            self._compose("restart", "mosquitto", "ws_gateway", "csv_recorder")
            self._start()
        if self._fault:
            raise NeuroOneError(self._fault)
        return code

    def _run(self, options: list[str], *words: str) -> int:
        terminal = [] if sys.stdin.isatty() else ["-T"]
        command = [
            "docker",
            "compose",
            "run",
            "--rm",
            "--no-deps",
            *terminal,
            *options,
            "maintenance",
            *words,
            *_PLACES,
        ]
        return subprocess.run(command, check=False, cwd=self.clone.root).returncode

    # --- update and rollback ---------------------------------------------------------------------------

    def commit(self) -> str:
        """Return the clone's commit: compose.yaml and the images are of it."""
        return self.clone.head()

    def install(self, folder: Path, commit: str) -> None:
        """Build the version's images beside those in use, let them check the settings, and go over to them."""
        beside = {TAG: commit[:NAME_CHARS]}
        env = self.clone.root / ".env"
        compose = ["compose", *(["--env-file", str(env)] if env.exists() else [])]
        known = docker(folder, *compose, "--profile", "*", "config", "--services").splitlines()
        running = [name for name in self._services if name in known]
        docker(folder, *compose, "build", "--with-dependencies", *running, **beside)
        docker(folder, *compose, "run", "--rm", "--no-deps", "-T", "check_settings", **beside)
        self.clone.remove(folder)
        before = self.clone.head()
        self.clone.move(commit)
        self.clone.git("update-ref", PREVIOUS, before)
        for image in self._images():
            self._tag(image, _PREVIOUS_TAG)
            self._move_tag(image, commit[:NAME_CHARS], "")
        self._start()

    def fault(self) -> str | None:
        """Return why the services did not become healthy."""
        return self._fault

    def go_back(self) -> None:
        """Exchange this version and the one before."""
        previous, now, _ = self.clone.previous(), self.clone.head(), self._services
        self.clone.move(previous)
        self.clone.git("update-ref", PREVIOUS, now)
        for image in self._images():
            self._tag(image, _EXCHANGED_TAG)
            self._move_tag(image, _PREVIOUS_TAG, "")
            self._move_tag(image, _EXCHANGED_TAG, _PREVIOUS_TAG)
        self._start()

    def forget_previous(self) -> None:
        """Forget the commit before."""
        self.clone.git("update-ref", "-d", PREVIOUS)

    def _start(self) -> None:
        """Start what runs, and what a version has added, as it is in compose.yaml; keep why it does not get healthy."""
        try:
            known = self._config("--profile", "*")  # the version before may lack a service that runs
            counts = {name: count for name, count in self._services.items() if name in known}
            scale = [word for name, count in counts.items() if count > 1 for word in ("--scale", f"{name}={count}")]
            lasting = [name for name, each in self._config().items() if each.get("restart") != "no"]
            self._compose("up", "--detach", "--no-build", "--wait", *scale, *dict.fromkeys([*counts, *lasting]))
            self._fault = None
        except NeuroOneError as error:
            self._fault = str(error).splitlines()[-1]  # before it stands what Compose did, step by step

    def _images(self) -> list[str]:
        """List our images, with the tag in use."""
        return sorted({each["image"] for each in self._config("--profile", "*").values() if "build" in each})

    def _config(self, *options: str) -> dict[str, Any]:
        """Return the services of compose.yaml as Compose reads them."""
        return dict(json.loads(self._compose(*options, "config", "--format", "json"))["services"])

    def _tag(self, image: str, tag: str) -> None:
        """Give an image a further tag. An image that was never built has none."""
        with contextlib.suppress(NeuroOneError):
            docker(self.clone.root, "tag", image, f"{_name(image)}:{tag}")

    def _move_tag(self, image: str, tag: str, to: str) -> None:
        """Let what has a tag have another one instead, by default that of ``image``."""
        with contextlib.suppress(NeuroOneError):
            docker(self.clone.root, "tag", f"{_name(image)}:{tag}", f"{_name(image)}:{to}" if to else image)
            docker(self.clone.root, "rmi", f"{_name(image)}:{tag}")

    def _compose(self, *words: str) -> str:
        return docker(self.clone.root, "compose", *words)


def _name(image: str) -> str:
    """Return an image's name without its tag."""
    return image.rpartition(":")[0]
