"""What dashboards and listeners get of what the broker delivers."""

import asyncio
import json
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import EventType, GroupEvent, Kind, RawBlock, Recorded
from tests.support.messages import GOLDEN, reading
from ws_gateway import dashboards
from ws_gateway.access import WATCH_ALL, Grant
from ws_gateway.dashboards import Dashboards, StreamNumbers
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Watch
from ws_gateway.websocket.send_queue import SendQueue


class Ear(SendQueue):
    """A client that records what it is sent."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def send(self, key: str, frame: str) -> None:
        self.heard.append(json.loads(frame))


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.dashboards = Dashboards(lambda: self.now_s)
        self.dashboard, self.listener = Ear(), Ear()
        self.dashboards.first_dashboards[self.dashboard] = WATCH_ALL
        self.dashboards.listeners[self.listener] = WATCH_ALL

    def hear(self, source: str, **changes: object) -> None:
        self.dashboards.on_reading(topics.reading("local", "A", source), reading(**changes))


@pytest.fixture
def world() -> World:
    return World()


def test_every_student_has_a_number(world):
    """IDs rise from 1 in the order in which students are first seen, and stay."""
    for source in ("Ana", "Bia", "Ana"):
        world.hear(source)
    assert [each["ID"] for each in world.dashboard.heard] == [1, 2, 1]


async def test_a_new_dashboard_sees_many_students_bit_by_bit_and_each_reading_once(world):
    """Nobody else waits meanwhile; what comes before a student's turn is shown with it."""
    names = [f"s{number}" for number in range(3 * dashboards.SHOWN_AT_ONCE)]
    for name in names:
        world.hear(name)
    late, gone = Ear(), Ear()
    world.dashboards.add_viewer(late, WATCH_ALL)
    world.dashboards.add_viewer(gone, WATCH_ALL)
    assert [each["source"] for each in late.heard] == names[: dashboards.SHOWN_AT_ONCE]
    world.hear(names[0], seq=1)
    world.hear(names[-1], seq=1)
    world.dashboards.remove(gone)
    for _ in range(3):
        await asyncio.sleep(0)
    seen = [(each["source"], each["seq"]) for each in late.heard]
    assert sorted(seen) == sorted([*((name, 0) for name in names[:-1]), (names[0], 1), (names[-1], 1)])
    world.hear(names[-1], seq=2)
    assert late.heard[-1]["seq"] == 2


async def test_a_stream_that_cannot_be_shown_keeps_no_other_from_new_dashboards(world, monkeypatch):
    """Nor this dashboard and those that come later from the rest."""
    names = [f"s{number}" for number in range(2 * dashboards.SHOWN_AT_ONCE)]
    for name in names:
        world.hear(name)
    real = v1.reading

    def fail_for_last(number, topic, reading):
        if topic["source"] == names[-1]:
            raise ValueError(names[-1])
        return real(number, topic, reading)

    monkeypatch.setattr(v1, "reading", fail_for_last)
    for _ in range(2):
        late = Ear()
        world.dashboards.add_viewer(late, WATCH_ALL)
        for _ in range(3):
            await asyncio.sleep(0)
        assert [each["source"] for each in late.heard] == names[:-1]


def test_a_headset_without_a_name_is_not_shown(world):
    """A headset on a bench is shown once it has a name."""
    world.hear("bench", kind=Kind.HEADSET, name=None)
    world.hear("bench", kind=Kind.HEADSET, name="Ana")
    assert [each["Nome"] for each in world.dashboard.heard] == ["Ana"]


def test_the_demo_that_nobody_named_is_not_shown_by_old_dashboards(world):
    """Their frames cannot say that it is simulated; a simulated headset that somebody named is shown as ever."""
    for source, name in (("sim", "Demo"), ("sim-2", "Demo 2"), ("named", "Ana")):
        world.hear(source, kind=Kind.HEADSET, name=name, simulated=True)
    world.hear("student", name="Demo")
    assert [each["Nome"] for each in world.dashboard.heard] == ["Ana", "Demo"]
    assert len(world.listener.heard) == 0  # it hears the headset once a second
    world.dashboards.send_headset()
    assert len(world.listener.heard) == 1


def test_only_dashboards_of_the_new_dialect_hear_that_the_link_is_there(world):
    viewer = viewer_of(world.dashboards, None)
    world.dashboards.send_link(v1.link(broker=True, recorder=True))
    assert viewer.heard == [{"type": "link", "broker": True, "recorder": True}]
    assert world.dashboard.heard == world.listener.heard == []


def test_listeners_hear_the_headset_and_no_student(world):
    world.hear("Ana", kind=Kind.CLIENT, attention=1)
    world.dashboards.send_headset()
    assert world.listener.heard == []
    world.hear("bench", kind=Kind.HEADSET, name=None, attention=2)
    world.dashboards.send_headset()
    world.dashboards.send_headset()
    assert [each["Att"] for each in world.listener.heard] == [2, 2]


def test_listeners_hear_the_headset_that_was_started_last(world):
    world.hear("old", kind=Kind.HEADSET, session="s1", attention=1)
    world.hear("new", kind=Kind.HEADSET, session="s2", attention=2)
    world.hear("old", kind=Kind.HEADSET, session="s1", attention=3)
    world.dashboards.send_headset()
    assert world.listener.heard[-1]["Att"] == 2


def test_listeners_hear_nothing_of_a_silent_headset(world):
    world.hear("bench", kind=Kind.HEADSET)
    world.now_s = 3.0
    world.dashboards.send_headset()
    assert world.listener.heard == []


def test_numbers_are_bounded_and_never_given_twice():
    numbers = StreamNumbers(most=2)
    assert [numbers.number_of(each) for each in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]


@pytest.fixture
def shown() -> Dashboards:
    return Dashboards(lambda: 0.0)


def viewer_of(shown: Dashboards, group: str | None) -> Ear:
    ear = Ear()
    shown.add_viewer(ear, Grant(group=group))
    return ear


def event(number: int) -> GroupEvent:
    example = GOLDEN["group_event"]
    assert isinstance(example, GroupEvent)
    return replace(example, id=f"e{number}")


def test_receipts_go_to_the_dashboards_of_their_class(shown):
    everybody, mine, others = viewer_of(shown, None), viewer_of(shown, "ABC123"), viewer_of(shown, "X")
    marks = GOLDEN["recorded"]
    assert isinstance(marks, Recorded)
    (stream, *_) = marks.streams
    shown.on_receipts("test", [stream, replace(stream, group="X", rows=7)])
    assert [[each["rows"] for each in ear.heard[0]["streams"]] for ear in (everybody, mine, others)] == [
        [stream.rows, 7],
        [stream.rows],
        [7],
    ]
    assert everybody.heard[0]["type"] == "recorded"


def test_a_new_dashboard_gets_the_newest_events(shown, monkeypatch):
    """In order, and only of its class. The oldest events are forgotten, and so are groups without events for long."""
    monkeypatch.setattr(dashboards, "GROUPS_MAX", 2)
    for number in range(dashboards.EVENTS_MAX + 5):
        shown.on_event(topics.event("local", "A"), event(number))
    shown.on_event(topics.event("local", "B"), event(1000))
    heard = [each["id"] for each in viewer_of(shown, "A").heard]
    assert heard == [f"e{number}" for number in range(5, dashboards.EVENTS_MAX + 5)]
    assert len(viewer_of(shown, None).heard) == dashboards.EVENTS_MAX + 1
    shown.on_event(topics.event("local", "C"), event(1001))
    assert viewer_of(shown, "A").heard == []


def test_raw_samples_go_to_dashboards_that_watch_the_stream(shown):
    """The stream must be of the dashboard's class, and it may ask for no more."""
    block = GOLDEN["raw"]
    assert isinstance(block, RawBlock)
    topic = topics.raw("local", "A", "bench")
    viewer, stranger = viewer_of(shown, "A"), viewer_of(shown, "B")
    assert not shown.is_watched(topic)
    shown.watch(viewer, "A", "bench")
    shown.watch(stranger, "A", "bench")
    shown.watch(Ear(), "A", "bench")
    assert shown.is_watched(topic)
    shown.on_raw(topic, block)
    shown.on_raw(topics.raw("local", "A", "other"), block)
    assert [(each["type"], each["source"]) for each in viewer.heard] == [("raw", "bench")]
    assert stranger.heard == []
    shown.watch(viewer, None, None)
    assert not shown.is_watched(topic)
    shown.watch(viewer, "A", "bench")
    shown.remove(viewer)
    assert not shown.is_watched(topic)


def test_watch_names_a_stream_or_none():
    assert v1.parse(b'{"type": "watch", "group": "A", "source": "b"}') == Watch(group="A", source="b")
    assert v1.parse(b'{"type": "watch", "group": null}') == Watch()
    with pytest.raises(BadFrame):
        v1.parse(b'{"type": "watch", "group": 5}')


def test_a_dashboard_for_one_student_sees_nobody_else(shown):
    """Neither live nor among what a new dashboard gets; the class's own events it sees."""
    topic, other = topics.reading("local", "A", "Ana"), topics.reading("local", "A", "Bia")
    old, early = Ear(), Ear()
    mine = Grant(group="A", student="Ana")
    shown.first_dashboards[old] = mine
    shown.add_viewer(early, mine)
    for each, name in ((other, "Bia"), (topic, "Ana")):
        shown.on_reading(each, reading(name=name))
    shown.on_reading(topics.reading("local", "B", "Ana"), reading(name="Ana"))
    shown.on_event(topics.event("local", "A"), replace(event(1), source="Bia"))
    shown.on_event(topics.event("local", "A"), replace(event(2), source="Ana"))
    shown.on_event(topics.event("local", "A"), replace(event(3), source=None))
    shown.on_event(topics.event("local", "B"), replace(event(4), source=None))
    late = Ear()
    shown.add_viewer(late, mine)
    assert [each["Nome"] for each in old.heard] == ["Ana"]
    for ear in (early, late):
        assert [each["source"] for each in ear.heard if each["type"] == "reading"] == ["Ana"]
        assert [each["id"] for each in ear.heard if each["type"] == "event"] == ["e2", "e3"]
    for source in ("Bia", "Ana"):
        shown.watch(late, "A", source)
        assert shown.is_watched(topics.raw("local", "A", source)) is (source == "Ana")


def test_listeners_hear_the_newest_headset_that_they_may_see(world):
    own = Ear()
    world.dashboards.listeners[own] = Grant(student="Ana")
    world.hear("bench", kind=Kind.HEADSET, session="s1", name="Ana", attention=1)
    world.hear("other", kind=Kind.HEADSET, session="s2", name="Bia", attention=2)
    world.dashboards.send_headset()
    assert [ear.heard[-1]["Att"] for ear in (own, world.listener)] == [1, 2]


def test_the_running_lesson_stays_known_among_many_markers_and_groups(shown, monkeypatch):
    """Until it is stopped; markers of other groups, which anybody can make, do not push it out."""
    monkeypatch.setattr(dashboards, "GROUPS_MAX", 2)
    start = replace(event(0), type=EventType.SESSION_START)
    marker = replace(event(1), type=EventType.MARKER)
    shown.on_event(topics.event("local", "A"), start)
    for number in range(5):
        shown.on_event(topics.event("local", f"X{number}"), marker)
    assert [each["event"] for each in viewer_of(shown, "A").heard] == ["session_start"]
    for number in range(dashboards.EVENTS_MAX + 1):
        shown.on_event(topics.event("local", "A"), replace(marker, id=f"m{number}"))
    heard = [each["event"] for each in viewer_of(shown, "A").heard]
    assert heard == ["session_start"] + ["marker"] * dashboards.EVENTS_MAX
    shown.on_event(topics.event("local", "A"), replace(event(2), type=EventType.SESSION_STOP))
    for number in range(dashboards.EVENTS_MAX):
        shown.on_event(topics.event("local", "A"), replace(marker, id=f"n{number}"))
    assert {each["event"] for each in viewer_of(shown, "A").heard} == {"marker"}


def test_raw_samples_are_subscribed_to_from_the_first_dashboard_to_the_last(shown):
    """And never those of more streams than one: a wildcard names no stream."""
    asked: list[tuple[str, bool]] = []
    shown.on_watched = lambda stream, is_watched: asked.append((stream, is_watched))
    first, second = viewer_of(shown, "A"), viewer_of(shown, "A")
    for viewer, source in (
        (first, "bench"),
        (first, "bench"),
        (second, "bench"),
        (first, "+"),
        (first, "#"),
        (first, ""),
    ):
        shown.watch(viewer, "A", source)
    assert asked == [("A/bench", True)]
    shown.watch(second, "A", "other")
    assert sorted(asked[1:]) == [("A/bench", False), ("A/other", True)]
    shown.remove(second)
    shown.remove(first)
    assert asked[3:] == [("A/other", False)]
