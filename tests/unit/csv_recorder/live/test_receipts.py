"""Receipts while the broker is there and while it is not."""

import math

import pytest

from csv_recorder.live import receipts as module
from csv_recorder.live.receipts import AGAIN_S, Receipts
from neuroone.contract.messages import RECORDED_STREAMS_MAX, Recorded, RecordedStream

WITHIN_S = 2.0
"""The time between two receipts of a stream."""


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.is_linked = True
        self.published: list[Recorded] = []
        self.receipts = Receipts(self.publish, lambda: self.now_s)

    def publish(self, message: Recorded) -> bool:
        if self.is_linked:
            self.published.append(message)
        return self.is_linked

    def record(self, *streams: tuple[str, int]) -> None:
        self.receipts.add(
            (
                RecordedStream(group="A", source=source, session="s", seq=seq, rows=seq + 1, duplicates=0, gaps=0)
                for source, seq in streams
            ),
            WITHIN_S,
        )
        self.receipts.send()

    def is_back(self) -> None:
        self.is_linked = True
        self.receipts.on_link(True)
        self.receipts.send()

    def seqs(self) -> list[tuple[str, int]]:
        return [(each.source, each.seq) for message in self.published for each in message.streams]


@pytest.fixture
def world() -> World:
    return World()


def test_the_last_receipt_of_an_ended_stream_comes_after_the_link_is_back(world: World) -> None:
    world.record(("Ana", 0))
    world.is_linked = False
    world.record(("Ana", 1), ("Bia", 0))
    world.record(("Bia", 1))
    world.published.clear()
    world.is_back()
    assert sorted(world.seqs()) == [("Ana", 1), ("Bia", 1)]
    world.receipts.send()
    assert len(world.published) == 1


def test_what_a_lost_connection_may_have_swallowed_is_published_again(world: World) -> None:
    world.record(("Ana", 7))
    world.receipts.on_link(False)
    world.receipts.on_link(True)
    world.receipts.send()
    assert world.seqs() == [("Ana", 7), ("Ana", 7)]


def test_old_receipts_that_were_published_are_forgotten(world: World) -> None:
    world.record(("Ana", 7))
    world.now_s = AGAIN_S + 1
    world.record(("Bia", 0))
    world.receipts.on_link(True)
    world.receipts.send()
    assert world.seqs() == [("Ana", 7), ("Bia", 0), ("Bia", 0)]


def test_the_number_of_streams_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAMS_MAX", 2)
    world.is_linked = False
    world.record(("Ana", 0), ("Bia", 0), ("Caio", 0))
    world.is_back()
    assert world.seqs() == [("Bia", 0), ("Caio", 0)]


def test_messages_hold_what_the_contract_allows_and_are_spread_over_the_time_to_the_next(world: World) -> None:
    world.record(*((f"s{number}", 0) for number in range(2 * RECORDED_STREAMS_MAX + 1)))
    sent_at_s = [0.0]
    while world.receipts.due_s < math.inf:
        world.now_s = world.receipts.due_s
        sent_at_s.append(world.now_s)
        world.receipts.send()
    assert [len(message.streams) for message in world.published] == [RECORDED_STREAMS_MAX, RECORDED_STREAMS_MAX, 1]
    assert sent_at_s == pytest.approx([0.0, WITHIN_S / 3, 2 * WITHIN_S / 3])


def test_messages_that_a_busy_recorder_is_late_with_are_made_up_for(world: World) -> None:
    world.record(*((f"s{number}", 0) for number in range(10 * RECORDED_STREAMS_MAX)))
    world.now_s += WITHIN_S / 2
    world.receipts.send()
    assert len(world.published) == 6


def test_without_a_connection_the_next_try_waits_and_the_end_does_not(world: World) -> None:
    world.is_linked = False
    world.record(*((f"s{number}", 0) for number in range(RECORDED_STREAMS_MAX + 1)))
    assert world.receipts.due_s == world.now_s + WITHIN_S
    world.is_linked = True
    world.receipts.send_all()
    assert len(world.published) == 2
    assert world.receipts.due_s == math.inf
