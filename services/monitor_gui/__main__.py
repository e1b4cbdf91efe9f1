"""``monitor-gui``: show live plots of what is published."""

import sys
from collections.abc import Sequence

from monitor_gui.start_faults import explain
from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.service import extras, lifecycle
from neuroone.service.lifecycle import Command, Stop

with extras.needed("monitor-gui"):
    from monitor_gui.settings import Settings  # NumPy


def run(given: Settings, stop: Stop) -> int:
    """Import Qt and show the window; return the exit code."""
    try:
        from monitor_gui import service
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise SettingsError([explain(str(error), given.language, package)]) from error
    except ImportError as error:
        raise NeuroOneError(explain(str(error), given.language)) from error
    return service.run(given, stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return lifecycle.main("monitor-gui", {"run": Command(Settings, run, "show live plots of a stream")}, argv)


if __name__ == "__main__":
    sys.exit(main())
