"""Receipts while the broker is there and while it is not."""

import pytest

from csv_recorder.live import receipts as module
from csv_recorder.live.receipts import AGAIN_S, Receipts
from neuroone.contract.messages import RECORDED_STREAMS_MAX, Recorded, RecordedStream


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
            RecordedStream(group="A", source=source, session="s", seq=seq, rows=seq + 1, duplicates=0, gaps=0)
            for source, seq in streams
        )
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
    world.is_linked = True
    world.receipts.on_link(True)
    world.receipts.send()
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
    world.is_linked = True
    world.receipts.send()
    assert world.seqs() == [("Bia", 0), ("Caio", 0)]


def test_a_message_holds_no_more_streams_than_the_contract_allows(world: World) -> None:
    world.is_linked = False
    for number in range(RECORDED_STREAMS_MAX + 1):
        world.record((f"s{number}", 0))
    world.is_linked = True
    world.receipts.send()
    assert [len(message.streams) for message in world.published] == [RECORDED_STREAMS_MAX, 1]
