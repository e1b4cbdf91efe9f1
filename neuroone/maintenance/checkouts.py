"""Fetch another version of the clone that an installation came from. Needs none of our packages.

Each version is a worktree in the folder `.versions` of the clone, so that the one in use stays as it is.
"""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError

VERSIONS: Final = ".versions"
NAME_CHARS: Final = 12
"""A commit is told from all others of a clone by fewer."""
PREVIOUS: Final = "refs/neuroone/previous"
"""The commit to which `rollback` goes back."""


def clone_of(folder: Path) -> Path:
    """Return the clone that a folder of it or of one of its versions belongs to."""
    return folder.parents[1] if folder.parent.name == VERSIONS else folder


class Checkout:
    """A clone; git works in it as its owner, also if root calls: what root makes there its owner could not change."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """Run git; return what it prints. Raises NeuroOneError with what it says."""
        owner: dict[str, Any] = {}
        environ = dict(os.environ)
        try:
            if os.name == "posix" and os.geteuid() == 0 and (found := self.root.stat()).st_uid != 0:
                import pwd

                owner = {"user": found.st_uid, "group": found.st_gid, "extra_groups": []}
                with contextlib.suppress(KeyError):
                    environ["HOME"] = pwd.getpwuid(found.st_uid).pw_dir
            done: subprocess.CompletedProcess[str] = subprocess.run(
                ["git", *words], cwd=cwd or self.root, env=environ, check=True, capture_output=True, text=True, **owner
            )
        except FileNotFoundError:
            raise NeuroOneError(f"git is not installed, or {self.root} is gone") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip() or f"code {error.returncode}"
            raise NeuroOneError(f"git {words[0]} in {self.root}: {said}") from None
        return done.stdout.strip()

    def head(self) -> str:
        """Return the commit that is checked out. Raises NeuroOneError."""
        return self.git("rev-parse", "HEAD")

    def previous(self) -> str:
        """Return the commit to go back to. Raises NeuroOneError."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", PREVIOUS)
        except NeuroOneError:
            raise NeuroOneError("there is no earlier version to go back to") from None

    def fetch(self, source: str | None, ref: str | None) -> str:
        """Fetch a branch or tag; return its commit. Raises NeuroOneError."""
        self.git("fetch", "--quiet", source or "origin", ref or "HEAD")
        return self.git("rev-parse", "FETCH_HEAD^{commit}")

    def add(self, commit: str) -> Path:
        """Return the folder of a version; make it if it is not there. Raises NeuroOneError."""
        folder = self.root / VERSIONS / commit[:NAME_CHARS]
        with contextlib.suppress(NeuroOneError):  # somebody may have moved the clone
            self.git("worktree", "repair", *map(str, self._folders()))
        self.git("worktree", "prune")
        if not (folder / ".git").exists():
            self.git("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
        self.git("reset", "--quiet", "--hard", commit, cwd=folder)  # one that was cut off is made whole
        return folder

    def remove_others(self, *kept: str) -> None:
        """Remove the folders of all versions but these."""
        for folder in self._folders():
            if folder.name not in kept:
                self.remove(folder)

    def _folders(self) -> list[Path]:
        return sorted((self.root / VERSIONS).glob("?" * NAME_CHARS))

    def remove(self, folder: Path) -> None:
        """Remove the folder of a version. Raises NeuroOneError."""
        self.git("worktree", "remove", "--force", "--force", str(folder))

    def move(self, commit: str) -> None:
        """Bring the clone itself to a commit. Raises NeuroOneError, before any change, if changes by hand forbid it."""
        self.git("reset", "--quiet", "--keep", commit)
