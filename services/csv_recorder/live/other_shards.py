"""Leave the streams of other shards to their recorders, and notice recorders that divide the work in another way."""

from collections.abc import Callable
from typing import Final

from neuroone.contract.errors import ContractError
from neuroone.contract.messages import Health, ServiceState, ServiceStatus
from neuroone.contract.shards import Shard, shard_from
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity

SETTLED_S: Final = 12.0
"""A recorder that is here for so long stays, and answers the birth of one that has just come with a fault: that one
leaves. Of two that have just come, the one with fewer shards leaves."""
FIRST_WAIT_S: Final = 0.5
"""For that answer, before the first reading is accepted."""


class OtherShards:
    """Compare the shards of other recorders of the site with our own.

    ``leave`` is called with what is wrong if this recorder has just come. Otherwise ``report`` gets what is wrong, or
    None once it is over: it goes into our state, which is the answer to one that has just come. Only a state that is
    not retained says that a recorder is here, or its health, for one of a version before shards answers nothing: a
    retained state may be that of a dead run.
    """

    def __init__(self, identity: Identity, leave: Callable[[str], None], report: Callable[[str | None], None]) -> None:
        self._identity = identity
        self._leave = leave
        self._report = report
        self._first_link_s = float("inf")
        self._others: set[str] = set()
        self._suspects: dict[str, ServiceState] = {}
        """The retained states of recorders, perhaps of dead ones, that divide the work in another way, by instance."""
        self.dropped = 0
        """Messages for recorders of other shards."""

    def next_batch(self, arrived: list[Delivery], most: int) -> tuple[list[Delivery], list[Delivery]]:
        """Return what is to be acknowledged next, and what of it, about so many, is to be recorded here.

        The topic says it: what is another recorder's is not even parsed.
        """
        shard = self._identity.shard
        if shard is None:
            batch = arrived[:most]
            return batch, batch
        batch = arrived[: most * shard.of]
        return batch, [each for each in batch if shard.includes_topic(each.topic)]

    def on_link(self, now_s: float) -> None:
        """Note the first connection to the broker."""
        self._first_link_s = min(self._first_link_s, now_s)

    def is_answered(self, now_s: float, *, has_states: bool) -> bool:
        """Return True once the others had their time to answer.

        A recorder of all streams does not wait if the broker has sent its states, and none is of another division.
        """
        if now_s >= self._first_link_s + FIRST_WAIT_S:
            return True
        return has_states and self._identity.shard is None and not self._suspects

    def on_delivery(self, delivery: Delivery, now_s: float) -> None:
        """Look at the state of another recorder, or at the health of one whose state is retained."""
        try:
            topic, message = delivery.open()
        except ContractError:
            return
        instance, own = topic.ids[-1], self._identity
        before = self._suspects.pop(instance, None) if instance != own.instance else None
        state = before if isinstance(message, Health) else message
        if not isinstance(state, ServiceState) or instance == own.instance:
            return
        shard = shard_from(state.shard, state.shards)
        differs = state.status is ServiceStatus.ONLINE and _count(shard) != _count(own.shard)
        if differs and delivery.retained:
            self._suspects[instance] = state
        elif differs:
            self._others.add(instance)
            words = (
                f"the recorder {instance} records {shard or 'all streams'}, this one {own.shard or 'all streams'}: "
                "stop those that divide the work in another way"
            )
            is_new = now_s < self._first_link_s + SETTLED_S and state is message
            if is_new and (state.fault is not None or _count(shard) > _count(own.shard)):
                self._leave(words)
            else:
                self._report(words)
        elif instance in self._others:
            self._others.discard(instance)
            if not self._others:
                self._report(None)


def _count(shard: Shard | None) -> int:
    """Return among how many recorders the work is divided; 0 for one that records all."""
    return 0 if shard is None else shard.of
