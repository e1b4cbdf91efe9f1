"""Raw samples of students: whether a lesson wants them, and their way to the broker.

Only apps of the new dialect send them. They travel like a bridge's: QoS 0, which nobody acknowledges. So an app keeps
its blocks until a later reading is acknowledged, and sends them again after an outage; the recorder drops by their
``seq`` what comes twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import UNSET

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import RAW_BLOCK_SAMPLES, RAW_RATE_HZ, SEQ_MAX, RawBlock, StreamStatus
from neuroone.contract.topics import RAW, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import StudentRaw
from ws_gateway.lessons import Lessons
from ws_gateway.students.student import RawProgress, Student
from ws_gateway.token_bucket import TokenBucket

BLOCKS_HZ: Final = RAW_RATE_HZ / RAW_BLOCK_SAMPLES
"""Full blocks a second of a headset."""
BLOCKS_MAX_HZ: Final = 2 * BLOCKS_HZ
"""Blocks of one student beyond this rate are dropped: blocks that end at a gap are shorter, and so more."""
BACKLOG_MAX_BLOCKS: Final = 10 * 60 * BLOCKS_HZ
"""Blocks that may come at once after an outage: ten minutes, which is what clients/neuroone.js and a bridge keep."""


@dataclass(slots=True)
class _App:
    """A connected app of a student. ``tell`` says to it whether raw samples are wanted; it knows ``is_asked``."""

    student: Student
    topic: Topic
    tell: Callable[[bool], None]
    is_asked: bool = False


class RawSamples:
    """The raw samples of all students of this gateway.

    ``announce`` tells all gateways that a student is here, ``on_block`` gets every block that goes to the broker.
    ``now`` is UTC, ``clock`` a steady clock in seconds.
    """

    def __init__(
        self,
        client: AsyncClient,
        lessons: Lessons,
        announce: Callable[[Student], None],
        on_block: Callable[[Topic, RawBlock], None],
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._lessons = lessons
        self._announce = announce
        self._on_block = on_block
        self._now = now
        self._clock = clock
        self._apps: dict[tuple[str, str], _App] = {}
        self._wanted: dict[str, bool] = {}
        self.counters = dict.fromkeys(("raw_blocks", "raw_blocks_unwanted", "raw_blocks_too_fast"), 0)

    # --- what teachers want ----------------------------------------------------------------------

    def set_wanted(self, group: str, *, wanted: bool) -> None:
        """Ask the apps of a lesson's students for raw samples, or for none. Raises BadFrame."""
        if self._lessons.of(group).began is None:
            raise BadFrame("no_lesson", "group", "raw samples are recorded while a lesson runs")
        self._lessons.update(group, raw=wanted or UNSET)

    def is_wanted(self, group: str) -> bool:
        """Return True if the lesson that takes in a group's students wants raw samples."""
        return self._lessons.taking_in(group)[1].raw is True

    def on_lesson(self, group: str) -> None:
        """Tell the apps whose answer has changed with this group's lesson."""
        lesson = self._lessons.of(group)
        wanted = {**self._wanted, group: lesson.raw is True}
        if lesson.began is None:
            del wanted[group]
        if wanted != self._wanted:  # else only the door has changed
            self._wanted = wanted
            for app in tuple(self._apps.values()):
                self._tell(app)

    # --- what apps do ----------------------------------------------------------------------------

    def join(self, student: Student, tell: Callable[[bool], None]) -> None:
        """Add a student's app; it is told now if raw samples are wanted, and at each change."""
        topic = topics.raw(self._client.identity.site, *student.key)
        app = self._apps[student.key] = _App(student, topic, tell)
        self._tell(app)

    def leave(self, student: Student) -> None:
        """Forget a student's app. Idempotent."""
        app = self._apps.get(student.key)
        if app is not None and app.student is student:
            del self._apps[student.key]

    def _tell(self, app: _App) -> None:
        wanted = self.is_wanted(app.student.group)
        if wanted is not app.is_asked:
            app.is_asked = wanted
            app.tell(wanted)

    def on_block(self, student: Student, given: StudentRaw) -> None:
        """Publish a block, if it is wanted and not too much.

        An app cannot know in time that the teacher has switched: a block that is not wanted is no error.
        """
        app = self._apps.get(student.key)
        if app is None or not self.is_wanted(student.group):
            self.counters["raw_blocks_unwanted"] += 1
            return
        now_s = self._clock()
        if student.raw is None:
            student.raw = RawProgress(TokenBucket(BLOCKS_MAX_HZ, BACKLOG_MAX_BLOCKS, now_s))
            if student.status is StreamStatus.OFFLINE:  # a headset sends samples before its first reading
                self._announce(student)
        if not student.raw.bucket.has_token(now_s):
            self.counters["raw_blocks_too_fast"] += 1
            return
        student.raw.bucket.spend(now_s)
        self._publish(app, student.raw, given)

    def _publish(self, app: _App, progress: RawProgress, given: StudentRaw) -> None:
        # Each block has a sample, so a number of samples is higher than any seq that another gateway gave before.
        seq = (progress.next_seq or given.first_sample) if given.seq is None else given.seq
        progress.next_seq = min(max(progress.next_seq, seq + 1), SEQ_MAX)
        block = RawBlock.of_valid(  # `v1.parse` has checked it
            session=app.student.session,
            seq=seq,
            time=given.time or self._now(),
            first_sample=given.first_sample,
            rate_hz=given.rate_hz,
            samples=given.samples,
            measured_hz=given.measured_hz,
        )
        if self._client.put(Outgoing(str(app.topic), encode(block), RAW.qos, RAW.retained)):
            self.counters["raw_blocks"] += 1
            self._on_block(app.topic, block)

    def has_sent(self, topic: Topic, block: RawBlock) -> bool:
        """Return True if a block that the broker delivers went out here: MQTT 3.1.1 brokers send it back."""
        app = self._apps.get((topic.ids[0], topic.ids[1]))
        return app is not None and app.student.session == block.session
