"""The thread that reads all headsets of one bridge, and the search for headsets on ports that nobody named."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract import hints
from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.wearers import AUTO, Owner
from serial_bridge.headset import Headset
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.ports import detect, port
from serial_bridge.ports.memory import PortMemory
from serial_bridge.ports.sources import SerialSource
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
        self.on_moved: Callable[[], object] = lambda: None
        """Called after each step of a headset, and in each round: opening one port may take half a minute."""
        self._clock = clock
        self._sleep = sleep
        self._stopping = threading.Event()

    def add(self, headset: Headset) -> Headset:
        """Read one more headset; ports that had none are forgotten."""
        self.headsets = (*(each for each in self.headsets if not (each.has_ended and each.is_probe)), headset)
        return headset

    def close(self, timeout_s: float) -> None:
        """Stop reading, let every stream end, and wait for the disk of their recordings."""
        until_s = time.monotonic() + timeout_s
        self._stopping.set()
        self.join(timeout_s)
        for headset in self.headsets:
            if headset.recording is not None:
                headset.recording.join(max(0.0, until_s - time.monotonic()))

    def run(self) -> None:
        """Read until `close` is called."""
        round_s = self._clock()
        while not self._stopping.is_set():
            is_busy = False
            for headset in self.headsets:
                is_busy |= _step(headset)
                self.on_moved()
            self.on_moved()
            round_s = max(round_s + POLL_S, self._clock())
            if not is_busy:
                self._sleep(max(0.0, round_s - self._clock()))
        for headset in self.headsets:
            if not headset.has_ended:
                _close(headset)


def _step(headset: Headset) -> bool:
    """Drive one headset; a bug that its data triggers ends that one alone."""
    try:
        return headset.step()
    except Exception as error:
        log.exception("a headset is given up")
        headset.fault = error
        _close(headset)
        return False


def _close(headset: Headset) -> None:
    """Close one headset; a fault in it keeps no other one open."""
    try:
        headset.close()
    except Exception as error:
        log.exception("a headset cannot be closed in order")
        headset.fault = headset.fault or error
        headset.has_ended = True


@dataclass(slots=True)
class Tries:
    """When a port is tried, was tried, and will be: ``due_s`` is infinite while a try lasts."""

    due_s: float
    wait_s: float = TRY_AGAIN_S
    n: int = 0
    tried_s: float = 0.0
    is_learned: bool = False


class Search:
    """Search the computer's ports for headsets and add those found to the reader.

    ``new_headset`` makes a headset from its port, its id in topics and its probe (see `Headset`). ``owners`` are for
    the headsets in the order in which they are found, the last one for all that follow; ``used`` returns the ports that
    others read. While there is no headset, the state of the source ``auto`` tells the reason. The ``memory`` knows what
    answered in earlier runs.
    """

    def __init__(
        self,
        reader: HeadsetReader,
        new_headset: Callable[[SerialSource, str, Callable[[], Owner]], Headset],
        publisher: StreamPublisher,
        owners: list[Owner],
        used: Callable[[], set[str]],
        memory: PortMemory,
        baud: int | None = None,
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
        self._memory = memory
        self._baud = baud
        self._present = present
        self._next_s = float("-inf")
        self._is_first_listing = True
        self._fault: str | None = None
        self._tries: dict[str, Tries] = {}
        self._found: dict[str, Headset] = {}

    def tick(self) -> None:
        """Search if it is time to; call it often. A system that cannot list its ports is asked again."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + SEARCH_PERIOD_S
        try:
            self._search(now_s)
        except Exception as error:  # a listing runs code of drivers, and reads what devices call themselves
            if str(error) != self._fault:
                log.exception("the computer's ports cannot be searched; trying again each second")
            self._fault = str(error)
            if not any(not headset.has_ended for headset in self._found.values()):
                hint = f"the computer's ports cannot be searched: {error}"
                self._publish(LinkStatus(StreamStatus.OFFLINE, Link.NO_PORT, hint))
        else:
            self._fault = None

    def _search(self, now_s: float) -> None:
        used = self._used()
        likely = detect.candidates(self._present())
        ports = {detect.source_id(port): port for port in likely if port.device not in used}
        self._found = {key: each for key, each in self._found.items() if key in ports or not each.has_ended}
        self._tries = {key: each for key, each in self._tries.items() if key in ports or key in self._found}
        for source_id, listed in ports.items():
            self._check(source_id, listed, now_s)
        self._is_first_listing = False
        self._publish(self._status(bool(ports)))

    def close(self) -> None:
        """Publish that the search has ended."""
        self._publish(LinkStatus(StreamStatus.OFFLINE, Link.ENDED, None))

    def _check(self, source_id: str, listed: ListPortInfo, now_s: float) -> None:
        """Learn what answered on a port, and try it if it is time to: one that is plugged in now is tried at once."""
        if source_id not in self._tries:
            self._tries[source_id] = Tries(now_s + (self._memory.rest_s(listed) if self._is_first_listing else 0.0))
        tries, headset = self._tries[source_id], self._found.get(source_id)
        if headset is not None and not headset.is_probe and not tries.is_learned:
            tries.is_learned = True
            self._memory.on_headset(listed, headset.baud)
        if headset is not None and headset.has_ended and tries.due_s == float("inf"):
            tries.due_s = tries.tried_s + tries.wait_s
            if headset.link_status.link is Link.NO_FRAMES:
                tries.wait_s = min(TRY_AGAIN_MAX_S, 2 * tries.wait_s)
                self._memory.on_other(listed)
        if now_s >= tries.due_s:
            baud = self._memory.baud(listed)
            keeps_dtr = not port.KEEPS_DTR_LOW or (baud is None and tries.n % 2 == 0)
            source = SerialSource(listed.device, self._baud, self._present, first_baud=baud, keeps_dtr=keeps_dtr)
            tries.tried_s, tries.due_s, tries.n = now_s, float("inf"), tries.n + 1
            headset = self._new_headset(source, source_id, self._next_owner)
            self._found[source_id] = self._reader.add(headset)

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
        if not self._found:
            return LinkStatus(StreamStatus.OFFLINE, Link.NO_FRAMES, hints.LEFT_ALONE.text())
        return LinkStatus(StreamStatus.OFFLINE, Link.SEARCHING, hints.SEARCHING.text())

    def _publish(self, status: LinkStatus) -> None:
        if status != self._publisher.published:
            self._publisher.publish_state(status, self._stream, AUTO, {})
