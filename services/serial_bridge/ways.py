"""The ways to get at a headset's port, from what was given as ``--port``."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from neuroone.contract.topics import id_from_text
from serial_bridge import captures, ports, simulator
from serial_bridge.ports import Paced, Port

BAUDS: Final = (57600, 115200, 9600)
"""Bluetooth headsets and TGAM modules with raw; RF dongles; TGAM modules in normal mode. Tried in this order."""


class SerialWay:
    """A serial port, a pyserial URL or a named pipe; tries the next speed where a speed brings no frames."""

    can_reopen = True
    can_wait = False

    def __init__(self, device: str, baud: int | None = None) -> None:
        self.device = device
        self.source = id_from_text(device.rpartition("/")[2] or device)
        self._bauds = BAUDS if baud is None else (baud,)
        self._at = 0

    def open(self) -> Port:
        """See `Way`."""
        return ports.open_port(self.device, self._bauds[self._at])

    def heard(self, has_frames: bool) -> None:
        """See `Way`."""
        if not has_frames:
            self._at = (self._at + 1) % len(self._bauds)


class PacedWay:
    """A capture that is played, or a simulated headset, which does not wait for a slow broker."""

    can_reopen = False

    def __init__(
        self,
        device: str,
        source: str,
        parts: Callable[[], Iterator[tuple[float, bytes]]],
        *,
        speed: float = 1.0,
        can_wait: bool = False,
    ) -> None:
        self.can_wait = can_wait
        self.device = device
        self.source = source
        self._parts = parts
        self._speed = speed

    def open(self) -> Port:
        """See `Way`."""
        return Paced(self.device, self._parts(), time.monotonic, self._speed)

    def heard(self, has_frames: bool) -> None:
        """See `Way`."""


def way_to(port: str, baud: int | None, seed: int) -> SerialWay | PacedWay:
    """The way to what ``--port`` names: ``sim``, a capture file, or a serial port."""
    if port == "sim":
        return PacedWay("sim", "sim", lambda: simulator.parts(seed))
    if Path(port).is_file():
        return capture(Path(port))
    return SerialWay(port, baud)


def capture(path: Path, speed: float = 1.0, loop: bool = False) -> PacedWay:
    """The way to a capture file."""

    def parts() -> Iterator[tuple[float, bytes]]:
        return captures.looped(path) if loop else captures.parts(path)

    return PacedWay(str(path), id_from_text(path.stem), parts, speed=speed, can_wait=True)
