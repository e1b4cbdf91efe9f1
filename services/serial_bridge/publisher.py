"""The messages of one source on their way to the broker."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from neuroone.contract import topics
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import (
    NOTE_MAX_CHARS,
    RAW_BLOCK_SAMPLES,
    RAW_RATE_HZ,
    Kind,
    Message,
    RawBlock,
    Reading,
    StreamState,
)
from neuroone.contract.topics import Topic
from neuroone.lsl.descriptions import BRIDGE_COUNTER
from neuroone.mqtt.identity import Identity
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.stream import Stream

BACKLOG_MAX_MESSAGES: Final = 1000
"""A fast replay waits while so many messages are on their way to the broker."""
RAW_KEPT_MAX_BLOCKS: Final = 10 * 60 * RAW_RATE_HZ // RAW_BLOCK_SAMPLES
"""Ten minutes of raw samples, for an outage of the broker: about 2.5 MB a headset. Beyond, the oldest are given up."""
RECORDER_WAIT_S: Final = 15.0
"""After an outage raw blocks wait for the recorder's next receipt, at most so long: it tries to connect every 10 s, and
until then no broker keeps messages of QoS 0 for it."""
RAW_RESENT_BLOCKS: Final = 32
"""Blocks of an outage that are sent with each new one, of which there are 8 a second: ten minutes in 20 s."""


class Bus(Protocol):
    """Where messages go: `ThreadedClient`, or the printed progress of ``serial-bridge record``."""

    @property
    def identity(self) -> Identity:
        """The run that sends."""

    @property
    def is_connected(self) -> bool:
        """Whether messages reach their end now."""

    @property
    def waiting(self) -> int:
        """Messages on their way."""

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Send a message; return False if it is dropped."""


class RawBacklog:
    """Keep raw blocks until the broker is known to have them: they travel with QoS 0, which tells nothing.

    What the broker acknowledges proves that everything sent before it on the same connection has arrived. Blocks of
    an outage, and those that were on their way when it began, are sent again, oldest first.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._lock = threading.Lock()  # acknowledgements come in the client's thread
        self._kept: deque[bytes] = deque()
        self._first = self._next = 0
        """Numbers of the oldest block that is kept, and of the next one to send, counted from the start."""
        self._outages = 0

    def put(self, block: RawBlock) -> None:
        """Keep one more block; when it is full, the oldest one is given up."""
        with self._lock:
            self._kept.append(encode(block))
            if len(self._kept) > RAW_KEPT_MAX_BLOCKS:
                self._forget_first()

    def send(self, publish: Callable[[RawBlock], bool], max_blocks: int) -> bool:
        """Send blocks with ``publish``, which returns False while there is no broker; return False then, too."""
        for _ in range(max_blocks):
            with self._lock:
                if self._next - self._first >= len(self._kept):
                    break
                block = decode(RawBlock, self._kept[self._next - self._first])
            is_sent = publish(block)
            with self._lock:
                if not is_sent:
                    self._outages += self._next > self._first
                    self._next = self._first
                    return False
                self._next += 1
        return True

    def mark(self) -> Callable[[], None]:
        """Return what to call when a message that is sent now is acknowledged."""
        outages, sent = self._outages, self._next

        def confirm() -> None:
            with self._lock:
                while outages == self._outages and self._first < sent:
                    self._kept.popleft()
                    self._first += 1

        return confirm

    def close(self) -> None:
        """Give up what could not be sent."""
        with self._lock:
            self.dropped += len(self._kept) - (self._next - self._first)
            self._first = self._next = self._first + len(self._kept)
            self._kept.clear()

    def _forget_first(self) -> None:
        self._kept.popleft()
        self._first += 1
        if self._next < self._first:
            self._next = self._first
            self.dropped += 1


class StreamPublisher:
    """Publish one source's messages; remember which status was published last."""

    def __init__(self, bus: Bus, group: str, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        site = bus.identity.site
        self.source = source
        self.on_messages: Callable[[list[Reading | RawBlock]], object] | None = None
        """Called with all readings and raw blocks, before they are sent."""
        self._shown = 0
        self.published: LinkStatus | None = None
        self._readings_dropped = 0
        self._raw_backlog = RawBacklog()
        self._has_recorder = self._waits_for_recorder = False
        self._back_s: float | None = None
        """When the broker was there again after an outage."""
        self._clock = clock
        self._bus = bus
        self._reading = topics.reading(site, group, source)
        self._raw = topics.raw(site, group, source)
        self._state = topics.stream_state(site, group, source)

    @property
    def counters(self) -> dict[str, int]:
        """Messages that the broker never got; and those that `on_messages` has, if it is there."""
        counters = {"readings_dropped": self._readings_dropped, "raw_blocks_dropped": self._raw_backlog.dropped}
        return counters if self.on_messages is None else {**counters, BRIDGE_COUNTER: self._shown}

    @property
    def has_room(self) -> bool:
        """Whether the broker keeps up: else a source that can wait is not read."""
        return self._bus.is_connected and self._bus.waiting < BACKLOG_MAX_MESSAGES

    def publish(self, messages: list[Reading | RawBlock]) -> None:
        """Publish readings and raw blocks; blocks of an outage follow when the broker is back."""
        if self.on_messages is not None:
            self.on_messages(messages)
            self._shown += len(messages)
        blocks = 0
        for message in messages:
            if isinstance(message, RawBlock):
                self._raw_backlog.put(message)
                blocks += 1
            else:
                self._send_raw(blocks)
                blocks = 0
                if not self._bus.publish(self._reading, message, self._raw_backlog.mark()):
                    self._readings_dropped += 1
        if blocks:
            self._send_raw(blocks + RAW_RESENT_BLOCKS)

    def on_recorded(self) -> None:
        """Note that a recorder has readings of this stream: it is there, and gets raw blocks too."""
        self._has_recorder, self._waits_for_recorder = True, False

    def close(self) -> None:
        """Send what is left, as far as the broker is there."""
        self._waits_for_recorder = False
        self._send_raw(RAW_KEPT_MAX_BLOCKS)
        self._raw_backlog.close()

    def _send_raw(self, max_blocks: int) -> None:
        if self._waits_for_recorder and not self._is_waited_for(self._clock()):
            return
        if not self._raw_backlog.send(lambda block: self._bus.publish(self._raw, block), max_blocks):
            self._waits_for_recorder, self._back_s = self._has_recorder, None

    def _is_waited_for(self, now_s: float) -> bool:
        """Return True once the recorder had its time to come back after an outage of the broker."""
        if not self._bus.is_connected:
            self._back_s = None
        elif self._back_s is None:
            self._back_s = now_s
        elif now_s - self._back_s >= RECORDER_WAIT_S:
            self._waits_for_recorder = False
        return not self._waits_for_recorder

    def publish_state(self, link_status: LinkStatus, stream: Stream, device: str, counters: dict[str, float]) -> None:
        """Publish the stream's state."""
        self.published = link_status
        identity = self._bus.identity
        state = StreamState(
            status=link_status.status,
            session=stream.session,
            time=datetime.now(UTC),
            kind=Kind.HEADSET,
            name=stream.owner.name,
            code=stream.owner.code,
            link=link_status.link,
            hint=_printable(link_status.hint) if link_status.hint else None,
            device=_printable(device),
            service=identity.service,
            instance=identity.instance,
            epoch=identity.epoch,
            run=identity.run,
            counters=counters,
            measured_hz=stream.rate.measured_hz,
            simulated=stream.simulated,
        )
        self._bus.publish(self._state, state, self._raw_backlog.mark())


def _printable(text: str) -> str:
    """Make a file's or port's name valid as text of a message: on POSIX a name is any bytes, of any length."""
    return text.encode(errors="replace").decode()[:NOTE_MAX_CHARS]
