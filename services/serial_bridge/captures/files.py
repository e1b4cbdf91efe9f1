"""Read and write captures: the bytes of a headset in a file, plain or with the time of their arrival.

A plain capture (``.bytes``, ``.bin``) is the stream alone. A timed one, made by ``serial-bridge record``, is text: a
first line of JSON names the format, then each arrival has a line with its microseconds since the first one and its
bytes in hexadecimal. It can be cut, joined and read with any editor.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from neuroone.contract.errors import NeuroOneError
from serial_bridge.sampling_rate import SamplingRate

SUFFIX: Final = ".capture"
EXAMPLE: Final = Path(__file__).parent / "example.bytes"
"""Ten seconds of the simulated headset, shipped with the package."""
PART_BYTES: Final = 64
"""A plain capture is replayed in parts of so many bytes: 16 ms of a stream with raw samples."""
CONTENT_BYTES: Final = 256 * 1024
"""Read at once where only the bytes count: a decoder takes a raw frame 5 times faster in large parts than in small."""
PROBE_BYTES: Final = 64 * 1024
"""A plain capture without a raw sample in so many bytes has none; they are enough to measure its samples a second."""
LINE_MAX_CHARS: Final = 64 * 1024
"""An arrival is one read of at most 4096 bytes; a longer line is invalid."""
LASTS_MAX_S: Final = 366 * 24 * 3600
"""A year: a later time in a capture is damage."""

_MAGIC: Final = b'{"format":"neuroone-capture"'
_RAW_HEADER: Final = b"\xaa\xaa\x04\x80\x02"
_OTHER_FRAME: Final = re.compile(rb"\xaa\xaa(?:[\x05-\xa9]|\x04(?!\x80))")


class BadCapture(NeuroOneError):
    """A line of a timed capture is invalid."""


def is_file(path: str | Path) -> bool:
    """Return True if a file is there, whatever the text: a name that is too long names none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_simulated(path: Path) -> bool:
    """Return True if a simulator made this capture, as far as it says so."""
    with suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        head = file.readline(LINE_MAX_CHARS)
        return head.startswith(_MAGIC) and json.loads(head).get("simulated") is True
    return False


class CaptureWriter:
    """Write a timed capture."""

    def __init__(self, file: TextIO, headset: str, *, is_simulated: bool = False) -> None:
        self._file = file
        self._began_s: float | None = None
        head: dict[str, object] = {"format": "neuroone-capture", "version": 1, "headset": headset}
        head |= {"simulated": True} if is_simulated else {}
        file.write(json.dumps(head, separators=(",", ":")) + "\n")

    def write(self, arrived: bytes, at_s: float) -> None:
        """Write bytes that arrived at ``at_s`` of any steady clock."""
        self._began_s = at_s if self._began_s is None else self._began_s
        self._file.write(f"{round((at_s - self._began_s) * 1e6)} {arrived.hex()}\n")


def parts(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yield the bytes of a capture, each part with the seconds since the beginning at which it is due.

    Raises BadCapture, OSError.
    """
    for due_s, part in _timed_parts(path) if _is_timed(path) else _plain_parts(path):
        if not 0 <= due_s <= LASTS_MAX_S:
            raise BadCapture(f"{path}: the time {due_s:g} s is not from 0 to {LASTS_MAX_S} s")
        yield due_s, part


def content(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a capture in large parts, without their times. Raises BadCapture, OSError."""
    if not _is_timed(path):
        with path.open("rb") as file:
            while part := file.read(CONTENT_BYTES):
                yield part
        return
    waiting = bytearray()
    for _, part in _timed_parts(path):
        waiting += part
        if len(waiting) >= CONTENT_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def looped(path: Path) -> Iterator[tuple[float, bytes]]:
    """Repeat a capture for ever; each round begins where the one before ended."""
    began_s = 0.0
    while True:
        due_s = 0.0
        for due_s, part in parts(path):
            yield began_s + due_s, part
        began_s += due_s or 1.0  # without a frame every part is due at 0: do not use up the processor


def _is_timed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _timed_parts(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yield a timed capture; where its time goes back, another one was joined to it, which follows at once."""
    at_us = before_us = 0
    with path.open(encoding="ascii", errors="replace") as file:
        file.readline()
        for number, line in enumerate(iter(lambda: file.readline(LINE_MAX_CHARS), ""), 2):
            try:
                microseconds, stream = line.split()
                time_us = int(microseconds)
                at_us, before_us = at_us + max(0, time_us - before_us), time_us
                yield (at_us if time_us >= 0 else time_us) / 1e6, bytes.fromhex(stream)
            except (ValueError, OverflowError):
                raise BadCapture(f"{path}, line {number}: must be microseconds and hexadecimal bytes") from None


def _plain_parts(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yield a plain capture at its stream's speed: its samples a second or, without any, one frame a second."""
    with path.open("rb") as file:
        head = file.read(PROBE_BYTES)
        header, rate_hz = (_RAW_HEADER, _rate_hz(head)) if _RAW_HEADER in head else (_RAW_HEADER[:2], 1)
        file.seek(0)
        n, tail = 0, b""
        while part := file.read(PART_BYTES):
            n += (tail + part).count(header)  # the tail is one byte short of a header: no header counts twice
            tail = (tail + part)[-len(header) + 1 :]
            yield n / rate_hz, part


def _rate_hz(head: bytes) -> int:
    """Return the samples a second of a stream: the commonest number between two other frames, 512 if there is none."""
    seconds = [part.count(_RAW_HEADER) for part in _OTHER_FRAME.split(head)[1:-1]]
    rate = SamplingRate()
    rate.on_second()
    for n in seconds:
        rate.on_samples(n)
        rate.on_second()
    return rate.rate_hz
