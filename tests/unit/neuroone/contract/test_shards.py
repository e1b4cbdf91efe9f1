"""Which recorder a stream is of, when several share the work."""

import pytest

from neuroone.contract import shards, topics
from neuroone.contract.shards import Shard


@pytest.mark.parametrize(
    ("group", "source", "numbers"),
    [
        ("ABC123", "Joao_Silva", [1, 2, 1, 2, 6]),
        ("ABC123", "Joao_Silva-2", [1, 2, 1, 2, 6]),
        ("no-group", "usb-0", [1, 1, 3, 1, 13]),
        ("5KXPVN", "Maria", [1, 1, 3, 3, 15]),
        ("6B", "Jo-o-1a2b3c", [1, 1, 1, 3, 11]),
    ],
)
def test_the_hash_never_changes(group: str, source: str, numbers: list[int]) -> None:
    """Another hash would leave streams to recorders that do not know what is recorded of them.

    Namesakes are of one shard: a student may come back under another number.
    """
    for of, expected in zip((1, 2, 3, 4, 16), numbers, strict=True):
        found = [number for number in range(1, of + 1) if Shard(number, of).includes(group, source)]
        assert found == [expected]
        for topic in (topics.reading, topics.raw, topics.stream_state):
            assert Shard(expected, of).includes_topic(str(topic("local", group, source)))


def test_what_is_of_no_stream_is_of_every_shard() -> None:
    for topic in (topics.event("local", topics.ALL), topics.lesson("local", "6B"), topics.recorded("local", "main")):
        assert all(Shard(number, 5).includes_topic(str(topic)) for number in range(1, 6))


def test_streams_spread_evenly() -> None:
    shard = Shard(2, 4)
    mine = sum(shard.includes(f"g{number % 40}", f"student{number}") for number in range(4000))
    assert 900 < mine < 1100


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "1/0", "1/100", "a/b", "1/2/3", "-1/2", "1/\u0664x"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like 1/3"):
        Shard.parse(text)


def test_a_shard_is_the_inverse_of_its_text() -> None:
    assert Shard.parse("2/3") == Shard(2, 3)
    assert str(Shard(2, 3)) == "2/3"


def test_the_shards_without_a_recorder_are_named() -> None:
    one, two, three = (Shard(number, 3) for number in (1, 2, 3))
    assert shards.missing({one, three}) == [two]
    assert shards.missing({one, two, three}) == []
    assert shards.missing({one, None}) == []
    assert shards.missing(set()) == []
    assert shards.missing({one, Shard(1, 2), Shard(2, 2)}) == []
