"""Find what would keep `neuroone up` from starting."""

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from neuroone.contract.files import LOCK_FILE, READINGS, part_name, session_folders
from neuroone.contract.topics import ID_MAX_CHARS
from neuroone.service.local_address import ANY_ADDRESS

LOCKED_TIMEOUT_S: Final = 2.0
"""A recorder that is just ending has let go of the directory by then."""
PORTS_TRIED: Final = 20
"""Ports above one in use that may be offered instead."""
PATH_MAX_CHARS: Final = 259
"""MAX_PATH of Windows, without the zero that ends a path, where long paths are not switched on."""
PARTS_MAX: Final = 99
"""Files of one session of readings: more than a school's year has."""


def port_faults(listeners: Iterable[tuple[str, str, int]], advice: str = "") -> list[str]:
    """Name each listener (flag, host, port) that cannot listen, and the reason.

    ``advice`` is what to do about a port in use, with {flag}, {port} and {free} in it; it comes last.
    """
    faults, advices = [], []
    for flag, host, port in listeners:
        error = _refusal(host, port)
        if error is None:
            continue
        in_use = error.errno == errno.EADDRINUSE
        reason = " is in use; choose another" if in_use else f": {error.strerror or error}"
        where = "" if host in ANY_ADDRESS else f" on {host}"
        faults.append(f"{flag}: port {port}{where}{reason}")
        others = range(port + 1, min(port + PORTS_TRIED, 65535) + 1)
        free = next((each for each in others if in_use and _refusal(host, each) is None), None)
        if advice and free is not None:
            advices.append(advice.format(flag=flag, port=port, free=free))
    return faults + advices


def _refusal(host: str, port: int) -> OSError | None:
    """Return why nothing can listen there; None if it is possible."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":  # on Windows this option takes a port away from the program that has it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def directory_faults(data: Path) -> list[str]:
    """Create the directory of the recordings; name the reason if it cannot be written, or another program does."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        return [f"--data: {data} is not writable ({error.strerror})"]
    return [f"--data: NeuroOne already records into {data}; choose another directory"] if _is_locked(data) else []


def _is_locked(data: Path) -> bool:
    """Return True if a recorder, or a command that changes recordings, works there."""
    if not (data / LOCK_FILE).exists():
        return False
    from filelock import FileLock, Timeout  # with the extra `up`, as the recorder

    try:
        with FileLock(data / LOCK_FILE, LOCKED_TIMEOUT_S):
            return False
    except Timeout:
        return True


def path_length_doubt(data: Path, *, has_long_paths: bool | None = None) -> str | None:
    """Return what to do if a file of a session in ``data`` may have a path that is too long for this system."""
    folder = next(session_folders(datetime.now(UTC), f"{'g' * ID_MAX_CHARS}/{'s' * ID_MAX_CHARS}"))
    longest = len(str(data / folder / part_name(READINGS, PARTS_MAX)))
    if longest <= PATH_MAX_CHARS or (_has_long_paths() if has_long_paths is None else has_long_paths):
        return None
    room = PATH_MAX_CHARS - (longest - len(str(data)))
    return (
        f"--data: {data} has {len(str(data))} characters; with more than {room}, Windows cannot write the files of "
        r"long names and class codes. Choose a shorter one, like C:\EEG, or switch long paths on in Windows"
    )


def _has_long_paths() -> bool:
    """Return True if this system allows paths of more than PATH_MAX_CHARS; never run on Windows."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False
