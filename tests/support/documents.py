"""Read the commands of a document and run them as they stand."""

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 60.0


def blocks(document: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@contextlib.contextmanager
def running(command: str | list[str], **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of a document from the project's folder, its output in a pipe; ended by SIGTERM."""
    words = shlex.split(command) if isinstance(command, str) else command
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}) as popen:
        try:
            yield popen
        finally:
            popen.terminate()
            popen.wait(TIMEOUT_S)


def wait_for_line(popen: subprocess.Popen[str], text: str) -> None:
    """Read what the program prints until a line has the text."""
    assert popen.stdout is not None
    assert any(text in line for line in popen.stdout), f"the program ended without saying {text!r}"
