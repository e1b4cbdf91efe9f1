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
from serial_bridge.link_monitor import Standing, Watch
from serial_bridge.ports.port import READ_MAX_BYTES, Port, PortFault
from serial_bridge.ports.sources import BAUDS, Way
from serial_bridge.publisher import Outlet
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
class Surroundings:
    """The outside world, handed in: a clock for durations, one for dates, chance."""

    clock: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.Random)


class Opening:
    """A port that is being opened, in a thread of its own: a Bluetooth port takes seconds."""

    def __init__(self, way: Way) -> None:
        self.port: Port | None = None
        self.fault: Exception | None = None
        self._way = way
        self._thread = threading.Thread(target=self._open, name="opening", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the port is open, or could not be opened."""
        return not self._thread.is_alive()

    def _open(self) -> None:
        try:
            self.port = self._way.open()
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
        way: Way,
        outlet: Outlet,
        owner: Owner,
        new_decoder: Callable[[], Decoder],
        world: Surroundings,
        *,
        headset_id: bytes = b"",
        asks_raw: bool = False,
        probe: Callable[[], Owner] | None = None,
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.listeners: tuple[Callable[[list[Event]], object], ...] = ()
        self.has_ended = False
        self.fault: Exception | None = None
        self.standing = Standing(StreamStatus.OFFLINE, Link.SEARCHING, None)
        self._way = way
        self._outlet = outlet
        self._decoder = new_decoder()
        self._stream = Stream(owner)
        self._stream.begin(uuid.uuid4().hex)
        self._watch = Watch(way.device, headset_id, asks_raw)
        self._world = world
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

    def turn(self) -> bool:
        """Do what there is to do now, without waiting; whether there is more to do at once."""
        if self.has_ended:
            return False
        now_s = self._world.clock()
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
            self._watch.failed(Link.ENDED, None)
            self._report(self._world.clock())

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
        headset_id = self._watch.headset_id.hex()
        return f"{self._watch.device}, headset {headset_id}" if headset_id else self._watch.device

    @property
    def counters(self) -> dict[str, float]:
        """Totals since the program started."""
        return {
            "bytes": self._bytes,
            "opened": self._opened,
            **self._decoder.counters,
            **self._stream.counters,
            **self._outlet.counters,
        }

    def _open(self, now_s: float) -> None:
        """Open the port if it is time to, and see what became of it."""
        if self._opening is None:
            if now_s < self._retry_s:
                return
            self._opening = Opening(self._way)
        if not self._opening.is_over:
            return
        opening, self._opening = self._opening, None
        if opening.port is None:
            self._fail(opening.fault, now_s)
            return
        self._port = opening.port
        self._opened += 1
        if self._watch.device != self._port.device:
            log.info("%s is on another port now", self._outlet.source)
            self._watch.device = self._port.device
        self._watch.opened(now_s)
        self._opened_s = self._arrived_s = now_s
        self._is_idle = False

    def _read(self, port: Port, now_s: float) -> int:
        """Take what has arrived; how many bytes that was."""
        if not self._may_read():
            self._watch.held_back(now_s)
            return 0
        try:
            arrived = port.read()
        except (NeuroOneError, OSError) as fault:
            self._leave(fault, now_s)
            return 0
        if arrived:
            self._arrived_s, self._is_idle = now_s, False
            self._bytes += len(arrived)
            self._watch.arrived(now_s)
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
            if command := self._watch.command(now_s, self._way.baud):
                self._port.write(command)
        except PortFault as fault:
            self._leave(fault, now_s)
            return
        if command == TGAM_RAW_MODE:
            self._way.switched_to_raw()
            self._leave(None, now_s)
        elif self._way.can_reopen and self._watch.must_reopen(now_s):
            self._leave(None, now_s)
        elif self._probe is not None and now_s - self._opened_s >= PROBE_S:
            self._watch.judge(now_s, is_final=True)
            self._leave(None, now_s)

    def _leave(self, fault: Exception | None, now_s: float) -> None:
        """Close the port, for the reason of ``fault`` or for one that `Watch` knows, and plan to open it again."""
        self._shut()
        has_frames = self._watch.has_frames
        self._way.heard(has_frames)
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
        self._retry_s = now_s + REOPEN.delay_s(self._attempt, self._world.rng)
        self._attempt += fault is not None  # a port that opens, at a wrong speed or silent, is not waited for longer
        if isinstance(fault, PortFault):
            self._watch.failed(fault.link, fault.hint)
        elif fault is not None and self._way.can_reopen:
            self._watch.failed(Link.NO_PORT, f"{self._way.device} cannot be used: {fault}")
        elif fault is not None:
            log.error("%s: %s", self._outlet.source, fault)
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
            self._take(self._decoder.flush(), self._world.clock())
            self._publish(self._stream.end(self._world.now()))

    def _take(self, events: list[Event], now_s: float) -> None:
        if not events:
            return
        self._watch.took(events, now_s)
        if self._probe is not None:
            self._held_back += events
            if not self._watch.has_frames:
                return
            log.info("%s: a headset, at %s", self._outlet.source, self._watch.device)
            self._stream.owner, self._probe = self._probe(), None
            events, self._held_back = self._held_back, []
        for listener in self.listeners:
            listener(events)
        messages = self._stream.take(events, self._world.now())
        if any(isinstance(message, Reading) for message in messages):
            self._watch.read(now_s)
        self._publish(messages)

    def _publish(self, messages: list[Reading | RawBlock]) -> None:
        for message in messages:
            self._outlet.publish(message)

    def _report(self, now_s: float) -> None:
        """Publish how the stream stands if that changed, or was not said for long."""
        self._watch.is_line_damaged = self._stream.is_withheld
        before, self.standing = self.standing, self._watch.standing(now_s)
        if self._probe is not None or (self.standing == before and now_s - self._said_s < STATE_PERIOD_S):
            return
        if self.standing.link != before.link:
            hint = f" - {self.standing.hint}" if self.standing.hint else ""
            log.info("%s: %s%s", self._outlet.source, self.standing.link, hint)
        self._said_s = now_s
        self._outlet.say(self.standing, self._stream, self.device, self.counters, self._world.now())
