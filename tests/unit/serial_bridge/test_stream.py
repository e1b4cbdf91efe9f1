"""Events to readings and raw blocks: numbers, gaps, triggers, implausible values."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract.messages import RAW_BLOCK_SAMPLES, RawBlock, Reading
from neuroone.service.wearers import Owner
from serial_bridge.headsets.events import Raw, Skipped
from serial_bridge.headsets.thinkgear import Decoder, encode
from serial_bridge.ports.simulated import Damage, SimulatedHeadset, second_frame
from serial_bridge.stream import PATIENCE_FRAMES, Stream
from tests.support.captures import BASELINE, content, needs_captures

NOW = datetime(2026, 11, 22, 18, 20, 31, 123456, UTC)
BANDS = (1, 2, 3, 4, 5, 6, 7, 8)
SECOND = second_frame(0, BANDS, 50, 60)


@pytest.fixture
def stream() -> Stream:
    return Stream(Owner("Ana", "5KX"))


def messages_of(stream: Stream, *frames: bytes) -> list[Any]:
    return stream.on_events(Decoder().feed(b"".join(frames)), NOW)


def test_reading(stream):
    """A frame with all values is a reading with the owner, the session and the time."""
    (reading,) = messages_of(stream, second_frame(26, BANDS, 50, 60))
    assert reading == Reading(
        session=stream.session,
        seq=0,
        time=NOW,
        kind=reading.kind,
        name="Ana",
        code="5KX",
        poor_signal=26,
        attention=50,
        meditation=60,
        delta=1,
        theta=2,
        low_alpha=3,
        high_alpha=4,
        low_beta=5,
        high_beta=6,
        low_gamma=7,
        mid_gamma=8,
    )


def test_numbers_start_anew_in_a_session(stream):
    """seq rises by one, and starts at 0 in the next session."""
    assert [reading.seq for reading in messages_of(stream, SECOND, SECOND)] == [0, 1]
    before = stream.session
    stream.begin()
    assert stream.session != before
    assert [(reading.session, reading.seq) for reading in messages_of(stream, SECOND)] == [(stream.session, 0)]


def test_raw_blocks(stream):
    """Samples are cut into full blocks; the end gives what is left."""
    messages = stream.on_events([Raw(tuple(range(150)))], NOW) + stream.on_events([Raw((150,))], NOW) + stream.end()
    assert [len(block.samples) for block in messages] == [RAW_BLOCK_SAMPLES, RAW_BLOCK_SAMPLES, 23]
    assert [block.first_sample for block in messages] == [0, 64, 128]
    assert [block.seq for block in messages] == [0, 1, 2]
    assert [sample for block in messages for sample in block.samples] == list(range(151))
    assert stream.end() == []


def test_gap(stream):
    """Lost bytes end a block, and the samples' numbers jump by the number of lost samples."""
    first, second = stream.on_events([Raw((1, 2)), Skipped(15), Raw((3,) * 64)], NOW)
    assert (first.samples, first.first_sample) == ((1, 2), 0)
    assert second.first_sample == 2 + 2


@pytest.mark.parametrize(("lost_bytes", "samples"), [(8, 1), (7, 1), (36, 0), (44, 1), (80, 10), (3, 0)])
def test_size_of_a_gap(stream, lost_bytes, samples):
    """The frame of a second is not counted as lost samples."""
    *_, block = stream.on_events([Raw((1,) * 64), Skipped(lost_bytes), Raw((3,) * 64)], NOW)
    assert block.first_sample == 64 + samples


def test_no_gap_before_the_first_sample(stream):
    """A stream that is joined in mid-frame starts with sample 0."""
    (block,) = stream.on_events([Skipped(7), Raw((1,) * 64)], NOW)
    assert block.first_sample == 0


def test_values_spread_over_frames(stream):
    """A headset that sends one second in four frames gives one reading a second, made of all four."""
    parts = [encode(b"\x02\x00"), encode(b"\x04\x32"), encode(b"\x05\x3c"), encode(b"\x83\x18" + bytes(23) + b"\x09")]
    readings = messages_of(stream, *parts, *parts, *parts)
    assert [(reading.poor_signal, reading.attention, reading.mid_gamma) for reading in readings] == [(0, 50, 9)] * 3


def test_headset_without_bands(stream):
    """A headset without bands gives a reading for each frame after PATIENCE_FRAMES."""
    frame = encode(bytes.fromhex("02 20 04 12 05 60"))
    readings = messages_of(stream, *[frame] * (PATIENCE_FRAMES + 4))
    assert len(readings) == 5
    assert (readings[0].poor_signal, readings[0].attention, readings[0].delta) == (32, 18, 0)


def test_float_bands(stream):
    """The old float band powers are rounded."""
    frame = encode(bytes.fromhex("02 00 81 20 3f800000 40000000 40400000 40800000 40a00000 40c00000 40e00000 41080000"))
    readings = messages_of(stream, *[frame] * 5)
    assert (readings[0].delta, readings[0].mid_gamma) == (1, 8)


@pytest.mark.parametrize(
    "frame",
    [
        second_frame(0, BANDS, 101, 60),
        second_frame(0, BANDS, 50, 255),
        encode(bytes.fromhex("02 00 81 20 7fc00000 40000000 40400000 40800000 40a00000 40c00000 40e00000 41080000")),
    ],
    ids=["attention", "meditation", "NaN"],
)
def test_values_out_of_range(stream, frame):
    """Implausible values make no reading and are counted."""
    assert messages_of(stream, frame) == []
    assert stream.counters["implausible_readings"] == 1


def test_strange_frame_after_damage(stream):
    """After damage, a frame of a new layout is withheld at first."""
    strange = SECOND[:-3] + b"\x06" + SECOND[-2:-1]
    strange = encode(strange[3:])
    messages_of(stream, SECOND)
    assert stream.on_events([Skipped(3), *Decoder().feed(strange)], NOW) == []
    assert stream.counters["implausible_readings"] == 1
    assert len(messages_of(stream, SECOND)) == 1


def test_strange_frame_on_a_good_line(stream):
    """On a line without damage a frame of a new layout makes a reading at once."""
    messages_of(stream, SECOND)
    assert len(messages_of(stream, encode(SECOND[3:-1] + b"\x01\x40"))) == 1


@pytest.mark.parametrize(
    ("damage", "some"), [(Damage(drop=0.01), True), (Damage(flip=0.002), True), (Damage(flip=0.01), False)], ids=str
)
def test_no_bogus_reading(damage, some):
    """A damaged line gives only readings that were sent, and none at all where many bytes are changed."""
    whole = SimulatedHeadset(5).advance(120)
    sent = {values(message) for message in read(whole)}
    for seed in range(4):
        received = [values(message) for message in read(damage.apply(whole, Random(seed)))]
        assert set(received) <= sent
        assert bool(received) == some


def read(line: bytes) -> list[Reading]:
    stream, decoder = Stream(Owner()), Decoder()
    messages = stream.on_events(decoder.feed(line), NOW)
    return [message for message in messages if isinstance(message, Reading)]


def values(reading: Reading) -> tuple[Any, ...]:
    return (reading.poor_signal, reading.attention, reading.meditation, reading.delta, reading.theta, reading.mid_gamma)


def test_blinks_are_counted():
    """Blinks of a simulated head are counted as estimated ones."""
    stream = Stream(Owner())
    blocks = stream.on_events(Decoder().feed(SimulatedHeadset(1).advance(20)), NOW)
    assert any(isinstance(block, RawBlock) for block in blocks)
    assert 2 <= stream.counters["blinks_estimated"] <= 12


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(SECOND), st.binary(max_size=169).map(encode)), max_size=20))
def test_any_bytes(pieces):
    """Whatever a line brings, the messages made of it are valid and numbered."""
    stream = Stream(Owner())
    messages = stream.on_events(Decoder().feed(b"".join(pieces)), NOW) + stream.end()
    for kind in (Reading, RawBlock):
        numbers = [message.seq for message in messages if isinstance(message, kind)]
        assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("gap", [[], [Skipped(7)]])
def test_the_last_block_has_the_time_of_its_last_sample(stream, gap):
    """However much later the stream ends, or is found to have a gap."""
    later = NOW + timedelta(seconds=1)
    stream.on_events([Raw((1,) * 30)], NOW)
    (block,) = stream.on_events(gap, later) or stream.end()
    assert (block.time, len(block.samples)) == (NOW, 30)


@pytest.mark.parametrize("rate_hz", [128, 250, 256, 300, 500, 512])
def test_the_sampling_rate_is_measured_by_the_frames_of_a_second(stream, rate_hz):
    """Until three seconds agree it is not known; then blocks carry it, also when one is damaged or a frame late."""
    blocks = []
    for second in range(12):
        n = rate_hz + (3 if second == 6 else -3 if second == 7 else 0)
        events = [Raw((1,) * n), *Decoder().feed(SECOND)]
        if second == 9:
            events[0:1] = [Raw((1,) * 50), Skipped(800), Raw((1,) * (n - 150))]
        blocks += [message for message in stream.on_events(events, NOW) if isinstance(message, RawBlock)]
    assert (blocks[0].rate_hz, blocks[0].measured_hz) == (512, None)
    assert blocks[-1].rate_hz == rate_hz
    assert blocks[-1].measured_hz == pytest.approx(rate_hz, rel=0.01)
    known = next(n for n, block in enumerate(blocks) if block.measured_hz is not None)
    assert known <= 4.2 * rate_hz / 64
    assert {block.rate_hz for block in blocks[known:]} == {rate_hz}


def test_a_rate_that_is_not_steady_is_not_told(stream):
    """Seconds of very different lengths, as when another program takes some samples."""
    rng = Random(1)
    for _ in range(20):
        stream.on_events([Raw((1,) * rng.randrange(200, 500)), *Decoder().feed(SECOND)], NOW)
    assert (stream.rate.measured_hz, stream.rate.rate_hz) == (None, 512)
    stream.begin()
    assert stream.rate.measured_hz is None


@needs_captures
def test_real_captures_have_512_samples_a_second():
    stream = Stream(Owner())
    stream.on_events(Decoder().feed(content(BASELINE)), NOW)
    assert (stream.rate.measured_hz, stream.rate.rate_hz) == (512, 512)
