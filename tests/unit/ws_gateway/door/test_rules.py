"""Who may come in, as the rules of the door say."""

import random
from datetime import timedelta

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import Door, LessonState, StreamStatus, WaitingReason
from neuroone.contract.students import stem_of
from tests.support.door_world import DoorWorld, removed
from tests.support.messages import NOON
from tests.support.student_world import elsewhere, other_gateway
from ws_gateway.door import rules
from ws_gateway.door.rules import ADDRESSES_MAX, Candidate, Verdict
from ws_gateway.students.sources import sources_of

SHUT = {Door.ASK: Verdict.ASK, Door.CLOSED: Verdict.CLOSED}


@pytest.fixture(params=SHUT)
def world(request: pytest.FixtureRequest) -> DoorWorld:
    """A lesson whose door asks, or is closed."""
    return DoorWorld(door=request.param)


def shut(world: DoorWorld) -> Verdict:
    return SHUT[world.lesson.door]


@pytest.mark.parametrize(("door", "verdict"), [(Door.OPEN, Verdict.COME_IN), *SHUT.items()])
def test_a_newcomer_comes_in_only_by_an_open_door(door, verdict):
    assert DoorWorld(door=door).verdict_on("Maria", "5MARIA") is verdict


def test_without_a_lesson_everybody_comes_in(world):
    world.lesson = LessonState(name=None, began=None, door=world.lesson.door)
    assert world.verdict_on("Maria", "5MARIA") is Verdict.COME_IN


@pytest.mark.parametrize("name", ["Maria", "João Silva", "a" * 300, None, "-2", "Ana-2"])
def test_who_was_here_comes_back(world, name):
    """Also without the network's old address, and a second time."""
    student = world.join(name, "5MARIA")
    for address in ("10.0.0.9", "10.7.7.7"):
        world.end(student)
        assert world.verdict_on(name, "5MARIA", address) is Verdict.COME_IN
        student = world.join(name, "5MARIA", address)


def test_who_left_before_the_lesson_is_a_newcomer(world):
    """The state of this morning's lesson is still on the broker."""
    before = {"name": "Maria", "code": "5MARIA", "instance": "host", "status": StreamStatus.OFFLINE}
    for time, verdict in ((NOON - timedelta(minutes=11), shut(world)), (NOON - timedelta(minutes=9), Verdict.COME_IN)):
        world.registry.on_state(topics.stream_state("local", "5MARIA", "Maria"), elsewhere(**before, time=time))
        assert world.verdict_on("Maria", "5MARIA") is verdict


def test_a_second_phone_of_her_name_and_code_waits_while_she_sends(world):
    """Nobody gets Maria__CODE.csv by knowing her code. Her own phone, back on a new connection, comes in after 3 s."""
    world.join("Maria", "TURMA")
    waiting = world.wait("Maria", "TURMA")
    assert waiting.verdict is shut(world)
    world.let_pass(2.5)
    assert world.told == []
    world.let_pass(1)
    assert world.told == [("Maria", Verdict.COME_IN)]


@pytest.mark.parametrize("status", StreamStatus)
def test_a_student_of_another_gateway_comes_back_here_once_she_is_silent(world, status):
    other_gateway(world)
    state = elsewhere(name="Maria", code="5MARIA", status=status)
    world.registry.on_state(topics.stream_state("local", "5MARIA", "Maria"), state)
    is_in = status is not StreamStatus.ONLINE
    assert world.verdict_on("Maria", "5MARIA") is (Verdict.COME_IN if is_in else shut(world))


def test_a_session_is_resumed_while_the_old_connection_hangs(world):
    """It is a secret of the app. One from before the lesson lets nobody in, nor does somebody else's."""
    student = world.students.resume("Maria", "5MARIA", "session-of-maria")
    assert world.verdict_on("Maria", "5MARIA", session="session-of-maria") is Verdict.COME_IN
    assert world.verdict_on("Maria", "5MARIA", session="another-session") is shut(world)
    assert world.verdict_on("Maria", "5OTHER", session="session-of-maria") is shut(world)
    world.students.leave(student)
    assert world.verdict_on("Maria", "5MARIA", session="session-of-maria") is shut(world)


def test_a_new_code_is_her_phones_only_at_an_address_that_she_alone_has_used(world):
    maria = world.join("Maria", "5FIRST", "192.168.1.20")
    assert world.verdict_on("Maria", "5NEW", "192.168.1.20") is shut(world)
    world.end(maria)
    assert world.verdict_on("Maria", "5NEW", "192.168.1.20") is Verdict.COME_IN
    assert world.verdict_on("Maria", "5NEW", "192.168.1.66") is shut(world)
    assert world.verdict_on("Maria", "5NEWER", "192.168.1.66") is shut(world)


@pytest.mark.parametrize("address", ["8.8.8.8", "2600::1", "", "unknown"])
def test_an_address_of_the_internet_proves_nothing(world, address):
    """A whole school, or a whole town, may be behind it."""
    world.end(world.join("Maria", "5FIRST", address))
    assert world.verdict_on("Maria", "5NEW", address) is shut(world)


@pytest.mark.parametrize("comes", ["join", "wait"])
def test_an_address_that_another_student_uses_proves_nothing(world, comes):
    world.end(world.join("Maria", "5FIRST", "192.168.1.20"))
    if comes == "join":
        world.join("Ana", "5ANA", "192.168.1.20")
    else:
        world.wait("Ana", "5ANA", "192.168.1.20")
    assert world.verdict_on("Maria", "5NEW", "192.168.1.20") is shut(world)


def test_who_waits_first_at_an_address_does_not_own_it(world):
    """A stranger who waits as Maria, and comes again as Maria, waits again."""
    world.end(world.join("Maria", "5FIRST", "192.168.1.20"))
    for code in ("5ONE", "5TWO"):
        assert world.verdict_on("Maria", code, "192.168.1.66") is shut(world)


def test_addresses_are_forgotten_beyond_a_bound(world):
    for number in range(ADDRESSES_MAX + 10):
        world.door.rules.on_join(Candidate(("Maria", "5M"), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(world.door.rules._users) == ADDRESSES_MAX


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("name", ["Rui", "João Silva", "Rui-2", None])
def test_who_is_removed_stays_out(door, name):
    """With that name, code and address the teacher hears no more of it. From elsewhere, or with another code, it may be
    another student of that name, who needs a tap whatever the door says; with another name only the door counts."""
    world = DoorWorld(door=door)
    student = world.join(name, "5RUI", "10.0.0.1")
    world.set_lesson(removed=removed(student.key))
    world.students.leave(student)
    world.door.rules.on_removed(Candidate((name, "5RUI"), "10.0.0.1"))
    asks = Verdict.CLOSED if door is Door.CLOSED else Verdict.ASK
    as_the_door_says = Verdict.COME_IN if door is Door.OPEN else asks
    assert world.verdict_on(name, "5RUI", "10.0.0.1") is Verdict.REMOVED
    assert world.verdict_on(name, "5RUI", "10.0.0.2") is asks
    assert world.verdict_on(name, "5NEW", "10.0.0.1") is (as_the_door_says if name is None else asks)
    assert world.verdict_on("Ana", "5ANA", "10.0.0.1") is as_the_door_says
    world.set_lesson(removed=())
    assert world.told[:2] == [(name, Verdict.COME_IN), (name, Verdict.COME_IN)]


def test_another_student_of_a_removed_name_comes_back_once_she_was_admitted(world):
    world.set_lesson(removed=removed(("5STRANGER", "Maria")))
    maria = world.wait("Maria", "5MARIA")
    assert maria.reason is WaitingReason.REMOVED
    world.door.admit(maria)
    world.end(world.join("Maria", "5MARIA"))
    assert world.verdict_on("Maria", "5MARIA") is Verdict.COME_IN
    assert world.verdict_on("Maria", "5STRANGER") is shut(world)


def test_the_addresses_of_removed_students_go_with_the_lesson(world):
    world.set_lesson(removed=removed(("5RUI", "Rui")))
    for number in range(50):
        world.door.rules.on_removed(Candidate(("Rui", "5RUI"), f"10.0.0.{number}"))
    assert len(world.door.rules._removed_addresses["5RUI", "Rui"]) == rules.REMOVED_ADDRESSES_MAX
    world.set_lesson(removed=())
    assert not world.door.rules._removed_addresses


@pytest.mark.parametrize("name", ["Ana", "Ana-2", "João Silva", "x" * 64, "x" * 200, "ção" * 50, None, "2-2"])
def test_all_sources_of_a_name_have_one_stem(name):
    sources = sources_of(name)
    assert len({stem_of(next(sources)) for _ in range(99)}) == 1


def test_reasons_tell_the_teacher_who_it_may_be(world):
    world.join("Maria", "5MARIA")
    for name, code, reason in (
        ("Ana", "5ANA", WaitingReason.NEW),
        ("Maria", "5MARIA", WaitingReason.WAS_HERE),
        ("Maria", "5OTHER", WaitingReason.WAS_HERE),
    ):
        assert world.wait(name, code, f"10.0.{random.randrange(99)}.1").reason is reason
