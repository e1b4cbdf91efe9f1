"""Decode the ThinkGear serial stream of NeuroSky headsets: frames, checksum, codes.

Sources: NeuroSky, "ThinkGear Serial Stream Guide" (2017); "MindSet Communications Protocol" (2010);
the RF dongle's rows: "MindWave RF External" note. A frame is::

    SYNC SYNC | PLENGTH | payload, PLENGTH bytes | CHKSUM        CHKSUM = ~sum(payload) & 0xFF

and its payload is rows of ``EXCODE* CODE [VLENGTH if CODE >= 0x80] value``. Multi-byte values are
big-endian: the 2010 prose says little-endian for band powers, its code table and all hardware disagree.

On a failed checksum or an impossible PLENGTH the decoder goes on one byte later, not one frame later:
with 1 % of all bytes lost, that recovers 92 % of the frames instead of 77 %.
"""

import re
import struct
from collections.abc import Iterator
from math import isfinite
from operator import add
from typing import Final

from neuroone.contract.messages import ESENSE_MAX
from serial_bridge.headsets.events import Event, Frame, Quantity, Raw, Row, Skipped, Value

SYNC: Final = 0xAA
EXCODE: Final = b"\x55"
"""Raises the code level of the CODE behind it by one. No code is defined above level 0."""
PAYLOAD_MAX_BYTES: Final = 169
"""A PLENGTH of 170 is another SYNC, a larger one is forbidden (Serial Stream Guide, "Packet Header")."""
OVERHEAD_BYTES: Final = 4
"""Two SYNC, PLENGTH, CHKSUM."""
FRAME_MAX_BYTES: Final = PAYLOAD_MAX_BYTES + OVERHEAD_BYTES
"""The decoder keeps less than this between two feeds."""
LONG_ROW: Final = b"\x80"
"""CODEs from here on are followed by a VLENGTH; those below have one byte of value."""
RAW_ROW: Final = 0x80
RAW_LOW: Final = -2048
RAW_HIGH: Final = 2047
"""A ThinkGear chip has a 12-bit ADC; a sample outside is counted as implausible."""

ROWS: Final = {
    (0x01, 1): Quantity.BATTERY,
    (0x02, 1): Quantity.POOR_SIGNAL,
    (0x03, 1): Quantity.HEART_RATE,
    (0x04, 1): Quantity.ATTENTION,
    (0x05, 1): Quantity.MEDITATION,
    (0x06, 1): Quantity.RAW_8_BIT,
    (0x07, 1): Quantity.RAW_MARKER,
    (0x16, 1): Quantity.BLINK,  # no headset sends it: the vendor's programs computed it from raw samples
    (RAW_ROW, 2): Quantity.RAW,
    (0x81, 32): Quantity.BANDS_FLOAT,
    (0x83, 24): Quantity.BANDS,
    (0x86, 2): Quantity.RR_INTERVAL,
    (0xD0, 2): Quantity.HEADSET_FOUND,
    (0xD1, 0): Quantity.HEADSET_NOT_FOUND,
    (0xD1, 2): Quantity.HEADSET_NOT_FOUND,
    (0xD2, 2): Quantity.HEADSET_LOST,
    (0xD3, 0): Quantity.REQUEST_DENIED,
    (0xD3, 2): Quantity.REQUEST_DENIED,
    (0xD4, 1): Quantity.DONGLE_STATUS,
}
"""By CODE and length of the value: a known CODE with another length is an unknown row."""

DONGLE_CONNECT: Final = 0xC0
"""To the dongle: link to the headset whose two-byte id follows."""
DONGLE_DISCONNECT: Final = b"\xc1"
DONGLE_AUTO_CONNECT: Final = b"\xc2"
"""To the dongle: link to any headset; it scans for 10 s."""
DONGLE_BAUD: Final = 115200

NORMAL_BAUD: Final = 9600
RAW_BAUD: Final = 57600
TGAM_RAW_MODE: Final = b"\x02"
"""To a TGAM module, at NORMAL_BAUD: go on at RAW_BAUD with raw samples, until it is switched off."""

_SYNC_PAIR: Final = bytes((SYNC, SYNC))
_RAW_FRAME_BYTES: Final = 8
_RAW_FRAME: Final = rb"\xaa\xaa\x04\x80\x02..."
_RAW_RUN: Final = re.compile(rb"(?:%b)+" % _RAW_FRAME, re.DOTALL)
_RAW_CHECKSUMS: Final = bytes((0xFF - RAW_ROW - 2 - total) & 0xFF for total in range(2 * 0xFF + 1))
"""CHKSUM of a raw frame by the sum of the sample's two bytes."""

BRAINLINK_TRAILER: Final = b"##"
"""Behind every frame of a BrainLink; it is no part of the frame."""
TRAILER_MAX_BYTES: Final = 4
TRAILER_PROOF: Final = 16
"""The same few bytes behind so many frames in a row are not damage but a trailer, whoever made the headset."""


def encode(payload: bytes) -> bytes:
    """Return the frame around a payload of at most PAYLOAD_MAX_BYTES: the inverse of `Decoder`."""
    return _SYNC_PAIR + bytes([len(payload)]) + payload + bytes([~sum(payload) & 0xFF])


def encode_raw(sample: int) -> bytes:
    """Return the frame of one raw sample."""
    return encode(struct.pack(">BBh", RAW_ROW, 2, sample))


class Decoder:
    """Decode ThinkGear bytes to events. Implements `serial_bridge.headsets.Decoder`."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "frames",
                "checksum_failures",
                "oversize_headers",
                "skipped_bytes",
                "truncated_rows",
                "unknown_rows",
                "implausible_values",
            ),
            0,
        )
        self._kept = b""
        self._trailer = BRAINLINK_TRAILER
        """What may stand between two frames and counts neither as damage nor as skipped."""
        self._trailed_run = _trailed_run(BRAINLINK_TRAILER)
        self._gaps: tuple[bytes, int] = b"", 0
        """The last bytes between two frames, and how often they have come in a row."""
        self._is_behind_frame = False

    def feed(self, arrived: bytes) -> list[Event]:
        """Return the events that these bytes complete; chunks may be of any size."""
        self._kept, events = self._scan(self._kept + arrived)
        return events

    def idle(self) -> list[Event]:
        """Return complete frames behind an unfinished header, which they prove to be a false one.

        Without a complete frame behind it the header is kept: the rest of its frame may still arrive.
        """
        for start in range(1, len(self._kept)):
            if self._kept.startswith(_SYNC_PAIR, start):
                first = next(iter(Decoder().feed(self._kept[start:])), None)
                if isinstance(first, Raw | Frame):
                    behind, self._kept = self._kept[start:], b""
                    return [*self._skip(start), *self.feed(behind)]
        return []

    def flush(self) -> list[Event]:
        """Return the frames behind an unfinished header, discard the rest, and get ready for another stream."""
        events = self.idle()
        if self._is_behind_frame:
            self._kept = self._kept.removeprefix(self._trailer)
        while self._kept:  # each round discards at least one byte of the unfinished header
            events += self._skip(1)
            self._kept, found = self._scan(self._kept[1:])
            events += found
        return events

    def _scan(self, line: bytes) -> tuple[bytes, list[Event]]:
        """Decode ``line``; return the rest, which must wait for more bytes, and the events."""
        events: list[Event] = []
        at = 0
        while True:
            if run := self._trailed_run.match(line, at):
                at = self._raw_run(line, at, run.end(), _RAW_FRAME_BYTES + len(self._trailer), events)
            if run := _RAW_RUN.match(line, at):
                at = self._raw_run(line, at, run.end(), _RAW_FRAME_BYTES, events)
            sync = line.find(_SYNC_PAIR, at)
            if sync < 0:
                sync = len(line) - line.endswith(_SYNC_PAIR[:1], at)
                if self._is_behind_frame and sync - at <= TRAILER_MAX_BYTES:
                    return line[at:], events
                events += self._gap(line[at:sync])
                return line[sync:], events
            if sync > at:
                events += self._gap(line[at:sync])
                at = sync
                continue
            if at + 2 == len(line):
                return line[at:], events
            length = line[at + 2]
            end = at + OVERHEAD_BYTES + length
            if length > PAYLOAD_MAX_BYTES:
                self.counters["oversize_headers"] += length != SYNC
                events += self._skip(1)
                at += 1
            elif end > len(line):
                return line[at:], events
            elif sum(line[at + 3 : end]) & 0xFF != 0xFF:
                self.counters["checksum_failures"] += 1
                events += self._skip(1)
                at += 1
            else:
                events.append(self._frame(line[at + 3 : end - 1]))
                self._is_behind_frame = True
                at = end

    def _gap(self, gap: bytes) -> tuple[Event, ...]:
        """Skip what stands between two frames, but not the trailer of the first; learn that trailer."""
        if not self._is_behind_frame:
            return self._skip(len(gap))
        if gap == self._trailer:
            return ()
        n_bytes = len(gap.removeprefix(self._trailer))
        if len(gap) <= TRAILER_MAX_BYTES:
            before, n = self._gaps
            self._gaps = gap, n + 1 if gap == before else 1
            if self._gaps[1] >= TRAILER_PROOF:
                self._trailer, self._trailed_run = gap, _trailed_run(gap)
        return self._skip(n_bytes)

    def _raw_run(self, line: bytes, start: int, end: int, stride: int, events: list[Event]) -> int:
        """Decode what look like raw frames, one each ``stride`` bytes, up to ``end`` or the first bad checksum.

        A headset sends 512 of them a second and one other frame, so they are decoded in columns.
        Returns where the scan continues.
        """
        high, low = line[start + 5 : end : stride], line[start + 6 : end : stride]
        wanted, found = bytes(map(_RAW_CHECKSUMS.__getitem__, map(add, high, low))), line[start + 7 : end : stride]
        n = len(found)
        if wanted != found:
            n = next(i for i in range(n) if wanted[i] != found[i])
            high, low = high[:n], low[:n]
        if n:
            pairs = bytearray(2 * n)
            pairs[0::2], pairs[1::2] = high, low
            samples = struct.unpack(f">{n}h", pairs)
            if min(samples) < RAW_LOW or max(samples) > RAW_HIGH:
                self.counters["implausible_values"] += sum(not RAW_LOW <= s <= RAW_HIGH for s in samples)
            self.counters["frames"] += n
            events.append(Raw(samples))
            self._is_behind_frame = True
        return start + n * stride

    def _frame(self, payload: bytes) -> Event:
        rows = tuple(self._rows(payload))
        self.counters["frames"] += 1
        self.counters["implausible_values"] += sum(map(_is_implausible, rows))
        return Frame(rows, payload)

    def _rows(self, payload: bytes) -> Iterator[Row]:
        while payload:
            row = payload.lstrip(EXCODE)
            level = len(payload) - len(row)
            head = 2 if row >= LONG_ROW else 1  # CODE, VLENGTH
            length = row[1] if head == 2 and len(row) > 1 else 1
            value, payload = row[head : head + length], row[head + length :]
            if len(value) < length:
                self.counters["truncated_rows"] += 1
                return
            quantity = None if level else ROWS.get((row[0], length))
            self.counters["unknown_rows"] += quantity is None
            if quantity is None:
                yield Row(Quantity.UNKNOWN, value, row[0], level)
            else:
                yield Row(quantity, _value(quantity, value), row[0])

    def _skip(self, n_bytes: int) -> tuple[Event, ...]:
        self.counters["skipped_bytes"] += n_bytes
        self._is_behind_frame = False
        return (Skipped(n_bytes),) if n_bytes else ()


def _trailed_run(trailer: bytes) -> re.Pattern[bytes]:
    """Return the pattern of consecutive raw frames that each have this trailer, and another frame behind it."""
    return re.compile(rb"(?:%b%b(?=%b))+" % (_RAW_FRAME, re.escape(trailer), _SYNC_PAIR), re.DOTALL)


def _value(quantity: Quantity, value: bytes) -> Value:
    if quantity is Quantity.BANDS:
        return tuple(int.from_bytes(value[i : i + 3]) for i in range(0, 24, 3))
    if quantity is Quantity.BANDS_FLOAT:
        return struct.unpack(">8f", value)
    if quantity is Quantity.RAW:
        return int.from_bytes(value, signed=True)
    if quantity is Quantity.RR_INTERVAL or len(value) == 1:
        return int.from_bytes(value)
    return value


def _is_implausible(row: Row) -> bool:
    if row.quantity is Quantity.RAW:
        return not RAW_LOW <= row.value <= RAW_HIGH  # type: ignore[operator]
    if row.quantity in (Quantity.ATTENTION, Quantity.MEDITATION):
        return row.value > ESENSE_MAX  # type: ignore[operator]
    if row.quantity is Quantity.BANDS_FLOAT:
        return not all(isfinite(power) and power >= 0 for power in row.value)  # type: ignore[union-attr]
    return False
