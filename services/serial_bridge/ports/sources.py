"""The sources of a headset's bytes, made from the value of ``--port``."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract.topics import id_from_text
from neuroone.service.wearers import SIMULATED
from serial_bridge.captures import files
from serial_bridge.headsets.thinkgear import DONGLE_BAUD, NORMAL_BAUD, RAW_BAUD
from serial_bridge.ports import detect, port, simulated
from serial_bridge.ports.ble import is_ble
from serial_bridge.ports.ble_port import BleSource
from serial_bridge.ports.port import PacedPort, Port
from serial_bridge.ports.scenarios import EVERYDAY

BAUDS: Final = (RAW_BAUD, DONGLE_BAUD, NORMAL_BAUD)
"""Bluetooth headsets and TGAM modules with raw; RF dongles; TGAM modules in normal mode. Tried in this order."""

WINDOWS_PORT: Final = re.compile(r"(?:\\\\[.?]\\)?(?:com|lpt)\d+:?\Z", re.IGNORECASE)
"""Windows has such a file in every directory: to ask for it asks the device."""

log = logging.getLogger(__name__)


class SerialSource:
    """A serial port, a pyserial URL or a named pipe; opening it again can bring a silent headset back.

    ``source_id`` is the headset's id in topics unless another one is given. A USB port that comes back under another
    name is found again by its place on the USB. Without ``baud`` all speeds are tried, ``first_baud`` first.
    ``keeps_dtr``: it may be no headset's port (see `SerialPort`).
    """

    can_reopen = True
    can_wait = False
    counters: ClassVar[Mapping[str, float]] = {}
    is_simulated = False

    def __init__(
        self,
        device: str,
        baud: int | None = None,
        present: Callable[[], Sequence[ListPortInfo]] = comports,
        *,
        first_baud: int | None = None,
        keeps_dtr: bool = False,
    ) -> None:
        self._keeps_dtr = keeps_dtr
        self.device = device
        self.source_id = id_from_text(device.rpartition("/")[2])
        speeds = tuple(sorted(BAUDS, key=lambda speed: speed != first_baud))
        self.speeds = speeds if baud is None and has_speed(device) else (baud or RAW_BAUD,)
        self._present = present
        self._known: ListPortInfo | None = None

    def open(self, baud: int) -> Port:
        """Open the port under its present name. Raises PortFault."""
        if "://" not in self.device:
            now = self._listed()
            found = detect.again(self._known, now) if self._known else None
            found = found or next((each for each in now if each.device == self.device), None)
            if found:
                self._known, self.device = found, found.device
        return port.open_port(self.device, baud, keeps_dtr=self._keeps_dtr)

    def _listed(self) -> Sequence[ListPortInfo]:
        """List the ports; of a system that cannot, the port is tried under the name that it had."""
        try:
            return self._present()
        except Exception:  # a listing runs code of drivers, and reads what devices call themselves
            log.debug("the computer's ports cannot be listed", exc_info=True)
            return ()


@dataclass(slots=True)
class PacedSource:
    """A capture that is replayed, or a simulated headset; a capture ``can_wait`` for a slow broker."""

    can_reopen = False
    speeds = (RAW_BAUD,)
    counters: ClassVar[Mapping[str, float]] = {}

    device: str
    source_id: str
    parts: Callable[[], Iterator[tuple[float, bytes]]]
    speed: float = 1.0
    can_wait: bool = False
    is_simulated: bool = False
    clock: Callable[[], float] = time.monotonic

    def open(self, baud: int) -> Port:
        """Begin with the first part, whatever the speed."""
        return PacedPort(self.device, self.parts(), self.clock, self.speed)


PortSource: TypeAlias = SerialSource | PacedSource | BleSource


def open_source(port: str, baud: int | None, seed: int, scenario: str = EVERYDAY) -> PortSource:
    """Return the source that ``--port`` names: ``sim``, ``ble``, a capture file, or a serial port."""
    if port == SIMULATED:
        return PacedSource(port, port, lambda: simulated.parts(seed, scenario), is_simulated=True)
    if is_ble(port):
        return BleSource(port)
    if not WINDOWS_PORT.match(port) and files.is_file(port):
        return capture_source(Path(port))
    return SerialSource(port, baud)


def devices_of(sources: Sequence[PortSource]) -> set[str]:
    """Return the ports of sources by their real names, without symbolic links."""
    return {os.path.realpath(source.device) for source in sources}


def has_speed(device: str) -> bool:
    """Return True if a port of this name has a speed: TCP connections and pipes have none."""
    with suppress(OSError, ValueError):
        return not device.startswith("socket://") and not Path(device).is_fifo()
    return True


def capture_source(path: Path, speed: float = 1.0, loop: bool = False) -> PacedSource:
    """Return the source that replays a capture file."""
    play = files.looped if loop else files.parts
    return PacedSource(
        str(path),
        id_from_text(path.stem),
        lambda: play(path),
        speed=speed,
        can_wait=True,
        is_simulated=path == files.EXAMPLE or files.is_simulated(path),
    )
