"""One headset from its port to the broker, for as long as the program runs."""

import logging
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Kind, Link, RawBlock, Reading, StreamState, StreamStatus
from neuroone.runtime.backoff import Backoff
from neuroone.runtime.bus import Bus
from serial_bridge.headsets import Decoder
from serial_bridge.headsets.events import Event
from serial_bridge.headsets.thinkgear import TGAM_RAW_MODE
from serial_bridge.ports import READ_MAX_BYTES, Port, PortFault
from serial_bridge.stream import Owner, Stream
from serial_bridge.watch import Standing, Watch
from serial_bridge.ways import BAUDS, Way

POLL_S: Final = 0.008
"""Between two reads of a port: few wake-ups for many headsets, and far below 20 ms from byte to topic."""
IDLE_S: Final = 0.5
"""A pause of half the slowest headset's period: no frame is on its way, what is held back may go."""
REPORT_S: Final = 0.25
"""How often the link is judged."""
PROBE_S: Final = 3.5
"""A headset shows itself within so long at the right speed: the slowest sends two frames."""
STATE_PERIOD_S: Final = 10.0
"""How often the state is said again although it did not change: its counters did."""
REOPEN: Final = Backoff(first_s=0.5, cap_s=10.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The outside world, handed in: a clock for durations, one for dates, waiting, chance."""

    clock: Callable[[], float]
    sleep: Callable[[float], object]
    is_stopped: Callable[[], bool]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.Random)


class Outlet:
    """Publishes one source's messages."""

    def __init__(self, bus: Bus, group: str, source: str) -> None:
        site = bus.identity.site
        self.group, self.source = group, source
        self._bus = bus
        self._reading = topics.reading(site, group, source)
        self._raw = topics.raw(site, group, source)
        self._state = topics.stream_state(site, group, source)
        self.counters = dict.fromkeys(("readings_dropped", "raw_blocks_dropped"), 0)

    def publish(self, message: Reading | RawBlock) -> None:
        """Publish a reading or a raw block."""
        is_reading = isinstance(message, Reading)
        if not self._bus.publish(self._reading if is_reading else self._raw, message):
            self.counters["readings_dropped" if is_reading else "raw_blocks_dropped"] += 1

    def say(self, standing: Standing, stream: Stream, device: str, counters: dict[str, float], now: datetime) -> None:
        """Publish how the stream stands."""
        identity = self._bus.identity
        state = StreamState(
            status=standing.status,
            session=stream.session,
            time=now,
            kind=Kind.HEADSET,
            name=stream.owner.name,
            code=stream.owner.code,
            link=standing.link,
            hint=standing.hint,
            device=device,
            service=identity.service,
            instance=identity.instance,
            epoch=identity.epoch,
            counters=counters,
        )
        self._bus.publish(self._state, state)


class Headset:
    """Reads one headset: opens its port, watches it, opens it again, and publishes what it says.

    ``listeners`` are given the events as they come. ``may_read`` holds back a source that can wait (a capture) while
    the broker is slow. With ``probe`` the port may have no headset: nothing is published before it has shown one,
    which ``probe`` then names the owner of, and it is given up, and given back, when it showed none at any speed.
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
        self.fault: NeuroOneError | None = None
        self.standing = Standing(StreamStatus.OFFLINE, Link.SEARCHING, None)
        self._way = way
        self._outlet = outlet
        self._decoder = new_decoder()
        self._stream = Stream(owner)
        self._watch = Watch(way.device, headset_id, asks_raw)
        self._probe = probe
        self._tries_left = len(BAUDS)
        self._held_back: list[Event] = []
        self._world = world
        self._may_read = may_read
        self._opened = 0
        self._bytes = 0
        self._said_s = float("-inf")

    def run(self) -> None:
        """Read until the program stops, or the source ends. Raises nothing: a source at fault is said to be so."""
        world, attempt = self._world, 0
        self._stream.begin(uuid.uuid4().hex)
        while not world.is_stopped() and not self.has_ended:
            try:
                port = self._way.open()
                heard = self._listen(port)
                attempt = 0 if heard else attempt + 1
            except PortFault as fault:
                self._watch.failed(fault.link, fault.hint)
                if fault.link not in (Link.NO_PERMISSION, Link.PORT_BUSY):  # that is no word on the headset
                    self._count_try()
                attempt += 1
            except (NeuroOneError, OSError) as error:
                log.error("%s", error)
                self.fault = error if isinstance(error, NeuroOneError) else NeuroOneError(str(error))
                break
            self._pause(REOPEN.delay_s(attempt, world.rng))
        if not self.is_probe:
            self._watch.failed(Link.ENDED, None)
        self.has_ended = True
        self._report()

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

    def _listen(self, port: Port) -> bool:
        """Read an open port until it is lost, of no use, or the program stops; whether frames came."""
        world, watch = self._world, self._watch
        self._opened += 1
        self._way_is(port.device)
        opened_s = last_s = judged_s = world.clock()
        watch.opened(opened_s)
        is_idle = False
        try:
            while not world.is_stopped():
                if not self._may_read():
                    world.sleep(POLL_S)
                    watch.held_back(world.clock())
                    continue
                arrived = port.read()
                now_s = world.clock()
                if arrived:
                    last_s, is_idle = now_s, False
                    self._bytes += len(arrived)
                    watch.arrived(now_s)
                    self._take(self._decoder.feed(arrived), now_s)
                elif not is_idle and now_s - last_s >= IDLE_S:
                    is_idle = True
                    self._take(self._decoder.idle(), now_s)
                if now_s - judged_s >= REPORT_S:
                    judged_s = now_s
                    self._report()
                    if command := watch.command(now_s, self._way.baud):
                        port.write(command)
                    if command == TGAM_RAW_MODE:
                        self._way.switched_to_raw()
                        break
                    if self._way.can_reopen and watch.must_reopen(now_s):
                        break
                    if self.is_probe and now_s - opened_s >= PROBE_S:
                        watch.judge(now_s, is_final=True)
                        break
                if len(arrived) < READ_MAX_BYTES:
                    world.sleep(POLL_S)
        except PortFault as fault:
            watch.failed(fault.link, fault.hint)
            self.has_ended = fault.link is Link.ENDED
        finally:
            port.close()
            self._take(self._decoder.flush(), world.clock())
            self._publish(self._stream.end(world.now()))
        self._way.heard(watch.has_frames)
        self._count_try()
        self._report()
        if watch.has_frames and not self.has_ended and not world.is_stopped():
            self._stream.begin(uuid.uuid4().hex)
        return watch.has_frames

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

    def _count_try(self) -> None:
        """A port that showed no headset is tried once at each speed, then no more."""
        if self._probe is not None:
            self._held_back.clear()
            self._tries_left -= 1
            self.has_ended = self._tries_left <= 0

    def _way_is(self, device: str) -> None:
        if device != self._watch.device:
            log.info("the headset of %s is on another port now", self._outlet.source)
        self._watch.device = device

    def _report(self) -> None:
        """Publish how the stream stands if that changed, or was not said for long."""
        now_s = self._world.clock()
        standing = self._watch.standing(now_s)
        if standing == self.standing and now_s - self._said_s < STATE_PERIOD_S and self._said_s > 0:
            return
        if standing.link != self.standing.link and not self.is_probe:
            log.info("%s: %s%s", self._outlet.source, standing.link, f" - {standing.hint}" if standing.hint else "")
        self.standing = standing
        if self.is_probe:
            return
        self._said_s = now_s
        self._outlet.say(standing, self._stream, self.device, self.counters, self._world.now())

    def _pause(self, delay_s: float) -> None:
        until_s = self._world.clock() + delay_s
        self._report()
        while not self.has_ended and not self._world.is_stopped() and self._world.clock() < until_s:
            self._world.sleep(REPORT_S)
            self._report()
