"""Serve students' phones, dashboards and games over WebSocket: the command ``ws-gateway``."""

import sys

from neuroone.service import lifecycle
from neuroone.service.lifecycle import Command, Stop
from ws_gateway.service import Service
from ws_gateway.settings import Settings


def run(given: Settings, stop: Stop) -> int:
    """Serve until ``stop``; return the exit code."""
    return Service(given, stop).run()


def main() -> int:
    """Run the command line; return the exit code."""
    return lifecycle.main(
        "ws-gateway",
        {"run": Command(Settings, run, "serve students, dashboards and games over WebSocket, until stopped")},
    )


if __name__ == "__main__":
    sys.exit(main())
