"""The folder's program `neuroone`: all commands, the services' too, as in `neuroone serial-bridge ports`."""

import multiprocessing
import os
import sys
from importlib import import_module
from typing import Final

SERVICES: Final = ("serial_bridge", "ws_gateway", "csv_recorder", "monitor_gui")
"""Without lsl_outlet: its library is not in the folder."""
COMMANDS: Final = {each.replace("_", "-"): each for each in SERVICES}
DIRECTORIES: Final = ("NEUROONE_DATA", "NEUROONE_DIR")
"""The directory of the recordings, as `neuroone` and `csv-recorder` call it."""


def main() -> int:
    """Run the command line; return the exit code."""
    from neuroone.service import documents, programs

    if programs.is_frozen():  # the current directory of a program that was clicked means nothing
        for name in DIRECTORIES:
            os.environ.setdefault(name, str(documents.recordings()))
    package = COMMANDS.get(sys.argv[1] if sys.argv[1:] else "", "neuroone")
    if package != "neuroone":
        del sys.argv[1]
    code: int = import_module(f"{package}.__main__").main()
    if package == "neuroone" and sys.argv[1:2] in (["--help"], ["-h"]):
        print(f"{', '.join(COMMANDS)} are commands too, each with --help.")
    return code


if __name__ == "__main__":
    multiprocessing.freeze_support()  # a long report is computed by several processes, and each is this program
    sys.exit(main())
