"""A git repository that new versions come from."""

import subprocess
from pathlib import Path


class Origin:
    """A repository, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "--quiet")

    def git(self, *words: str) -> str:
        """Run git in it; return what it prints."""
        options = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "safe.directory=*")
        return subprocess.run(
            ["git", *options, *words], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, run_py: str | None = None) -> str:
        """Make a version of what is there, or of another run.py; return its commit."""
        if run_py is not None:
            (self.folder / "run.py").write_text(run_py, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A version")
        return self.git("rev-parse", "HEAD")

    def clone(self, to: Path) -> Path:
        """Clone it, as a user does."""
        self.git("clone", "--quiet", str(self.folder), str(to))
        return to
