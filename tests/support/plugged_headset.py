"""A headset on a real device file that comes and goes, as a USB adapter's does: a virtual console plays its bytes.

The kernel takes input of a virtual console from a program too (TIOCSTI), so whoever reads the console's device reads
these bytes. The device file is made and removed as by a hotplug, each time with another minor number.
"""

import contextlib
import fcntl
import os
import stat
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serial_bridge.ports import simulated

TTY_MAJOR = 4
TIOCVHANGUP = 0x5437


def skip_without_consoles() -> None:
    """Skip the test where no device files can be made or consoles played on."""
    if not hasattr(os, "mknod") or os.geteuid() or not Path("/dev/tty40").exists():
        pytest.skip("needs root and the virtual consoles of Linux")


@contextlib.contextmanager
def plugged_headset(device: Path, console: int, group: int) -> Iterator[None]:
    """Let a simulated headset send on ``device``, which members of ``group`` may open, until it is unplugged."""
    os.mknod(device, stat.S_IFCHR | 0o660, os.makedev(TTY_MAJOR, console))
    os.chown(device, 0, group)
    device.chmod(0o660)
    fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    unplugged = threading.Event()

    def play() -> None:
        began_s = time.monotonic()
        for at_s, part in simulated.parts(7):
            if unplugged.wait(max(0.0, began_s + at_s - time.monotonic())):
                return
            for byte in part:
                fcntl.ioctl(fd, termios.TIOCSTI, bytes((byte,)))

    player = threading.Thread(target=play, daemon=True)
    player.start()
    try:
        yield
    finally:
        unplugged.set()
        player.join()
        device.unlink()
        fcntl.ioctl(fd, TIOCVHANGUP)
        os.close(fd)
