"""This machine's address in the local network, and how addresses write a host."""

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
ANY_ADDRESS: Final = ("", "0.0.0.0", "::")  # noqa: S104 (phones)
"""What a server listens on to be reached at all addresses of this machine; nobody can connect to these."""


def host_in_url(host: str) -> str:
    """Return a host as addresses have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def host_here(host: str) -> str:
    """Return, as addresses have it, the host by which this machine reaches a server that listens on ``host``."""
    return LOOPBACK if host in ANY_ADDRESS else host_in_url(host)


def free_port() -> int:
    """Return a port of this machine that nothing uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def local_ip() -> str:
    """Return this machine's address in the local network, or 127.0.0.1 without one. Send nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.254.254.254", 1))
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])
