"""Streams, sessions and states of students."""

import gc
from datetime import timedelta

import pytest

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import BANDS, Reading, ServiceStatus, StreamStatus
from tests.support.messages import NOON, stream_state
from tests.support.student_world import ANA, World, elsewhere, frame, other_gateway
from ws_gateway.students.publisher import ANNOUNCED_AT_ONCE_MAX


@pytest.fixture
def world() -> World:
    return World()


def test_readings_go_to_the_students_own_topic(world):
    """Code and name give the stream; session and seq count its readings."""
    student = world.students.on_frame(None, frame())
    world.students.on_frame(student, frame(Att=86))
    reading_topic = topics.reading("local", "ABC123", "Joao_Silva")
    assert [t for t, m in world.client.sent if isinstance(m, Reading)] == [reading_topic] * 2
    first, second = world.client.readings()
    assert (first.seq, second.seq) == (0, 1)
    assert first.session == second.session
    assert (first.attention, first.name, first.code, first.poor_signal) == (85, "Joao_Silva", "ABC123", None)


def test_a_reading_is_shown_when_it_goes_to_the_broker(world):
    student = world.students.on_frame(None, frame())
    world.students.on_frame(student, frame(Att=86))
    assert world.shown == [each for each in world.client.sent if isinstance(each[1], Reading)]


def test_a_reading_that_the_broker_sends_back_is_known(world):
    """Also after its student has left, in both dialects; another gateway's reading is not."""
    student = world.students.on_frame(None, frame())
    modern = world.students.resume("Ana", "A", None)
    values = {"attention": 60, "meditation": 40, **dict.fromkeys(BANDS, 9)}
    world.students.on_reading(modern, {"seq": 0, **values})
    world.students.on_reading(modern, {"seq": 2, **values})
    for leaves in (False, True):
        if leaves:
            world.students.leave(student)
            world.students.leave(modern)
        assert [world.students.has_sent(*each) for each in world.shown] == [True, True, True]
        topic, reading = world.shown[-1]
        assert not world.students.has_sent(topic, replace(reading, seq=3))
        assert not world.students.has_sent(topic, replace(reading, seq=1)), "it did not come here"
        assert not world.students.has_sent(topic, replace(reading, session="elsewhere"))


def test_readings_leave_nothing_for_the_garbage_collector(world):
    """A collection would stop everybody while thousands of connections are searched."""
    student = world.students.on_frame(None, frame())
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            world.now_s += 1
            world.students.on_frame(student, frame())
        assert len(world.replay) == 101
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_latency_of_a_reading_begins_when_it_arrives(world):
    """Also that of a reading that waits because it came too fast, and of the new dialect."""
    latencies: list[float] = []
    world.replay.on_first_ack = latencies.append
    student = None
    for _ in range(11):  # one more than may go out at once
        student = world.students.on_frame(student, frame())
    world.now_s += 0.5
    world.students.send_waiting()
    modern = world.students.resume("Ana", "A", None)
    world.students.on_reading(modern, {"seq": 0, "attention": 60, "meditation": 40, **dict.fromkeys(BANDS, 9)})
    assert latencies == [0.0] * 10 + [0.5, 0.0]


def test_a_student_is_online_once_after_the_first_reading(world):
    student = world.students.on_frame(None, frame())
    world.students.on_frame(student, frame())
    world.check_silence()
    assert world.client.statuses() == [StreamStatus.ONLINE]


def test_readings_go_before_announcements_when_a_school_arrives(world):
    """A student is announced a little later, and never after leaving."""
    many = ANNOUNCED_AT_ONCE_MAX + 3
    students = [world.students.on_frame(None, frame(name=f"s{number}")) for number in range(many)]
    assert len(world.client.readings()) == many
    assert world.client.statuses() == [StreamStatus.ONLINE] * ANNOUNCED_AT_ONCE_MAX
    world.students.leave(students[-1])
    world.check_silence()
    assert world.client.statuses()[ANNOUNCED_AT_ONCE_MAX:] == [StreamStatus.OFFLINE]
    world.students.send_waiting()
    assert world.client.statuses()[ANNOUNCED_AT_ONCE_MAX + 1 :] == [StreamStatus.ONLINE] * 2
    world.students.send_waiting()
    assert len(world.client.statuses()) == many


def test_a_student_who_left_is_not_announced_afterwards(world):
    """Not even if leaving publishes a last reading."""
    for number in range(ANNOUNCED_AT_ONCE_MAX):
        world.students.on_frame(None, frame(name=f"s{number}"))
    student = None
    for _ in range(11):  # one more than may go out at once
        student = world.students.on_frame(student, frame())
    assert student is not None
    world.students.leave(student)
    world.students.send_waiting()
    assert world.client.statuses()[ANNOUNCED_AT_ONCE_MAX:] == [StreamStatus.OFFLINE]


def test_silence_makes_stale_then_offline_and_a_reading_online_again(world):
    """The connection of a phone that hangs stays open."""
    student = world.students.on_frame(None, frame())
    for silent_s in (2.9, 3.0, 9.9, 10.0):
        world.now_s = 100.0 + silent_s
        world.check_silence()
    world.students.on_frame(student, frame())
    assert world.client.statuses() == ["online", "stale", "offline", "online"]


def test_students_are_not_stale_because_the_gateway_was_busy(world):
    """After it was busy for seconds, the gateway first reads what has arrived."""
    student = world.students.on_frame(None, frame())
    world.check_silence()
    world.now_s += 5
    world.students.check_silence()
    world.students.on_frame(student, frame())
    world.now_s += 0.5
    world.students.check_silence()
    assert world.client.statuses() == ["online"]


def test_two_of_one_name_are_two_streams(world):
    students = [world.students.on_frame(None, frame()) for _ in range(3)]
    assert [each.source for each in students] == ["Joao_Silva", "Joao_Silva-2", "Joao_Silva-3"]
    assert len({each.session for each in students}) == 3


def test_the_same_name_in_another_group_is_no_clash(world):
    students = [world.students.on_frame(None, frame(code=code)) for code in ("A", "B")]
    assert [each.source for each in students] == ["Joao_Silva", "Joao_Silva"]


def test_a_source_stays_an_id_however_long_the_name(world):
    """A number replaces the last characters of a name of full length."""
    students = [world.students.on_frame(None, frame(name="a" * 64)) for _ in range(2)]
    assert students[1].source == "a" * 62 + "-2"


def test_a_student_who_reconnects_gets_the_same_stream_in_a_new_session(world):
    first = world.students.on_frame(None, frame())
    world.students.leave(first)
    again = world.students.on_frame(None, frame())
    assert (again.group, again.source) == (first.group, first.source)
    assert again.session != first.session
    assert [reading.seq for reading in world.client.readings()] == [0, 0]
    assert world.client.statuses() == ["online", "offline", "online"]


def test_leaving_twice_publishes_offline_once(world):
    student = world.students.on_frame(None, frame())
    world.students.leave_all()
    world.students.leave(student)
    assert world.client.statuses() == ["online", "offline"]
    assert len(world.students) == 0


def test_a_student_without_name_or_code_has_a_stream_too(world):
    students = [world.students.on_frame(None, frame(name=None, code=None)) for _ in range(2)]
    assert [(each.group, each.source) for each in students] == [("no-group", "anonymous"), ("no-group", "anonymous-2")]


def test_another_name_on_the_same_connection_is_another_student(world):
    first = world.students.on_frame(None, frame(name="Ana"))
    second = world.students.on_frame(first, frame(name="Bia"))
    assert (second.source, second.seq) == ("Bia", 1)
    assert second.session != first.session
    assert world.client.statuses() == ["online", "offline", "online"]


def test_a_waiting_reading_goes_out_when_the_rate_allows_it(world):
    """It does not wait for the next frame."""
    student = None
    for number in range(12):
        student = world.students.on_frame(student, frame(Att=number))
    assert [reading.attention for reading in world.client.readings()] == list(range(10))
    world.now_s += 0.3
    world.students.send_waiting()
    assert world.client.readings()[-1].attention == 11
    assert world.students.counters["readings_coalesced"] == 1


def test_a_waiting_reading_goes_out_before_the_student_leaves(world):
    student = None
    for number in range(11):
        student = world.students.on_frame(student, frame(Att=number))
    world.students.leave(student)
    assert world.client.readings()[-1].attention == 10
    assert world.client.statuses()[-1] == "offline"


def test_states_of_a_dead_run_are_cleared(world):
    topic = topics.stream_state("local", "A", "Ana")
    left = stream_state(service="ws_gateway", instance="host", epoch=999)
    world.students.on_state(topic, left)
    assert world.client.sent == [(topic, replace(left, status=StreamStatus.OFFLINE, time=NOON, epoch=1000, run="now"))]


def test_a_student_who_is_back_already_is_not_cleared(world):
    world.students.on_frame(None, frame())
    count = len(world.client.sent)
    left = stream_state(service="ws_gateway", instance="host", epoch=999)
    world.students.on_state(topics.stream_state("local", "ABC123", "Joao_Silva"), left)
    assert len(world.client.sent) == count


def test_a_student_at_another_gateway_keeps_its_stream(world):
    """Another of the same name who joins here gets another stream, as long as the first is there."""
    other_gateway(world)
    world.students.on_state(ANA, elsewhere())
    second = world.students.on_frame(None, frame(name="Ana", code="A"))
    assert second.source == "Ana-2"
    world.students.leave(second)
    world.students.on_state(ANA, elsewhere(status=StreamStatus.OFFLINE))
    third = world.students.on_frame(None, frame(name="Ana", code="A"))
    world.check_silence()
    assert third.source == "Ana"


def test_streams_of_a_gateway_that_died_are_free(world):
    other_gateway(world)
    world.students.on_state(ANA, elsewhere())
    other_gateway(world, ServiceStatus.OFFLINE)
    assert world.students.on_frame(None, frame(name="Ana", code="A")).source == "Ana"


def test_a_session_of_another_gateway_is_resumed_in_its_stream(world):
    """The other gateway has not noticed yet that the connection is gone."""
    other_gateway(world)
    world.students.on_state(ANA, elsewhere(session="session-1"))
    assert world.students.resume("Ana", "A", "session-1").source == "Ana"


def test_a_new_session_may_come_before_the_end_of_the_one_before_is_known(world):
    """At this gateway and at another one; not the session itself, nor one of somebody else or without a name."""
    first = world.students.resume("Ana", "A", "session-1")
    may_be_leaving = world.students.attendance().may_be_leaving
    assert may_be_leaving(("Ana", "A"), "session-2")
    assert may_be_leaving(("Ana", "A"), None)
    others = [
        (("Ana", "A"), "session-1"),
        (("Ana", "B"), "session-2"),
        (("Bia", "A"), "session-2"),
        ((None, "A"), None),
    ]
    assert not any(may_be_leaving(*each) for each in others)
    world.students.leave(first)
    assert not may_be_leaving(("Ana", "A"), "session-2")
    other_gateway(world)
    world.students.on_state(ANA, elsewhere(session="session-3"))
    assert may_be_leaving(("Ana", "A"), "session-2")
    assert not may_be_leaving(("Ana", "A"), "session-3")
    world.students.on_state(ANA, elsewhere(session="session-3", status=StreamStatus.OFFLINE))
    assert not may_be_leaving(("Ana", "A"), "session-2")


@pytest.mark.parametrize("status", [StreamStatus.STALE, StreamStatus.OFFLINE])
def test_a_late_state_of_another_gateway_is_corrected_once(world, status):
    """Two gateways must not contradict each other forever."""
    world.students.on_frame(None, frame(name="Ana", code="A"))
    world.students.on_state(ANA, elsewhere(status=status))
    world.students.on_state(ANA, elsewhere(status=StreamStatus.ONLINE))
    assert world.client.statuses() == ["online", "online"]
    world.now_s += 5
    world.check_silence()
    world.students.on_state(ANA, elsewhere(status=status))
    assert world.client.statuses() == ["online", "online", "stale"]


def test_states_of_students_who_left_a_day_ago_are_cleared(world):
    """The states of all gateways' students, but not of headsets and not of students who are there."""
    for source, hours, changes in (
        ("gone", 24, {"status": StreamStatus.OFFLINE}),
        ("of-a-dead-gateway", 24, {"instance": "dead"}),
        ("here", 24, {}),
        ("today", 23, {"status": StreamStatus.OFFLINE}),
        ("headset", 24, {"status": StreamStatus.OFFLINE, "service": "serial_bridge"}),
    ):
        topic = topics.stream_state("local", "A", source)
        world.students.on_state(topic, elsewhere(**{"time": NOON - timedelta(hours=hours), **changes}))
    other_gateway(world)
    world.students.clear_outdated()
    gone = [str(topics.stream_state("local", "A", source)) for source in ("gone", "of-a-dead-gateway")]
    assert world.client.cleared == gone
    for each in gone:
        world.students.on_state_cleared(topics.parse(each))
    world.students.clear_outdated()
    assert world.client.cleared == gone
    assert world.client.sent == []


def test_a_cleared_state_is_published_again_if_the_student_is_here(world):
    world.students.on_frame(None, frame(name="Ana", code="A"))
    world.students.on_state_cleared(ANA)
    assert world.client.statuses() == ["online", "online"]


def test_a_cleared_state_of_a_student_who_left_is_not_published_again_at_a_reconnect(world):
    world.students.on_state_cleared(ANA)
    assert world.client.left_to_broker == [ANA]


def test_known_states_are_bounded(world, monkeypatch):
    """The one unchanged for longest is forgotten first."""
    monkeypatch.setattr("ws_gateway.students.stream_registry.STATES_MAX", 2)
    for source in ("a", "b", "c"):
        world.students.on_state(topics.stream_state("local", "A", source), elsewhere())
    assert len(world.registry) == 2
