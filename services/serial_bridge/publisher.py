"""The messages of one source on their way to the broker."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from neuroone.contract import topics
from neuroone.contract.messages import NOTE_MAX_CHARS, Kind, Message, RawBlock, Reading, StreamState
from neuroone.contract.topics import Topic
from neuroone.mqtt.identity import Identity
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.stream import Stream

BACKLOG_MAX_MESSAGES: Final = 1000
"""A fast replay waits while so many messages are on their way to the broker."""


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


class StreamPublisher:
    """Publish one source's messages; remember which status was published last."""

    def __init__(self, bus: Bus, group: str, source: str) -> None:
        site = bus.identity.site
        self.source = source
        self.counters = dict.fromkeys(("readings_dropped", "raw_blocks_dropped"), 0)
        self.published: LinkStatus | None = None
        self._bus = bus
        self._reading = topics.reading(site, group, source)
        self._raw = topics.raw(site, group, source)
        self._state = topics.stream_state(site, group, source)

    @property
    def has_room(self) -> bool:
        """Whether the broker keeps up: else a source that can wait is not read."""
        return self._bus.is_connected and self._bus.waiting < BACKLOG_MAX_MESSAGES

    def publish(self, messages: list[Reading | RawBlock]) -> None:
        """Publish readings and raw blocks."""
        for message in messages:
            is_reading = isinstance(message, Reading)
            if not self._bus.publish(self._reading if is_reading else self._raw, message):
                self.counters["readings_dropped" if is_reading else "raw_blocks_dropped"] += 1

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
        )
        self._bus.publish(self._state, state)


def _printable(text: str) -> str:
    """Make a file's or port's name valid as text of a message: on POSIX a name is any bytes, of any length."""
    return text.encode(errors="replace").decode()[:NOTE_MAX_CHARS]
