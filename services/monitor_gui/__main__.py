"""``monitor-gui``: show live plots of what is published."""

import sys
from collections.abc import Sequence

from monitor_gui import service
from monitor_gui.settings import Settings
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return lifecycle.main("monitor-gui", {"run": Command(Settings, service.run, "show live plots of a stream")}, argv)


if __name__ == "__main__":
    sys.exit(main())
