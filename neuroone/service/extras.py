"""Packages that only an extra of NeuroOne brings: say in one sentence what is missing."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Final

from neuroone.contract.errors import SettingsError
from neuroone.service import programs
from neuroone.service.lifecycle import USAGE

OURS: Final = ("neuroone", "serial_bridge", "ws_gateway", "csv_recorder", "monitor_gui", "lsl_outlet")
"""What the wheel itself holds: if one of these cannot be imported, it is a fault of ours."""


def sentence(what: str, package: str, extra: str, *, is_damaged: bool = False) -> str:
    """Say what lacks which package, and what brings it."""
    if programs.is_frozen():
        return f"{what} needs the package {package}, which this folder without Python does not have"
    lack = "cannot be loaded" if is_damaged else "is not installed"
    return (
        f"{what} needs the package {package}, which {lack}: install NeuroOne with its extra {extra}, "
        "or start this with run.py exec, which brings it"
    )


@contextlib.contextmanager
def needed(program: str, extra: str | None = None) -> Iterator[None]:
    """Import what a program needs of an extra, by default that of its name. End it with one sentence if it cannot."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package in OURS or not package:
            raise
        is_damaged = not isinstance(error, ModuleNotFoundError)
        print(sentence(program, package, extra or program, is_damaged=is_damaged), file=sys.stderr)
        sys.exit(USAGE)


def check(what: str, package: str, extra: str) -> None:
    """Raise SettingsError if the package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise SettingsError([sentence(what, package, extra)])
