"""What the retained states on the broker say: which streams others have, and which may be forgotten.

Several gateways and bridges share one broker. A student who joins here must not get a stream that another service has;
and the state of one who left long ago must not stay for ever: it has a child's name.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from neuroone.contract.messages import ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.identity import Identity

FORGET_AFTER: Final = timedelta(hours=24)
"""A student's state is taken off the broker so long after the end: the day's lessons can be looked at until then."""
STATES_MAX: Final = 50_000
"""StreamRegistry that are known, the longest unchanged left out first: about 20 MB."""


@dataclass(frozen=True, slots=True)
class _State:
    is_offline: bool
    session: str
    time: datetime
    owner: tuple[str, str]


class StreamRegistry:
    """The last state of every stream, whoever has it. ``identity`` is this gateway's."""

    def __init__(self, identity: Identity) -> None:
        self._service = identity.service
        self._ours = (identity.service, identity.instance)
        self._states: OrderedDict[tuple[str, str], _State] = OrderedDict()
        self._online = {self._ours}

    def __len__(self) -> int:
        return len(self._states)

    def take_state(self, topic: Topic, state: StreamState) -> None:
        """A stream's state came from the broker."""
        self.take_forgotten(topic)
        self._states[topic["group"], topic["source"]] = _State(
            state.status is StreamStatus.OFFLINE, state.session, state.time, (state.service, state.instance)
        )
        if len(self._states) > STATES_MAX:
            self._states.popitem(last=False)

    def take_forgotten(self, topic: Topic) -> None:
        """A stream's state was taken off the broker."""
        self._states.pop((topic["group"], topic["source"]), None)

    def take_service(self, topic: Topic, state: ServiceState) -> None:
        """Another service came or went."""
        service = (topic["service"], topic["instance"])
        if state.status is ServiceStatus.ONLINE:
            self._online.add(service)
        elif service != self._ours:
            self._online.discard(service)

    def has_another(self, group: str, source: str, session: str) -> bool:
        """Whether another service that is there has the stream, in a session other than this one."""
        state = self._states.get((group, source))
        if state is None or state.is_offline or state.session == session:
            return False
        return state.owner != self._ours and state.owner in self._online

    def outdated(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Group and source of students that left so long ago, from any gateway, that they are to be forgotten."""
        for stream, state in self._states.items():
            has_left = state.is_offline or state.owner not in self._online
            if has_left and state.owner[0] == self._service and now - state.time >= FORGET_AFTER:
                yield stream
