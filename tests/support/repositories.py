"""A git repository that new versions come from."""

import subprocess
from pathlib import Path


class Origin:
    """A repository whose versions differ in their run.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet")

    def git(self, *words: str) -> str:
        """Run git in it; return what it prints."""
        options = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *options, *words], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, run_py: str) -> str:
        """Make a version; return its commit."""
        (self.folder / "run.py").write_text(run_py, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A version")
        return self.git("rev-parse", "HEAD")

    def clone(self, to: Path) -> Path:
        """Clone it, as a user does."""
        self.git("clone", "--quiet", str(self.folder), str(to))
        return to
