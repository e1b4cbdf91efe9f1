"""Serial ports, and what stands in for one: the only place that opens ports with pyserial."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import serial

from neuroone.contract import hints
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Link

READ_MAX_BYTES: Final = 4096
"""One read: a second of a headset, or what a fast replay hands over at once."""
TOGETHER_S: Final = 0.1
"""What a fast replay hands over at once gets one time, so it lies no further apart: two blocks of raw samples do."""
FAULTS: tuple[type[Exception], ...] = (OSError, ValueError, TypeError)
"""The exceptions of pyserial: TypeError when a port is closed during a call."""
if os.name == "posix":
    import fcntl
    import termios

    FAULTS += (termios.error,)
WINDOWS_TIMEOUT: Final = ", none, 121)"
"""ERROR_SEM_TIMEOUT as pyserial prints it: a paired Bluetooth headset that is switched off."""
KEEPS_DTR_LOW = sys.platform == "win32"
"""Where DTR stays low if a program wishes so. It was never run on Windows, only with this value set by a test."""
WRITE_TIMEOUT_S: Final = 1.0
"""Commands are one to three bytes; a port that does not accept them is stuck."""


class PortFault(NeuroOneError):
    """A port cannot be opened, or was lost: the state of the link now, and what a person can do about it."""

    def __init__(self, link: Link, hint: str | None) -> None:
        super().__init__(hint or str(link))
        self.link = link
        self.hint = hint


class Port(Protocol):
    """The open port of a headset; ``device`` is its name for people."""

    device: str

    def read(self) -> bytes:
        """Return the bytes that have arrived, at most READ_MAX_BYTES, without waiting. Raises PortFault."""

    def write(self, command: bytes) -> None:
        """Send bytes to the headset. Raises PortFault."""

    def close(self) -> None:
        """Give the port back, without waiting."""


class SerialPort:
    """A serial port, or a pyserial URL (``socket://host:port``, ``rfc2217://host:port``).

    ``device`` is its name for people: ``COM4``, ``/dev/ttyUSB0``, an address. Where the system allows it, no other
    program can open the port meanwhile. ``keeps_dtr``: leave the line DTR alone, as its changes reset Arduinos: Linux
    and macOS raise it all the same when a port is opened for the first time; Windows does as it is told.
    """

    def __init__(self, device: str, baud: int, *, keeps_dtr: bool = False) -> None:
        self.device = device
        is_url = "://" in device
        is_tty = os.name == "posix" and not is_url
        options: dict[str, Any] = {} if is_url else {"write_timeout": WRITE_TIMEOUT_S}
        if is_tty:
            options["exclusive"] = True
            options["dsrdtr"] = keeps_dtr  # for pyserial: do not set DTR; there is no such handshake
        self._port: Any = serial.serial_for_url(device, baud, timeout=0, do_not_open=True, **options)
        if keeps_dtr and KEEPS_DTR_LOW:
            self._port.dtr = False
        self._port.open()
        self._gives_single_bytes = device.startswith("rfc2217://")  # when it may not wait for more
        self._fd: int | None = self._port.fileno() if is_tty else None
        if is_tty:
            self._set_exclusive(termios.TIOCEXCL)
            if keeps_dtr:
                _keep_dtr(self._port.fileno())

    def read(self) -> bytes:
        """Return the bytes that have arrived, at most READ_MAX_BYTES, without waiting. Raises PortFault."""
        try:
            if self._fd is not None and (arrived := os.read(self._fd, READ_MAX_BYTES)):
                return arrived  # at a tenth of the cost of pyserial's read
            reads = min(self._port.in_waiting, READ_MAX_BYTES) if self._gives_single_bytes else 1
            # pyserial tells silence from a port that hung up
            return b"".join(self._port.read(READ_MAX_BYTES) for _ in range(max(1, reads)))
        except BlockingIOError:
            return b""
        except FAULTS as error:
            raise lost(self.device) from error

    def write(self, command: bytes) -> None:
        """Send bytes to the headset. Raises PortFault."""
        try:
            self._port.write(command)
        except FAULTS as error:
            raise lost(self.device) from error

    def close(self) -> None:
        """Give the port back."""
        if self._fd is not None:
            self._set_exclusive(termios.TIOCNXCL)  # a pseudo-terminal outlives us
        with suppress(*FAULTS):  # the device may be gone
            self._port.close()

    def _set_exclusive(self, request: int) -> None:
        with suppress(*FAULTS):  # not every device has this
            fcntl.ioctl(self._port.fileno(), request)


class FifoPort:
    """A named pipe that some program writes into."""

    def __init__(self, path: str) -> None:
        self.device = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """Return the bytes that have arrived."""
        try:
            return os.read(self._fd, READ_MAX_BYTES)
        except BlockingIOError:
            return b""

    def write(self, command: bytes) -> None:
        """Drop the command: a pipe has one direction."""

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)


class PacedPort:
    """A capture that is replayed, or a simulation: each part is given out when it is due.

    ``parts`` yields (seconds since the beginning, bytes). Deadlines are absolute, so that there is no drift.
    """

    def __init__(
        self, device: str, parts: Iterator[tuple[float, bytes]], clock: Callable[[], float], speed: float = 1.0
    ) -> None:
        self.device = device
        self._parts = parts
        self._clock = clock
        self._speed = speed
        self._began_s = clock()
        self.began = datetime.now(UTC)
        self._held_s: float | None = None
        self.position_s = 0.0
        """When the last part was due, since the beginning, by the clock of the capture."""
        self.has_more = False
        """Whether the last read left parts that are due."""
        self._next = next(parts, None)

    def read(self) -> bytes:
        """Return the next parts that are due together. Raises PortFault with Link.ENDED after the last one."""
        if self._next is None:
            raise PortFault(Link.ENDED, None)
        now_s = self._clock()
        if self._held_s is not None:
            self._began_s += now_s - self._held_s
            self._held_s = None
        played_s = (now_s - self._began_s) * self._speed
        until_s = min(played_s, self._next[0] + TOGETHER_S)
        due = bytearray()
        while self._next is not None and self._next[0] <= until_s and len(due) < READ_MAX_BYTES:
            due += self._next[1]
            self.position_s = self._next[0]
            self._next = next(self._parts, None)
        self.has_more = self._next is not None and self._next[0] <= played_s
        return bytes(due)

    def hold(self) -> None:
        """Stand still until the next read: what would be due meanwhile must not come with one time for all."""
        if self._held_s is None:
            self._held_s = self._clock()

    def write(self, command: bytes) -> None:
        """Drop the command: there is no headset."""

    def close(self) -> None:
        """Do nothing: no resource is held."""


def open_port(device: str, baud: int, *, keeps_dtr: bool = False) -> Port:
    """Open a serial port, a pyserial URL or a named pipe. Raises PortFault."""
    try:
        is_fifo = os.name == "posix" and Path(device).is_fifo()
        return FifoPort(device) if is_fifo else SerialPort(device, baud, keeps_dtr=keeps_dtr)
    except FAULTS as error:
        raise fault_of(error, device) from error


def _keep_dtr(fd: int) -> None:
    """Let closing a port leave DTR as it is. Opening it the first time raises it: that is up to the system."""
    with suppress(*FAULTS):
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, attributes)


def lost(device: str) -> PortFault:
    """Return the fault of a port that was open and is gone."""
    hint = hints.PORT_LOST_USB if "ttyUSB" in device else hints.PORT_LOST
    return PortFault(Link.UNPLUGGED, hint.text(device))


def fault_of(error: Exception, device: str) -> PortFault:
    """Return the fault for an error in opening a port, with a hint what to do about it."""
    number = getattr(error, "errno", None)
    words = str(error).lower()
    link = Link.NO_PORT
    if number == errno.EACCES and sys.platform != "win32":
        link, hint = Link.NO_PERMISSION, hints.NO_PERMISSION
    elif (
        number in (errno.EBUSY, errno.EAGAIN, errno.EACCES) or "exclusively lock" in words or "permissionerror" in words
    ):
        link, hint = Link.PORT_BUSY, hints.PORT_BUSY
    elif number in (errno.EHOSTDOWN, errno.ETIMEDOUT) or WINDOWS_TIMEOUT in words:
        hint = hints.NO_ANSWER
    elif "://" in device:
        hint = hints.NO_SERVER
    else:
        hint = hints.NO_SUCH_PORT_USB if "ttyUSB" in device else hints.NO_SUCH_PORT
    return PortFault(link, hint.text(device))
