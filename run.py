"""The entry to a fresh clone: make ``.venv`` from the lock, then run a command in it.

Needs only a Python >= 3.11 with the ``venv`` module; works on Linux, macOS and Windows. A change of requirements.lock
or pyproject.toml makes the environment anew; otherwise a call costs a few milliseconds.
"""

from __future__ import annotations  # an older Python must reach the message in main()

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
VENV_BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
VENV_PYTHON = VENV_BIN / ("python.exe" if sys.platform == "win32" else "python")
STAMP = VENV / "made-from"
MINIMUM_PYTHON = (3, 11)

USAGE = """\
usage: python3 run.py COMMAND [ARGUMENTS]

  up [ARGUMENTS]         run the whole system on this machine (up --help lists the arguments)
  test                   run every test that this machine can run
  test ARGUMENTS         run pytest with these arguments, e.g. -k NAME
  check                  check format, lint, types, import rules, sizes, lock and tests
  format                 format the source and fix what the linter can fix
  lock [PACKAGE ...]     make requirements.lock from pyproject.toml; upgrade each PACKAGE
  exec PROGRAM [...]     run a program of the environment, e.g. exec serial-bridge ports
"""

TESTS = ["pytest", "--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
"""Every test, four files at a time: three quarters of a test are waiting, so there are more processes than cores."""

CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet"],
    "lint": ["ruff", "check", "--quiet"],
    "types": ["mypy", "--no-error-summary"],
    "import rules": ["lint-imports", "--no-cache"],
    "sizes": ["python", "sizes.py"],
    "tests": TESTS,
}


def main(arguments: list[str]) -> int:
    """Make the environment, run one command, return the exit code."""
    if sys.version_info < MINIMUM_PYTHON:
        return fail(
            f"NeuroOne needs Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or newer; "
            f"{sys.executable} is {sys.version.split()[0]}."
        )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command not in ("up", "test", "check", "format", "lock", "exec") or (command == "exec" and not rest):
        return fail(USAGE.rstrip())

    try:
        make_environment()
    except Obstacle as obstacle:
        return fail(f"run.py: {obstacle}")
    if command == "up":
        return become("neuroone", "up", *rest)
    if command in ("test", "check"):
        # Tests start hundreds of programs, and without this each would compile all of its modules again.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if command == "test":
        os.chdir(ROOT)
        return become("pytest", *rest) if rest else become(*TESTS)
    if command == "check":
        return check()
    if command == "format":
        return max(run("ruff", "format"), run("ruff", "check", "--fix"))
    if command == "lock":
        return lock(rest)
    return become(*rest)


def fail(sentence: str) -> int:
    """Print what is wrong; return the exit code of a wrong call."""
    print(sentence, file=sys.stderr)
    return 2


# --- the environment -----------------------------------------------------------------------------


class Obstacle(Exception):
    """The environment cannot be made; the message tells the user why."""


def make_environment() -> None:
    """Make .venv as the lock says, unless it is current. Raises Obstacle."""
    if is_current():
        return
    with one_at_a_time():
        if not is_current():  # another run may have made it while this one waited
            print("run.py: making .venv from requirements.lock ...", file=sys.stderr)
            build_environment()


def is_current() -> bool:
    """Return True if .venv was made from the present lock and pyproject.toml, in this folder."""
    if not VENV_PYTHON.exists():  # also if it is a link to a deleted Python
        return False
    try:
        return STAMP.read_text(encoding="ascii") == wanted_stamp()
    except FileNotFoundError:
        return False


def wanted_stamp() -> str:
    """Return a hash of everything that .venv depends on: also its path, which its scripts contain."""
    parts = (LOCK.read_bytes(), PYPROJECT.read_bytes(), os.fsencode(str(VENV)))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def build_environment() -> None:
    """Make or update .venv: every package as locked, hashes verified, the project editable."""
    if not VENV_PYTHON.exists():
        if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
            raise Obstacle("this Python has no venv; on Debian or Ubuntu: apt install python3-venv")
        quietly(sys.executable, "-m", "venv", "--clear", VENV)
    STAMP.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        only_uv = Path(folder, "uv.lock.txt")
        only_uv.write_text(locked("uv"), encoding="utf-8")
        pip = (VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet")
        quietly(*pip, "install", "--require-hashes", "-r", only_uv)
    quietly(*uv("pip", "sync"), "--require-hashes", LOCK)
    quietly(*uv("pip", "install"), "--no-deps", "--no-build-isolation", "--editable", ROOT)
    STAMP.write_text(wanted_stamp(), encoding="ascii")


def locked(package: str) -> str:
    """Return the lines of requirements.lock for one package: its version and its hashes."""
    found = re.search(rf"^{re.escape(package)}==.*\n(?: .*\n)*", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise Obstacle(f"requirements.lock does not hold {package}")
    return found.group()


def uv(*command: str) -> tuple[str | Path, ...]:
    """Return a command of the locked uv for .venv; it trusts the system's certificates."""
    return (VENV_PYTHON, "-m", "uv", "--system-certs", *command, "--python", VENV_PYTHON)


def quietly(*command: str | Path) -> None:
    """Run a command and print its output only if it fails. Raises Obstacle."""
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=ROOT,
    )
    if done.returncode:
        print(done.stdout, end="", file=sys.stderr)
        words = " ".join(map(str, command[:4]))
        raise Obstacle(f"could not make .venv; the output above comes from: {words} ...")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock that the system releases when the process ends, also if it is killed."""
    with (ROOT / ".venv.lock").open("a", encoding="ascii") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                file.seek(0)
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # gives up after 10 s
                    break
                except OSError:
                    continue
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- running -------------------------------------------------------------------------------------


def program(name: str) -> str:
    """Return the path of a program of the environment."""
    return str(VENV_BIN / (name + ".exe" if sys.platform == "win32" else name))


def run(name: str, *arguments: str) -> int:
    """Run a program of the environment in the project's folder; return its exit code."""
    return subprocess.run([program(name), *arguments], cwd=ROOT, check=False).returncode


def become(name: str, *arguments: str) -> int:
    """Become a program of the environment: signals go to it, and the exit code is its own."""
    command = [program(name), *arguments]
    if not Path(command[0]).exists():
        return fail(f"run.py: there is no program {name!r} in .venv")
    if sys.platform != "win32":
        os.execv(command[0], command)
    with subprocess.Popen(command) as child:  # Windows has no exec
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the console sends Ctrl-C to the child too
                continue


def check() -> int:
    """Run every check, also after one has failed; return 1 if any failed."""
    failed = [] if lock_is_current() else ["lock (update it with: python3 run.py lock)"]
    for what, command in CHECKS.items():
        print("== " + what, flush=True)
        if run(*command):
            failed.append(what)
    print("== check: " + ("failed: " + ", ".join(failed) if failed else "all passed"))
    return 1 if failed else 0


# --- the lock ------------------------------------------------------------------------------------


def lock(raised: list[str]) -> int:
    """Make requirements.lock; keep the locked versions that still fit, except those of the packages in ``raised``."""
    raise_them = [part for package in raised for part in ("--upgrade-package", package)]
    made = run(
        *("uv", "--system-certs", "pip", "compile", "--quiet", "--universal", "--no-header"),
        *("--generate-hashes", "--no-emit-index-url", "--all-extras", "--group", "dev"),
        *raise_them,
        *("--output-file", LOCK.name, PYPROJECT.name),
    )
    if made == 0:
        body = LOCK.read_text(encoding="utf-8")
        LOCK.write_text(lock_header() + body, encoding="utf-8", newline="\n")
    return made


def lock_header() -> str:
    """Return the first line of the lock; its hash shows whether pyproject.toml asks for something else now."""
    import tomllib

    with PYPROJECT.open("rb") as file:
        settings = tomllib.load(file)
    project = settings["project"]
    wishes = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        settings["dependency-groups"],
    ]
    digest = hashlib.sha256(json.dumps(wishes, sort_keys=True).encode("utf-8")).hexdigest()
    return f"# Made by `python3 run.py lock` from pyproject.toml; its wishes: sha256 {digest}\n"


def lock_is_current() -> bool:
    """Return True if the lock was made from what pyproject.toml asks for now."""
    return LOCK.read_text(encoding="utf-8").startswith(lock_header())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
