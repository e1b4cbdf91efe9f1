"""Recorders that divide the streams in another way."""

from typing import Any

import pytest

from csv_recorder.live.other_shards import FIRST_WAIT_S, SETTLED_S, OtherShards
from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.contract.shards import Shard
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from tests.support.messages import GOLDEN


class World:
    """One recorder that was connected at 0 s; ``left`` and ``said`` are what it says of the others."""

    def __init__(self, shard: Shard | None) -> None:
        identity = Identity("local", "csv_recorder", f"shard-{shard and shard.number}", "1", 1, "r", shard)
        self.left: list[str] = []
        self.said: list[str | None] = []
        self.others = OtherShards(identity, self.left.append, self.said.append)
        self.others.on_link(0.0)

    def hear(
        self,
        instance: str,
        shard: Shard | None,
        now_s: float,
        *,
        is_online: bool = True,
        retained: bool = False,
        fault: str | None = None,
    ) -> None:
        named: dict[str, Any] = {} if shard is None else {"shard": shard.number, "shards": shard.of}
        status = ServiceStatus.ONLINE if is_online else ServiceStatus.OFFLINE
        state = ServiceState(status=status, version="1", epoch=1, connection=1, run="x", fault=fault, **named)
        topic = str(topics.service_state("local", "csv_recorder", instance))
        self.others.on_delivery(Delivery(topic, encode(state), retained, 0, 1), now_s)

    def hear_health(self, instance: str, now_s: float) -> None:
        topic = str(topics.health("local", "csv_recorder", instance))
        self.others.on_delivery(Delivery(topic, encode(GOLDEN["health"]), False, 0, 1), now_s)


@pytest.mark.parametrize(
    ("own", "other"), [(Shard(1, 2), Shard(3, 3)), (Shard(1, 2), None), (None, Shard(1, 2))], ids=str
)
def test_one_that_has_just_come_leaves_and_one_that_was_here_says_so(own: Shard | None, other: Shard | None) -> None:
    world = World(own)
    world.hear("other", other, 1.0, fault="the recorder divides the work in another way")
    assert len(world.left) == 1
    assert "other" in world.left[0]
    world = World(own)
    world.hear("other", other, SETTLED_S)
    assert (world.left, len(world.said)) == ([], 1)
    world.hear("other", other, SETTLED_S + 1, is_online=False)
    assert world.said[1:] == [None]


def test_one_of_a_version_before_shards_is_known_by_its_health() -> None:
    """It does not answer, and its retained state may be that of a dead run."""
    world = World(Shard(1, 2))
    world.hear("old", None, 1.0, retained=True)
    world.hear_health("another", 2.0)
    assert world.said == []
    for now_s in (2.0, 12.0):
        world.hear_health("old", now_s)
    assert (world.left, len(world.said)) == ([], 1)
    assert "the recorder old records all streams, this one 1/2" in str(world.said[0])
    world.hear("old", None, 20.0, is_online=False)
    assert world.said[1:] == [None]


def test_one_that_went_while_we_had_no_connection_is_no_fault_any_more() -> None:
    """Only its retained state says so then."""
    world = World(Shard(1, 2))
    world.hear("shard-3", Shard(3, 3), SETTLED_S)
    world.hear("shard-3", Shard(3, 3), SETTLED_S + 1, retained=True)
    assert len(world.said) == 1
    world.hear("shard-3", Shard(3, 3), SETTLED_S + 1, is_online=False, retained=True)
    assert world.said[1:] == [None]


def test_of_two_that_have_just_come_one_stays() -> None:
    fewer, more = World(Shard(1, 2)), World(Shard(3, 3))
    fewer.hear("shard-3", Shard(3, 3), 1.0)
    more.hear("shard-1", Shard(1, 2), 1.0)
    assert (len(fewer.left), len(more.left), len(more.said)) == (1, 0, 1)


def test_recorders_that_agree_and_dead_ones_are_no_fault() -> None:
    world = World(Shard(1, 2))
    world.hear("shard-2", Shard(2, 2), 1.0)
    world.hear("shard-3", Shard(3, 3), 1.0, retained=True)
    world.hear("shard-3", Shard(3, 3), 1.0, is_online=False)
    world.hear("shard-1", Shard(1, 3), 1.0)  # our own
    assert (world.left, world.said) == ([], [])


def test_only_its_own_streams_are_recorded_and_all_are_acknowledged() -> None:
    arrived = [
        Delivery(str(topics.reading("local", "ABC123", "Joao_Silva")), b"{", False, 1, 1),
        Delivery(str(topics.reading("local", "5KXPVN", "Maria")), b"{", False, 2, 1),
        Delivery(str(topics.event("local", topics.ALL)), b"{", False, 3, 1),
    ]
    batch, own = World(Shard(1, 2)).others.next_batch(arrived, 500)
    assert (batch, own) == (arrived, arrived[1:])
    batch, own = World(None).others.next_batch(arrived, 500)
    assert batch == own == arrived


def test_nothing_is_recorded_before_the_others_had_time_to_answer() -> None:
    world = World(Shard(1, 2))
    assert not world.others.is_answered(FIRST_WAIT_S - 0.1, has_states=True)
    assert world.others.is_answered(FIRST_WAIT_S, has_states=False)
    world = World(None)
    assert not world.others.is_answered(0.1, has_states=False)
    assert world.others.is_answered(0.1, has_states=True)
    world.hear("shard-1", Shard(1, 2), 0.1, retained=True)
    assert not world.others.is_answered(0.1, has_states=True)
    assert world.others.is_answered(FIRST_WAIT_S, has_states=True)
