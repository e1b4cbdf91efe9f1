"""What waits for a slow client."""

from ws_gateway.outlet import Backlog


def drain(backlog: Backlog) -> list[str]:
    return list(iter(backlog.pop, None))


def test_frames_keep_their_order():
    """A client that is only a little behind gets every frame."""
    backlog = Backlog(most=10)
    for frame in ("1", "2", "3"):
        backlog.put("a", frame)
    assert drain(backlog) == ["1", "2", "3"]


def test_beyond_the_bound_the_latest_of_each_stream_is_left():
    """A slow client skips what is old, never a student."""
    backlog = Backlog(most=3)
    for key, frame in (("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3"), ("c", "c1"), ("b", "b2")):
        backlog.put(key, frame)
    assert drain(backlog) == ["a3", "b2", "c1"]
    assert backlog.conflated == 3


def test_a_client_that_caught_up_gets_every_frame_again():
    """Skipping ends when nothing waits."""
    backlog = Backlog(most=1)
    backlog.put("a", "1")
    backlog.put("a", "2")
    assert drain(backlog) == ["2"]
    backlog.put("a", "3")
    assert (drain(backlog), len(backlog)) == (["3"], 0)
