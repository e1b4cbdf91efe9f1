"""Tell systemd how a service is: one datagram for each message, as sd_notify(3) describes it.

Without systemd nothing is sent. A unit with ``Type=notify`` waits for READY=1; one with ``WatchdogSec=`` restarts a
service whose WATCHDOG=1 does not come any more.
"""

import os
import socket
from collections.abc import Callable
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
BROKER_WAIT: Final = 10
"""Calls, one a second, in which a service is not ready because the broker is away. Then it is: it serves without one,
as far as it can, and the start of the computer goes on."""
CONNECTED: Final = "connected to the broker"
AWAY: Final = "the broker is away; trying again"


def notify(words: str) -> bool:
    """Send lines like ``STOPPING=1`` to systemd; return True if it has them."""
    address = os.environ.get(SOCKET, "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)  # a systemd that is busy must not hold up the service
            sending.sendto(words.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError:
        return False
    return True


class Report:
    """Report to systemd that a service is ready and alive, and in `systemctl status` whether its broker is there."""

    def __init__(self, is_connected: Callable[[], bool]) -> None:
        self._is_connected = is_connected
        self._calls = 0
        self._is_ready = False
        self._status = ""

    def on_alive(self) -> None:
        """Report once more: see `Watchdog`. What systemd did not get is sent again."""
        self._calls += 1
        is_connected = self._is_connected()
        is_ready = self._is_ready or is_connected or self._calls > BROKER_WAIT
        status = CONNECTED if is_connected else AWAY
        lines = ["WATCHDOG=1"]
        lines += [] if status == self._status else [f"STATUS={status}"]
        lines += [] if is_ready == self._is_ready else ["READY=1"]
        if notify("\n".join(lines)):
            self._is_ready, self._status = is_ready, status
