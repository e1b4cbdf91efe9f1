"""clients/thinkgear.js, the decoder of web pages, beside the bridge's: the same events for any bytes in any pieces."""

import json
import random
import subprocess
from math import isfinite
from pathlib import Path
from typing import Any, Final

from serial_bridge.headsets.events import Event, Frame, Raw
from serial_bridge.headsets.thinkgear import Decoder
from tests.support.bad_network import CLIENTS, node
from tests.support.captures import BASELINE, CAPTURE_VECTORS, needs_captures
from tests.support.thinkgear_vectors import VECTORS, bad_stream

WHOLE: Final = [1 << 30]
PIECES: Final = (WHOLE, [1], [20], [1, 7, 64, 3])
"""Whole, byte by byte, as Bluetooth LE cuts it, and odd ones."""
RANDOM_BYTES: Final = 1_000_000


def in_javascript(asked: list[dict[str, Any]]) -> list[Any]:
    """Return events and counters of each stream as clients/thinkgear.js decodes it."""
    ran = subprocess.run(
        [*node(), str(CLIENTS / "thinkgear.test.mjs")],
        input="".join(json.dumps(each) + "\n" for each in asked),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def in_python(stream: bytes) -> list[Any]:
    """Return the same of the bridge's decoder, which does not depend on the pieces."""
    decoder = Decoder()
    answer: list[Any] = []
    for event in [*decoder.feed(stream), *decoder.flush()]:
        kind, content = _plain(event)
        if kind != "frame" and answer and answer[-1][0] == kind:
            answer[-1][1] += content
        else:
            answer.append([kind, content, event.payload.hex()] if isinstance(event, Frame) else [kind, content])
    return [answer, decoder.counters]


def _plain(event: Event) -> tuple[str, Any]:
    if isinstance(event, Raw):
        return "raw", list(event.samples)
    if isinstance(event, Frame):
        return "frame", [[str(row.quantity), _value(row.value), row.code, row.level] for row in event.rows]
    return "skipped", event.n_bytes


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return value if isfinite(value) else {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(value)]


def compare(streams: list[bytes]) -> None:
    asked = [{"hex": stream.hex(), "sizes": sizes} for stream in streams for sizes in PIECES]
    expected = [in_python(stream) for stream in streams for _ in PIECES]
    for each, found, wanted in zip(asked, in_javascript(asked), expected, strict=True):
        assert found == wanted, each


def test_our_vectors() -> None:
    compare([bytes.fromhex(stream) for stream, _ in VECTORS.values()])


@needs_captures
def test_shared_vectors() -> None:
    compare([bytes.fromhex(each["hex"]) for each in json.loads(CAPTURE_VECTORS.read_text(encoding="utf-8"))])


def test_bad_streams() -> None:
    """Frames of all kinds among trailers, damage and false headers."""
    compare([bad_stream(random.Random(seed)) for seed in range(200)])


def test_a_million_random_bytes_and_half_of_them_sync(tmp_path: Path) -> None:
    rng = random.Random(18)
    streams = [rng.randbytes(RANDOM_BYTES), bytes(rng.choice((0xAA, rng.randrange(256))) for _ in range(100_000))]
    check_files(streams, tmp_path)


@needs_captures
def test_a_real_capture_whole_and_damaged(tmp_path: Path) -> None:
    whole = BASELINE.read_bytes()
    rng = random.Random(18)
    check_files([whole, bytes(byte for byte in whole if rng.random() > 0.01)], tmp_path)


def check_files(streams: list[bytes], folder: Path) -> None:
    asked = []
    for number, stream in enumerate(streams):
        path = folder / f"{number}.bytes"
        path.write_bytes(stream)
        asked.append({"path": str(path), "sizes": [20]})
    for found, stream in zip(in_javascript(asked), streams, strict=True):
        assert found == in_python(stream)
