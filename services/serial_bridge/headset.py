"""One headset from its port to the broker, for as long as the program runs."""

import logging
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Link, RawBlock, Reading, StreamStatus
from neuroone.mqtt.backoff import Backoff
from serial_bridge.headsets import Decoder
from serial_bridge.headsets.events import Event
from serial_bridge.headsets.thinkgear import TGAM_RAW_MODE
from serial_bridge.link_monitor import LinkMonitor, LinkStatus
from serial_bridge.ports.port import READ_MAX_BYTES, Port, PortFault
from serial_bridge.ports.sources import BAUDS, PortSource
from serial_bridge.publisher import StreamPublisher
from serial_bridge.stream import Owner, Stream

IDLE_S: Final = 0.5
"""A pause of half the slowest headset's period: no frame is on its way, what is held back may go."""
JUDGE_S: Final = 0.25
"""How often the link is judged."""
PROBE_S: Final = 3.5
"""A headset shows itself within so long at the right speed: the slowest sends two frames."""
STATE_PERIOD_S: Final = 10.0
"""How often the state is said again although it did not change: its counters did."""
REOPEN: Final = Backoff(first_s=0.5, cap_s=10.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Environment:
    """The outside environment, handed in: a clock for durations, one for dates, chance."""

    clock: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.Random)


class Opening:
    """A port that is being opened, in a thread of its own: a Bluetooth port takes seconds."""

    def __init__(self, source: PortSource) -> None:
        self.port: Port | None = None
        self.fault: Exception | None = None
        self._source = source
        self._thread = threading.Thread(target=self._open, name="opening", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the port is open, or could not be opened."""
        return not self._thread.is_alive()

    def _open(self) -> None:
        try:
            self.port = self._source.open()
        except (NeuroOneError, OSError) as error:
            self.fault = error
        except Exception as error:
            log.exception("a port cannot be opened")
            self.fault = error


class Headset:
    """Reads one headset: opens its port, watches it, opens it again, and publishes what it says.

    Whoever drives it calls `turn` again and again, and `close` at the end. ``may_read`` holds back a source that can
    wait (a capture) while the broker is slow; ``listeners`` are given the events as they come. With ``probe`` the port
    may have no headset: nothing is published before it has shown one, which ``probe`` then names the owner of, and it
    is given up, and given back, when it showed none at any speed.
    """

    def __init__(
        self,
        source: PortSource,
        publisher: StreamPublisher,
        owner: Owner,
        new_decoder: Callable[[], Decoder],
        environment: Environment,
        *,
        headset_id: bytes = b"",
        asks_raw: bool = False,
        probe: Callable[[], Owner] | None = None,
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.listeners: tuple[Callable[[list[Event]], object], ...] = ()
        self.has_ended = False
        self.fault: Exception | None = None
        self.link_status = LinkStatus(StreamStatus.OFFLINE, Link.SEARCHING, None)
        self._source = source
        self._publisher = publisher
        self._decoder = new_decoder()
        self._stream = Stream(owner)
        self._stream.begin(uuid.uuid4().hex)
        self._monitor = LinkMonitor(source.device, headset_id, asks_raw)
        self._environment = environment
        self._may_read = may_read
        self._probe = probe
        self._tries_left = len(BAUDS)
        self._held_back: list[Event] = []
        self._port: Port | None = None
        self._opening: Opening | None = None
        self._attempt = 0
        self._retry_s = self._judged_s = self._said_s = float("-inf")
        self._opened_s = self._arrived_s = 0.0
        self._is_idle = False
        self._bytes = self._opened = 0

    def step(self) -> bool:
        """Do what there is to do now, without waiting; whether there is more to do at once."""
        if self.has_ended:
            return False
        now_s = self._environment.clock()
        n_bytes = 0
        if self._port is None:
            self._open(now_s)
        else:
            n_bytes = self._read(self._port, now_s)
        if now_s - self._judged_s >= JUDGE_S:
            self._judged_s = now_s
            self._judge(now_s)
        return n_bytes >= READ_MAX_BYTES

    def close(self) -> None:
        """Give the port back and say that the stream has ended."""
        self._shut()
        self.has_ended = True
        if self._probe is None:
            self._monitor.on_fault(Link.ENDED, None)
            self._report(self._environment.clock())

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._port is not None

    @property
    def is_probe(self) -> bool:
        """Whether the port has yet to show that a headset is there."""
        return self._probe is not None

    @property
    def device(self) -> str:
        """The port, and the id of the headset behind a dongle once it is known."""
        headset_id = self._monitor.headset_id.hex()
        return f"{self._monitor.device}, headset {headset_id}" if headset_id else self._monitor.device

    @property
    def counters(self) -> dict[str, float]:
        """Totals since the program started."""
        return {
            "bytes": self._bytes,
            "opened": self._opened,
            **self._decoder.counters,
            **self._stream.counters,
            **self._publisher.counters,
        }

    def _open(self, now_s: float) -> None:
        """Open the port if it is time to, and see what became of it."""
        if self._opening is None:
            if now_s < self._retry_s:
                return
            self._opening = Opening(self._source)
        if not self._opening.is_over:
            return
        opening, self._opening = self._opening, None
        if opening.port is None:
            self._fail(opening.fault, now_s)
            return
        self._port = opening.port
        self._opened += 1
        if self._monitor.device != self._port.device:
            log.info("%s is on another port now", self._publisher.source)
            self._monitor.device = self._port.device
        self._monitor.on_open(now_s)
        self._opened_s = self._arrived_s = now_s
        self._is_idle = False

    def _read(self, port: Port, now_s: float) -> int:
        """Take what has arrived; how many bytes that was."""
        if not self._may_read():
            self._monitor.on_paused(now_s)
            return 0
        try:
            arrived = port.read()
        except (NeuroOneError, OSError) as fault:
            self._leave(fault, now_s)
            return 0
        if arrived:
            self._arrived_s, self._is_idle = now_s, False
            self._bytes += len(arrived)
            self._monitor.on_bytes(now_s)
            self._take(self._decoder.feed(arrived), now_s)
        elif not self._is_idle and now_s - self._arrived_s >= IDLE_S:
            self._is_idle = True
            self._take(self._decoder.idle(), now_s)
        return len(arrived)

    def _judge(self, now_s: float) -> None:
        """Say how the link is; talk to the headset, or open the port anew, if that helps."""
        self._report(now_s)
        if self._port is None:
            return
        try:
            if command := self._monitor.command(now_s, self._source.baud):
                self._port.write(command)
        except PortFault as fault:
            self._leave(fault, now_s)
            return
        if command == TGAM_RAW_MODE:
            self._source.switched_to_raw()
            self._leave(None, now_s)
        elif self._source.can_reopen and self._monitor.must_reopen(now_s):
            self._leave(None, now_s)
        elif self._probe is not None and now_s - self._opened_s >= PROBE_S:
            self._monitor.judge(now_s, is_final=True)
            self._leave(None, now_s)

    def _leave(self, fault: Exception | None, now_s: float) -> None:
        """Close the port, because of ``fault`` or because `LinkMonitor` says so, and plan to open it again."""
        self._shut()
        has_frames = self._monitor.has_frames
        self._source.heard(has_frames)
        if has_frames:
            self._attempt = 0
        if isinstance(fault, PortFault) and fault.link is Link.ENDED:
            self.close()
            return
        self._fail(fault, now_s)
        self._report(now_s)
        if has_frames:
            self._stream.begin(uuid.uuid4().hex)

    def _fail(self, fault: Exception | None, now_s: float) -> None:
        """The port is closed: plan to open it again, or give it up."""
        self._retry_s = now_s + REOPEN.delay_s(self._attempt, self._environment.rng)
        self._attempt += fault is not None  # a port that opens, at a wrong speed or silent, is not waited for longer
        if isinstance(fault, PortFault):
            self._monitor.on_fault(fault.link, fault.hint)
        elif fault is not None and self._source.can_reopen:
            self._monitor.on_fault(Link.NO_PORT, f"{self._source.device} cannot be used: {fault}")
        elif fault is not None:
            log.error("%s: %s", self._publisher.source, fault)
            self.fault = fault
            self.close()
            return
        is_word_on_headset = not isinstance(fault, PortFault) or fault.link not in (Link.NO_PERMISSION, Link.PORT_BUSY)
        if self._probe is not None and is_word_on_headset:
            self._held_back.clear()
            self._tries_left -= 1
            if self._tries_left <= 0:
                self._report(now_s)
                self.close()

    def _shut(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
            self._take(self._decoder.flush(), self._environment.clock())
            self._publish(self._stream.end(self._environment.now()))

    def _take(self, events: list[Event], now_s: float) -> None:
        if not events:
            return
        self._monitor.on_events(events, now_s)
        if self._probe is not None:
            self._held_back += events
            if not self._monitor.has_frames:
                return
            log.info("%s: a headset, at %s", self._publisher.source, self._monitor.device)
            self._stream.owner, self._probe = self._probe(), None
            events, self._held_back = self._held_back, []
        for listener in self.listeners:
            listener(events)
        messages = self._stream.on_events(events, self._environment.now())
        if any(isinstance(message, Reading) for message in messages):
            self._monitor.on_reading(now_s)
        self._publish(messages)

    def _publish(self, messages: list[Reading | RawBlock]) -> None:
        for message in messages:
            self._publisher.publish(message)

    def _report(self, now_s: float) -> None:
        """Publish how the stream stands if that changed, or was not said for long."""
        self._monitor.is_line_damaged = self._stream.is_withheld
        before, self.link_status = self.link_status, self._monitor.status(now_s)
        if self._probe is not None or (self.link_status == before and now_s - self._said_s < STATE_PERIOD_S):
            return
        if self.link_status.link != before.link:
            hint = f" - {self.link_status.hint}" if self.link_status.hint else ""
            log.info("%s: %s%s", self._publisher.source, self.link_status.link, hint)
        self._said_s = now_s
        self._publisher.publish_state(
            self.link_status, self._stream, self.device, self.counters, self._environment.now()
        )
