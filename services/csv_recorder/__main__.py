"""csv-recorder: from the broker to CSV files. This module only wires."""

import sys
from collections.abc import Sequence

from csv_recorder.offline.commands import COMMANDS
from csv_recorder.service import Service
from csv_recorder.settings import Settings
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Command, Stop


def run(given: Settings, stop: Stop) -> int:
    """Record until ``stop``."""
    return Service(given, stop).run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return lifecycle.main(
        "csv-recorder", {"run": Command(Settings, run, "record readings as CSV files, until stopped"), **COMMANDS}, argv
    )


if __name__ == "__main__":
    sys.exit(main())
