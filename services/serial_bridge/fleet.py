"""The headsets that one bridge reads, each in a thread of its own, and the search for those that nobody named."""

import threading
import uuid
from collections.abc import Callable
from typing import Final, Protocol

from neuroone.contract.messages import Link, StreamStatus
from serial_bridge import detect
from serial_bridge.bridge import Headset, Outlet, Surroundings
from serial_bridge.detect import SerialPortInfo
from serial_bridge.stream import Owner, Stream
from serial_bridge.watch import Standing
from serial_bridge.ways import SerialWay, Way

SEARCH_PERIOD_S: Final = 1.0
"""How often the computer's ports are listed."""
TRY_AGAIN_S: Final = 25.0
"""From one look at a port without a headset to the next; a look takes ten, then its owner may use it."""
NO_PORT_HINT: Final = (
    "No serial port looks like a headset: plug the adapter in or pair the headset, or name its port with --port. "
    "serial-bridge ports lists what is there."
)
SEARCHING_HINT: Final = "Looking for a headset: switch it on."


class NewHeadset(Protocol):
    """Makes a headset for a way; see `Headset` for ``probe``."""

    def __call__(self, way: Way, source: str, owner: Owner, *, probe: Callable[[], Owner] | None = None) -> Headset:
        """Make it; it starts with its `run`."""
        ...


class Fleet:
    """All headsets of the program."""

    def __init__(self, new_headset: NewHeadset) -> None:
        self.headsets: list[Headset] = []
        self._new_headset = new_headset
        self._threads: list[threading.Thread] = []

    def add(self, way: Way, source: str, owner: Owner, *, probe: Callable[[], Owner] | None = None) -> Headset:
        """Read one more headset, from now on."""
        headset = self._new_headset(way, source, owner, probe=probe)
        thread = threading.Thread(target=headset.run, name=f"headset-{source}", daemon=True)
        self.headsets = [*(each for each in self.headsets if not each.has_ended or each.fault), headset]
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()
        return headset

    @property
    def has_ended(self) -> bool:
        """Whether no headset is read any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, each at most ``timeout_s``."""
        for thread in self._threads:
            thread.join(timeout_s)


class Search:
    """Looks for headsets on the computer's ports and adds those that it finds to the fleet.

    ``owners`` are for the headsets in the order in which they are found, the last one for all that follow. While there
    is none, the state of the source ``auto`` says why.
    """

    def __init__(
        self,
        fleet: Fleet,
        outlet: Outlet,
        owners: list[Owner],
        world: Surroundings,
        *,
        taken: frozenset[str],
        baud: int | None,
        present: Callable[[], list[SerialPortInfo]] = detect.present,
    ) -> None:
        self._fleet = fleet
        self._outlet = outlet
        self._stream = Stream(owners[-1])
        self._stream.begin(uuid.uuid4().hex)
        self._world = world
        self._owners = owners
        self._taken = taken
        self._baud = baud
        self._present = present
        self._next_s = float("-inf")
        self._tried_s: dict[str, float] = {}
        self._found: dict[str, Headset] = {}
        self._said: Standing | None = None

    def tick(self) -> None:
        """Look again if it is time; called often."""
        now_s = self._world.clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + SEARCH_PERIOD_S
        ports = {port.source: port for port in detect.candidates(self._present()) if port.device not in self._taken}
        self._found = {source: each for source, each in self._found.items() if source in ports or not each.has_ended}
        for source, port in ports.items():
            known = self._found.get(source)
            if known is None or (known.has_ended and now_s - self._tried_s[source] >= TRY_AGAIN_S):
                self._tried_s[source] = now_s
                self._found[source] = self._try(port)
        self._say(self._standing(bool(ports)))

    def _try(self, port: SerialPortInfo) -> Headset:
        way = SerialWay(port.device, self._baud, port.source, self._present)
        return self._fleet.add(way, port.source, self._owners[-1], probe=self._next_owner)

    def _next_owner(self) -> Owner:
        return self._owners.pop(0) if len(self._owners) > 1 else self._owners[0]

    def _standing(self, has_ports: bool) -> Standing:
        if any(not headset.is_probe for headset in self._found.values()):
            return Standing(StreamStatus.OFFLINE, Link.ENDED, None)
        if not has_ports:
            return Standing(StreamStatus.OFFLINE, Link.NO_PORT, NO_PORT_HINT)
        for headset in self._found.values():
            if headset.standing.link is not Link.SEARCHING:
                return headset.standing
        return Standing(StreamStatus.OFFLINE, Link.SEARCHING, SEARCHING_HINT)

    def _say(self, standing: Standing) -> None:
        if standing != self._said:
            self._said = standing
            self._outlet.say(standing, self._stream, "auto", {}, self._world.now())
