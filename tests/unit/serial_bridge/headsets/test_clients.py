"""The headset's code of web pages (clients/) beside the bridge's: the same events, readings and states of the link."""

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import cycle
from math import isfinite
from pathlib import Path
from typing import Any, Final

from neuroone.contract.json import to_object
from neuroone.contract.messages import BANDS, Link, RawBlock, Reading
from neuroone.service.wearers import Owner
from serial_bridge.headsets.events import Event, Frame, Raw
from serial_bridge.headsets.thinkgear import DONGLE_BAUD, Decoder, encode
from serial_bridge.link_monitor import LinkMonitor
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.stream import Stream
from tests.support.bad_network import CLIENTS, node
from tests.support.captures import BASELINE, CAPTURE_VECTORS, needs_captures
from tests.support.thinkgear_vectors import RAW_FRAME, VECTORS, bad_stream

PIECES: Final = ([1 << 30], [1], [20], [1, 7, 64, 3])
"""Whole, byte by byte, as Bluetooth LE cuts it, and odd ones."""
RANDOM_BYTES: Final = 1_000_000
KEYS: Final = ("poor_signal", "attention", "meditation", *BANDS)


def in_javascript(asked: Sequence[dict[str, Any]]) -> list[Any]:
    """Return what the code of web pages answers to each line."""
    ran = subprocess.run(
        [*node(), str(CLIENTS / "headset.decode.test.mjs")],
        input="".join(json.dumps(each) + "\n" for each in asked),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def in_python(stream: bytes, sizes: list[int]) -> list[Any]:
    """Return the same of the bridge's parts."""
    decoder, maker, now = Decoder(), Stream(Owner()), datetime.now(UTC)
    answer: list[Any] = []
    readings: list[Any] = []
    for events in [*map(decoder.feed, _pieces(stream, sizes)), decoder.flush()]:
        made = maker.on_events(events, now)
        readings += [{key: getattr(each, key) for key in KEYS} for each in made if isinstance(each, Reading)]
        for event in events:
            kind, content = _plain(event)
            if kind != "frame" and answer and answer[-1][0] == kind:
                answer[-1][1] += content
            else:
                answer.append([kind, content, event.payload.hex()] if isinstance(event, Frame) else [kind, content])
    counted = {key: maker.counters[key] for key in ("readings", "raw_samples")}
    withheld = {key: maker.counters[key] for key in ("implausible_readings", "withheld_readings")}
    return [answer, readings, {**decoder.counters, **counted, **withheld}]


def _pieces(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in cycle(sizes):
        if at >= len(stream):
            return
        yield stream[at : at + size]
        at += size


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


def compare(streams: Sequence[bytes], pieces: Sequence[list[int]] = PIECES) -> None:
    asked = [{"hex": stream.hex(), "sizes": sizes} for stream in streams for sizes in pieces]
    expected = [in_python(stream, sizes) for stream in streams for sizes in pieces]
    for each, found, wanted in zip(asked, in_javascript(asked), expected, strict=True):
        assert found == wanted, each


def test_our_vectors() -> None:
    compare([bytes.fromhex(stream) for stream, _ in VECTORS.values()])


@needs_captures
def test_shared_vectors() -> None:
    compare([bytes.fromhex(each["hex"]) for each in json.loads(CAPTURE_VECTORS.read_text(encoding="utf-8"))])


def test_bad_streams() -> None:
    """Frames of all kinds among trailers, damage and false headers."""
    compare([bad_stream(random.Random(seed)) for seed in range(40)])


def test_readings_of_headsets_that_spread_a_second_over_frames_or_send_less() -> None:
    """Each frame with the first quantity that the headset sends makes a reading; eSense without bands does, too."""
    attention, signal, meditation = (encode(bytes(row)) for row in ((4, 50), (2, 0), (5, 60)))
    bands = encode(bytes((0x83, 24, *range(24))))
    floats = encode(bytes.fromhex("8120" + "3fc00000" + "40200000" + "00000000" * 5 + "4b800000"))
    seconds = (attention + signal + meditation, signal, bands + attention + signal, attention + attention, floats)
    compare([second * 8 for second in seconds] + [b"".join(seconds) * 4])


def test_readings_of_a_line_that_changes_or_loses_bytes() -> None:
    """Withheld, implausible and good readings are the same."""
    rng, headset = random.Random(18), SimulatedHeadset(1).advance(20)
    streams = []
    for share in (0.0001, 0.001, 0.01):
        streams.append(bytes(each ^ (rng.random() < share) << rng.randrange(8) for each in headset))
        streams.append(bytes(each for each in headset if rng.random() > share))
    compare(streams, ([20], [64]))


def test_a_million_random_bytes_and_half_of_them_sync(tmp_path: Path) -> None:
    rng = random.Random(18)
    streams = [rng.randbytes(RANDOM_BYTES), bytes(rng.choice((0xAA, rng.randrange(256))) for _ in range(100_000))]
    check_files(streams, tmp_path)


@needs_captures
def test_a_minute_of_a_real_capture_whole_and_damaged(tmp_path: Path) -> None:
    whole = BASELINE.read_bytes()[: 60 * 4132]
    rng = random.Random(18)
    check_files([whole, bytes(byte for byte in whole if rng.random() > 0.01)], tmp_path)


def check_files(streams: Sequence[bytes], folder: Path) -> None:
    asked = []
    for number, stream in enumerate(streams):
        path = folder / f"{number}.bytes"
        path.write_bytes(stream)
        asked.append({"path": str(path), "sizes": [20]})
    for found, stream in zip(in_javascript(asked), streams, strict=True):
        assert found == in_python(stream, [20])


def test_the_state_of_a_link_is_judged_as_the_bridge_does() -> None:
    """Links that open, fall silent, bring rubbish, have a dongle, are lost and come back."""
    scripts = [script(random.Random(seed)) for seed in range(60)]
    expected = [follow(steps) for steps in scripts]
    assert {Link(link) for answers in expected for link, *_ in answers} >= {
        *(Link.CONNECTED, Link.SILENT, Link.NO_FRAMES, Link.STANDBY, Link.SCANNING, Link.NO_HEADSET),
        *(Link.UNPLUGGED, Link.SEARCHING),
    }
    assert in_javascript([{"steps": steps} for steps in scripts]) == expected


def script(rng: random.Random) -> list[list[Any]]:
    """Write what happens to a link: steps of a quarter second, for the same time in both clocks."""
    second = encode(bytes((2, 0, 0x83, 24, *range(24), 4, 50, 5, 60)))
    dongle = [encode(bytes(row)) for row in ((0xD4, 1, 0), (0xD4, 1, 1), (0xD1, 0), (0xD2, 2, 1, 2), (0xD0, 2, 1, 2))]
    now_ms, steps, kind = 250, [[250, "state"], [250, "open"]], "frames"
    for _ in range(120):
        now_ms += rng.choice((250, 250, 500, 1000))
        if rng.random() < 0.15:
            kind = rng.choice(("frames", "frames", "nothing", "rubbish", "dongle", "loss"))
        if kind == "frames":
            steps.append([now_ms, "bytes", (RAW_FRAME * 3 + second).hex()])
        elif kind == "rubbish":
            steps.append([now_ms, "bytes", bytes(rng.randrange(0xAA) for _ in range(9)).hex()])
        elif kind == "dongle":
            steps.append([now_ms, "bytes", (rng.choice(dongle) * 2).hex()])
        elif kind == "loss":
            steps += [[now_ms, "fault", rng.choice(("unplugged", "no_port", "port_busy"))], [now_ms, "state"]]
            steps.append([now_ms + 125, "open"])
            kind = "nothing"
        steps.append([now_ms + rng.choice((0, 125)), "state"])
    return steps


def follow(steps: list[list[Any]]) -> list[Any]:
    """Return what the bridge's monitor of a dongle's link answers."""
    monitor, decoder, maker = LinkMonitor("port"), Decoder(), Stream(Owner())
    answers = []
    for now_ms, what, *value in steps:
        now_s = now_ms / 1000
        if what == "open":
            monitor.on_open(now_s)
        elif what == "fault":
            monitor.on_fault(Link(value[0]), None)
        elif what == "bytes":
            monitor.on_bytes(now_s)
            events = decoder.feed(bytes.fromhex(value[0]))
            monitor.on_events(events, now_s)
            if any(isinstance(each, Reading) for each in maker.on_events(events, datetime.now(UTC))):
                monitor.on_reading(now_s)
        else:
            status = monitor.status(now_s)
            command = monitor.command(now_s, DONGLE_BAUD).hex()
            must_reopen = monitor.must_reopen(now_s) and monitor._port.is_open
            answers.append([str(status.link), str(status.status), monitor.has_frames, must_reopen, command])
    return answers


def test_raw_samples_are_numbered_and_measured_as_the_bridge_does() -> None:
    """Of radios that lose or delay samples, damaged lines, receivers that send fewer, and sessions that follow."""
    scripts = [arrivals(random.Random(seed)) for seed in range(16)]
    expected = [cut(each) for each in scripts]
    blocks = [block for made, _ in expected for block in made]
    assert {block["rate_hz"] for block in blocks} >= {512, 256, 250}
    assert {block["measured_hz"] for block in blocks} >= {None, 512, 511, 250}
    assert sum(counted["raw_samples_missing"] for _, counted in expected) > 1000
    assert any(len(block["samples"]) < 64 for block in blocks)
    for script, found, wanted in zip(
        scripts, in_javascript([{"arrivals": each} for each in scripts]), expected, strict=True
    ):
        assert found == wanted, script[:3]


def arrivals(rng: random.Random) -> list[list[Any]]:
    """Write when which bytes of a headset arrive: in pieces, with pauses after which samples are late or lost."""
    rate_hz = rng.choice((512, 512, 511, 256, 250, 300))
    loss, damage = rng.choice((0.0, 0.002, 0.03)), rng.choice((0.0, 0.0, 0.0005))
    second = encode(bytes((2, 0, 0x83, 24, *range(24), 4, 50, 5, 60)))
    sent_ms, late_ms, came, waiting = 5_000.0, 0.0, list[list[Any]](), b""
    lost_until_ms = 0.0
    for n in range(rate_hz * rng.randrange(10, 24)):
        sent_ms += 1000 / rate_hz
        if rng.random() < 0.0006:
            late_ms = sent_ms + rng.uniform(100, 1500)
        if rng.random() < 0.0005:
            lost_until_ms = sent_ms + rng.choice((150, 275, 290, 400, 900, 3000))
        if sent_ms > lost_until_ms and rng.random() >= loss:
            waiting += encode(bytes((0x80, 2, n >> 8 & 7, n & 255))) + second * (n % rate_hz == rate_hz - 1)
        elif n % rate_hz == rate_hz - 1 and rng.random() < 0.5:
            waiting += second
        while sent_ms >= late_ms and (len(waiting) >= 20 or (waiting and rng.random() < 0.2)):
            size = rng.choice((20, 20, 64))
            piece, waiting = waiting[:size], waiting[size:]
            came.append([round(sent_ms), bytes(each for each in piece if rng.random() >= damage).hex()])
        if rng.random() < 0.0001:
            came.append([round(sent_ms), None])
    return [*came, [round(sent_ms), None]]


def cut(script: list[list[Any]]) -> list[Any]:
    """Return the blocks that the bridge makes of it, as an app sends them."""
    decoder, maker, made = Decoder(), Stream(Owner()), list[Reading | RawBlock]()
    for ms, text in script:
        now = datetime.fromtimestamp(ms / 1000, UTC)
        made += maker.on_events(decoder.flush() if text is None else decoder.feed(bytes.fromhex(text)), now, ms / 1000)
        if text is None:
            made += maker.end()
            maker.begin()
            decoder = Decoder()
    keys = ("first_sample", "time", "rate_hz", "measured_hz", "samples")
    blocks = [{key: to_object(each)[key] for key in keys} for each in made if isinstance(each, RawBlock)]
    return [blocks, {key: maker.counters[key] for key in ("raw_samples_missing", "raw_blocks")}]
