"""``lsl-outlet``: every stream as streams of the Lab Streaming Layer."""

import sys
from collections.abc import Sequence

from lsl_outlet.settings import Settings
from neuroone.lsl import library
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Command, Stop


def run(given: Settings, stop: Stop) -> int:
    """Import LSL and send until stopped; return the exit code."""
    library.check("lsl-outlet")
    from lsl_outlet.service import Service  # pylsl looks for liblsl

    return Service(given, stop).run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    about = "send every stream on the broker into the Lab Streaming Layer"
    return lifecycle.main("lsl-outlet", {"run": Command(Settings, run, about, record="lsl_outlet")}, argv)


if __name__ == "__main__":
    sys.exit(main())
