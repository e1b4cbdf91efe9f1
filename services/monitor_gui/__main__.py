"""``monitor-gui``: show live plots of what is published."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from monitor_gui.start_faults import explain
from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.service import extras, lifecycle
from neuroone.service.lifecycle import Command, Stop

with extras.needed("monitor-gui"):
    from monitor_gui.settings import Settings  # NumPy

NEEDED: Final = ("PySide6", "pyqtgraph")
"""Packages of the extra without which there is no window; pyqtgraph is imported with the first plot."""


def run(given: Settings, stop: Stop) -> int:
    """Import Qt and show the window; return the exit code."""
    for package in NEEDED:
        if find_spec(package) is None:
            raise SettingsError([explain("", given.language, package)])
    try:
        from monitor_gui import service
    except ImportError as error:
        raise NeuroOneError(explain(str(error), given.language)) from error
    return service.run(given, stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return lifecycle.main("monitor-gui", {"run": Command(Settings, run, "show live plots of a stream")}, argv)


if __name__ == "__main__":
    sys.exit(main())
