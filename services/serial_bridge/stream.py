"""One headset's events to the messages of its stream. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from neuroone.contract.messages import BAND_MAX, BANDS, RAW_BLOCK_SAMPLES, RAW_RATE_HZ, Kind, RawBlock, Reading
from serial_bridge.blink import BlinkEstimator
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Skipped, Value

ESENSE_MAX: Final = 100
"""Attention and meditation go from 0, not computed, to 100."""
TRIGGERS: Final[tuple[Quantity, ...]] = (
    Quantity.BANDS,
    Quantity.BANDS_FLOAT,
    Quantity.ATTENTION,
    Quantity.MEDITATION,
    Quantity.POOR_SIGNAL,
)
"""A reading is made of each frame that brings the first of these that the headset sends."""
PATIENCE_FRAMES: Final = 3
"""So many frames of readings without a quantity show that the headset does not send it: some headsets spread one
second's values over three or four frames."""
LAYOUTS_MAX: Final = 16
"""Layouts of frames that are remembered; a headset has one to four."""
RAW_FRAME_BYTES: Final = 8
SECOND_FRAME_BYTES: Final = 36
"""A headset sends 512 of the former and one of the latter a second: from what was skipped follows what was lost."""
CORRUPT_MAX_SHARE: Final = 0.04
"""Of frames whose bytes were changed on the line. Beyond it more than one 36-byte frame in a thousand would pass its
checksum with two changes that cancel each other, and nothing else could tell: such readings are withheld."""
CORRUPT_WINDOW_FRAMES: Final = 512
"""The share is taken of about so many frames, a second of a headset with raw samples."""
FRAME_UNIT_BYTES: Final = 4
"""A headset's frames have 8 or 36 bytes: damage of a multiple of 4 changed bytes and lost none."""

Layout: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who wears the headset, as it was typed."""

    name: str | None = None
    code: str | None = None


class Stream:
    """Numbers the readings and raw blocks of one session after the other.

    A reading is only made of values that can be true: within range; after damage, from a frame laid out like one
    before; and not while the line changes so many bytes that the checksum, eight bits, proves nothing.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.session = ""
        self.counters = dict.fromkeys(
            ("readings", "raw_samples", "raw_blocks", "implausible_readings", "withheld_readings", "blinks_estimated"),
            0,
        )
        self._blinks = BlinkEstimator()
        self._samples: list[int] = []
        self._layouts: set[Layout] = set()
        self.begin("")

    def begin(self, session: str) -> None:
        """A new session; what is left of the last one must have been taken by `end`."""
        self.session = session
        self._seq = 0
        self._block_seq = 0
        self._first_sample = 0
        self._lost_bytes = 0
        self._damaged = False
        self._corrupt_share = 0.0
        self._latest: dict[Quantity, Value] = {}
        self._frames_without = dict.fromkeys(TRIGGERS, 0)

    def on_events(self, events: list[Event], now: datetime) -> list[Reading | RawBlock]:
        """The messages that events of ``now`` complete, in order."""
        messages: list[Reading | RawBlock] = []
        for event in events:
            if isinstance(event, Skipped):
                self._damaged = True
                self._lost_bytes += event.n_bytes
                messages += self.end(now)
                continue
            self._mind_damage(len(event.samples) if isinstance(event, Raw) else 1)
            if isinstance(event, Raw):
                messages += self._raw(event.samples, now)
            else:
                messages += self._frame(event, now)
        return messages

    @property
    def is_withheld(self) -> bool:
        """Whether the line changes so many bytes that readings are withheld."""
        return self._corrupt_share > CORRUPT_MAX_SHARE

    def _mind_damage(self, n_frames: int) -> None:
        """Frames came, maybe after bytes that were none: keep the share of changed frames and the samples' numbers."""
        self._corrupt_share *= (1 - 1 / CORRUPT_WINDOW_FRAMES) ** n_frames
        if not self._lost_bytes:
            return
        if self._block_seq or self._samples:  # else the headset was joined in mid-frame
            self._corrupt_share += (self._lost_bytes % FRAME_UNIT_BYTES == 0) / CORRUPT_WINDOW_FRAMES
            has_second_frame = self._lost_bytes % RAW_FRAME_BYTES == SECOND_FRAME_BYTES % RAW_FRAME_BYTES
            lost_raw_bytes = self._lost_bytes - has_second_frame * min(SECOND_FRAME_BYTES, self._lost_bytes)
            self._first_sample += round(lost_raw_bytes / RAW_FRAME_BYTES)
        self._lost_bytes = 0

    def end(self, now: datetime) -> list[Reading | RawBlock]:
        """The samples of a block that is not full: a gap or the end of the session follows."""
        return [self._block(now)] if self._samples else []

    def _raw(self, samples: tuple[int, ...], now: datetime) -> list[Reading | RawBlock]:
        self.counters["raw_samples"] += len(samples)
        if not self._latest.get(Quantity.POOR_SIGNAL):  # without contact everything swings
            self.counters["blinks_estimated"] += len(self._blinks.find(samples))
        messages: list[Reading | RawBlock] = []
        at = 0
        while at < len(samples):
            taken = samples[at : at + RAW_BLOCK_SAMPLES - len(self._samples)]
            self._samples += taken
            at += len(taken)
            if len(self._samples) == RAW_BLOCK_SAMPLES:
                messages.append(self._block(now))
        return messages

    def _block(self, now: datetime) -> RawBlock:
        block = RawBlock(
            session=self.session,
            seq=self._block_seq,
            time=now,
            first_sample=self._first_sample,
            rate_hz=RAW_RATE_HZ,
            samples=tuple(self._samples),
        )
        self._block_seq += 1
        self._first_sample += len(self._samples)
        self._samples.clear()
        self.counters["raw_blocks"] += 1
        return block

    def _frame(self, frame: Frame, now: datetime) -> list[Reading | RawBlock]:
        raw = tuple(row.value for row in frame.rows if row.quantity is Quantity.RAW)
        messages = self._raw(raw, now) if raw else []  # type: ignore[arg-type]
        said = {row.quantity: row.value for row in frame.rows if row.quantity in TRIGGERS}
        if not said:
            return messages
        if not self._is_believable(frame, said):
            self.counters["implausible_readings"] += 1
            return messages
        self._latest |= said
        for quantity in TRIGGERS:
            self._frames_without[quantity] = 0 if quantity in said else self._frames_without[quantity] + 1
        trigger = next((each for each in TRIGGERS if self._frames_without[each] < PATIENCE_FRAMES), None)
        if trigger in said and self.is_withheld:
            self.counters["withheld_readings"] += 1
        elif trigger in said:
            messages.append(self._reading(now))
        return messages

    def _is_believable(self, frame: Frame, said: Mapping[Quantity, Value]) -> bool:
        layout = tuple((row.code, row.level) for row in frame.rows)
        is_new, is_damaged = layout not in self._layouts, self._damaged
        self._damaged = False
        if is_new and len(self._layouts) < LAYOUTS_MAX:
            self._layouts.add(layout)
        if is_new and is_damaged and len(self._layouts) > 1:
            return False
        bands = said.get(Quantity.BANDS_FLOAT, ())
        return (
            said.get(Quantity.ATTENTION, 0) <= ESENSE_MAX  # type: ignore[operator]
            and said.get(Quantity.MEDITATION, 0) <= ESENSE_MAX  # type: ignore[operator]
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
            **dict(zip(BANDS, map(round, bands), strict=True)),  # type: ignore[arg-type]
        )
        self._seq += 1
        self.counters["readings"] += 1
        return reading
