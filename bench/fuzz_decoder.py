"""Feeds hostile bytes to every registered decoder and to the stream behind it, for as long as wished.

    python -m bench.fuzz_decoder --bytes 100000000 [--seed 1]

Checks that nothing raises, that every byte is in a frame or skipped, and that little is kept.
"""

import argparse
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from neuroone.service.process_memory import resident_bytes
from neuroone.service.wearers import Owner
from serial_bridge.headsets import HEADSETS
from serial_bridge.headsets.events import Frame, Raw
from serial_bridge.headsets.thinkgear import FRAME_MAX_BYTES, OVERHEAD_BYTES, encode, encode_raw
from serial_bridge.ports.simulated import Damage, SimulatedHeadset
from serial_bridge.stream import Stream

BLOCK_BYTES = 65536
RAW_FRAME_BYTES = 8
LIKELY = bytes((0xAA, 0xAA, 0xAA, 0x55, 0x04, 0x80, 0x02, 0x83, 0x18, 0x00, 0xA9, 0xD0, 0xD4))


def blocks(rng: random.Random) -> Iterator[bytes]:
    """One kind of hostility after the other."""
    real = SimulatedHeadset(1).advance(BLOCK_BYTES / 4132)
    while True:
        yield rng.randbytes(BLOCK_BYTES)
        yield bytes(rng.choices(LIKELY, k=BLOCK_BYTES))
        yield b"\xaa" * rng.randrange(BLOCK_BYTES)
        yield b"".join(encode(bytes(rng.choices(LIKELY, k=rng.randrange(170)))) for _ in range(500))
        yield b"".join(encode(rng.randbytes(rng.randrange(170))) for _ in range(500))
        yield b"".join(encode_raw(rng.randrange(-32768, 32768)) for _ in range(5000))
        yield Damage(drop=rng.random() * 0.1, flip=rng.random() * 0.1).apply(real, rng)
        yield b"\xaa\xaa\xa9" * rng.randrange(BLOCK_BYTES // 3)


def fuzz(name: str, n_bytes: int, seed: int) -> None:
    rng = random.Random(seed)
    decoder, stream = HEADSETS[name](), Stream(Owner())
    fed = framed = 0
    began_s, began_bytes = time.perf_counter(), resident_bytes() or 0
    for block in blocks(rng):
        if fed >= n_bytes:
            break
        at = 0
        while at < len(block):
            size = rng.choice((1, 7, 32, 171, 4096))
            chunk = block[at : at + size]
            at += size
            fed += len(chunk)
            events = decoder.feed(chunk) + (decoder.idle() if rng.random() < 0.01 else [])
            for event in events:
                if isinstance(event, Raw):
                    framed += RAW_FRAME_BYTES * len(event.samples)
                elif isinstance(event, Frame):
                    framed += OVERHEAD_BYTES + len(event.payload)
            stream.on_events(events, datetime.now(UTC))
            kept = fed - framed - decoder.counters["skipped_bytes"]
            assert 0 <= kept < FRAME_MAX_BYTES, (fed, kept)
    took_s = time.perf_counter() - began_s
    print(f"{name}: {fed} hostile bytes in {took_s:.0f} s, {dict(decoder.counters)}")
    print(f"  {stream.counters}")
    print(f"  memory {began_bytes >> 10} kB before, {(resident_bytes() or 0) >> 10} kB after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=100_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name in HEADSETS:
        fuzz(name, given.bytes, given.seed)


if __name__ == "__main__":
    main()
