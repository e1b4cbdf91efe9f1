"""The port of one headset, opened in the background, and again after it was lost."""

import logging
import random
import threading
from concurrent.futures import Future
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.mqtt.backoff import Backoff
from serial_bridge.ports.ble_port import BleSource
from serial_bridge.ports.port import Port
from serial_bridge.ports.sources import BAUDS, PortSource

REOPEN: Final = Backoff(first_s=0.5, cap_s=10.0)

log = logging.getLogger(__name__)


class Connection:
    """Open one headset's port, at the next speed after one that brought no frames, with growing delays after faults."""

    def __init__(self, source: PortSource) -> None:
        self.source = source
        self.port: Port | None = None
        self.counters = {"bytes": 0, "opened": 0}
        self._rng = random.Random()
        self._speeds = source.speeds
        self._fruitless = 0
        """Speeds without frames in a row."""
        self._opening: Future[Port] | None = None
        self._attempt = 0
        self._retry_s = float("-inf")

    @property
    def baud(self) -> int:
        """The speed of the port as it is, or will be, opened."""
        return self._speeds[0]

    @property
    def is_last_speed(self) -> bool:
        """Whether every other speed has been tried without frames."""
        return self._fruitless >= len(self._speeds) - 1

    def open(self, now_s: float) -> Port | None:
        """Return the port once it is open; call it again and again until then.

        Raises NeuroOneError (PortFault, BadCapture) or OSError if the port cannot be opened.
        """
        if self._opening is None and now_s >= self._retry_s:
            self._opening = Future()
            arguments = self.source, self.baud, self._opening
            threading.Thread(target=_open, args=arguments, name="opening", daemon=True).start()
        if self._opening is None or not self._opening.done():
            return None
        opening, self._opening = self._opening, None
        self.port = opening.result()
        self.counters["opened"] += 1
        return self.port

    def read(self) -> bytes:
        """Return the bytes that have arrived; b"" while the port is not open. Raises PortFault."""
        arrived = b"" if self.port is None else self.port.read()
        self.counters["bytes"] += len(arrived)
        return arrived

    def close(self, *, has_frames: bool) -> None:
        """Give the port back; keep its speed if it brought frames, else try the next one."""
        if self.port is None:
            return
        self.port.close()
        self.port = None
        if isinstance(self.source, BleSource):
            self.source.on_close(has_frames=has_frames)
        if has_frames:
            self._attempt = self._fruitless = 0
        else:
            self._fruitless += 1
            self._speeds = (*self._speeds[1:], self._speeds[0])

    def switch_to_raw_speed(self) -> None:
        """Use the speed of raw samples, the first of all, next: the module was told to switch to it."""
        self._speeds = BAUDS

    def plan_retry(self, now_s: float, *, is_fault: bool) -> None:
        """Plan the next opening; the delay grows with each fault, not with a port that opens and stays silent."""
        self._retry_s = now_s + REOPEN.delay_s(self._attempt, self._rng)
        self._attempt += is_fault


def _open(source: PortSource, baud: int, opening: Future[Port]) -> None:
    """Open a port in a thread of its own: a Bluetooth port takes seconds."""
    try:
        opening.set_result(source.open(baud))
    except (NeuroOneError, OSError) as error:
        opening.set_exception(error)
    except Exception as error:
        log.exception("a port cannot be opened")
        opening.set_exception(OSError(repr(error)))
