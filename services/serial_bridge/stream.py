"""Make the messages of a stream from one headset's events. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import uuid4

from msgspec import UNSET, UnsetType

from neuroone.contract.messages import (
    BAND_MAX,
    BANDS,
    ESENSE_MAX,
    RAW_BLOCK_SAMPLES,
    Kind,
    RawBlock,
    Reading,
)
from neuroone.service.wearers import Owner
from serial_bridge.blink import HeadsetBlinks
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Skipped, Value, raw_samples
from serial_bridge.sample_clock import SampleClock
from serial_bridge.sampling_rate import SamplingRate

TRIGGERS: Final[tuple[Quantity, ...]] = (
    Quantity.BANDS,
    Quantity.BANDS_FLOAT,
    Quantity.ATTENTION,
    Quantity.MEDITATION,
    Quantity.POOR_SIGNAL,
)
"""Each frame with the first of these that the headset sends makes a reading."""
PATIENCE_FRAMES: Final = 3
"""A quantity missing from so many frames in a row is not sent by the headset: some headsets spread one second's
values over three or four frames."""
LAYOUTS_MAX: Final = 16
"""Known layouts of frames are at most so many; a headset has one to four."""
RAW_FRAME_BYTES: Final = 8
SECOND_FRAME_BYTES: Final = 36
"""A headset sends 512 of the former and one of the latter a second: skipped bytes tell how many samples were lost."""
CORRUPT_MAX_SHARE: Final = 0.04
"""Share of frames whose bytes were changed on the line. Above it, more than one 36-byte frame in a thousand would pass
its checksum with two changes that cancel each other, which no other check finds: such readings are withheld."""
CORRUPT_WINDOW_FRAMES: Final = 512
"""The share is measured over about so many frames, a second of a headset with raw samples."""
FRAME_UNIT_BYTES: Final = 4
"""A headset's frames have 8 or 36 bytes: if a multiple of 4 bytes was skipped, bytes were changed and none lost."""


NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class NextBlock:
    """The samples that do not fill a block yet, when the last of them arrived, and the numbers of their block."""

    samples: list[int] = field(default_factory=list)
    arrived: datetime = NEVER
    seq: int = 0
    first_sample: int = 0


@dataclass(slots=True)
class LineDamage:
    """What the line has done: bytes lost since the last frame, whether frames since are doubtful, and changed frames.

    ``corrupt_share`` is the share of frames whose bytes were changed.
    """

    lost_bytes: int = 0
    is_recent: bool = False
    corrupt_share: float = 0.0


class Held(NamedTuple):
    """Samples after so many ``pauses``, when they arrived, and how many are known to be missing before them."""

    samples: tuple[int, ...]
    arrived: datetime
    missing: int
    pauses: int


class Stream:
    """Make and number the readings and raw blocks of one session after the other.

    A reading is made only of plausible values: within range; after damage, from a frame with a known layout; and not
    while the line changes so many bytes that the checksum, eight bits, proves nothing.
    """

    def __init__(self, owner: Owner, *, is_simulated: bool = False) -> None:
        self.owner = owner
        self.simulated: bool | UnsetType = is_simulated or UNSET
        self.counters = dict.fromkeys(
            (
                "readings",
                "raw_samples",
                "raw_samples_missing",
                "raw_blocks",
                "implausible_readings",
                "withheld_readings",
                "blinks_estimated",
            ),
            0,
        )
        self._blinks = HeadsetBlinks()
        self._layouts: set[tuple[tuple[int, int], ...]] = set()
        self.begin()

    def begin(self) -> None:
        """Start a new session; call `end` for the last samples of the one before."""
        self.session = uuid4().hex
        self.rate = SamplingRate()
        self._seq = 0
        self._next = NextBlock()
        self._clock = SampleClock()
        self._held: list[Held] = []
        """Samples after a pause, while it is not known how many are missing at it."""
        self._damage = LineDamage()
        self._latest: dict[Quantity, Value] = {}
        self._frames_without = dict.fromkeys(TRIGGERS, 0)

    def on_events(self, events: list[Event], now: datetime, at_s: float | None = None) -> list[Reading | RawBlock]:
        """Return the messages that these events complete, in order.

        ``at_s`` is the time of arrival on a steady clock, by which lost samples are counted; None: only by the bytes.
        """
        missing: list[int] | None = [0]
        n = sum(len(raw_samples(event)) for event in events)
        if at_s is not None and n:
            missing = self._clock.on_samples(n, self.rate.known_hz, at_s)
        elif self._held and not n:  # samples alone tell how many are missing
            missing = None
        holds = missing is None
        messages = [] if missing is None else self._release(missing)
        for event in events:
            self.counters["blinks_estimated"] += len(self._blinks.find_in(event))
            if isinstance(event, Skipped):
                self._damage.is_recent = True
                self.rate.on_damage()
                self._damage.lost_bytes += event.n_bytes
                messages += [] if self._held else self._end_block()
            elif isinstance(event, Raw):
                self._count_damage(len(event.samples), now)
                messages += self._raw(event.samples, now, holds=holds)
            else:
                self._count_damage(1, now)
                messages += self._frame(event, now, holds=holds)
        return messages

    @property
    def is_withheld(self) -> bool:
        """Whether the line changes so many bytes that readings are withheld."""
        return self._damage.corrupt_share > CORRUPT_MAX_SHARE

    def _count_damage(self, n_frames: int, now: datetime) -> None:
        """Update the share of changed frames and the number of the next sample, before frames that may follow a gap."""
        self._damage.corrupt_share *= (1 - 1 / CORRUPT_WINDOW_FRAMES) ** n_frames
        if not self._damage.lost_bytes:
            return
        if self._next.seq or self._next.samples:  # else the headset was joined in mid-frame
            self._damage.corrupt_share += (self._damage.lost_bytes % FRAME_UNIT_BYTES == 0) / CORRUPT_WINDOW_FRAMES
            has_second_frame = self._damage.lost_bytes % RAW_FRAME_BYTES == SECOND_FRAME_BYTES % RAW_FRAME_BYTES
            lost_raw_bytes = self._damage.lost_bytes - has_second_frame * min(
                SECOND_FRAME_BYTES, self._damage.lost_bytes
            )
            lost = round(lost_raw_bytes / RAW_FRAME_BYTES)
            self._clock.on_lost(lost, self.rate.known_hz)
            if self._held:
                self._held.append(Held((), now, lost, self._clock.pauses))
            else:
                self._next.first_sample += lost
        self._damage.lost_bytes = 0

    def end(self) -> list[Reading | RawBlock]:
        """Return the samples that do not fill a block, before a gap or the end of the session.

        Their time is that of their last sample, not that of the end.
        """
        return self._release(self._clock.decide(self.rate.rate_hz)) + self._end_block()

    def _end_block(self) -> list[Reading | RawBlock]:
        return [self._block()] if self._next.samples else []

    def _release(self, lost: list[int]) -> list[Reading | RawBlock]:
        """Return the blocks of the samples that were held; so many are ``lost`` at each pause before and among them."""
        self.counters["raw_samples_missing"] += sum(lost)
        held, self._held = self._held, []
        messages: list[Reading | RawBlock] = []
        for each in held:
            messages += self._skip(sum(lost[: each.pauses])) + self._skip(each.missing)
            messages += self._add(each.samples, each.arrived)
            lost = [0] * each.pauses + lost[each.pauses :]
        return messages + self._skip(sum(lost))

    def _skip(self, lost: int) -> list[Reading | RawBlock]:
        """Return the block before missing samples, and count these."""
        messages = self._end_block() if lost else []
        self._next.first_sample += lost
        return messages

    def _raw(self, samples: tuple[int, ...], now: datetime, *, holds: bool) -> list[Reading | RawBlock]:
        self.counters["raw_samples"] += len(samples)
        self.rate.on_samples(len(samples))
        if holds:
            self._held.append(Held(samples, now, 0, self._clock.pauses))
            return []
        return self._add(samples, now)

    def _add(self, samples: tuple[int, ...], now: datetime) -> list[Reading | RawBlock]:
        self._next.samples += samples
        self._next.arrived = now
        messages: list[Reading | RawBlock] = []
        while len(self._next.samples) >= RAW_BLOCK_SAMPLES:
            messages.append(self._block())
        return messages

    def _block(self) -> RawBlock:
        block = RawBlock(
            session=self.session,
            seq=self._next.seq,
            time=self._next.arrived,
            first_sample=self._next.first_sample,
            rate_hz=self.rate.rate_hz,
            samples=tuple(self._next.samples[:RAW_BLOCK_SAMPLES]),
            measured_hz=self.rate.measured_hz,
        )
        del self._next.samples[:RAW_BLOCK_SAMPLES]
        self._next.seq += 1
        self._next.first_sample += len(block.samples)
        self.counters["raw_blocks"] += 1
        return block

    def _frame(self, frame: Frame, now: datetime, *, holds: bool) -> list[Reading | RawBlock]:
        raw = raw_samples(frame)
        messages = self._raw(raw, now, holds=holds) if raw else []
        values = {row.quantity: row.value for row in frame.rows if row.quantity in TRIGGERS}
        if not values:
            return messages
        if not self._is_plausible(frame, values):
            self.counters["implausible_readings"] += 1
            return messages
        self._latest |= values
        for quantity in TRIGGERS:
            self._frames_without[quantity] = 0 if quantity in values else self._frames_without[quantity] + 1
        trigger = next((each for each in TRIGGERS if self._frames_without[each] < PATIENCE_FRAMES), None)
        if trigger in values:
            self.rate.on_second()
        if trigger in values and self.is_withheld:
            self.counters["withheld_readings"] += 1
        elif trigger in values:
            messages.append(self._reading(now))
        return messages

    def _is_plausible(self, frame: Frame, values: Mapping[Quantity, Value]) -> bool:
        layout = tuple((row.code, row.level) for row in frame.rows)
        is_new, is_damaged = layout not in self._layouts, self._damage.is_recent
        self._damage.is_recent = False
        if is_new and len(self._layouts) < LAYOUTS_MAX:
            self._layouts.add(layout)
        if is_new and is_damaged and len(self._layouts) > 1:
            return False
        bands = values.get(Quantity.BANDS_FLOAT, ())
        return (
            values.get(Quantity.ATTENTION, 0) <= ESENSE_MAX  # type: ignore[operator]
            and values.get(Quantity.MEDITATION, 0) <= ESENSE_MAX  # type: ignore[operator]
            and all(0 <= power <= BAND_MAX for power in bands)  # type: ignore[union-attr]
        )

    def _reading(self, now: datetime) -> Reading:
        latest = self._latest
        bands = latest.get(Quantity.BANDS) or latest.get(Quantity.BANDS_FLOAT) or (0,) * len(BANDS)
        reading = Reading(
            session=self.session,
            seq=self._seq,
            time=now,
            kind=Kind.HEADSET,
            name=self.owner.name,
            code=self.owner.code,
            poor_signal=latest.get(Quantity.POOR_SIGNAL),  # type: ignore[arg-type]
            attention=latest.get(Quantity.ATTENTION, 0),  # type: ignore[arg-type]
            meditation=latest.get(Quantity.MEDITATION, 0),  # type: ignore[arg-type]
            simulated=self.simulated,
            **dict(zip(BANDS, map(round, bands), strict=True)),  # type: ignore[arg-type]
        )
        self._seq += 1
        self.counters["readings"] += 1
        return reading
