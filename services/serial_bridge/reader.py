"""The headsets that one bridge reads, each in a thread of its own, and the search for those that nobody named."""

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Final, Protocol

from neuroone.contract.messages import Link, StreamStatus
from serial_bridge.headset import Environment, Headset
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.ports import detect
from serial_bridge.ports.detect import SerialPortInfo
from serial_bridge.ports.sources import PortSource, SerialSource
from serial_bridge.publisher import StreamPublisher
from serial_bridge.stream import Owner, Stream

POLL_S: Final = 0.006
"""Between two reads of a port: few wake-ups for many headsets, and far below 20 ms from byte to topic."""
SEARCH_PERIOD_S: Final = 1.0
"""How often the computer's ports are listed."""
TRY_AGAIN_S: Final = 25.0
"""From one look at a port without a headset to the next; a look takes ten, then its owner may use it."""
NO_PORT_HINT: Final = (
    "No serial port looks like a headset: plug the adapter in or pair the headset, or name its port with --port. "
    "serial-bridge ports lists what is there."
)
SEARCHING_HINT: Final = "Looking for a headset: switch it on."

log = logging.getLogger(__name__)


class NewHeadset(Protocol):
    """Makes a headset for a way; see `Headset` for ``probe``."""

    def __call__(
        self, source: PortSource, source_id: str, owner: Owner, *, probe: Callable[[], Owner] | None = None
    ) -> Headset:
        """Make it."""
        ...


class HeadsetReader:
    """All headsets of the program, driven by one thread: fifty threads would mostly wait for each other."""

    def __init__(self, new_headset: NewHeadset, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self.headsets: tuple[Headset, ...] = ()
        self._new_headset = new_headset
        self._clock = clock
        self._sleep = sleep
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headsets", daemon=True)

    def start(self) -> None:
        """Read the headsets from now on."""
        self._thread.start()

    def add(
        self, source: PortSource, source_id: str, owner: Owner, *, probe: Callable[[], Owner] | None = None
    ) -> Headset:
        """Read one more headset."""
        headset = self._new_headset(source, source_id, owner, probe=probe)
        self.headsets = (*(each for each in self.headsets if not (each.has_ended and each.is_probe)), headset)
        return headset

    @property
    def is_working(self) -> bool:
        """Whether the headsets are being read."""
        return self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether no headset is read any more."""
        return all(headset.has_ended for headset in self.headsets)

    def close(self, timeout_s: float) -> None:
        """Read no more, and let every stream end."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        turn_s = self._clock()
        while not self._stopping.is_set():
            is_busy = False
            for headset in self.headsets:
                is_busy |= _step(headset)
            turn_s = max(turn_s + POLL_S, self._clock())
            if not is_busy:
                self._sleep(max(0.0, turn_s - self._clock()))
        for headset in self.headsets:
            if not headset.has_ended:
                headset.close()


def _step(headset: Headset) -> bool:
    """Drive one headset; a fault of the program's own in it ends that one alone."""
    try:
        return headset.step()
    except Exception as error:
        log.exception("a headset is given up")
        headset.fault, headset.has_ended = error, True
        return False


class Search:
    """Looks for headsets on the computer's ports and adds those that it finds to the reader.

    ``owners`` are for the headsets in the order in which they are found, the last one for all that follow; ``taken``
    says which ports others read. While there is no headset, the state of the source ``auto`` says why.
    """

    def __init__(
        self,
        reader: HeadsetReader,
        publisher: StreamPublisher,
        owners: list[Owner],
        environment: Environment,
        *,
        taken: Callable[[], set[str]],
        baud: int | None,
        present: Callable[[], list[SerialPortInfo]] = detect.present,
    ) -> None:
        self._reader = reader
        self._publisher = publisher
        self._stream = Stream(owners[-1])
        self._stream.begin(uuid.uuid4().hex)
        self._environment = environment
        self._owners = owners
        self._taken = taken
        self._baud = baud
        self._present = present
        self._next_s = float("-inf")
        self._tried_s: dict[str, float] = {}
        self._found: dict[str, Headset] = {}
        self._said: LinkStatus | None = None

    def tick(self) -> None:
        """Look again if it is time; called often."""
        now_s = self._environment.clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + SEARCH_PERIOD_S
        taken = self._taken()
        ports = {port.source: port for port in detect.candidates(self._present()) if port.device not in taken}
        self._found = {source: each for source, each in self._found.items() if source in ports or not each.has_ended}
        for source, port in ports.items():
            known = self._found.get(source)
            if known is None or (known.has_ended and now_s - self._tried_s[source] >= TRY_AGAIN_S):
                self._tried_s[source] = now_s
                self._found[source] = self._try(port)
        self._say(self._standing(bool(ports)))

    def close(self) -> None:
        """Look no more."""
        self._say(LinkStatus(StreamStatus.OFFLINE, Link.ENDED, None))

    def _try(self, port: SerialPortInfo) -> Headset:
        source = SerialSource(port.device, self._baud, port.source, self._present)
        return self._reader.add(source, port.source, self._owners[-1], probe=self._next_owner)

    def _next_owner(self) -> Owner:
        return self._owners.pop(0) if len(self._owners) > 1 else self._owners[0]

    def _standing(self, has_ports: bool) -> LinkStatus:
        if any(not headset.is_probe for headset in self._found.values()):
            return LinkStatus(StreamStatus.OFFLINE, Link.ENDED, None)
        if not has_ports:
            return LinkStatus(StreamStatus.OFFLINE, Link.NO_PORT, NO_PORT_HINT)
        for headset in self._found.values():
            if headset.link_status.link is not Link.SEARCHING:
                return headset.link_status
        return LinkStatus(StreamStatus.OFFLINE, Link.SEARCHING, SEARCHING_HINT)

    def _say(self, status: LinkStatus) -> None:
        if status != self._said:
            self._said = status
            self._publisher.publish_state(status, self._stream, "auto", {}, self._environment.now())
