"""Serve students' phones, dashboards and games over WebSocket: the command ``ws-gateway``."""

import sys

from neuroone.service import extras, lifecycle
from neuroone.service.lifecycle import Command

with extras.needed("ws-gateway"):
    from ws_gateway.service import Service
    from ws_gateway.settings import Settings


def main() -> int:
    """Run the command line; return the exit code."""
    purpose = "serve students, dashboards and games over WebSocket, until stopped"
    run = Command(Settings, lambda given, stop: Service(given, stop).run(), purpose, record="ws_gateway")
    return lifecycle.main("ws-gateway", {"run": run})


if __name__ == "__main__":
    sys.exit(main())
