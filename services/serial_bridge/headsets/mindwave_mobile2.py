"""EXPERIMENTAL: what a MindWave Mobile 2 sends over Bluetooth LE, as ThinkGear frames.

No capture of one was at hand. Public descriptions agree that there are packets EA (signal and eSense), EB and EC (four
bands each), and raw packets of ten samples; they disagree whether the code is byte 0 or byte 2. Whatever looks
otherwise is passed on as it came, for the decoder and for captures to learn from.
"""

from typing import Final

from serial_bridge.headsets import thinkgear

ESENSE, LOW_BANDS, HIGH_BANDS = 0xEA, 0xEB, 0xEC
CODE_PLACES: Final = (0, 2)
VALUE_PLACES: Final = {ESENSE: (6, 8, 10), LOW_BANDS: (5, 9, 13, 17), HIGH_BANDS: (5, 9, 13, 17)}
"""Of poor signal, attention and meditation, one byte each; of bands, three bytes each."""
PACKET_BYTES: Final = 20
RAW_LIMIT: Final = 2048
"""Samples are of a 12-bit ADC; others prove that a packet is not raw."""
ESENSE_MAX, POOR_SIGNAL_MAX = 100, 200


class Translator:
    """Turn notifications into frames: one a second from EA, EB and EC, and one for each raw sample."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._is_proven = False

    def feed(self, packet: bytes) -> bytes:
        """Return the frames that this packet completes, or the packet itself if it is of another kind."""
        code = next((packet[place] for place in CODE_PLACES if packet[place:] and packet[place] in VALUE_PLACES), None)
        values = None if code is None or len(packet) != PACKET_BYTES else _values(code, packet)
        if code is not None and values is not None:
            self._parts[code] = values
            return self._frame() if code == HIGH_BANDS else b""
        samples = [int.from_bytes(packet[n : n + 2], signed=True) for n in range(0, len(packet), 2)]
        if self._is_proven and len(packet) == PACKET_BYTES and all(-RAW_LIMIT <= each < RAW_LIMIT for each in samples):
            return b"".join(map(thinkgear.encode_raw, samples))
        return packet

    def _frame(self) -> bytes:
        parts, self._parts = self._parts, {}
        if set(parts) != set(VALUE_PLACES):
            return b""
        self._is_proven = True
        poor_signal, attention, meditation = parts[ESENSE]
        bands = parts[LOW_BANDS] + parts[HIGH_BANDS]
        return thinkgear.encode(bytes([0x02, poor_signal, 0x83, len(bands), *bands, 0x04, attention, 0x05, meditation]))


def _values(code: int, packet: bytes) -> bytes | None:
    """Return the values of a packet; None if they cannot be such values."""
    if code != ESENSE:
        return b"".join(packet[place : place + 3] for place in VALUE_PLACES[code])
    poor_signal, *esense = values = bytes(packet[place] for place in VALUE_PLACES[code])
    return values if poor_signal <= POOR_SIGNAL_MAX and max(esense) <= ESENSE_MAX else None
