"""The outbound half: who hears what."""

import json

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import Kind
from tests.support.messages import reading
from ws_gateway.dashboards import Dashboards, StreamNumbers


class Ear:
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[dict[str, object]] = []

    def send(self, key: str, frame: str) -> None:
        self.heard.append(json.loads(frame))


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.audience = Dashboards(lambda: self.now_s)
        self.dashboard, self.listener = Ear(), Ear()
        self.audience.dashboards.add(self.dashboard)
        self.audience.listeners.add(self.listener)

    def hear(self, source: str, **changes: object) -> None:
        self.audience.take_reading(topics.reading("local", "A", source), reading(**changes))


@pytest.fixture
def world() -> World:
    return World()


def test_every_student_has_a_number_of_their_own(world):
    """IDs rise from 1 in the order in which students are first seen, and stay."""
    for source in ("Ana", "Bia", "Ana"):
        world.hear(source)
    assert [each["ID"] for each in world.dashboard.heard] == [1, 2, 1]


def test_a_headset_without_a_name_is_not_shown(world):
    """Dashboards show people; a bench headset becomes one when it has a name."""
    world.hear("bench", kind=Kind.HEADSET, name=None)
    world.hear("bench", kind=Kind.HEADSET, name="Ana")
    assert [each["Nome"] for each in world.dashboard.heard] == ["Ana"]


def test_listeners_hear_the_headset_and_no_student(world):
    """A game hears the local headset once a second and nothing else."""
    world.hear("Ana", kind=Kind.CLIENT, attention=1)
    world.audience.tick()
    assert world.listener.heard == []
    world.hear("bench", kind=Kind.HEADSET, name=None, attention=2)
    world.audience.tick()
    world.audience.tick()
    assert [each["Att"] for each in world.listener.heard] == [2, 2]


def test_listeners_hear_the_headset_that_was_started_last(world):
    """Of two live headsets the newer one feeds the game."""
    world.hear("old", kind=Kind.HEADSET, session="s1", attention=1)
    world.hear("new", kind=Kind.HEADSET, session="s2", attention=2)
    world.hear("old", kind=Kind.HEADSET, session="s1", attention=3)
    world.audience.tick()
    assert world.listener.heard[-1]["Att"] == 2


def test_a_silent_headset_feeds_nobody(world):
    """Three seconds without a reading and the game hears no stale numbers."""
    world.hear("bench", kind=Kind.HEADSET)
    world.now_s = 3.0
    world.audience.tick()
    assert world.listener.heard == []


def test_the_roster_forgets_the_longest_silent():
    """Remembered IDs are bounded; a number is never given twice."""
    roster = StreamNumbers(most=2)
    assert [roster.id_of(each) for each in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]
