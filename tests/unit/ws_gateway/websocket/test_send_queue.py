"""What waits for a slow client."""

from typing import cast

from websockets.frames import CloseCode

from tests.support.gateways import happens
from ws_gateway.websocket import send_queue
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.send_queue import Backlog, SendQueue


def drain(backlog: Backlog) -> list[str]:
    return list(iter(backlog.pop, None))


def test_frames_keep_their_order():
    """A client that is only a little behind gets every frame."""
    backlog = Backlog(most=10)
    for frame in ("1", "2", "3"):
        backlog.put("a", frame)
    assert drain(backlog) == ["1", "2", "3"]


def test_beyond_the_bound_only_the_latest_of_each_stream_is_kept():
    """A slow client skips what is old, never a student."""
    backlog = Backlog(most=3)
    for key, frame in (("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3"), ("c", "c1"), ("b", "b2")):
        backlog.put(key, frame)
    assert drain(backlog) == ["a3", "b2", "c1"]
    assert backlog.conflated == 3


def test_a_client_that_caught_up_gets_every_frame_again():
    backlog = Backlog(most=1)
    backlog.put("a", "1")
    backlog.put("a", "2")
    assert drain(backlog) == ["2"]
    backlog.put("a", "3")
    assert (drain(backlog), len(backlog)) == (["3"], 0)


class Pipe:
    """A connection with room, or without."""

    def __init__(self) -> None:
        self.is_open = True
        self.has_room = True
        self.sent: list[str] = []
        self.closed: list[int] = []

    def send(self, message: str) -> None:
        self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


async def test_frames_wait_for_room_and_go_out_in_order():
    pipe = Pipe()
    queue = SendQueue(cast(Connection, pipe))
    queue.send("a", "1")
    pipe.has_room = False
    queue.send("a", "2")
    queue.send("a", "3")
    assert pipe.sent == ["1"]
    pipe.has_room = True
    queue.send("a", "4")
    queue.resume()
    queue.send("a", "5")
    assert pipe.sent == ["1", "2", "3", "4", "5"]
    queue.stop()


async def test_a_client_that_takes_nothing_is_closed_with_try_again_later(monkeypatch):
    """A client that takes a little gets time again."""
    monkeypatch.setattr(send_queue, "STALLED_AFTER_S", 0.05)
    pipe = Pipe()
    queue = SendQueue(cast(Connection, pipe))
    pipe.has_room = False
    queue.send("a", "1")
    queue.resume()
    await happens(lambda: pipe.closed == [CloseCode.TRY_AGAIN_LATER])
    assert queue.was_too_slow


async def test_nothing_waits_for_a_closed_connection():
    pipe = Pipe()
    pipe.has_room = pipe.is_open = False
    queue = SendQueue(cast(Connection, pipe))
    queue.send("a", "1")
    pipe.has_room = True
    queue.resume()
    assert pipe.sent == []
