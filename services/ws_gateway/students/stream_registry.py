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

from neuroone.contract.messages import Kind, ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.identity import Identity
from ws_gateway.students.student import Who

FORGET_AFTER: Final = timedelta(hours=24)
"""A student's state is cleared so long after the end: until then the day's lessons can be looked at."""
STATES_MAX: Final = 50_000
"""States that are known; the one unchanged for longest is forgotten first. About 25 MB."""

Key = tuple[str, str]
"""Group and source."""


@dataclass(frozen=True, slots=True)
class _State:
    """What matters here of a stream's state: ``who`` is None for a headset, ``owner`` is a service's instance."""

    status: StreamStatus
    session: str
    who: Who | None
    time: datetime
    owner: tuple[str, str]


class StreamRegistry:
    """The last state of every stream of every service. ``identity`` is this gateway's."""

    def __init__(self, identity: Identity) -> None:
        self._ours = (identity.service, identity.instance)
        self._states: OrderedDict[Key, _State] = OrderedDict()
        self._by_session: dict[str, Key] = {}
        self._by_name: dict[str, Key] = {}
        self._online = {self._ours}

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: Key) -> bool:
        return key in self._states

    def on_state(self, topic: Topic, state: StreamState) -> None:
        """Remember a stream's state."""
        key = (topic["group"], topic["source"])
        self._forget(key)
        self._by_session[state.session] = key
        if state.kind is Kind.CLIENT and state.name is not None:
            self._by_name[state.name] = key
        self._states[key] = _State(
            state.status,
            state.session,
            (state.name, state.code) if state.kind is Kind.CLIENT else None,
            state.time,
            (sys.intern(state.service), sys.intern(state.instance)),  # thousands of states have the same owner
        )
        if len(self._states) > STATES_MAX:
            self._forget(next(iter(self._states)))

    def on_state_cleared(self, topic: Topic) -> None:
        """Forget a state that was cleared on the broker."""
        self._forget((topic["group"], topic["source"]))

    def on_service(self, topic: Topic, state: ServiceState) -> None:
        """Remember whether a service is online."""
        service = (topic["service"], topic["instance"])
        if state.status is ServiceStatus.ONLINE:
            self._online.add(service)
        elif service != self._ours:
            self._online.discard(service)

    def is_elsewhere(self, key: Key, session: str) -> bool:
        """Return True if another service that is online has this stream, in a session other than this one.

        A stream that its service calls offline is free; so a phone that came to another gateway gets it back.
        """
        state = self._states.get(key)
        if state is None or state.session == session or state.status is StreamStatus.OFFLINE:
            return False
        return state.owner != self._ours and state.owner in self._online

    def is_silent(self, key: Key) -> bool:
        """Return True if the service that has this stream says that it has gone silent."""
        state = self._states.get(key)
        return state is not None and state.status is StreamStatus.STALE

    def stream_of(self, session: str) -> tuple[Key, Who | None] | None:
        """Return the stream of a session, and who began it, if that is the last session of its stream."""
        key = self._by_session.get(session)
        return None if key is None else (key, self._states[key].who)

    def who_has(self, key: Key) -> Who | None:
        """Return the student of a stream."""
        state = self._states.get(key)
        return None if state is None else state.who

    def last_of(self, name: str) -> Key | None:
        """Return the stream of this name whose state came last."""
        return self._by_name.get(name)

    def was_there(self, key: Key, since: datetime) -> bool:
        """Return True if the student of a stream is there, or has left since a time."""
        state = self._states.get(key)
        return state is not None and (state.status is not StreamStatus.OFFLINE or state.time >= since)

    def outdated(self, now: datetime) -> Iterator[Key]:
        """Iterate over group and source of the students, of any gateway, whose states are to be cleared."""
        for key, state in self._states.items():
            has_left = state.status is StreamStatus.OFFLINE or state.owner not in self._online
            if has_left and state.owner[0] == self._ours[0] and now - state.time >= FORGET_AFTER:
                yield key

    def _forget(self, key: Key) -> None:
        state = self._states.pop(key, None)
        if state is None:
            return
        if self._by_session.get(state.session) == key:
            del self._by_session[state.session]
        if state.who is not None and state.who[0] is not None and self._by_name.get(state.who[0]) == key:
            del self._by_name[state.who[0]]
