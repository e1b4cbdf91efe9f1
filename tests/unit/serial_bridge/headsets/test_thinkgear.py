"""The ThinkGear decoder: frames, rows, resynchronisation, bounds."""

import json
import random
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serial_bridge.headsets.events import Frame, Quantity, Raw, Row, Skipped, raw_samples
from serial_bridge.headsets.thinkgear import (
    FRAME_MAX_BYTES,
    LONG_ROW,
    PAYLOAD_MAX_BYTES,
    ROWS,
    TRAILER_PROOF,
    Decoder,
    encode,
    encode_raw,
)
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support.captures import BASELINE, CAPTURE_VECTORS, needs_captures
from tests.support.thinkgear_vectors import RAW_FRAME, SECOND_FRAME, VECTORS, bad_stream


def decode(stream: bytes, chunk_bytes: int | None = None) -> tuple[list[Any], dict[str, int]]:
    decoder = Decoder()
    size = chunk_bytes or max(len(stream), 1)
    events = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at : at + size])]
    return events + decoder.flush(), decoder.counters


def rows(events: list[Any]) -> list[Any]:
    found: list[Any] = []
    for event in events:
        if isinstance(event, Raw):
            found += [Row(Quantity.RAW, sample, 0x80) for sample in event.samples]
        elif isinstance(event, Frame):
            found += event.rows
    return found


def joined(events: list[Any]) -> list[object]:
    """Merge neighbouring events of a kind: the result must not depend on the chunks."""
    out: list[object] = []
    run: Any
    for kind, run in groupby(events, type):
        if kind is Raw:
            out.append(tuple(sample for event in run for sample in event.samples))
        elif kind is Skipped:
            out.append(sum(event.n_bytes for event in run))
        else:
            out += run
    return out


def damaged(stream: bytes, seed: int, drop: float = 0.0, flip: float = 0.0) -> bytes:
    rng = random.Random(seed)
    kept = (byte for byte in stream if rng.random() >= drop)
    return bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < flip else byte for byte in kept)


@pytest.mark.parametrize("chunk_bytes", [None, 1, 2, 7])
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name, chunk_bytes):
    """Each vector gives its rows, whole and in pieces."""
    stream, expected = VECTORS[name]
    events, _ = decode(bytes.fromhex(stream), chunk_bytes)
    assert [(row.quantity, row.value) for row in rows(events)] == expected


@needs_captures
@pytest.mark.parametrize("chunk_bytes", [None, 1])
def test_shared_vectors(chunk_bytes):
    """All shared vectors give their rows and as many frames as expected, whole and byte by byte."""
    for vector in json.loads(CAPTURE_VECTORS.read_text(encoding="utf-8")):
        events, counters = decode(bytes.fromhex(vector["hex"]), chunk_bytes)
        assert [as_vector(row) for row in rows(events)] == [row for frame in vector["rows"] for row in frame], vector
        assert counters["frames"] == len(vector["packets_rescan"]), vector["id"]


def as_vector(row: Row) -> dict[str, object]:
    """Convert a row to the format of the shared vectors."""
    value = row.value.hex() if isinstance(row.value, bytes) else row.value
    if row.level:
        return {"ex": row.level, "code": row.code, "hex": value}
    if 0xD0 <= row.code <= 0xD4:
        return {"dongle": f"{row.code:#x}", "data": value if isinstance(value, str) else f"{value:02x}"}
    if row.quantity is Quantity.UNKNOWN:
        return {"code": f"{row.code:#x}", "hex": value}
    return {str(row.quantity): list(value) if isinstance(value, tuple) else value}


@needs_captures
@pytest.mark.parametrize("chunk_bytes", [None, 4096, 13])
def test_capture_sums(chunk_bytes):
    """The real capture decodes to its published sums, whatever the chunks."""
    events, counters = decode(BASELINE.read_bytes(), chunk_bytes)
    found = rows(events)
    raw = [row.value for row in found if row.quantity is Quantity.RAW]
    assert (len(raw), sum(raw), min(raw), max(raw)) == (165093, 11942641, -2048, 2047)
    assert [sum(r.value for r in found if r.quantity == q) for q in ("poor_signal", "attention", "meditation")] == [
        2120,
        21774,
        16965,
    ]
    bands = [row.value for row in found if row.quantity is Quantity.BANDS]
    expected = [39707500, 10326338, 2903539, 2257893, 2586877, 2151134, 904808, 716915]
    assert [sum(column) for column in zip(*bands, strict=True)] == expected
    assert counters["frames"] == 165415
    assert {name for name, count in counters.items() if count} == {"frames"}


@needs_captures
@pytest.mark.parametrize(
    ("drop", "flip", "recovered"), [(0.001, 0, 0.99), (0.01, 0, 0.92), (0, 0.01, 0.92)], ids=["0.1%", "1%", "flips"]
)
def test_damaged_capture(drop, flip, recovered):
    """Of a damaged stream nearly all frames that damage did not touch are found."""
    whole = BASELINE.read_bytes()
    for seed in range(3):
        _, counters = decode(damaged(whole, seed, drop, flip), 4096)
        assert counters["frames"] >= recovered * 165415, seed


def test_every_byte_is_accounted_for():
    """Bytes of frames and skipped bytes add up to the bytes that came."""
    stream = damaged(50 * (20 * RAW_FRAME + SECOND_FRAME), seed=1, drop=0.01)
    events, counters = decode(stream, 100)
    in_frames = sum(8 * len(e.samples) if isinstance(e, Raw) else len(e.payload) + 4 for e in events if is_frame(e))
    assert in_frames + counters["skipped_bytes"] == len(stream)
    assert counters["skipped_bytes"] == sum(e.n_bytes for e in events if isinstance(e, Skipped))


def is_frame(event: object) -> bool:
    return not isinstance(event, Skipped)


def test_idle_releases_what_a_false_header_held():
    """Once the line is quiet, a complete frame behind an unfinished header is returned."""
    decoder = Decoder()
    assert decoder.feed(b"\xaa\xaa\xa9" + SECOND_FRAME) == []
    assert joined(decoder.idle()) == [3, *decode(SECOND_FRAME)[0]]


def test_idle_keeps_half_a_frame():
    """A frame that comes in two parts with a pause between them is not lost."""
    decoder = Decoder()
    assert decoder.feed(SECOND_FRAME[:20]) == []
    assert decoder.idle() == []
    assert decoder.feed(SECOND_FRAME[20:]) == decode(SECOND_FRAME)[0]


def test_flush_starts_anew():
    """A flush discards an unfinished frame."""
    decoder = Decoder()
    decoder.feed(RAW_FRAME[:5])
    assert joined(decoder.flush()) == [5]
    assert decoder.feed(RAW_FRAME[5:] + RAW_FRAME) == [Skipped(3), Raw((-61,))]


def test_counters():
    """Each kind of damage has its counter."""
    _, counters = decode(bytes.fromhex("".join(hex_ for hex_, _ in VECTORS.values())))
    assert counters["truncated_rows"] == 4
    assert counters["unknown_rows"] == 4
    assert counters["oversize_headers"] == 1
    assert counters["implausible_values"] == 4
    assert counters["checksum_failures"] > 0


def test_known_short_rows_have_one_byte():
    """A code without a VLENGTH is known with one byte of value only."""
    assert {length for code, length in ROWS if code < LONG_ROW[0]} == {1}


FRAMES = st.binary(max_size=PAYLOAD_MAX_BYTES).map(
    lambda payload: b"\xaa\xaa" + bytes([len(payload)]) + payload + bytes([~sum(payload) & 0xFF])
)
HOSTILE = st.lists(
    st.one_of(
        st.just(RAW_FRAME),
        st.just(SECOND_FRAME),
        st.just(RAW_FRAME * 40),
        st.just(b"\xaa"),
        st.just(b"\xaa\xaa\xa9"),
        st.just(b"\x55\x55"),
        st.just(RAW_FRAME[:7] + b"\0"),
        FRAMES,
        st.binary(max_size=40),
    ),
    max_size=30,
).map(b"".join)


@given(HOSTILE, st.lists(st.integers(1, 50), min_size=1))
def test_any_bytes_any_chunks(stream, sizes):
    """Any bytes in any chunks give the same events, no exception, and little is kept."""
    decoder = Decoder()
    events: list[Any] = []
    at = 0
    while at < len(stream):
        size = sizes[len(events) % len(sizes)]
        events += decoder.feed(stream[at : at + size])
        at += size
        assert len(decoder._kept) < FRAME_MAX_BYTES
    events += decoder.flush()
    whole, counters = decode(stream)
    assert joined(events) == joined(whole)
    assert decoder.counters == counters


@pytest.mark.parametrize("chunk_bytes", [1, 20, 64])
def test_trailers_and_damage_give_the_same_in_any_chunks(chunk_bytes):
    """Whether bytes between two frames are a trailer does not depend on the chunk in which they come."""
    for seed in range(100):
        stream = bad_stream(random.Random(seed))
        (events, counters), (whole, expected) = decode(stream, chunk_bytes), decode(stream)
        assert repr(joined(events)) == repr(joined(whole)), seed  # a NaN does not equal itself
        assert counters == expected, seed


@given(FRAMES, st.binary(max_size=30).filter(lambda rubbish: 0xAA not in rubbish))
def test_frame_among_rubbish(frame, rubbish):
    """A frame is found behind rubbish that holds no SYNC."""
    assert joined(decode(rubbish + frame)[0])[-1:] == joined(decode(frame)[0])[-1:]


@pytest.mark.parametrize("trailer", [b"##", b"\r\n", b"\x00", b"END\n"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_bytes_behind_every_frame_are_no_damage(trailer, size):
    """A headset that ends each frame with the same bytes (BrainLink: 23 23) gives what it gives without them."""
    plain, decoder = SimulatedHeadset(1).advance(3), Decoder()
    line = b"".join(
        encode(event.payload) + trailer
        if isinstance(event, Frame)
        else b"".join(encode_raw(sample) + trailer for sample in raw_samples(event))
        for event in Decoder().feed(plain)
    )
    events = [event for at in range(0, len(line), size) for event in decoder.feed(line[at : at + size])]
    events += decoder.flush()
    samples = [sample for event in events for sample in raw_samples(event)]
    assert samples == [sample for event in Decoder().feed(plain) for sample in raw_samples(event)]
    learned = 0 if trailer == b"##" else TRAILER_PROOF * len(trailer)
    assert decoder.counters["skipped_bytes"] <= learned
    assert decoder.counters["checksum_failures"] == 0


def test_damage_is_not_taken_for_a_trailer():
    """Bytes of a frame that lost its head are skipped, also when a headset has a trailer."""
    decoder = Decoder()
    line = (encode_raw(1) + b"##") * 3 + b"\x80\x02\x00\x01" + (encode_raw(2) + b"##") * 2
    events = decoder.feed(line) + decoder.flush()
    assert Skipped(4) in events
    assert decoder.counters["skipped_bytes"] == 4
