"""Serial ports, and what stands in for one: the only place that opens ports with pyserial."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import serial

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Link

READ_MAX_BYTES: Final = 4096
"""One read: a second of a headset, or what a fast replay hands over at once."""
FAULTS: tuple[type[Exception], ...] = (OSError, ValueError, TypeError)
"""What pyserial raises: TypeError when a port is closed under it."""
if os.name == "posix":
    import termios

    FAULTS += (termios.error,)
WINDOWS_TIMEOUT: Final = ", none, 121)"
"""ERROR_SEM_TIMEOUT as pyserial prints it: a paired Bluetooth headset that is switched off."""
WRITE_TIMEOUT_S: Final = 1.0
"""Commands are one to three bytes; a port that does not take them is stuck."""


class PortFault(NeuroOneError):
    """A port cannot be opened, or was lost: what the link is now, and what a person can do about it."""

    def __init__(self, link: Link, hint: str | None) -> None:
        super().__init__(hint or str(link))
        self.link = link
        self.hint = hint


class Port(Protocol):
    """Where bytes come from."""

    device: str
    """What a person would call it: ``COM4``, ``/dev/ttyUSB0``, a file, an address."""

    def read(self) -> bytes:
        """What has arrived, at most READ_MAX_BYTES, without waiting; raises PortFault when the port is lost."""
        ...

    def write(self, command: bytes) -> None:
        """Send bytes to the headset; raises PortFault."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


class SerialPort:
    """A serial port, or a pyserial URL (``socket://host:port``, ``rfc2217://host:port``)."""

    def __init__(self, device: str, baud: int) -> None:
        self.device = device
        is_url = "://" in device
        is_tty = os.name == "posix" and not is_url
        options: dict[str, Any] = {} if is_url else {"write_timeout": WRITE_TIMEOUT_S}
        if is_tty:
            options["exclusive"] = True
        try:
            self._port: Any = serial.serial_for_url(device, baud, timeout=0, **options)
        except FAULTS as error:
            raise fault_of(error, device) from error
        self._gives_single_bytes = device.startswith("rfc2217://")  # when it may not wait for more
        self._fd: int | None = self._port.fileno() if is_tty else None

    def read(self) -> bytes:
        """See `Port`."""
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
        """See `Port`."""
        try:
            self._port.write(command)
        except FAULTS as error:
            raise lost(self.device) from error

    def close(self) -> None:
        """See `Port`."""
        try:
            self._port.close()
        except FAULTS:
            return  # the device is gone: there is nothing left to give back


class FifoPort:
    """A named pipe: whatever some program writes into it."""

    def __init__(self, path: Path) -> None:
        self.device = str(path)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise fault_of(error, self.device) from error

    def read(self) -> bytes:
        """See `Port`."""
        try:
            return os.read(self._fd, READ_MAX_BYTES)
        except BlockingIOError:
            return b""

    def write(self, command: bytes) -> None:
        """A pipe has one direction: the command is dropped."""

    def close(self) -> None:
        """See `Port`."""
        os.close(self._fd)


class PacedPort:
    """Bytes with the time each part is due, given out when it is: a capture that is played, a simulation.

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
        self._next = next(parts, None)

    def read(self) -> bytes:
        """See `Port`; at the end of the parts the fault is that the link ended."""
        if self._next is None:
            raise PortFault(Link.ENDED, None)
        played_s = (self._clock() - self._began_s) * self._speed
        due = bytearray()
        while self._next is not None and self._next[0] <= played_s and len(due) < READ_MAX_BYTES:
            due += self._next[1]
            self._next = next(self._parts, None)
        return bytes(due)

    def write(self, command: bytes) -> None:
        """Nobody listens: the command is dropped."""

    def close(self) -> None:
        """Nothing is held."""


def open_port(device: str, baud: int) -> Port:
    """Open a serial port, a pyserial URL or a named pipe. Raises PortFault."""
    if is_fifo(device):
        return FifoPort(Path(device))
    return SerialPort(device, baud)


def is_fifo(device: str) -> bool:
    """Whether ``device`` is the path of a named pipe."""
    try:
        return stat.S_ISFIFO(Path(device).stat().st_mode)
    except (OSError, ValueError):
        return False


def lost(device: str) -> PortFault:
    """The port was there and is gone."""
    return PortFault(Link.UNPLUGGED, f"{device} went away: plug the headset's adapter in again.{_thief(device)}")


def fault_of(error: Exception, device: str) -> PortFault:
    """What kept a port from being opened, and what to do about it."""
    number = getattr(error, "errno", None)
    words = str(error).lower()
    if number == errno.EACCES and sys.platform != "win32":
        return PortFault(
            Link.NO_PERMISSION,
            f"You may not open {device}. On Linux: sudo usermod -aG dialout $USER, then log out and in again.",
        )
    if number in (errno.EBUSY, errno.EAGAIN, errno.EACCES) or "exclusively lock" in words or "permissionerror" in words:
        return PortFault(
            Link.PORT_BUSY,
            f"Another program uses {device}: close it. On Linux brltty and ModemManager also take such ports.",
        )
    if number in (errno.EHOSTDOWN, errno.ETIMEDOUT) or WINDOWS_TIMEOUT in words:
        return PortFault(Link.NO_PORT, f"The headset behind {device} does not answer: switch it on and keep it near.")
    if "://" in device:
        return PortFault(Link.NO_PORT, f"Nothing answers at {device}: start what serves it, or check the address.")
    return PortFault(
        Link.NO_PORT, f"There is no {device}: plug the headset's adapter in, or choose another port.{_thief(device)}"
    )


def _thief(device: str) -> str:
    """What takes a USB port away on Linux although it is plugged in."""
    return " If it is plugged in, remove brltty, which takes such adapters." if "ttyUSB" in device else ""
