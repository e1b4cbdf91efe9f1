"""Find what would keep `neuroone up` from starting."""

import errno
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path


def port_faults(listeners: Iterable[tuple[str, str, int]]) -> list[str]:
    """Name each listener (flag, host, port) that cannot listen, and the reason."""
    faults = []
    for flag, host, port in listeners:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name == "posix":  # on Windows this option takes a port away from the program that has it
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                in_use = error.errno == errno.EADDRINUSE
                reason = " is in use; choose another" if in_use else f": {error.strerror or error}"
                faults.append(f"{flag}: port {port} on {host}{reason}")
    return faults


def directory_faults(data: Path) -> list[str]:
    """Create the directory of the recordings; name the reason if it cannot be written."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            return []
    except OSError as error:
        return [f"--data: {data} is not writable ({error.strerror})"]
