"""One log format for all services: UTC time, level, service, message.

Logs go to standard error and hold ids and counts, never a person's name, a code or a reading.
"""

import logging
import time

LEVELS = ("debug", "info", "warning", "error")


def configure(service: str, level: str) -> None:
    """Send this program's log to standard error, as ``service``, from ``level`` (one of LEVELS) up."""
    formatter = logging.Formatter(
        f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {service}: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
