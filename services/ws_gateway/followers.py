"""Send one student's ten numbers once a second to silent clients whose address says `?follow=CODE/Name`.

docs/decisions/0039 says why it works like this.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from neuroone.contract import topics
from neuroone.contract.doubt import Doubt, Doubts
from neuroone.contract.messages import Reading
from neuroone.contract.students import name_key
from neuroone.contract.topics import Topic
from neuroone.service.stream_states import OFFLINE_AFTER_S, STALE_AFTER_S
from ws_gateway.access import Grant
from ws_gateway.dialects import first
from ws_gateway.dialects.first import BadFrame
from ws_gateway.websocket.send_queue import SendQueue

STREAMS_MAX: Final = 5000
"""Streams of one followed group that are remembered; the one that began first is forgotten first. A whole school under
one code; 5 MB."""
SEPARATOR: Final = "/"


@dataclass(frozen=True, slots=True)
class Follow:
    """Whom a client follows: a student of this group, or the one of this name. ``takes_doubtful`` is its choice."""

    group: str
    name: str | None = None
    takes_doubtful: bool = True


def follow_in(query: str) -> Follow | None:
    """Return whom a client follows by the query of its address; None if it names nobody. Raises BadFrame.

    A code has no slash here: browsers write the one between code and name as %2F too. Whoever has such a code gives the
    group's id instead, which is the group of itself.
    """
    asked = parse_qs(query, keep_blank_values=True)
    if "follow" not in asked:
        return None
    code, slash, name = asked["follow"][0].partition(SEPARATOR)
    if len(asked["follow"]) > 1 or not code.strip() or (slash and not name.strip()):
        raise BadFrame("bad_value", "follow", "follow must be one CODE or CODE/Name")
    doubtful = asked.get("doubtful", ["yes"])
    if doubtful not in (["yes"], ["no"]):
        raise BadFrame("bad_value", "doubtful", "doubtful must be yes or no")
    return Follow(topics.group_id(code), name_key(name) or None, doubtful == ["yes"])


@dataclass(slots=True)
class _Stream:
    """A stream of a followed group. ``frame`` is made once, however many clients get it."""

    reading: Reading
    heard_s: float = 0.0
    doubts: Doubts = field(default_factory=Doubts)
    doubt: Doubt | None = None
    frame: str | None = None

    @property
    def name(self) -> str | None:
        return None if self.reading.name is None else name_key(self.reading.name)


@dataclass(slots=True)
class _Follower:
    """A client, and the source that it gets now. ``name`` is whom it follows, as far as its token allows."""

    follow: Follow
    grant: Grant
    name: str | None
    source: str | None = None
    has_heard: bool = False


class Followers:
    """The clients that follow, and the streams of their groups. ``clock`` is a steady clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._followers: dict[SendQueue, _Follower] = {}
        self._groups: dict[str, dict[str, _Stream]] = {}

    def add(self, client: SendQueue, follow: Follow, grant: Grant) -> bool:
        """Let a client follow; return False if its token shows nobody whom it asks for."""
        allowed = None if grant.student is None else name_key(grant.student)
        if grant.group not in (None, follow.group) or (None not in (allowed, follow.name) and allowed != follow.name):
            return False
        self._followers[client] = _Follower(follow, grant, follow.name or allowed)
        self._groups.setdefault(follow.group, {})
        return True

    def remove(self, client: SendQueue) -> None:
        """Forget a client. Idempotent."""
        self._followers.pop(client, None)

    def has_heard(self, client: SendQueue) -> bool:
        """Return False for a client that follows and has not been sent anything yet."""
        follower = self._followers.get(client)
        return follower is None or follower.has_heard

    def on_reading(self, topic: Topic, reading: Reading) -> None:
        """Keep a reading if somebody follows its group."""
        streams = self._groups.get(topic["group"]) if self._groups else None
        if streams is None:
            return
        stream = streams.get(topic["source"])
        if stream is None or stream.reading.session != reading.session:
            streams.pop(topic["source"], None)  # it begins now: behind the others
            if len(streams) >= STREAMS_MAX:
                del streams[next(iter(streams))]
            stream = streams[topic["source"]] = _Stream(reading)
        stream.reading, stream.heard_s, stream.frame = reading, self._clock(), None
        stream.doubt = stream.doubts.add(reading)

    def on_end(self, topic: Topic) -> None:
        """Forget a stream that has ended."""
        self._groups.get(topic["group"], {}).pop(topic["source"], None)

    def send(self) -> None:
        """Send each client its student's newest reading, unless that is stale or unwanted. Call once a second."""
        now_s = self._clock()
        newest = self._newest(now_s)
        for client, follower in list(self._followers.items()):
            group = follower.follow.group
            streams = self._groups[group]
            stream = streams.get(follower.source or "")
            # Of two students of one name the client stays with one until that stream ends: a game changes no player.
            if stream is None or follower.name not in (None, stream.name):
                follower.source = newest.get((group, follower.name))
                stream = streams.get(follower.source or "")
            if stream is None or now_s - stream.heard_s >= STALE_AFTER_S:
                continue
            is_meaningless = stream.doubt is not None and stream.doubt.touches_esense
            if is_meaningless and not follower.follow.takes_doubtful:
                continue
            if follower.grant.includes(group, stream.reading.name):
                stream.frame = stream.frame or first.listener_frame(stream.reading)
                follower.has_heard = True
                client.send("followed", stream.frame)

    def _newest(self, now_s: float) -> dict[tuple[str, str | None], str]:
        """Forget what is over; return the source that began last of each group, and of each name in it."""
        groups = {each.follow.group for each in self._followers.values()}
        self._groups = {group: self._groups[group] for group in groups}
        newest: dict[tuple[str, str | None], str] = {}
        for group, streams in self._groups.items():
            for source, stream in list(streams.items()):
                if now_s - stream.heard_s >= OFFLINE_AFTER_S:
                    del streams[source]
                else:
                    newest[group, stream.name] = newest[group, None] = source
        return newest
