"""Mend what `neuroone doctor` found, where a command does so without a risk: show it, and run it if that is allowed."""

import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TextIO

from neuroone.doctor.checks import Finding
from neuroone.doctor.permissions import is_root
from neuroone.doctor.runners import Runner, commands_for

MEND_TIMEOUT_S: Final = 300.0
"""A change of the owner of all recordings of a school takes seconds, a start less."""
NATIVE: Final = (Runner.SYSTEMD, Runner.SUPERVISOR)
"""What starts a single service by a command."""


def commands(findings: Iterable[Finding], runner: Runner) -> list[list[str]]:
    """Return the commands that mend what can be mended without a risk, each once; what was closed comes first."""
    if runner is Runner.COMPOSE:
        return []  # nothing outside of this container can be commanded from here
    found: list[list[str]] = []
    starts: list[list[str]] = []
    for finding in findings:
        facts = finding.facts
        match finding.code:
            case "csv_foreign" | "csv_no_permission" if facts["user"]:
                found.append(["chown", "-Rh", f"{facts['user']}:", facts["dir"]])
            case "login_closed":
                found += [["chown", f"{facts['user']}:", facts["file"]], ["chmod", "600", facts["file"]]]
            case "service_offline" | "unit_failed" | "broker_refused" if runner in NATIVE:
                start = commands_for(runner, finding.check, facts)["start"]
                starts.append(shlex.split(start.removeprefix("sudo ")))
    found += starts
    return [command for n, command in enumerate(found) if command not in found[:n]]


def mend(
    found: Sequence[list[str]],
    may: Callable[[str], bool],
    say: Callable[[str, str], object],
    run: Callable[[Sequence[str]], int],
) -> bool:
    """Run each command that ``may`` be run; ``say`` what came of it, as a text's key. Return whether any was run."""
    has_run = False
    for command in found:
        shown = shlex.join(command)
        if not may(shown):
            say("fix_left", shown)
            continue
        has_run = True
        say("fix_failed" if run(command) else "fix_done", shown)
    return has_run


def with_rights(command: Sequence[str], *, may_ask: bool) -> list[str]:
    """Return the command as this user must call it: who is not root needs sudo, which may ask for a password."""
    return list(command) if is_root() else ["sudo", *([] if may_ask else ["-n"]), *command]


def run(command: Sequence[str], out: TextIO | None = None) -> int:
    """Run a command that prints to ``out``; return its exit code, or 127 if there is no such command."""
    try:
        return subprocess.run(command, stdout=out, timeout=MEND_TIMEOUT_S, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return 127
