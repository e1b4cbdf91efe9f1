"""Raw samples that never came are counted by the time, wherever the line is silent, stalls, or loses some."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from neuroone.contract.messages import RawBlock
from neuroone.service.wearers import Owner
from serial_bridge.headsets.events import Event, Raw
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports.simulated import second_frame
from serial_bridge.stream import Stream

BEGAN = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
(SECOND,) = Decoder().feed(second_frame(0, (1,) * 8, 50, 60))


class Line:
    """What a headset sends in ten minutes: lost in dropouts, and late where the line stalls."""

    def __init__(
        self, seed: int, rate_hz: int, *, dropouts: bool, stalls: bool, ppm: float = 0.0, first_s: float = 10.0
    ) -> None:
        self._rng = Random(seed)
        self._rate_hz = rate_hz * (1 + ppm * 1e-6)
        self._first_dropout_s, self._stalls = first_s if dropouts else float("inf"), stalls
        self.lost = 0

    def arrivals(self, until_s: float) -> Iterator[tuple[float, list[Event]]]:
        """Give the seconds since the beginning, and the events that arrive then."""
        rng, at_s, sent, seconds = self._rng, 0.0, 0, 0
        silent_until_s = stalled_until_s = 0.0
        next_dropout_s = self._first_dropout_s
        waiting: list[Event] = []
        while at_s < until_s:
            at_s += rng.choice((0.006, 0.009, 0.02))
            n = int(at_s * self._rate_hz) - sent
            sent += n
            if at_s >= next_dropout_s:
                silent_until_s = at_s + rng.uniform(0.3, 5)
                next_dropout_s = silent_until_s + rng.uniform(1.5, 12)
                next_dropout_s = next_dropout_s if next_dropout_s < until_s - 10 else float("inf")
            if at_s < silent_until_s:
                self.lost += n
            else:
                waiting.append(Raw((1,) * n))
                if int(at_s) > seconds:
                    waiting.append(SECOND)
            seconds = int(at_s)
            if self._stalls and rng.random() < 0.002 and at_s < until_s - 10:
                stalled_until_s = at_s + rng.uniform(0.1, 1.5)
            if waiting and at_s >= stalled_until_s:
                yield at_s, waiting
                waiting = []


@pytest.mark.parametrize("rate_hz", [250, 512])
@pytest.mark.parametrize(
    ("dropouts", "stalls", "ppm"),
    [(True, False, 0), (True, True, 0), (False, True, 0), (True, True, 100), (False, False, -100)],
)
def test_samples_that_never_came_are_counted(rate_hz, dropouts, stalls, ppm):
    """Over ten minutes the number of the last sample says when it was measured, within 0.15 s."""
    line, stream = Line(rate_hz + ppm, rate_hz, dropouts=dropouts, stalls=stalls, ppm=ppm), Stream(Owner())
    blocks: list[RawBlock] = []
    for at_s, events in line.arrivals(600):
        messages = stream.on_events(events, BEGAN + timedelta(seconds=at_s), 5000 + at_s)
        blocks += [message for message in messages if isinstance(message, RawBlock)]
    blocks += [message for message in stream.end() if isinstance(message, RawBlock)]
    last = blocks[-1]
    assert (last.first_sample + len(last.samples)) / rate_hz == pytest.approx(600, abs=0.15)
    assert [block.seq for block in blocks] == list(range(len(blocks)))
    assert stream.counters["raw_samples_missing"] == pytest.approx(line.lost, abs=0.15 * rate_hz)
    assert bool(line.lost) == dropouts
    ends = [(block.first_sample + len(block.samples)) / rate_hz for block in blocks]
    times = [(block.time - BEGAN).total_seconds() for block in blocks]
    assert max(end - time for end, time in zip(ends, times, strict=True)) < 0.15
    if not stalls:
        assert max(time - end for end, time in zip(ends, times, strict=True)) < 0.15


@pytest.mark.parametrize(("rate_hz", "first_s"), [(250, 0.4), (256, 3.2), (512, 1.7), (512, 5.1)])
def test_samples_lost_before_the_rate_is_known_are_counted(rate_hz, first_s):
    """A dropout in the first seconds is counted as soon as the rate is known."""
    line, stream = Line(rate_hz, rate_hz, dropouts=True, stalls=False, first_s=first_s), Stream(Owner())
    blocks: list[RawBlock] = []
    for at_s, events in line.arrivals(60):
        messages = stream.on_events(events, BEGAN + timedelta(seconds=at_s), 5000 + at_s)
        blocks += [message for message in messages if isinstance(message, RawBlock)]
    blocks += [message for message in stream.end() if isinstance(message, RawBlock)]
    last = blocks[-1]
    assert last.rate_hz == rate_hz
    assert (last.first_sample + len(last.samples)) / rate_hz == pytest.approx(60, abs=0.15)


def test_samples_lost_one_by_one_are_counted():
    """Now more, now fewer: there is no pause, but the time goes on."""
    stream, rng = Stream(Owner()), Random(1)
    blocks: list[RawBlock] = []
    share = 0.0
    for hundredth in range(6000):
        at_s = hundredth / 100
        share = rng.uniform(0.02, 0.3) if at_s > 20 and hundredth % 100 == 0 else share
        events: list[Event] = [Raw((1,) * sum(rng.random() >= share for _ in range(5)))]
        events += [SECOND] if hundredth % 100 == 99 else []
        messages = stream.on_events(events, BEGAN + timedelta(seconds=at_s), at_s)
        blocks += [message for message in messages if isinstance(message, RawBlock)]
    last = [*blocks, *stream.end()][-1]
    assert isinstance(last, RawBlock)
    assert (last.first_sample + len(last.samples)) / 500 == pytest.approx(60, abs=0.5)


def test_a_gap_is_where_the_samples_were_lost_whatever_arrives_before_it_is_known():
    """Only samples tell what is missing: half a frame, or a frame of a second alone, let nothing go that is held."""
    stream = Stream(Owner())
    blocks: list[RawBlock] = []
    for n in range(400):
        at_s = n / 16 if n < 320 else n / 16 + 2  # two seconds are lost after 20
        events: list[Event] = [Raw((1 if n < 320 else 2,) * 32)]
        for arrived in (events, [SECOND] if n % 16 == 15 else []):
            messages = stream.on_events(arrived, BEGAN + timedelta(seconds=at_s), at_s)
            blocks += [message for message in messages if isinstance(message, RawBlock)]
    after = next(block for block in blocks if 2 in block.samples)
    assert 1 not in after.samples
    assert after.first_sample == pytest.approx(320 * 32 + 1024, abs=64)


def test_without_a_steady_clock_only_the_bytes_count():
    stream = Stream(Owner())
    for _ in range(20):
        stream.on_events([Raw((1,) * 512), SECOND], BEGAN)
    assert stream.counters["raw_samples_missing"] == 0
