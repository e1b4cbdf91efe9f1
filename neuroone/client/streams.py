"""Tell what the broker's messages say of each stream: its readings once each, their doubts, and who is there.

Deliveries and the time come in, readings and changes of status go out: no I/O, no clock, everything bounded.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from neuroone.contract import topics
from neuroone.contract.doubt import Doubt, Doubts
from neuroone.contract.errors import ContractError
from neuroone.contract.messages import BANDS, Reading, ServiceState, StreamState, StreamStatus
from neuroone.mqtt.delivery import Delivery
from neuroone.service.stream_states import status_after, status_of

STREAMS_MAX: Final = 5000
"""Streams that are remembered, as in the monitor: ten times a large school. The longest unheard is forgotten first."""
SERVICES_MAX: Final = 1000
"""Services whose state is remembered: far more than a school runs. The longest unheard is forgotten first."""
SESSIONS_MAX: Final = 4
"""Sessions of one stream whose readings may come again: after an outage those of the session before come late."""
HOLES_MAX: Final = 200
"""Missing readings of one session that may still come, the newest ones: three minutes, what a gateway keeps for two."""


@dataclass(frozen=True, slots=True)
class LiveReading:
    """One reading of a stream, and whether its numbers mean anything.

    ``group`` and ``source`` are the ids of its topic. ``reading`` has every field of the contract: ``time`` (UTC, when
    the bytes arrived), ``session`` and ``seq``, ``name``, ``code``, ``poor_signal`` (0 to 255; None: the app does not
    send it), attention, meditation and band powers as they were sent. ``doubt`` is why the numbers mean nothing or may
    mean nothing, None if there is no reason. ``missed`` counts the readings just before it that did not come.
    """

    group: str
    source: str
    reading: Reading
    doubt: Doubt | None
    missed: int = 0

    @property
    def name(self) -> str | None:
        """The student's name; None if nobody gave one."""
        return self.reading.name

    @property
    def is_valid(self) -> bool:
        """True if attention and meditation may be used. True for a phone that does not send the signal quality."""
        return self.doubt is None or not self.doubt.touches_esense

    @property
    def attention(self) -> int | None:
        """Attention, 1 to 100 without unit; None while the headset computes none, or if it means nothing."""
        return self.reading.attention or None if self.is_valid else None

    @property
    def meditation(self) -> int | None:
        """Meditation, 1 to 100 without unit; None while the headset computes none, or if it means nothing."""
        return self.reading.meditation or None if self.is_valid else None

    @property
    def bands(self) -> dict[str, int] | None:
        """The power of each band, ``delta`` to ``mid_gamma``; None if they mean nothing.

        0 to 16777215 without unit: compare them with the same person's other powers only.
        """
        if self.doubt is not None and self.doubt.touches_bands:
            return None
        return {band: getattr(self.reading, band) for band in BANDS}


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A stream came, fell silent or went.

    ``status`` is online, stale (no reading for 3 s) or offline (gone, or none for 10 s); None: nobody knows while the
    broker is away. ``name`` is the student's, None if nobody gave one. ``state`` is what the bridge or gateway says of
    it: what to do about its link (``hint``), for example.
    """

    group: str
    source: str
    name: str | None
    status: StreamStatus | None
    state: StreamState | None


@dataclass(slots=True)
class _Session:
    """Which readings of a session have come: all up to ``highest`` but those in ``holes``."""

    highest: int
    holes: dict[int, None] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)


@dataclass(slots=True)
class _Stream:
    """What is known of a stream. ``told`` is the status that was told last."""

    sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)
    state: StreamState | None = None
    name: str | None = None
    heard_s: float | None = None
    told: StreamStatus | None = StreamStatus.OFFLINE


class Streams:
    """All streams of a subscription. Times called ``now_s`` are those of a steady clock, in seconds.

    ``has_news`` is True while a message may have changed a status that was told.
    """

    def __init__(self) -> None:
        self.counters = dict.fromkeys(("readings", "repeated", "bad_messages"), 0)
        self.has_news = False
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._services: OrderedDict[tuple[str, str], ServiceState] = OrderedDict()
        self._connected_s: float | None = None

    @property
    def is_connected(self) -> bool:
        """Return True while the broker is there."""
        return self._connected_s is not None

    def on_link(self, is_up: bool, now_s: float) -> None:
        """Note that the broker is there, or away."""
        self._connected_s = now_s if is_up else None
        self.has_news = True

    def on_delivery(self, delivery: Delivery, now_s: float) -> LiveReading | None:
        """Note what a delivery says; return its reading unless it came before."""
        try:
            topic, message = delivery.open() if delivery.payload else (topics.parse(delivery.topic), None)
        except ContractError:
            self.counters["bad_messages"] += 1
            return None
        key = topic.ids[0], topic.ids[1]
        if isinstance(message, Reading):
            return self._on_reading(key, message, now_s)
        self.has_news = True
        if isinstance(message, StreamState):
            stream = self._stream(key)
            stream.state, stream.name = message, message.name
        elif isinstance(message, ServiceState):
            self._services[key] = message
            self._services.move_to_end(key)
            if len(self._services) > SERVICES_MAX:
                self._services.popitem(last=False)
        elif topic.rule is topics.SERVICE_STATE:  # an empty retained message clears a state
            self._services.pop(key, None)
        elif topic.rule is topics.STREAM_STATE and key in self._streams:
            self._streams[key].state = None
        return None

    def status(self, group: str, source: str, now_s: float) -> StreamStatus | None:
        """Return a stream's status; None while the broker is away. One that was never heard is offline."""
        stream = self._streams.get((group, source), _Stream())
        if self._connected_s is None:
            return None
        age_s = None if stream.heard_s is None else now_s - max(stream.heard_s, self._connected_s)
        if stream.state is None:
            return StreamStatus.OFFLINE if age_s is None else status_after(age_s)
        owner = self._services.get((stream.state.service, stream.state.instance))
        return status_of(stream.state, owner, age_s)

    def changes(self, now_s: float) -> list[StatusChange]:
        """Return what has changed since this was called last. A stream begins offline."""
        self.has_news = False
        changes = []
        for (group, source), stream in self._streams.items():
            status = self.status(group, source, now_s)
            is_gone = status is None and stream.told is StreamStatus.OFFLINE  # without the broker it is so all the same
            if status is not stream.told and not is_gone:
                stream.told = status
                changes.append(StatusChange(group, source, stream.name, status, stream.state))
        return changes

    def _on_reading(self, key: tuple[str, str], reading: Reading, now_s: float) -> LiveReading | None:
        stream = self._stream(key)
        session = stream.sessions.get(reading.session)
        if session is None:
            session = stream.sessions[reading.session] = _Session(reading.seq - 1)
            if len(stream.sessions) > SESSIONS_MAX:
                stream.sessions.popitem(last=False)
        missed = 0
        if reading.seq > session.highest:
            missed = reading.seq - session.highest - 1
            session.holes.update(dict.fromkeys(range(max(session.highest + 1, reading.seq - HOLES_MAX), reading.seq)))
            for old in list(session.holes)[:-HOLES_MAX]:
                del session.holes[old]
            session.highest = reading.seq
            doubt = session.doubts.add(reading)
        elif reading.seq in session.holes:
            del session.holes[reading.seq]
            doubt = Doubts().add(reading)  # out of its order it says nothing about what is frozen
        else:
            self.counters["repeated"] += 1
            return None
        self.counters["readings"] += 1
        stream.heard_s, stream.name = now_s, reading.name
        self.has_news |= stream.told is not StreamStatus.ONLINE
        return LiveReading(*key, reading, doubt, missed)

    def _stream(self, key: tuple[str, str]) -> _Stream:
        stream = self._streams.setdefault(key, _Stream())
        self._streams.move_to_end(key)
        if len(self._streams) > STREAMS_MAX:
            self._streams.popitem(last=False)
        return stream
