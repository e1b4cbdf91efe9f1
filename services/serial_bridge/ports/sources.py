"""The ways to get at a headset's port, from what was given as ``--port``."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from neuroone.contract.topics import id_from_text
from serial_bridge.captures import files
from serial_bridge.headsets.thinkgear import DONGLE_BAUD, NORMAL_BAUD, RAW_BAUD
from serial_bridge.ports import detect, port, simulated
from serial_bridge.ports.detect import SerialPortInfo
from serial_bridge.ports.port import PacedPort, Port

BAUDS: Final = (RAW_BAUD, DONGLE_BAUD, NORMAL_BAUD)
"""Bluetooth headsets and TGAM modules with raw; RF dongles; TGAM modules in normal mode. Tried in this order."""


class PortSource(Protocol):
    """How to get at the port of one headset, again and again."""

    device: str
    """What a person calls the port; it may change from one opening to the next."""
    source_id: str
    """The id of the headset in topics, where none was given."""
    can_reopen: bool
    """Whether opening it again can bring a silent headset back; a capture would begin again."""
    can_wait: bool
    """Whether what is not read now can be read later, so that it may wait for a slow broker."""

    @property
    def baud(self) -> int:
        """The speed of the port as it is, or will be, opened."""
        ...

    def open(self) -> Port:
        """Open the port; raises PortFault."""
        ...

    def heard(self, has_frames: bool) -> None:
        """The port that was opened last brought frames, or nothing that makes sense."""
        ...

    def switched_to_raw(self) -> None:
        """The module on the port was told to go on at its faster speed."""
        ...


class SerialSource:
    """A serial port, a pyserial URL or a named pipe; tries the next speed where a speed brings no frames.

    A USB port that comes back under another name is found again by its place on the USB.
    """

    can_reopen = True
    can_wait = False

    def __init__(
        self,
        device: str,
        baud: int | None = None,
        source_id: str | None = None,
        present: Callable[[], list[SerialPortInfo]] = detect.present,
    ) -> None:
        self.device = device
        self.source_id = source_id or id_from_text(device.rpartition("/")[2])
        self.speeds = BAUDS if baud is None else (baud,)
        self._present = present
        self._known: SerialPortInfo | None = None
        self._at = 0

    @property
    def baud(self) -> int:
        """The speed of the port as it is, or will be, opened."""
        return self.speeds[self._at]

    def open(self) -> Port:
        """See `PortSource`."""
        if "://" not in self.device:
            now = self._present()
            found = detect.again(self._known, now) if self._known else None
            found = found or next((port for port in now if port.device == self.device), None)
            if found:
                self._known, self.device = found, found.device
        return port.open_port(self.device, self.baud)

    def heard(self, has_frames: bool) -> None:
        """See `PortSource`."""
        if not has_frames:
            self._at = (self._at + 1) % len(self.speeds)

    def switched_to_raw(self) -> None:
        """See `PortSource`."""
        self.speeds = BAUDS
        self._at = BAUDS.index(RAW_BAUD)


class PacedSource:
    """A capture that is played, or a simulated headset, which does not wait for a slow broker."""

    can_reopen = False
    baud = RAW_BAUD

    def __init__(
        self,
        device: str,
        source_id: str,
        parts: Callable[[], Iterator[tuple[float, bytes]]],
        *,
        speed: float = 1.0,
        can_wait: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.device = device
        self.source_id = source_id
        self.can_wait = can_wait
        self._parts = parts
        self._speed = speed

    def open(self) -> Port:
        """See `PortSource`."""
        return PacedPort(self.device, self._parts(), self._clock, self._speed)

    def heard(self, has_frames: bool) -> None:
        """See `PortSource`."""

    def switched_to_raw(self) -> None:
        """See `PortSource`."""


def open_source(port: str, baud: int | None, seed: int) -> SerialSource | PacedSource:
    """The way to what ``--port`` names: ``sim``, a capture file, or a serial port."""
    if port == "sim":
        return PacedSource("sim", "sim", lambda: simulated.parts(seed))
    if Path(port).is_file():
        return capture(Path(port))
    return SerialSource(port, baud)


def capture(path: Path, speed: float = 1.0, loop: bool = False) -> PacedSource:
    """The way to a capture file."""

    def parts() -> Iterator[tuple[float, bytes]]:
        return files.looped(path) if loop else files.parts(path)

    return PacedSource(str(path), id_from_text(path.stem), parts, speed=speed, can_wait=True)
