"""Know the retained states on the broker: which streams other services have, and which states are to be cleared.

Several gateways and bridges share one broker. A student who joins here must not get a stream that another service has.
The state of a student who left long ago must not stay for ever: it holds a child's name.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from neuroone.contract.messages import ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.identity import Identity

FORGET_AFTER: Final = timedelta(hours=24)
"""A student's state is cleared so long after the end: until then the day's lessons can be looked at."""
STATES_MAX: Final = 50_000
"""States that are known; the one unchanged for longest is forgotten first. About 20 MB."""


@dataclass(frozen=True, slots=True)
class _State:
    """What matters here of a stream's state: ``session`` is None if it is offline, ``owner`` a service's instance."""

    session: str | None
    time: datetime
    owner: tuple[str, str]


class StreamRegistry:
    """The last state of every stream of every service. ``identity`` is this gateway's."""

    def __init__(self, identity: Identity) -> None:
        self._ours = (identity.service, identity.instance)
        self._states: OrderedDict[tuple[str, str], _State] = OrderedDict()
        self._online = {self._ours}

    def __len__(self) -> int:
        return len(self._states)

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Remember a stream's state."""
        self.on_state_cleared(topic)
        self._states[topic["group"], topic["source"]] = _State(
            None if state.status is StreamStatus.OFFLINE else state.session,
            state.time,
            (sys.intern(state.service), sys.intern(state.instance)),  # thousands of states have the same owner
        )
        if len(self._states) > STATES_MAX:
            self._states.popitem(last=False)

    def on_state_cleared(self, topic: Topic) -> None:
        """Forget a state that was cleared on the broker."""
        self._states.pop((topic["group"], topic["source"]), None)

    def on_service(self, topic: Topic, state: ServiceState) -> None:
        """Remember whether a service is online."""
        service = (topic["service"], topic["instance"])
        if state.status is ServiceStatus.ONLINE:
            self._online.add(service)
        elif service != self._ours:
            self._online.discard(service)

    def is_elsewhere(self, group: str, source: str, session: str) -> bool:
        """Return True if another service that is online has this stream, in a session other than this one."""
        state = self._states.get((group, source))
        if state is None or state.session in (None, session):
            return False
        return state.owner != self._ours and state.owner in self._online

    def outdated(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Iterate over group and source of the students, of any gateway, whose states are to be cleared."""
        for stream, state in self._states.items():
            has_left = state.session is None or state.owner not in self._online
            if has_left and state.owner[0] == self._ours[0] and now - state.time >= FORGET_AFTER:
                yield stream
