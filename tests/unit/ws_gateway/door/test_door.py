"""The door of one gateway: who waits, who is told what, and what teachers see."""

from collections.abc import Callable

import pytest

from neuroone.contract.checks import replace
from neuroone.contract.messages import Door, WaitingReason
from tests.support.door_world import DoorWorld, removed
from tests.support.student_world import frame
from ws_gateway.door import door
from ws_gateway.door.door import PUBLISH_PERIOD_S, RETURNS_WITHIN_S, TELL_PERIOD_S
from ws_gateway.door.rules import Candidate, Verdict


@pytest.fixture
def world() -> DoorWorld:
    return DoorWorld()


def listed(world: DoorWorld) -> list[str | None] | None:
    """The names in the list that is to be published now; None if none is due."""
    waiting = world.door.waiting()
    return None if waiting is None else [each.name for each in waiting.students]


def test_the_list_is_published_at_changes_and_while_anybody_waits(world):
    assert listed(world) is None
    maria = world.wait("Maria", "5MARIA")
    assert listed(world) == ["Maria"]
    assert listed(world) is None
    world.now_s += PUBLISH_PERIOD_S
    assert listed(world) == ["Maria"]
    world.door.leave(maria)
    assert listed(world) == []
    world.now_s += PUBLISH_PERIOD_S
    assert listed(world) is None


def test_a_list_has_short_names_and_how_long_each_has_waited(world):
    world.wait("Maria" * 100, "5" * 100)
    world.now_s += 12.3
    (student,) = world.door.waiting().students
    assert (len(student.name), len(student.code), student.waits_s, student.reason) == (64, 64, 12, WaitingReason.NEW)


def test_a_closed_door_lists_nobody(world):
    world.wait("Maria", "5MARIA")
    world.set_lesson(door=Door.CLOSED)
    assert (listed(world), world.told) == ([], [("Maria", Verdict.CLOSED)])
    world.set_lesson(door=Door.ASK)
    assert listed(world) == ["Maria"]
    world.set_lesson(door=Door.OPEN)
    assert (listed(world), world.told[-1], len(world.door)) == ([], ("Maria", Verdict.COME_IN), 0)


def test_a_phone_that_comes_back_is_listed_only_if_the_old_one_still_sends(world):
    """Else it is in before a teacher could tap."""
    world.join("Maria", "5MARIA")
    world.wait("Maria", "5MARIA")
    world.let_pass(1)
    assert listed(world) == []
    for _ in range(5):
        world.let_pass(1)
        world.students.on_frame(next(iter(world.students._active.values())), frame("Maria", "5MARIA"))
    world.now_s += RETURNS_WITHIN_S
    assert listed(world) == ["Maria"]


def test_who_waits_hears_every_few_seconds_that_it_does(world):
    world.wait("Maria", "5MARIA")
    world.let_pass(3 * TELL_PERIOD_S + 1)
    assert world.told == [("Maria", Verdict.ASK)] * 3


def test_a_refused_student_hears_it_and_is_listed_no_more(world):
    maria = world.wait("Maria", "5MARIA")
    world.lesson = replace(world.lesson, removed=removed(("5MARIA", "Maria")))
    world.door.refuse(maria)
    world.let_pass(0.1)
    assert (world.told, listed(world)) == ([("Maria", Verdict.REMOVED)], [])


@pytest.mark.parametrize("state", [Door.ASK, Door.CLOSED])
def test_frames_are_kept_only_of_those_who_wait_for_a_teacher(world, state):
    world.set_lesson(door=state)
    maria = world.wait("Maria", "5MARIA")
    for second in range(5):
        world.now_s = 101.0 + second
        world.door.keep(maria, frame("Maria", "5MARIA"))
    kept, lost = (5, 0) if state is Door.ASK else (0, 5)
    assert (len(world.door.kept(maria)), world.door.counters["door_frames_lost"]) == (kept, lost)


def test_a_crowd_is_visited_in_parts(world, monkeypatch):
    """A visit takes a few milliseconds at most, everybody is visited within 5 s, and soon after a teacher's tap."""
    for number in range(3000):
        world.wait(f"Flood-{number}", "5CROWD", f"10.0.{number >> 8}.{number & 255}")
    visited: list[Candidate] = []
    judge: Callable[[Candidate], tuple[Verdict, WaitingReason]] = world.door.rules.judge

    def count_and_judge(candidate: Candidate) -> tuple[Verdict, WaitingReason]:
        visited.append(candidate)
        return judge(candidate)

    monkeypatch.setattr(world.door.rules, "judge", count_and_judge)
    world.door.visit()
    assert len(visited) == 30
    world.let_pass(5)
    assert len(set(visited)) == 3000
    visited.clear()
    world.set_lesson(door=Door.CLOSED)
    world.let_pass(0.1)
    assert len(set(visited)) == 3000
    slow = iter(range(10**9))
    monkeypatch.setattr(world.door, "_clock", lambda: world.now_s + next(slow) * door.VISIT_MAX_S / 10)
    visited.clear()
    world.door.visit()
    assert 0 < len(visited) <= 10
