"""One student: who it is, its stream and session, the connection that has it, and how far its readings have come."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from neuroone.contract.messages import StreamStatus
from neuroone.mqtt.replay import Stream
from ws_gateway.dialects.v1 import Stage
from ws_gateway.students.rate_limit import Arrival, RateLimiter
from ws_gateway.token_bucket import TokenBucket

Who = tuple[str | None, str | None]
"""A student's name and class code, as they were typed."""
Progress = Callable[[Stage, int], None]
"""Receives a stage and a seq: all readings of a student up to that seq have reached that stage."""


class Taken(StrEnum):
    """Why a connection has lost its student."""

    BY_ANOTHER_CONNECTION = "resumed elsewhere"
    BY_ANOTHER_STUDENT = "another student has this name"
    BY_TEACHER = "removed by the teacher"


def ignore(*event: object) -> None:
    """Stand in for the callbacks of a connection that wants none."""


@dataclass(eq=False, slots=True)
class Newcomer:
    """What is kept of a student while it may be the phone of a namesake: its readings, ``held`` back.

    ``rivals`` are the namesakes that were there when it came, at ``began_s``: students of this gateway, or the streams
    of another gateway's. None are left once it is a student of its own. Its connection may have ended meanwhile.
    """

    began_s: float
    rivals: tuple["Student | tuple[str, str]", ...]
    held: list[Arrival] = field(default_factory=list)
    has_left: bool = False


@dataclass(slots=True)
class RawProgress:
    """How far the raw blocks of a session have come: the seq of the next one, and how many more the rate allows."""

    bucket: TokenBucket
    next_seq: int = 0


@dataclass(eq=False, slots=True)
class Student:
    """A student: one stream, one session of it, and one connection at a time, told by ``on_progress`` and ``on_taken``.

    ``seq`` is that of its next reading, ``acked`` that of the last one up to which the broker has all. ``last_s`` is
    the time of its last message. The new dialect's session ``is_resumable``. In the new dialect ``absent`` are the seqs
    below ``seq`` that have not come and may come yet, and ``has_begun`` is True from the present connection's first
    reading on. While it is not known whether this is the phone of a namesake, it is a ``newcomer``.
    ``raw`` is None until it sends raw samples.
    """

    who: Who
    stream: Stream
    topic: str
    limiter: RateLimiter
    is_resumable: bool
    on_progress: Progress = ignore
    on_taken: Callable[[Taken], None] = ignore
    seq: int = 0
    acked: int = -1
    last_s: float = float("-inf")
    status: StreamStatus = StreamStatus.OFFLINE
    newcomer: "Newcomer | None" = None
    absent: frozenset[int] = frozenset()
    has_begun: bool = False
    raw: RawProgress | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Return group and source: what no two students share."""
        return self.stream[:2]

    @property
    def group(self) -> str:
        """Return the stream's group."""
        return self.stream[0]

    @property
    def source(self) -> str:
        """Return the stream's source."""
        return self.stream[1]

    @property
    def session(self) -> str:
        """Return the session's id."""
        return self.stream[2]

    @property
    def has_left(self) -> bool:
        """Return True if the connection has ended before it was known whose phone it is."""
        return self.newcomer is not None and self.newcomer.has_left

    def let_go(self, why: Taken | None = None) -> None:
        """Part from the connection, and tell it why if it does not know."""
        on_taken, self.on_taken, self.on_progress = self.on_taken, ignore, ignore
        if why is not None:
            on_taken(why)
