"""Keep the students who are not let in: bounded in number, fair to every address, with what their phones have sent."""

import struct
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice, zip_longest
from typing import Final, TypeVar

from neuroone.contract.files import VALUES
from neuroone.contract.messages import WaitingReason
from ws_gateway.dialects.first import StudentFrame
from ws_gateway.door.rules import Candidate, Verdict
from ws_gateway.students.publisher import Refused
from ws_gateway.students.rate_limit import BACKLOG_MAX, Arrival, RateLimiter

WAITING_MAX: Final = 20_000
"""Students who may be kept out at once, as many as one address may have connections; about 2 kB each."""
KEPT_FRAMES: Final = 120_000
"""Frames that are kept of all of them: two minutes of 1000 phones, 11 MB. Beyond it each keeps its part of so many,
from the next time on that it is visited."""
_FRAME: Final = struct.Struct(f"<d{len(VALUES)}I")
"""A frame as it is kept: when it arrived, and its ten numbers; 81 bytes in memory."""

T = TypeVar("T")


class DoorIsFull(Refused):
    """Too many students wait already; the client may come again."""

    reason = "door_is_full"


class WaitingClient:
    """A student who is not let in, and the connection.

    ``on_verdict`` is called when the ``verdict`` has changed, also to coming in, and now and then; ``told_s`` is when
    that was last. The frames of the first dialect that came meanwhile are ``kept``, packed, after the rate limit.
    An app of the new dialect keeps its readings itself; ``has_sent`` is True if it has sent some.
    """

    __slots__ = (
        "came",
        "candidate",
        "has_sent",
        "id",
        "kept",
        "limiter",
        "on_verdict",
        "reason",
        "told_s",
        "verdict",
    )

    def __init__(
        self,
        candidate: Candidate,
        verdict: Verdict,
        reason: WaitingReason,
        came: datetime,
        on_verdict: Callable[[], None],
    ) -> None:
        self.id = uuid.uuid4().hex
        self.candidate = candidate
        self.came = came
        self.on_verdict = on_verdict
        self.verdict = verdict
        self.reason = reason
        self.limiter: RateLimiter | None = None
        self.kept: deque[bytes] = deque()
        self.has_sent = False
        self.told_s = float("-inf")

    def arrivals(self, now_s: float) -> list[Arrival]:
        """Return the frames that were kept, the oldest first."""
        arrivals = []
        for packed in self.kept:
            time_s, *values = _FRAME.unpack(packed)
            frame = StudentFrame(*self.candidate.who, dict(zip(VALUES, values, strict=True)))
            arrivals.append(Arrival(frame, datetime.fromtimestamp(time_s, UTC), now_s))
        if self.limiter is not None and self.limiter.waiting is not None:
            arrivals.append(self.limiter.waiting)
        return arrivals


class WaitingList:
    """All clients who wait at one gateway.

    ``rate_hz`` is the rate to which the frames of each are coalesced; ``lost`` counts those that were not kept.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self.lost = 0
        self._all: dict[str, WaitingClient] = {}
        self._by_network: dict[str, dict[WaitingClient, None]] = {}
        self._kept = 0

    def __len__(self) -> int:
        return len(self._all)

    def next(self) -> WaitingClient:
        """Return each of the clients in turn."""
        client = next(iter(self._all.values()))
        self._all[client.id] = self._all.pop(client.id)
        self._trim(client, self._most_kept())
        return client

    def get(self, id: str) -> WaitingClient | None:
        """Return the client with an id."""
        return self._all.get(id)

    def add(self, client: WaitingClient) -> WaitingClient | None:
        """Let a client wait; return the one that must go for it, of the network that has most. Raises DoorIsFull."""
        leaving = None
        of_network = self._by_network.get(client.candidate.network, {})
        if len(self._all) >= WAITING_MAX:
            most = max(self._by_network.values(), key=len)
            if len(most) <= len(of_network) + 1:
                raise DoorIsFull("too many students wait at the door")
            leaving = next(reversed(most))
            self.remove(leaving)
        self._all[client.id] = client
        self._by_network.setdefault(client.candidate.network, {})[client] = None
        return leaving

    def remove(self, client: WaitingClient) -> None:
        """Let a client wait no longer. Idempotent."""
        if self._all.pop(client.id, None) is None:
            return
        of_network = self._by_network[client.candidate.network]
        del of_network[client]
        if not of_network:
            del self._by_network[client.candidate.network]
        self._kept -= len(client.kept)

    def keep(self, client: WaitingClient, arrival: Arrival) -> None:
        """Keep a frame of a client, unless it comes too fast."""
        if client.limiter is None:
            client.limiter = RateLimiter(self._rate_hz, arrival.arrived_s)
        self.lost += client.limiter.waiting is not None
        accepted = client.limiter.offer(arrival, arrival.arrived_s)
        if accepted is not None:
            self._trim(client, self._most_kept() - 1)
            values = map(accepted.frame.values.__getitem__, VALUES)
            client.kept.append(_FRAME.pack(accepted.time.timestamp(), *values))
            self._kept += 1

    def _most_kept(self) -> int:
        """Return how many frames each client may keep now."""
        return int(BACKLOG_MAX) if self._kept < KEPT_FRAMES else max(1, KEPT_FRAMES // len(self._all))

    def _trim(self, client: WaitingClient, most: int) -> None:
        """Drop the oldest frames of a client, so that it has at most so many."""
        dropped = max(0, len(client.kept) - most)
        for _ in range(dropped):
            client.kept.popleft()
        self._kept -= dropped
        self.lost += dropped

    def listed(self, is_shown: Callable[[WaitingClient], bool], most: int) -> tuple[list[WaitingClient], int]:
        """Return the clients to show, at most so many, in the order in which they came, and how many more there are.

        Networks take turns, and within a network its students do, each time from the first one and from the last one
        on: so whoever comes with a crowd hides neither other networks nor who came before or after the crowd.
        """
        shown = [[client for client in clients if is_shown(client)] for clients in self._by_network.values()]
        turns = zip_longest(*map(_from_both_ends, _from_both_ends(shown)))
        chosen = list(islice((client for turn in turns for client in turn if client is not None), most))
        total = sum(map(len, shown))
        return sorted(chosen, key=lambda client: client.came), total - len(chosen)


def _from_both_ends(all: Sequence[T]) -> Iterator[T]:
    """Yield the first one, the last one, the second one, the last but one, and so on."""
    half = (len(all) + 1) // 2
    return (each for pair in zip_longest(all[:half], reversed(all[half:])) for each in pair if each is not None)
