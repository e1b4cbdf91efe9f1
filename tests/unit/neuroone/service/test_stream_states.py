"""Tests of the rules for the retained state of streams."""

from datetime import timedelta

from neuroone.contract.messages import StreamStatus
from neuroone.mqtt.identity import Identity
from neuroone.service.stream_states import clear_orphan, status_after
from tests.support.messages import NOON, stream_state

ME = Identity("local", "serial_bridge", "bench-1", "0.1.0", epoch=2_000, run="now")


def test_a_dead_run_of_ours_is_cleared() -> None:
    """Its clock does not matter; a state of an earlier version, which names no run, is cleared too."""
    now = NOON + timedelta(hours=1)
    for dead in (stream_state(epoch=9_000, run="before"), stream_state(epoch=1_000)):
        cleared = clear_orphan(dead, ME, now)
        assert cleared == stream_state(epoch=2_000, run="now", status=StreamStatus.OFFLINE, time=now)


def test_other_states_are_not_cleared() -> None:
    """Those of this run, those of another owner, and those that are offline already."""
    for state in (
        stream_state(run="now"),
        stream_state(epoch=1_000, instance="bench-2"),
        stream_state(epoch=1_000, service="ws_gateway"),
        stream_state(epoch=1_000, status=StreamStatus.OFFLINE),
    ):
        assert clear_orphan(state, ME, NOON) is None


def test_silence_makes_a_stream_stale_and_then_offline() -> None:
    assert [status_after(silent_s) for silent_s in (0, 2.9, 3, 9.9, 10)] == [
        StreamStatus.ONLINE,
        StreamStatus.ONLINE,
        StreamStatus.STALE,
        StreamStatus.STALE,
        StreamStatus.OFFLINE,
    ]
