"""Publish a student's readings, states and events on the broker."""

import contextlib
import uuid
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, GroupEvent, Kind, Link, Reading, StreamState, StreamStatus
from neuroone.contract.topics import READING, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing
from ws_gateway.dialects.v1 import Marker
from ws_gateway.students.rate_limit import Arrival
from ws_gateway.students.student import Student

ANNOUNCED_AT_ONCE_MAX: Final = 50
"""Students announced as online between two calls of `announce_waiting`; the rest follow later. A school that comes back
at once has thousands, and readings go first."""
REPORT_FACTOR: Final = 10
"""Coalesced readings are reported again when they are so many times more: a flood makes a few events, not thousands."""


class Refused(NeuroOneError):
    """Too much waits for the broker to accept a reading; the client must send it again later.

    ``reason`` is the name in the metrics.
    """

    reason = "too_busy"


class StudentPublisher:
    """Publish what there is to say of students. ``rate_hz`` is the rate that readings are coalesced to.

    ``on_reading`` gets every reading that goes to the broker.
    """

    def __init__(
        self,
        client: AsyncClient,
        on_reading: Callable[[Topic, Reading], None],
        *,
        rate_hz: float,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._on_reading = on_reading
        self.rate_hz = rate_hz
        self._now = now
        self._unannounced: dict[Student, None] = {}
        self._announcements_left = ANNOUNCED_AT_ONCE_MAX
        self.counters = dict.fromkeys(("readings", "readings_refused"), 0)

    def publish_arrival(self, student: Student, arrival: Arrival) -> None:
        """Publish a reading of the first dialect with the student's next seq, or count that it is refused."""
        name, code = student.who
        reading = Reading.of_valid(  # `first.student_frame` has checked it
            session=student.stream[2],
            seq=student.seq,
            time=arrival.time,
            kind=Kind.CLIENT,
            name=name,
            code=code,
            poor_signal=None,
            **arrival.frame.values,
        )
        with contextlib.suppress(Refused):  # this dialect cannot tell the client
            self.publish_reading(student, reading, arrival.arrived_s)

    def publish_reading(self, student: Student, reading: Reading, arrived_s: float) -> None:
        """Publish a reading, and announce its student if nobody knows that it is online. Raises Refused."""
        seq = reading.seq
        outgoing = Outgoing(
            student.topic,
            encode(reading),
            READING.qos,
            READING.retained,
            reading=(student.stream, seq),
            arrived_s=arrived_s,
        )
        if not self._client.put(outgoing):
            self.counters["readings_refused"] += 1
            raise Refused("too much waits for the broker")
        if seq >= student.seq:
            student.seq = seq + 1
        self.counters["readings"] += 1
        self._on_reading(topics.parse(student.topic), reading)
        if student.status is not StreamStatus.ONLINE:
            self._announce(student)

    def is_unannounced(self, student: Student) -> bool:
        """Return True if a student is online and waits to be announced."""
        return student in self._unannounced

    def announce_waiting(self) -> None:
        """Announce new students, as many as may be at once. Call often."""
        self._announcements_left = ANNOUNCED_AT_ONCE_MAX
        for student in tuple(islice(self._unannounced, ANNOUNCED_AT_ONCE_MAX)):
            self._announce(student)

    def forget(self, student: Student) -> None:
        """Announce a student no more."""
        self._unannounced.pop(student, None)

    def _announce(self, student: Student) -> None:
        if self._announcements_left:
            self._announcements_left -= 1
            self._unannounced.pop(student, None)
            self.publish_state(student, StreamStatus.ONLINE)
        else:
            self._unannounced[student] = None

    def publish_state(self, student: Student, status: StreamStatus, link: Link = Link.CONNECTED) -> None:
        """Publish a student's state."""
        student.status = status
        identity, limiter = self._client.identity, student.limiter
        self._client.publish(
            topics.stream_state(identity.site, student.group, student.source),
            StreamState(
                status=status,
                session=student.session,
                time=self._now(),
                kind=Kind.CLIENT,
                name=student.who[0],
                code=student.who[1],
                link=link,
                hint=None,
                device=None,
                service=identity.service,
                instance=identity.instance,
                epoch=identity.epoch,
                run=identity.run,
                counters={"readings": student.seq, "readings_coalesced": limiter.coalesced},
            ),
        )

    def publish_online_again(self, student: Student) -> None:
        """Contradict a state, but only for a student who is online: two gateways must not go on contradicting."""
        if student.status is StreamStatus.ONLINE:
            self.publish_state(student, StreamStatus.ONLINE)

    def publish_marker(self, group: str, source: str | None, marker: Marker, on_ack: Callable[[], None]) -> None:
        """Publish a marker as an event of its group. Raises Refused."""
        event = GroupEvent(id=marker.id, time=self._now(), type=marker.event, text=marker.text, source=source)
        if not self._client.publish(topics.event(self._client.identity.site, group), event, on_ack):
            raise Refused("too much waits for the broker")

    def report_coalesced(self, student: Student, *, is_last: bool = False) -> None:
        """Put into the events of a student's session how many of its readings were coalesced, if they are more now."""
        limiter = student.limiter
        if limiter.coalesced <= limiter.reported * (1 if is_last else REPORT_FACTOR):
            return
        limiter.reported = limiter.coalesced
        text = (
            f"{limiter.coalesced} readings coalesced: faster than {self.rate_hz:g} a second / "
            f"{limiter.coalesced} leituras reunidas: mais de {self.rate_hz:g} por segundo"
        )
        event = GroupEvent(
            id=uuid.uuid4().hex, time=self._now(), type=EventType.MARKER, text=text, source=student.source
        )
        self._client.publish(topics.event(self._client.identity.site, student.group), event)
