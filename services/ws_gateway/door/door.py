"""Let students into the lesson, or let them wait until a teacher decides."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from neuroone.contract.messages import (
    SHORT_MAX_CHARS,
    WAITING_MAX,
    WAITS_MAX_S,
    LessonState,
    Waiting,
    WaitingReason,
    WaitingStudent,
)
from neuroone.service.stream_states import STALE_AFTER_S
from ws_gateway.dialects.first import StudentFrame
from ws_gateway.door.rules import Candidate, DoorRules, Verdict
from ws_gateway.door.waiting import WaitingClient, WaitingList
from ws_gateway.students.rate_limit import Arrival

TELL_PERIOD_S: Final = 5.0
"""A client of the new dialect that waits hears so often that it waits: after 8 s of silence it connects again."""
VISITS_MIN: Final = 20
VISITS_PART: Final = 100
"""Each visit of the list, 20 times a second, goes to so many clients, or to this part of them: to each within 5 s."""
VISIT_MAX_S: Final = 0.01
"""Time of one visit of the list: everybody else waits meanwhile."""
PUBLISH_PERIOD_S: Final = 5.0
"""The list is published so often while anybody waits, besides at changes."""
RETURNS_WITHIN_S: Final = STALE_AFTER_S + 1.0
"""A phone that comes back comes in by itself once its old connection has been silent; only then it is listed."""


class Door:
    """The door of one gateway. ``now`` is UTC, ``clock`` a steady clock in seconds."""

    def __init__(
        self, rules: DoorRules, rate_hz: float, *, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        self.rules = rules
        self._list = WaitingList(rate_hz)
        self._now = now
        self._clock = clock
        self._to_visit = 0
        self._has_changed = False
        self._published_s = float("-inf")
        self._counters = dict.fromkeys(("door_waited", "door_admitted", "door_refused", "door_removed"), 0)

    def __len__(self) -> int:
        return len(self._list)

    @property
    def counters(self) -> Mapping[str, int]:
        """What is counted here, by the names of the metrics."""
        return {**self._counters, "door_frames_lost": self._list.lost}

    # --- what clients do -------------------------------------------------------------------------

    def enter(self, candidate: Candidate, on_verdict: Callable[[], None]) -> WaitingClient | None:
        """Return None for a student who may come in, else the client that waits now. Raises DoorIsFull."""
        verdict, reason = self.rules.judge(candidate)
        if verdict is Verdict.COME_IN:
            self.rules.on_join(candidate)
            return None
        client = WaitingClient(candidate, verdict, reason, self._now(), on_verdict)
        leaving = self._list.add(client)
        if leaving is not None:
            self._tell(leaving, Verdict.FULL)
        self.rules.on_wait(candidate)
        client.told_s = self._clock()
        self._counters["door_waited"] += 1
        self._has_changed = True
        return client

    def keep(self, client: WaitingClient, frame: StudentFrame) -> None:
        """Keep a frame of a client that waits for a teacher, as far as there is room."""
        if client.verdict is Verdict.ASK:
            self._list.keep(client, Arrival(frame, self._now(), self._clock()))
        else:
            self._list.lost += 1

    def kept(self, client: WaitingClient) -> list[Arrival]:
        """Return the frames that were kept of a client, the oldest first."""
        return client.arrivals(self._clock())

    def leave(self, client: WaitingClient) -> None:
        """Forget a client that is gone. Idempotent."""
        self._list.remove(client)
        self._has_changed = True

    # --- what teachers and lessons do ------------------------------------------------------------

    def find(self, id: str) -> WaitingClient | None:
        """Return the client that waits under this id."""
        return self._list.get(id)

    def admit(self, client: WaitingClient) -> None:
        """Let a client in, as a teacher says."""
        self._counters["door_admitted"] += 1
        self._admit(client)

    def refuse(self, client: WaitingClient) -> None:
        """Keep a client out, as a teacher says, once the lesson lists it as removed."""
        self._counters["door_refused"] += 1
        self.rules.on_removed(client.candidate)
        self._to_visit = len(self._list)

    def count_removed(self) -> None:
        """Count that a teacher has removed a student."""
        self._counters["door_removed"] += 1

    def on_lessons(self, lessons: Iterable[LessonState]) -> None:
        """Judge everybody anew: the lessons that run have changed."""
        self.rules.forget_addresses(lessons)
        self._to_visit = len(self._list)

    # --- timers ----------------------------------------------------------------------------------

    def visit(self) -> None:
        """Judge some of those who wait again, and tell them that they wait. Call 20 times a second."""
        began_s = self._clock()
        visits = min(len(self._list), max(VISITS_MIN, len(self._list) // VISITS_PART, self._to_visit))
        while visits and len(self._list) and self._clock() - began_s < VISIT_MAX_S:
            visits -= 1
            self._to_visit = max(0, self._to_visit - 1)
            client = self._list.next()
            before, (verdict, client.reason) = client.verdict, self.rules.judge(client.candidate)
            if verdict is Verdict.COME_IN:
                self._admit(client)
            elif verdict is not before:
                self._has_changed = True
                self._tell(client, verdict)
            elif began_s - client.told_s >= TELL_PERIOD_S:
                self._tell(client, verdict)

    def waiting(self) -> Waiting | None:
        """Return the list to publish, or None if that is not due. Call once a second."""
        now_s = self._clock()
        if not self._has_changed and not (len(self._list) and now_s - self._published_s >= PUBLISH_PERIOD_S):
            return None
        self._has_changed, self._published_s, now = False, now_s, self._now()
        shown, more = self._list.listed(lambda client: _is_listed(client, now), WAITING_MAX)
        students = [_waiting_student(client, now) for client in shown]
        return Waiting(time=now, students=tuple(students), more=more)

    def _admit(self, client: WaitingClient) -> None:
        self.rules.on_join(client.candidate)
        self.leave(client)
        self._tell(client, Verdict.COME_IN)

    def _tell(self, client: WaitingClient, verdict: Verdict) -> None:
        client.verdict, client.told_s = verdict, self._clock()
        client.on_verdict()


def _is_listed(client: WaitingClient, now: datetime) -> bool:
    waits_s = (now - client.came).total_seconds()
    return client.verdict is Verdict.ASK and (
        client.reason is not WaitingReason.WAS_HERE or waits_s >= RETURNS_WITHIN_S
    )


def _waiting_student(client: WaitingClient, now: datetime) -> WaitingStudent:
    name, code = client.candidate.who
    return WaitingStudent(
        id=client.id,
        group=client.candidate.group,
        name=None if name is None else name[:SHORT_MAX_CHARS],
        code=None if code is None else code[:SHORT_MAX_CHARS],
        reason=client.reason,
        waits_s=min(max(0, round((now - client.came).total_seconds())), WAITS_MAX_S),
    )
