"""The entry to a fresh clone: bring ``.venv`` to the lock, then run a command in it.

Needs only a Python >= 3.11 with the ``venv`` module; works on Linux, macOS and Windows. A command brings the sets of
packages that it needs and no more (docs/decisions/0032). A change of requirements.lock or pyproject.toml brings its
sets up to date; otherwise a call costs a few milliseconds.
"""

from __future__ import annotations  # an older Python must reach the message in main()

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
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
PIP = (VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet")
MINIMUM_PYTHON = (3, 11)

SERVICES, WINDOW, REPORTS, LSL, FOLDER, DEVELOPMENT = "services", "window", "reports", "lsl", "folder", "development"
EXTRAS = {
    SERVICES: ("up",),
    WINDOW: ("monitor-gui",),
    REPORTS: ("csv-recorder", "csv-recorder-export", "ws-gateway-downloads"),
    LSL: ("lsl",),
    FOLDER: ("up", "monitor-gui", "csv-recorder", "ws-gateway-downloads", "folder"),
}
"""The sets of packages that users need, as extras and groups of pyproject.toml. DEVELOPMENT is the whole lock."""
WORDS = {
    SERVICES: "the services",
    WINDOW: "the window",
    REPORTS: "what makes reports and workbooks",
    LSL: "what speaks LSL",
    FOLDER: "what makes the folder without Python",
    DEVELOPMENT: "everything for development",
}
BUILDER = "pyinstaller"
PROGRAMS = ("neuroone", "serial-bridge", "ws-gateway", "csv-recorder", "monitor-gui", "lsl-outlet")
"""What users run; any other program of the environment is a tool of development."""
MAINTENANCE = ("backup", "restore", "update", "rollback")
"""Commands of `neuroone`; for the containers of compose.yaml they need no environment."""
ON = ("1", "true", "yes", "on")
"""What switches a setting on in a variable, as neuroone.service.settings reads it."""

USAGE = """\
usage: python3 run.py COMMAND [ARGUMENTS]

  up [ARGUMENTS]         run the whole system on this machine (up --help lists the arguments)
  test                   run every test that this machine can run
  test ARGUMENTS         run pytest with these arguments, e.g. -k NAME
  check                  check format, lint, types, import rules, sizes, lock and tests
  format                 format the source and fix what the linter can fix
  lock [PACKAGE ...]     make requirements.lock from pyproject.toml; upgrade each PACKAGE
  exec PROGRAM [...]     run a program of the environment, e.g. exec serial-bridge ports
  backup TO              write recordings, settings and logins into a new folder, also while the system works
  restore FROM           bring back such a folder
  update                 go over to the newest version; go back by itself if that one does not work
  rollback               go back to the version before
  --version              print the version

Each command installs what it needs into .venv, from the lock: up the services, up --gui and exec monitor-gui the
window too, exec csv-recorder report and export what makes reports and workbooks, exec lsl-outlet what
speaks LSL, exec pyinstaller what makes the folder without Python, all others everything.
"""

TESTS = ["pytest", "--numprocesses=6", "--dist=loadfile", "--no-loadscope-reorder"]
"""Every test, six files at a time: three quarters of a test are waiting, so there are more processes than cores."""

CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet"],
    "lint": ["ruff", "check", "--quiet"],
    "types": ["mypy", "--no-error-summary"],
    "import rules": ["lint-imports", "--no-cache"],
    "sizes": ["python", "sizes.py"],
    "platforms": ["python", "platforms.py"],
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
    if arguments[0] == "--version":
        print(f"neuroone {version()}")
        return 0
    command, rest = arguments[0], arguments[1:]
    commands = ("up", "test", "check", "format", "lock", "exec", *MAINTENANCE)
    if command not in commands or (command == "exec" and not rest):
        return fail(USAGE.rstrip())
    if (command in ("up", *MAINTENANCE) or (rest[:1] and rest[0] in PROGRAMS)) and (chosen := chosen_version()):
        return execute([sys.executable, str(chosen / "run.py"), *arguments])
    if command in MAINTENANCE:
        sys.path.insert(0, str(ROOT))
        from neuroone.maintenance import compose  # needs none of our packages

        if compose.is_used(ROOT):
            return compose.main(ROOT, command, rest)

    try:
        make_environment(sets_of(command, rest))
    except Obstacle as obstacle:
        return fail(f"run.py: {obstacle}")
    if command in ("up", *MAINTENANCE):
        return become("neuroone", command, *rest)
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


def version() -> str:
    """Return the version of this clone."""
    import tomllib

    with PYPROJECT.open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def fail(sentence: str) -> int:
    """Print what is wrong; return the exit code of a wrong call."""
    print(sentence, file=sys.stderr)
    return 2


# --- what a command needs -----------------------------------------------------------------------


def sets_of(command: str, rest: list[str]) -> list[str]:
    """Return the sets of packages that a command needs."""
    words = rest if command == "exec" else ["neuroone", command, *rest]
    if command == "exec" and words[0] == BUILDER:
        return [SERVICES, FOLDER]
    if command not in ("up", "exec", *MAINTENANCE) or words[0] not in PROGRAMS:
        return [DEVELOPMENT]
    program, what = words[0], words[1] if words[1:] else ""
    is_on = os.environ.get("NEUROONE_GUI", "").lower() in ON and "--no-gui" not in words
    has_window = program == "neuroone" and (what == "up" or what[:1] in ("", "-")) and (is_on or "--gui" in words)
    makes_reports = program == "csv-recorder" and what in ("report", "export")
    window = [WINDOW] if has_window or program == "monitor-gui" else []
    is_lsl = os.environ.get("NEUROONE_LSL", "").lower() in ON and "--no-lsl" not in words
    has_lsl = program == "lsl-outlet" or (program == "serial-bridge" and (is_lsl or "--lsl" in words))
    return [SERVICES, *window, *([LSL] if has_lsl else []), *([REPORTS] if makes_reports else [])]


def locked_sets() -> dict[str, str]:
    """Return the lines of requirements.lock for each set of EXTRAS: its packages and all that these need."""
    import tomllib

    with PYPROJECT.open("rb") as file:
        settings = tomllib.load(file)
    extras = settings["project"]["optional-dependencies"] | settings["dependency-groups"]
    lines = locked_lines()
    via = re.compile(r"^    # (?:via|  ) *([a-z0-9-]+)", re.MULTILINE)
    needed_by = {name: set(via.findall(each)) for name, each in lines.items()}

    def names(wishes: list[str]) -> set[str]:
        found: set[str] = set()
        for wish in wishes:
            name, *more = re.findall(r"[\w.-]+", re.split("[<>=!~;]", wish)[0])
            found |= names([each for extra in more for each in extras[extra]]) if more else {name.lower()}
        return found

    always = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    sets = {}
    for name, wanted in EXTRAS.items():
        found = names(always + [each for extra in wanted for each in extras[extra]])
        while more := {each for each in needed_by if each not in found and needed_by[each] & found}:
            found |= more
        sets[name] = locked(*sorted(found))
    return sets


def locked(*packages: str) -> str:
    """Return the lines of requirements.lock for these packages: their versions and hashes."""
    lines = locked_lines()
    if lacks := [each for each in packages if each not in lines]:
        raise Obstacle(f"requirements.lock does not hold {', '.join(lacks)}; python3 run.py lock adds it")
    return "".join(lines[each] for each in packages)


def locked_lines() -> dict[str, str]:
    """Return the lines of requirements.lock for each package; some have one version for each kind of machine."""
    lines: dict[str, str] = {}
    for each in re.findall(r"^[a-z0-9-]+==.*\n(?: .*\n)*", LOCK.read_text(encoding="utf-8"), re.MULTILINE):
        name = each.partition("==")[0]
        lines[name] = lines.get(name, "") + each
    return lines


def chosen_version() -> Path | None:
    """Return the folder of the version that `update` chose; None if this clone is to be used, as after a `git pull`."""
    try:
        choice = json.loads((ROOT / ".versions" / "current").read_text(encoding="utf-8"))
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        folder = ROOT / ".versions" / str(choice["current"])
    except (OSError, ValueError, KeyError, TypeError, subprocess.CalledProcessError):
        return None
    return folder if choice["base"] == head.strip() and (folder / "run.py").exists() else None


# --- the environment -----------------------------------------------------------------------------


class Obstacle(Exception):
    """The environment cannot be made; the message tells the user why."""


def make_environment(sets: list[str]) -> None:
    """Bring these sets of packages into .venv, unless they are there and current. Raises Obstacle."""
    if are_current(sets):
        return
    with one_at_a_time():
        if not are_current(sets):  # another run may have brought them while this one waited
            build_environment(sets)


def are_current(sets: list[str]) -> bool:
    """Return True if .venv holds these sets as the present lock and pyproject.toml want them, in this folder."""
    return all(stamp(each) == made_from(LOCK, PYPROJECT) for each in sets)


def stamp(name: str) -> str | None:
    """Return what a part of .venv was made from; None if it is not there or not whole."""
    try:
        return stamp_file(name).read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def stamp_file(name: str) -> Path:
    """Return the file that says that a part of .venv is whole, and what it was made from."""
    return VENV / f"made-{name}"


def made_from(*files: Path) -> str:
    """Return a hash of these files, of .venv's path, which its scripts contain, and of its Python."""
    parts = [each.read_bytes() for each in files]
    parts += [os.fsencode(VENV), os.fsencode(VENV_PYTHON.resolve()), str(VENV_PYTHON.exists()).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def build_environment(sets: list[str]) -> None:
    """Bring sets into .venv: packages as locked, hashes verified, the project editable. Other sets stay."""
    if stamp("venv") != made_from():  # half made, moved, or its Python is gone
        if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
            raise Obstacle("this Python has no venv; on Debian or Ubuntu: apt install python3-venv")
        print("run.py: making .venv ...", file=sys.stderr)
        quietly(sys.executable, "-m", "venv", "--clear", VENV)
        stamp_file("venv").write_text(made_from(), encoding="ascii")
    for name in sets:
        if not are_current([name]):
            print(f"run.py: installing {WORDS[name]} ...", file=sys.stderr)
            stamp_file(name).unlink(missing_ok=True)
            forget_half_installed()
            try:
                install(name)
            except Obstacle as obstacle:
                raise Obstacle(f"{WORDS[name]} cannot be installed here: {obstacle}") from None
            for each in EXTRAS if name == DEVELOPMENT else ():
                stamp_file(each).write_text(made_from(LOCK, PYPROJECT), encoding="ascii")
            stamp_file(name).write_text(made_from(LOCK, PYPROJECT), encoding="ascii")


def install(name: str) -> None:
    """Install a set. Users' sets need pip alone; uv, which is faster and larger, brings the set of developers."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "requirements.txt")
        lines.write_text(locked("uv") if name == DEVELOPMENT else locked_sets()[name], encoding="utf-8")
        quietly(*PIP, "install", "--require-hashes", "-r", lines)
    if name == DEVELOPMENT:
        quietly(*uv("pip", "sync"), "--require-hashes", LOCK)
    if name in (SERVICES, DEVELOPMENT):
        quietly(*PIP, "install", "--no-deps", "--no-build-isolation", "--editable", ROOT)


def forget_half_installed() -> None:
    """Remove the record of each package whose installation was cut off: pip takes it for installed and would skip it.

    pip and uv name their own file INSTALLER in RECORD, which they write last.
    """
    for folder in (*VENV.glob("lib/python*/site-packages/*.dist-info"), *VENV.glob("Lib/site-packages/*.dist-info")):
        record = folder / "RECORD"
        if not record.exists() or "/INSTALLER," not in record.read_text(encoding="utf-8", errors="replace"):
            shutil.rmtree(folder)


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
        raise Obstacle(f"the output above comes from: {words} ...")


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
    return execute(command)


def execute(command: list[str]) -> int:
    """Become another program."""
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
