"""Send what streams measure into the Lab Streaming Layer: an outlet for each stream and kind, opened when it is needed.

All calls belong to one thread.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import pylsl

from neuroone.contract import topics
from neuroone.contract.messages import GroupEvent, RawBlock, Reading
from neuroone.lsl import descriptions
from neuroone.lsl.descriptions import EEG, IRREGULAR, KINDS, MARKERS, NEUROSKY, SOURCE_IDS
from neuroone.lsl.stamps import LATE_S, WAITED_MAX_S, Clock, SampleStamps, SenderClock

STREAMS_MAX: Final = 120
"""Streams and groups with outlets: two classes of apps, each of which has a group of its own. Each outlet has ports and
threads, and LSL has 32 ports before it takes any. Streams beyond are left out and counted."""
RETRY_S: Final = 10.0
"""Time until an outlet is tried again that could not be opened, or opened anew because a sender says another rate."""
IDLE_S: Final = 600.0
"""An outlet without samples for so long is closed: apps begin new streams, and nobody ends the old ones."""
RATE_WAIT_BLOCKS: Final = 80
"""A headset's rate is measured within 4 s; after ten seconds of blocks without, the usual one is taken."""
EVENTS_KEPT: Final = 256
"""Ids of the newest events: one may be delivered twice."""
FROM_LSL: Final = "lsl-"
"""What the ids of events begin with that came from LSL: they are not sent there again."""
MANUFACTURER: Final = "NeuroSky"
MODEL: Final = "ThinkGear"

log = logging.getLogger(__name__)


def own_clock(time_s: float, arrived_s: float) -> float:
    """Return when a message that this computer itself stamped was made, on LSL's clock."""
    return time_s + float(pylsl.local_clock()) - time.time()


@dataclass(slots=True)
class _Stream:
    """The outlets of one stream and what has been sent, or the outlet of a group's markers."""

    clock: Clock
    used_s: float
    eeg: pylsl.StreamOutlet | None = None
    rate_hz: int = 0
    opened_s: float = float("-inf")
    unmeasured: int = 0
    stamps: SampleStamps = field(default_factory=SampleStamps)
    neurosky: pylsl.StreamOutlet | None = None
    session: str = ""
    seq: int = -1
    time_s: float = float("-inf")
    markers: pylsl.StreamOutlet | None = None


class Outlets:
    """The LSL outlets of all streams of a site. ``new_clock`` makes what knows the clock of one stream's sender."""

    def __init__(
        self,
        site: str,
        new_clock: Callable[[], Clock] = lambda: SenderClock().local_s,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        self.counters = Counter(dict.fromkeys(("samples", "readings", "markers", "repeated", "left_out", "failed"), 0))
        self._site = site
        self._new_clock = new_clock
        self._clock = clock
        self._streams: dict[tuple[str, str], _Stream] = {}
        """By group and source; the markers of a group are those of its source `_all`."""
        self._events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self._retry_s = float("-inf")
        self._said: set[str] = set()

    @property
    def streams(self) -> int:
        """Return how many streams and groups have outlets."""
        return len(self._streams)

    def on_messages(
        self, group: str, source: str, messages: Iterable[Reading | RawBlock], *, is_simulated: bool = False
    ) -> None:
        """Send the readings and raw samples of a stream."""
        for message in messages:
            if isinstance(message, RawBlock):
                self.on_raw(group, source, message, is_simulated=is_simulated)
            else:
                self.on_reading(group, source, message)

    def on_raw(self, group: str, source: str, block: RawBlock, *, is_simulated: bool = False) -> None:
        """Send raw samples. They wait for nothing but the first measurement of the rate, which LSL must know."""
        if (stream := self._stream(group, source)) is None:
            return
        stream.unmeasured = stream.unmeasured + 1 if block.measured_hz is None else 0
        is_known = block.measured_hz is not None or stream.unmeasured > RATE_WAIT_BLOCKS
        if is_known and (stream.eeg is None or stream.rate_hz != block.rate_hz):
            if self._clock() < stream.opened_s + RETRY_S:
                return
            stream.opened_s = self._clock()
            stream.eeg, stream.rate_hz = None, block.rate_hz  # the old outlet must end before its id is used again
            stream.eeg = self._open(group, source, EEG, block.rate_hz, is_simulated=is_simulated)
        if stream.eeg is None:
            return
        arrived_s = stream.clock(block.time.timestamp(), self._clock())
        stamp_s = stream.stamps.on_block(
            block.session, block.first_sample, len(block.samples), stream.rate_hz, arrived_s
        )
        if stamp_s is None:
            self.counters["repeated"] += 1
            return
        stream.eeg.push_chunk(descriptions.microvolts(block), stamp_s)
        self.counters["samples"] += len(block.samples)

    def on_reading(self, group: str, source: str, reading: Reading) -> None:
        """Send the eleven numbers of a second."""
        if (stream := self._stream(group, source)) is None:
            return
        time_s = reading.time.timestamp()
        is_new = reading.seq > stream.seq if reading.session == stream.session else time_s > stream.time_s
        if not is_new:
            self.counters["repeated"] += 1
            return
        stream.session, stream.seq, stream.time_s = reading.session, reading.seq, time_s
        if stream.neurosky is None:
            is_simulated = reading.simulated is True
            stream.neurosky = self._open(group, source, NEUROSKY, is_simulated=is_simulated)
        if stream.neurosky is not None:
            stream.neurosky.push_sample(descriptions.values(reading), stream.clock(time_s, self._clock()))
            self.counters["readings"] += 1

    def on_event(self, group: str, event: GroupEvent) -> None:
        """Send a marker of a group, once, and none that came from LSL."""
        stream = self._streams.get((group, topics.ALL))
        if stream is None or stream.markers is None or event.id.startswith(FROM_LSL) or event.id in self._events:
            return
        self._events.append(event.id)
        arrived_s = self._clock()
        made_s = own_clock(event.time.timestamp(), arrived_s)
        has_waited = LATE_S < arrived_s - made_s <= WAITED_MAX_S  # for the broker; clocks may differ by less
        stream.markers.push_sample([descriptions.marker(event)], made_s if has_waited else arrived_s)
        self.counters["markers"] += 1

    def add_group(self, group: str) -> None:
        """Open the markers of a group before its first one, which a recorder would miss otherwise."""
        if (stream := self._stream(group, topics.ALL)) is not None and stream.markers is None:
            stream.markers = self._open(group, topics.ALL, MARKERS)

    def remove(self, group: str, source: str) -> None:
        """Close the outlets of a stream."""
        self._streams.pop((group, source), None)

    def close_idle(self) -> None:
        """Close the outlets of streams and groups that have ended long ago. Call it now and then."""
        self.add_group(topics.ALL)
        oldest_s = self._clock() - IDLE_S
        self._streams = {key: stream for key, stream in self._streams.items() if stream.used_s >= oldest_s}

    def _stream(self, group: str, source: str) -> _Stream | None:
        now_s = self._clock()
        stream = self._streams.get((group, source))
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                self.counters["left_out"] += 1
                self._warn("more than %d streams: further ones have no LSL outlets", STREAMS_MAX)
                return None
            stream = self._streams[group, source] = _Stream(self._new_clock(), now_s)
        stream.used_s = now_s
        return stream

    def _open(
        self, group: str, source: str, type: str, rate_hz: float = IRREGULAR, *, is_simulated: bool = False
    ) -> pylsl.StreamOutlet | None:
        """Open an outlet; None if the system has no port or memory for it."""
        if self._clock() < self._retry_s:
            return None
        try:
            return pylsl.StreamOutlet(stream_info(self._site, group, source, type, rate_hz, is_simulated=is_simulated))
        except (RuntimeError, ValueError) as error:  # the other streams go on
            self.counters["failed"] += 1
            self._retry_s = self._clock() + RETRY_S
            self._warn("an LSL outlet cannot be opened: %s", error)
            return None

    def _warn(self, words: str, *given: object) -> None:
        """Write a warning to the log, each kind once."""
        if words not in self._said:
            self._said.add(words)
            log.warning(words, *given)


def stream_info(
    site: str, group: str, source: str, type: str, rate_hz: float = IRREGULAR, *, is_simulated: bool = False
) -> pylsl.StreamInfo:
    """Make what LSL tells others about a stream, in the fields that recorders and MNE know (XDF's metadata)."""
    format, channels = KINDS[type]
    source_id = f"{SOURCE_IDS}{site}/{group}/{source}/{type.lower()}"
    info = pylsl.StreamInfo(f"NeuroOne {group}/{source} {type}", type, len(channels), rate_hz, format, source_id)
    about = info.desc()
    about.append_child_value("manufacturer", MANUFACTURER)
    about.append_child_value("simulated", str(is_simulated).lower())
    acquisition = about.append_child("acquisition")
    acquisition.append_child_value("manufacturer", MANUFACTURER)
    acquisition.append_child_value("model", MODEL)
    if type == EEG:
        about.append_child("reference").append_child_value("label", "A1")
    described = about.append_child("channels")
    for values in channels:
        child = described.append_child("channel")
        for name, value in zip(("label", "unit", "type"), values, strict=True):
            child.append_child_value(name, value)
    return info
