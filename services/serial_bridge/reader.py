"""The thread that reads all headsets of one bridge, and the search for headsets on ports that nobody named."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract import hints
from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.wearers import AUTO, Owner
from serial_bridge.headset import Headset
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.ports import detect
from serial_bridge.publisher import StreamPublisher
from serial_bridge.stream import Stream

POLL_S: Final = 0.006
"""Time between two reads of a port: few wake-ups for many headsets, and far below 20 ms from byte to topic."""
SEARCH_PERIOD_S: Final = 1.0
"""Time between two listings of the computer's ports."""
TRY_AGAIN_S: Final = 25.0
"""Time between two tries of a silent port; a try takes ten of them, in the rest its owner may use it."""
TRY_AGAIN_MAX_S: Final = 600.0
"""A port that sends something else is another device's: each try doubles the time to the next one, up to this."""

log = logging.getLogger(__name__)


class HeadsetReader(threading.Thread):
    """Read all headsets of the program in one thread: fifty threads would mostly wait for each other."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        super().__init__(name="headsets", daemon=True)
        self.headsets: tuple[Headset, ...] = ()
        self._clock = clock
        self._sleep = sleep
        self._stopping = threading.Event()

    def add(self, headset: Headset) -> Headset:
        """Read one more headset; ports that had none are forgotten."""
        self.headsets = (*(each for each in self.headsets if not (each.has_ended and each.is_probe)), headset)
        return headset

    def close(self, timeout_s: float) -> None:
        """Stop reading, and let every stream end."""
        self._stopping.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Read until `close` is called."""
        round_s = self._clock()
        while not self._stopping.is_set():
            is_busy = False
            for headset in self.headsets:
                is_busy |= _step(headset)
            round_s = max(round_s + POLL_S, self._clock())
            if not is_busy:
                self._sleep(max(0.0, round_s - self._clock()))
        for headset in self.headsets:
            if not headset.has_ended:
                headset.close()


def _step(headset: Headset) -> bool:
    """Drive one headset; a bug that its data triggers ends that one alone."""
    try:
        return headset.step()
    except Exception as error:
        log.exception("a headset is given up")
        headset.fault, headset.has_ended = error, True
        return False


class Search:
    """Search the computer's ports for headsets and add those found to the reader.

    ``new_headset`` makes a headset from its port, its id in topics and its probe (see `Headset`). ``owners`` are for
    the headsets in the order in which they are found, the last one for all that follow; ``used`` returns the ports that
    others read. While there is no headset, the state of the source ``auto`` tells the reason.
    """

    def __init__(
        self,
        reader: HeadsetReader,
        new_headset: Callable[[str, str, Callable[[], Owner]], Headset],
        publisher: StreamPublisher,
        owners: list[Owner],
        used: Callable[[], set[str]],
        clock: Callable[[], float] = time.monotonic,
        present: Callable[[], Sequence[ListPortInfo]] = comports,
    ) -> None:
        self._reader = reader
        self._new_headset = new_headset
        self._publisher = publisher
        self._stream = Stream(owners[-1])
        self._owners = owners
        self._clock = clock
        self._used = used
        self._present = present
        self._next_s = float("-inf")
        self._tried_s: dict[str, float] = {}
        self._waits_s: dict[str, float] = {}
        self._found: dict[str, Headset] = {}

    def tick(self) -> None:
        """Search if it is time to; call it often."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + SEARCH_PERIOD_S
        used = self._used()
        likely = detect.candidates(self._present())
        ports = {detect.source_id(port): port for port in likely if port.device not in used}
        self._found = {key: each for key, each in self._found.items() if key in ports or not each.has_ended}
        for source_id, port in ports.items():
            known = self._found.get(source_id)
            if known is None:
                self._waits_s[source_id] = TRY_AGAIN_S
            if known is None or (known.has_ended and now_s - self._tried_s[source_id] >= self._waits_s[source_id]):
                if known is not None and known.link_status.link is Link.NO_FRAMES:
                    self._waits_s[source_id] = min(TRY_AGAIN_MAX_S, 2 * self._waits_s[source_id])
                self._tried_s[source_id] = now_s
                headset = self._new_headset(port.device, source_id, self._next_owner)
                self._found[source_id] = self._reader.add(headset)
        self._publish(self._status(bool(ports)))

    def close(self) -> None:
        """Publish that the search has ended."""
        self._publish(LinkStatus(StreamStatus.OFFLINE, Link.ENDED, None))

    def _next_owner(self) -> Owner:
        return self._owners.pop(0) if len(self._owners) > 1 else self._owners[0]

    def _status(self, has_ports: bool) -> LinkStatus:
        if any(not headset.is_probe for headset in self._found.values()):
            return LinkStatus(StreamStatus.OFFLINE, Link.ENDED, None)
        if not has_ports:
            return LinkStatus(StreamStatus.OFFLINE, Link.NO_PORT, hints.NO_PORT_FOUND.text())
        for headset in self._found.values():
            if headset.link_status.link is not Link.SEARCHING:
                return headset.link_status
        return LinkStatus(StreamStatus.OFFLINE, Link.SEARCHING, hints.SEARCHING.text())

    def _publish(self, status: LinkStatus) -> None:
        if status != self._publisher.published:
            self._publisher.publish_state(status, self._stream, AUTO, {})
