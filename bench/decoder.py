"""How fast the ThinkGear decoder is: a whole capture to events, one core, 4 KiB chunks.

    python -m bench.decoder [CAPTURE]

Beside it stands a plain per-byte decoder of the kind that is published for these headsets. The fastest public one that
was measured on a two-core machine of 2026, robintibor/python-mindwave-mobile, does 2.5 MB/s to rows.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from serial_bridge.headsets.events import Raw
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports.simulated import SimulatedHeadset

PUBLIC_MB_S = 2.5
CHUNK_BYTES = 4096
ROUNDS = 5


def ours(stream: bytes) -> int:
    decoder, samples = Decoder(), 0
    for at in range(0, len(stream), CHUNK_BYTES):
        for event in decoder.feed(stream[at : at + CHUNK_BYTES]):
            if isinstance(event, Raw):
                samples += len(event.samples)
    return samples


def per_byte(stream: bytes) -> int:
    """A state machine that takes one byte after the other and rows from each frame."""
    state, length, payload, samples = 0, 0, bytearray(), 0
    for byte in stream:
        if state < 2:
            state = state + 1 if byte == 0xAA else 0
        elif state == 2:
            length, payload, state = byte, bytearray(), 3
        elif len(payload) < length:
            payload.append(byte)
        else:
            if ~sum(payload) & 0xFF == byte:
                samples += len([value for code, value in rows(payload) if code == 0x80])
            state = 0
    return samples


def rows(payload: bytearray) -> list[tuple[int, int]]:
    found, at = [], 0
    while at < len(payload):
        code = payload[at]
        length = payload[at + 1] if code >= 0x80 else 1
        at += 2 if code >= 0x80 else 1
        found.append((code, int.from_bytes(payload[at : at + length], signed=code == 0x80)))
        at += length
    return found


def mb_s(decode: Callable[[bytes], int], stream: bytes) -> tuple[float, int]:
    best_s, samples = float("inf"), 0
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        samples = decode(stream)
        best_s = min(best_s, time.perf_counter() - began_s)
    return len(stream) / best_s / 1e6, samples


def main() -> None:
    stream = Path(sys.argv[1]).read_bytes() if sys.argv[1:] else SimulatedHeadset(1).advance(320)
    rates = {}
    for name, decode in {"serial_bridge": ours, "per-byte decoder": per_byte}.items():
        rates[name], samples = mb_s(decode, stream)
        print(f"{name:20} {rates[name]:8.1f} MB/s  {samples} raw samples of {len(stream)} bytes")
    print(f"{'fastest public one':20} {PUBLIC_MB_S:8.1f} MB/s  (measured apart, see above)")
    ratios = [rates["serial_bridge"] / rate for rate in (rates["per-byte decoder"], PUBLIC_MB_S)]
    print(f"ratio: {ratios[0]:.1f} times the per-byte decoder, {ratios[1]:.1f} times the fastest public one")


if __name__ == "__main__":
    main()
