"""One headset from its port to the broker, for as long as the program runs."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Link, Reading, StreamStatus
from neuroone.service.wearers import Owner
from serial_bridge.captures.record import Recording, Recordings
from serial_bridge.headsets import Decoder
from serial_bridge.headsets.events import Event
from serial_bridge.headsets.thinkgear import TGAM_RAW_MODE
from serial_bridge.link_monitor import LinkMonitor, LinkStatus
from serial_bridge.ports.connection import Connection
from serial_bridge.ports.port import READ_MAX_BYTES, PacedPort, Port, PortFault
from serial_bridge.ports.sources import BAUDS, PortSource
from serial_bridge.publisher import StreamPublisher
from serial_bridge.stream import Stream

IDLE_S: Final = 0.5
"""After such a pause, half the slowest headset's period, no frame is on its way: `Decoder.idle` may be called."""
JUDGE_S: Final = 0.25
"""Time between two judgements of the link."""
PROBE_S: Final = 3.5
"""At the right speed a headset shows itself within this time: the slowest sends two frames."""
STATE_PERIOD_S: Final = 10.0
"""An unchanged state is published again after this time, because its counters have changed."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Probe:
    """The state of a port that has not shown a headset yet.

    ``next_owner`` is called when it has; ``events`` wait until then; it is given up after ``tries_left`` speeds.
    """

    next_owner: Callable[[], Owner]
    tries_left: int = len(BAUDS)
    events: list[Event] = field(default_factory=list)


class Headset:
    """Read one headset: open its port, monitor the link, open the port again, and publish what arrives.

    Call `step` again and again, and `close` at the end. The ``listener`` receives the events as they come, the
    ``recording`` the bytes. With ``probe`` the port may have no headset: nothing is published before it has shown one,
    whose owner ``probe`` then returns, and the port is given back if it shows none at any speed.
    """

    def __init__(
        self,
        source: PortSource,
        publisher: StreamPublisher,
        owner: Owner,
        new_decoder: Callable[[], Decoder],
        clock: Callable[[], float] = time.monotonic,
        *,
        headset_id: bytes = b"",
        asks_raw: bool = False,
        probe: Callable[[], Owner] | None = None,
        listener: Callable[["Headset", list[Event]], object] | None = None,
        recording: Recording | Recordings | None = None,
    ) -> None:
        self.listener = listener
        self.has_ended = False
        self.fault: Exception | None = None
        self.link_status = LinkStatus(StreamStatus.OFFLINE, Link.SEARCHING, None)
        self._connection = Connection(source)
        self._publisher = publisher
        self._decoder = new_decoder()
        self._stream = Stream(owner, is_simulated=source.is_simulated)
        self._monitor = LinkMonitor(source.device, headset_id, asks_raw)
        self._clock = clock
        self.recording = recording
        self._probe = None if probe is None else Probe(probe)
        self._idle_at_s = float("inf")
        self._judged_s = float("-inf")
        self._report_due_s = float("-inf")

    def step(self) -> bool:
        """Do what is due now, without waiting. Returns True if there is more to do at once."""
        if self.has_ended:
            return False
        now_s = self._clock()
        arrived = self._receive(now_s)
        if arrived:
            now_s = self._clock()  # not before the read: bytes must not seem early if the processor was away meanwhile
            self._idle_at_s = now_s + IDLE_S
            self._monitor.on_bytes(now_s)
            self._on_events(self._decoder.feed(arrived), now_s)
            if self.recording is not None:
                self.recording.on_bytes(arrived, now_s, has_frames=self._monitor.has_frames)
        elif now_s >= self._idle_at_s:
            self._idle_at_s = float("inf")
            self._on_events(self._decoder.idle(), now_s)
        if now_s - self._judged_s >= JUDGE_S:
            self._judged_s = now_s
            self._judge(now_s)
        port = self._connection.port
        return len(arrived) >= READ_MAX_BYTES or (bool(arrived) and isinstance(port, PacedPort) and port.has_more)

    def close(self) -> None:
        """Give the port back and publish that the stream has ended: each of them, also if another one fails."""
        with ExitStack() as last_first:
            last_first.callback(self._report_end)
            last_first.callback(self._publisher.close)
            if self.recording is not None:
                last_first.callback(self.recording.close)
            last_first.callback(self._close_port)

    def _report_end(self) -> None:
        self.has_ended = True
        if self._probe is None:
            self._monitor.on_fault(Link.ENDED, None)
            self._report(self._clock())

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._connection.port is not None

    @property
    def baud(self) -> int:
        """The speed of the port."""
        return self._connection.baud

    @property
    def is_probe(self) -> bool:
        """Whether the port has yet to show that a headset is there."""
        return self._probe is not None

    @property
    def counters(self) -> dict[str, float]:
        """Totals since the program started."""
        parts = self._connection, self._connection.source, self._decoder, self._stream, self._publisher, self.recording
        return {name: count for part in parts if part is not None for name, count in part.counters.items()}

    def _receive(self, now_s: float) -> bytes:
        """Return the bytes that have arrived; open the port if it is not open."""
        try:
            if self._connection.port is None:
                if port := self._connection.open(now_s):
                    self._on_open(port, now_s)
            elif not self._connection.source.can_wait or self._publisher.has_room:
                return self._connection.read()
            else:
                self._monitor.on_paused(now_s)
                if isinstance(self._connection.port, PacedPort):
                    self._connection.port.hold()
                self._idle_at_s = now_s + IDLE_S
        except (NeuroOneError, OSError) as fault:
            self._on_fault(fault, now_s)
        return b""

    def _on_open(self, port: Port, now_s: float) -> None:
        if self._monitor.device != port.device:
            log.info("%s is on another port now", self._publisher.source)
            self._monitor.device = port.device
        self._monitor.on_open(now_s, is_last_speed=self._connection.is_last_speed)
        self._idle_at_s = now_s + IDLE_S

    def _judge(self, now_s: float) -> None:
        """Publish the link's status; send a command or open the port anew where that helps."""
        self._report(now_s)
        if self.recording is not None:
            self.recording.flush()
        port, source = self._connection.port, self._connection.source
        if port is None:
            return
        command = self._monitor.command(now_s, self._connection.baud)
        try:
            if command:
                port.write(command)
        except PortFault as fault:
            self._on_fault(fault, now_s)
            return
        if command == TGAM_RAW_MODE:
            self._connection.switch_to_raw_speed()
            self._on_fault(None, now_s)
        elif source.can_reopen and self._monitor.must_reopen(now_s):
            self._on_fault(None, now_s)
        elif self._probe is not None and now_s - self._monitor.opened_s >= PROBE_S:
            self._monitor.judge(now_s, is_final=True)
            self._on_fault(None, now_s)

    def _on_fault(self, fault: Exception | None, now_s: float) -> None:
        """Close the port and plan to open it again; ``fault`` is None where `LinkMonitor` knows the reason."""
        was_open = self.is_open
        self._close_port()
        if isinstance(fault, PortFault) and fault.link is Link.ENDED:
            self.close()
            return
        self._plan_retry(fault, now_s)
        if was_open:
            self._report(now_s)
            if self._monitor.has_frames:
                self._stream.begin()

    def _plan_retry(self, fault: Exception | None, now_s: float) -> None:
        """Plan to open the port again, or end the stream."""
        source = self._connection.source
        self._connection.plan_retry(now_s, is_fault=fault is not None)
        if isinstance(fault, PortFault):
            self._monitor.on_fault(fault.link, fault.hint)
        elif fault is not None and source.can_reopen:
            self._monitor.on_fault(Link.NO_PORT, f"{source.device} cannot be used: {fault}")
        elif fault is not None:
            log.error("%s: %s", self._publisher.source, fault)
            self.fault = fault
            self.close()
            return
        proves_nothing = isinstance(fault, PortFault) and fault.link in (Link.NO_PERMISSION, Link.PORT_BUSY)
        if self._probe is not None and not proves_nothing:
            self._probe.events.clear()
            self._probe.tries_left -= 1
            if self._probe.tries_left <= 0:
                self._report(now_s)
                self.close()

    def _close_port(self) -> None:
        if not self.is_open:
            return
        self._idle_at_s = float("inf")
        try:
            self._on_events(self._decoder.flush(), self._clock())
            self._publisher.publish(self._stream.end())
        finally:
            if self.recording is not None:
                self.recording.discard_waiting()
            self._connection.close(has_frames=self._monitor.has_frames)

    def _on_events(self, events: list[Event], now_s: float) -> None:
        if not events:
            return
        self._monitor.on_events(events, now_s)
        if self._probe is not None:
            self._probe.events += events
            if not self._monitor.has_frames:
                return
            log.info("%s: a headset, at %s", self._publisher.source, self._monitor.device)
            events, self._stream.owner = self._probe.events, self._probe.next_owner()
            self._probe = None
        if self.listener is not None:
            self.listener(self, events)
        messages = self._stream.on_events(events, *self._times(now_s))
        if any(isinstance(message, Reading) for message in messages):
            self._monitor.on_reading(now_s)
        self._publisher.publish(messages)

    def _times(self, now_s: float) -> tuple[datetime, float]:
        """Return the time of what arrived, in UTC and by a steady clock.

        A capture keeps its own time, counted from the start of the replay: at another speed, or held up by the broker,
        its samples and seconds are as far apart as they were recorded.
        """
        port = self._connection.port
        if not isinstance(port, PacedPort):
            return datetime.now(UTC), now_s
        if not self._connection.source.can_wait:
            return datetime.now(UTC), port.position_s
        return port.began + timedelta(seconds=port.position_s), port.position_s

    def _report(self, now_s: float) -> None:
        """Publish the stream's status if it changed, or was published long ago."""
        self._monitor.is_line_damaged = self._stream.is_withheld
        self._monitor.watch.rate_hz = self._stream.rate.rate_hz
        before, self.link_status = self.link_status, self._monitor.status(now_s)
        is_repeated = self.link_status == self._publisher.published and now_s < self._report_due_s
        if self._probe is not None or is_repeated:
            return
        if self.link_status.link != before.link:
            hint = f" - {self.link_status.hint}" if self.link_status.hint else ""
            log.info("%s: %s%s", self._publisher.source, self.link_status.link, hint)
        self._report_due_s = now_s + STATE_PERIOD_S
        headset_id = self._monitor.headset_id.hex()
        device = f"{self._monitor.device}, headset {headset_id}" if headset_id else self._monitor.device
        self._publisher.publish_state(self.link_status, self._stream, device, self.counters)
