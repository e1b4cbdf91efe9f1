"""The readings and raw samples that the monitor keeps."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numpy")
from monitor_gui.history import COLUMNS, RAW_MAX, RAW_TAIL_MAX, READINGS_MAX, History, Ring
from neuroone.contract.doubt import DOUBTS, Doubt
from neuroone.contract.messages import RawBlock, Reading
from tests.support import messages

NOON_S = messages.NOON.timestamp()


def reading(seq: int, at_s: float | None = None, **changes: Any) -> Reading:
    """The reading number ``seq``, ``at_s`` seconds after noon."""
    at = messages.NOON + timedelta(seconds=seq if at_s is None else at_s)
    return messages.reading(seq=seq, time=at, **changes)


def block(first: int, end_s: float, count: int = 64, session: str = "a", **changes: Any) -> RawBlock:
    """Samples numbered from ``first``, each with its number as value."""
    changes = {"rate_hz": 512, **changes}
    return RawBlock(
        session=session,
        seq=first // 64,
        time=messages.NOON + timedelta(seconds=end_s),
        first_sample=first,
        samples=tuple(n % 2000 for n in range(first, first + count)),
        **changes,
    )


def test_a_ring_keeps_the_last_rows_in_order() -> None:
    ring = Ring(5, 1)
    for portion in (3, 4, 2, 9):
        ring.append(np.arange(ring.total, ring.total + portion, dtype=float)[:, np.newaxis])
    assert ring.last(5)[:, 0].tolist() == [13, 14, 15, 16, 17]
    assert len(ring.last(99)) == 5


def test_a_period_gives_its_readings_with_every_column() -> None:
    history = History()
    for seq in range(10):
        history.add_reading(reading(seq), float(seq))
    rows = history.readings(NOON_S + 3, NOON_S + 5)
    assert rows[:, 0].tolist() == [NOON_S + 3, NOON_S + 4, NOON_S + 5]
    assert rows.shape[1] == len(COLUMNS)
    assert rows[0, COLUMNS.index("attention")] == 85


def test_a_repeated_reading_is_dropped_and_lost_ones_are_counted() -> None:
    """QoS 1 may deliver again; a jump of seq is a loss."""
    history = History()
    for seq in (0, 1, 1, 0, 4):
        history.add_reading(reading(seq), float(seq))
    assert history.counters["readings"] == 3
    assert history.counters["readings_twice"] == 2
    assert history.counters["readings_lost"] == 2


def test_a_new_session_breaks_the_lines() -> None:
    """A row of NaN between two sessions makes the gap."""
    history = History()
    history.add_reading(reading(7, 0), 0.0)
    history.add_reading(reading(0, 1, session="other"), 1.0)
    attention = history.readings(NOON_S, NOON_S + 2)[:, COLUMNS.index("attention")]
    assert np.isnan(attention).tolist() == [False, True, False]


def test_a_frozen_reading_makes_the_same_ones_before_it_doubtful() -> None:
    """They had no doubt when they came. A gap of the network and poor contact between them change nothing."""
    history = History()
    honest = [reading(seq, delta=1000 + seq) for seq in range(3)]
    same = [reading(seq, seq + 20 * (seq > 6), poor_signal=26 if seq == 5 else None) for seq in range(3, 9)]
    for number, each in enumerate([*honest, *same]):
        history.add_reading(each, float(number))
    rows = history.readings(NOON_S, NOON_S + 100)
    doubts = [None if np.isnan(code) else DOUBTS[int(code)] for code in rows[:, COLUMNS.index("doubt")]]
    frozen, quality = Doubt.FROZEN, Doubt.NO_QUALITY
    assert doubts == [*[quality] * 3, frozen, frozen, Doubt.POOR_CONTACT, frozen, None, frozen, frozen]
    assert history.doubt is frozen


def test_raw_samples_have_their_own_times() -> None:
    """The last sample of a block has the block's time; the rate gives the times of the others."""
    history = History()
    for number in range(16):
        history.add_raw(block(64 * number, (number + 1) / 8), (number + 1) / 8)
    span = history.raw(NOON_S, NOON_S + 2)
    assert span.counts[-1] == 1023
    assert span.time_s[-1] == pytest.approx(NOON_S + 2)
    assert np.diff(span.time_s) == pytest.approx(1 / 512)


def test_the_sampling_rate_is_known_once_it_is_measured() -> None:
    """It gives also the samples before it their times; a new session of the same headset keeps them."""
    history = History()
    history.add_raw(block(0, 0.25, measured_hz=None), 0.25)
    assert history.raw_rate_hz is None
    history.add_raw(block(64, 0.5, rate_hz=256, measured_hz=256), 0.5)
    assert history.raw_rate_hz == 256
    assert np.diff(history.raw(NOON_S, NOON_S + 1).time_s) == pytest.approx(1 / 256)
    history.add_raw(block(0, 1.0, session="b", measured_hz=None), 1.0)
    assert history.raw_rate_hz is None
    assert np.isfinite(history.raw(NOON_S, NOON_S + 1).counts).sum() == 192
    history.add_raw(block(64, 1.25, session="b", rate_hz=257, measured_hz=257), 1.25)
    assert np.isfinite(history.raw(NOON_S, NOON_S + 2).counts).sum() == 256


def test_a_rate_that_the_sender_does_not_measure_is_taken_as_it_says() -> None:
    history = History()
    assert history.raw_rate_hz is None
    history.add_raw(block(0, 0.25, rate_hz=250), 0.25)
    assert history.raw_rate_hz == 250


def test_samples_of_another_sampling_rate_are_another_series() -> None:
    history = History()
    history.add_raw(block(0, 0.125, measured_hz=512), 0.125)
    series = history.raw_tail(-1, 0).series
    history.add_raw(block(64, 0.5, session="b", rate_hz=250, measured_hz=250), 0.5)
    tail = history.raw_tail(series, 64)
    assert (tail.series, tail.rate_hz, tail.first, tail.counts.tolist()) == (series + 1, 250, 0, list(range(64, 128)))


def test_a_tail_has_what_came_since_and_begins_with_what_is_still_kept() -> None:
    history = History()
    history.add_raw(block(0, 0.125), 0.125)
    history.add_raw(block(64, 0.25), 0.25)
    series = history.raw_tail(-1, 0).series
    tail = history.raw_tail(series, 100)
    assert (tail.first, tail.counts.tolist()) == (100, list(range(100, 128)))
    history.add_raw(block(10**9, 10.0), 10.0)
    assert history.raw_tail(series, 100).first == 128
    assert len(history.raw_tail(series, 0).counts) == RAW_TAIL_MAX


def test_lost_raw_samples_leave_a_gap_and_are_counted() -> None:
    """The gap is as long on the screen as it was in time."""
    history = History()
    history.add_raw(block(0, 0.125), 0.125)
    history.add_raw(block(256, 0.625), 0.625)
    span = history.raw(NOON_S, NOON_S + 1)
    assert np.isnan(span.counts).sum() == 192
    assert history.counters["raw_lost"] == 192


def test_memory_is_bounded() -> None:
    history = History()
    for seq in range(READINGS_MAX + 10):
        history.add_reading(reading(seq), float(seq))
    history.add_raw(block(0, 0.125), 0.125)
    history.add_raw(block(10**9, 10.0), 10.0)
    assert len(history.readings(0, NOON_S * 2)) == READINGS_MAX
    assert len(history.raw(0, NOON_S * 2).counts) <= RAW_MAX


def test_the_sender_s_clock_may_be_wrong() -> None:
    """The fastest message shows how far the sender's clock is off."""
    history = History()
    history.add_reading(reading(0, 0), 100.5)
    history.add_reading(reading(1, 1), 101.0)
    history.add_reading(reading(2, 2), 102.9)
    assert history.offset_s + 101.0 == pytest.approx(NOON_S + 1)
    assert history.age_s(104.9) == pytest.approx(2.0)
