"""Raw samples of students: who is asked for them, and which go to the broker."""

from datetime import timedelta
from typing import Any, cast

import pytest

from neuroone.contract import topics
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import (
    SEQ_MAX,
    Door,
    EventType,
    GroupEvent,
    LessonState,
    Message,
    RawBlock,
    StreamStatus,
)
from neuroone.mqtt.client import AsyncClient
from tests.support.messages import NOON, SESSION
from tests.support.student_world import World
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import StudentRaw
from ws_gateway.lessons import Lessons
from ws_gateway.students.raw_samples import BACKLOG_MAX_BLOCKS, BLOCKS_MAX_HZ, RawSamples
from ws_gateway.students.student import Student


class RawWorld(World):
    """Students of one gateway, its lessons, and a broker that takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        client = cast(AsyncClient, self)
        self.identity = self.client.identity
        self.told: list[tuple[str, bool]] = []
        self.blocks: list[tuple[topics.Topic, RawBlock]] = []
        self.lessons = Lessons(client, lambda group, state: self.raw.on_lesson(group), lambda: self.now_s)
        self.raw = RawSamples(
            cast(AsyncClient, self.client),
            self.lessons,
            self.students.announce,
            lambda topic, block: self.blocks.append((topic, block)),
            now=lambda: NOON,
            clock=lambda: self.now_s,
        )

    def publish(self, topic: topics.Topic, message: Message, on_ack: Any) -> bool:
        self.client.sent.append((topic, message))
        on_ack()
        return True

    def leave_to_broker(self, topic: topics.Topic) -> None:
        pass

    def event(self, type: EventType, group: str = topics.ALL, text: str = "") -> None:
        event = GroupEvent(id="e", time=NOON, type=type, text=text, source=None)
        self.lessons.on_event(topics.event("local", group), event)

    def begin(self, group: str = topics.ALL) -> None:
        self.event(EventType.SESSION_START, group)

    def join(self, name: str = "Ana", code: str = "A", session: str = SESSION) -> Student:
        student = self.students.resume(name, code, session)
        self.raw.join(student, lambda wanted: self.told.append((name, wanted)))
        return student

    def send(self, student: Student, count: int = 1, first: int = 0, **about: Any) -> None:
        for n in range(count):
            given = StudentRaw(first_sample=first + 64 * n, rate_hz=512, samples=(1,) * 64, **about)
            self.raw.on_block(student, given)

    def seqs(self) -> list[int]:
        return [message.seq for _, message in self.client.sent if isinstance(message, RawBlock)]


@pytest.fixture
def world() -> RawWorld:
    return RawWorld()


def test_apps_are_told_on_joining_and_at_changes_until_the_lesson_ends(world):
    world.join("Ana", "A")
    world.begin()
    assert world.told == []
    world.raw.set_wanted(topics.ALL, wanted=True)
    world.join("Bia", "B", "b" * 8)
    world.lessons.update(topics.ALL, removed=())  # a change of something else
    assert world.told == [("Ana", True), ("Bia", True)]
    world.event(EventType.SESSION_STOP)
    assert world.told[2:] == [("Ana", False), ("Bia", False)]
    world.begin()
    world.join("Rui", "A", "r" * 8)
    assert len(world.told) == 4, "the next lesson begins without raw samples"


def test_the_lesson_of_a_class_counts_before_that_of_everybody(world):
    world.join("Ana", "A")
    world.begin()
    world.raw.set_wanted(topics.ALL, wanted=True)
    world.begin("A")
    world.begin("B")
    world.raw.set_wanted("B", wanted=True)
    assert world.told == [("Ana", True), ("Ana", False)]
    world.event(EventType.SESSION_STOP, "A")
    assert world.told[2:] == [("Ana", True)]


def test_without_a_lesson_nobody_can_be_asked(world):
    with pytest.raises(BadFrame) as fault:
        world.raw.set_wanted(topics.ALL, wanted=True)
    assert (fault.value.code, fault.value.field) == ("no_lesson", "group")


def test_an_app_that_has_left_is_told_nothing_also_if_it_came_back(world):
    student = world.join()
    world.raw.leave(student)
    world.begin()
    world.raw.set_wanted(topics.ALL, wanted=True)
    assert world.told == []
    again = world.join()
    world.raw.leave(Student(again.who, again.stream, "", again.limiter, True))
    world.raw.set_wanted(topics.ALL, wanted=False)
    assert world.told == [("Ana", True), ("Ana", False)]


def test_blocks_are_published_like_those_of_a_bridge_while_they_are_wanted(world):
    student = world.join()
    world.begin()
    world.send(student)
    world.raw.set_wanted(topics.ALL, wanted=True)
    later = NOON + timedelta(seconds=1)
    world.send(student, first=640, time=later, measured_hz=None)
    world.raw.set_wanted(topics.ALL, wanted=False)
    world.send(student, first=704)
    topic = topics.raw("local", "A", "Ana")
    block = RawBlock(
        session=SESSION,
        seq=640,
        time=later,
        first_sample=640,
        rate_hz=512,
        samples=(1,) * 64,
        measured_hz=None,
    )
    assert [each for each in world.client.sent if isinstance(each[1], RawBlock)] == [(topic, block)] == world.blocks
    assert world.raw.has_sent(topic, block)
    counted = {"raw_blocks": 1, "raw_blocks_unwanted": 2, "raw_blocks_too_fast": 0}
    assert world.raw.counters == counted


def test_samples_before_the_first_reading_announce_the_stream_once(world):
    """A headset sends a second of samples first; whoever keeps sending samples only is offline all the same."""
    world.begin()
    world.raw.set_wanted(topics.ALL, wanted=True)
    student = world.join()
    world.send(student, 2)
    assert world.client.statuses() == [StreamStatus.ONLINE]
    for _ in range(30):
        world.now_s += 0.5
        world.check_silence()
        world.send(student)
    assert world.client.statuses() == [StreamStatus.ONLINE, StreamStatus.STALE, StreamStatus.OFFLINE]


def test_ten_minutes_may_come_at_once_and_then_twice_the_rate_of_a_headset(world):
    world.begin()
    world.raw.set_wanted(topics.ALL, wanted=True)
    student = world.join()
    world.send(student, int(BACKLOG_MAX_BLOCKS) + 3)
    assert world.raw.counters["raw_blocks"] == BACKLOG_MAX_BLOCKS == 4800
    world.now_s += 2
    student = world.join()  # a new connection brings no new allowance
    world.send(student, 100)
    assert world.raw.counters["raw_blocks"] == BACKLOG_MAX_BLOCKS + 2 * BLOCKS_MAX_HZ == 4832
    assert world.raw.counters["raw_blocks_too_fast"] == 3 + 68


def test_seqs_rise_over_reconnects_and_gateways_as_the_recorder_drops_lower_ones(world):
    """Whether the app numbers its blocks or leaves it to the gateways; what comes again has its number again."""
    other = RawWorld()
    for each in (world, other):
        each.begin()
        each.raw.set_wanted(topics.ALL, wanted=True)
    world.send(world.join(), 3)
    student = world.join()
    world.students.leave(student)
    world.send(world.join(), 1, 1000)
    other.send(other.join(), 2, 1064)
    assert (world.seqs(), other.seqs()) == ([0, 1, 2, 3], [1064, 1065])
    for seq in (7, 8, 8):
        world.send(world.join("Bia", session="b" * 8), seq=seq)
    assert world.seqs()[4:] == [7, 8, 8]


@pytest.mark.parametrize("last", [SEQ_MAX, None])
def test_numbers_that_no_headset_reaches_stay_within_the_contract(world, last):
    """Such an app spoils its own numbers only: nobody gets a message that is none."""
    world.begin()
    world.raw.set_wanted(topics.ALL, wanted=True)
    world.send(world.join(), 1, SEQ_MAX, seq=last)
    world.send(world.join(), 2, SEQ_MAX - 64)
    assert world.seqs() == [SEQ_MAX] * 3
    for _, block in world.blocks:
        assert decode(RawBlock, encode(block)) == block


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("samples", {"samples": []}),
        ("samples", {"samples": [0] * 65}),
        ("samples", {"samples": [0, 40000]}),
        ("samples", {"samples": None}),
        ("first_sample", {"first_sample": -1}),
        ("rate_hz", {"rate_hz": 0}),
        ("measured_hz", {"measured_hz": "512"}),
        ("time", {"time": "noon"}),
        ("seq", {"seq": 1.5}),
    ],
)
def test_a_bad_block_is_refused_by_the_name_of_its_field(field, change):
    good = {"type": "raw", "first_sample": 0, "rate_hz": 512, "measured_hz": 511, "samples": [1, -1]}
    good["time"] = "2026-11-22T18:20:31.123456Z"
    assert isinstance(v1.parse(v1._frame("raw", good).encode()), StudentRaw)
    with pytest.raises(BadFrame) as fault:
        v1.parse(v1._frame("raw", {**good, **change}).encode())
    assert (fault.value.code, fault.value.field) == ("bad_value", field)


def test_states_of_earlier_versions_want_none_and_of_two_changes_at_one_moment_wanting_counts(world):
    old = LessonState(name=None, began=NOON)
    world.join()
    world.lessons.on_state(topics.lesson("local", topics.ALL), old)
    assert not world.raw.is_wanted("A")
    world.raw.set_wanted(topics.ALL, wanted=True)
    asking = LessonState(name=None, began=NOON, door=Door.ASK, revision=1)
    world.lessons.on_state(topics.lesson("local", topics.ALL), asking)
    assert world.lessons.of(topics.ALL).door is Door.ASK
    assert world.told == [("Ana", True)]
