"""A recording that is played: its clock, and what is in the plots."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor_gui.feed import StreamId
from monitor_gui.playing.playback import Playback
from monitor_gui.playing.recording import About, Recording
from neuroone.contract.messages import RawBlock, StreamStatus
from tests.support import messages

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
STREAM = StreamId("ABC", "h1")


class Played:
    """A recording of ten minutes, played by a clock that the test moves."""

    def __init__(self, seconds: int = 600) -> None:
        self.now_s = 1000.0
        self.recording = Recording(About(Path("x.capture"), STREAM, "x"))
        for n in range(seconds):
            time = BEGAN + timedelta(seconds=n)
            self.recording.add(n, messages.reading(seq=n, time=time, attention=n % 100))
            block = RawBlock(session="s", seq=n, time=time, first_sample=64 * n, rate_hz=64, samples=(n,) * 64)
            self.recording.add(n, block)
        self.recording.is_read = True
        self.playback = Playback(self.recording, lambda: self.now_s)

    def after(self, seconds: float) -> int | None:
        """Let time pass; return the seq of the latest reading."""
        self.now_s += seconds
        with self.playback.watched(STREAM) as watched:
            return None if watched.history.latest is None else watched.history.latest.seq


@pytest.fixture
def played() -> Played:
    return Played()


def test_time_runs_as_it_was_recorded_or_faster(played: Played) -> None:
    assert played.after(0) == 0
    assert played.after(10.5) == 10
    played.playback.set_speed(4)
    assert played.after(5) == 30
    played.playback.run(False)
    assert played.after(100) == 30
    played.playback.run(True)
    assert played.after(0.5) == 32


def test_a_jump_fills_the_plots_with_what_came_before(played: Played) -> None:
    for position_s in (300.0, 30.0, 599.0):
        played.playback.seek(position_s)
        assert played.after(0) == position_s
        with played.playback.watched(STREAM) as watched:
            end_s = position_s + watched.history.offset_s
            assert end_s == (BEGAN + timedelta(seconds=position_s)).timestamp()
            assert len(watched.history.readings(end_s - 120, end_s)) == min(121, position_s + 1)
            assert watched.history.raw(end_s - 10, end_s).counts[-1] == position_s


def test_the_end_stops_or_begins_again(played: Played) -> None:
    assert played.after(700) == 599
    assert not played.playback.is_running
    assert played.playback.clock() == 599
    played.playback.run(True)
    assert played.after(1) == 1
    played.playback.is_looped = True
    played.after(700)
    assert played.playback.is_running
    assert played.after(2.5) == 2


def test_a_part_that_is_not_read_yet_is_waited_for(played: Played) -> None:
    played.recording.is_read = False
    assert played.after(700) == 599
    assert played.playback.is_running
    played.recording.add(600, messages.reading(seq=600, time=BEGAN + timedelta(seconds=600)))
    assert played.after(1) == 600


def test_hours_that_nobody_looked_are_skipped_at_once() -> None:
    played = Played(seconds=3000)
    assert played.after(2500) == 2500
    with played.playback.watched(STREAM) as watched:
        assert watched.history.counters["readings"] < 200


def test_the_status_is_that_of_the_position_and_nothing_is_published(played: Played) -> None:
    assert played.playback.status(STREAM, None) is StreamStatus.ONLINE
    assert played.playback.status(STREAM, 5.0) is StreamStatus.STALE
    assert not played.playback.publish_marker(STREAM, BEGAN, "x")
    state, owner = played.playback.state(STREAM)
    assert state is not None
    assert (state.name, owner) == ("x", None)
