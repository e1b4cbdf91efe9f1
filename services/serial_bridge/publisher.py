"""Where one source's messages go."""

from datetime import datetime

from neuroone.contract import topics
from neuroone.contract.messages import NOTE_MAX_CHARS, Kind, RawBlock, Reading, StreamState
from neuroone.mqtt.threaded import ThreadedClient
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.stream import Stream


class StreamPublisher:
    """Publishes one source's messages."""

    def __init__(self, bus: ThreadedClient, group: str, source: str) -> None:
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

    def publish_state(
        self, status: LinkStatus, stream: Stream, device: str, counters: dict[str, float], now: datetime
    ) -> None:
        """Publish how the stream stands."""
        identity = self._bus.identity
        state = StreamState(
            status=status.status,
            session=stream.session,
            time=now,
            kind=Kind.HEADSET,
            name=stream.owner.name,
            code=stream.owner.code,
            link=status.link,
            hint=_printable(status.hint) if status.hint else None,
            device=_printable(device),
            service=identity.service,
            instance=identity.instance,
            epoch=identity.epoch,
            counters=counters,
        )
        self._bus.publish(self._state, state)


def _printable(text: str) -> str:
    """Names of files and ports as they can be sent: any bytes are a name on POSIX, of any length."""
    return text.encode(errors="replace").decode()[:NOTE_MAX_CHARS]
