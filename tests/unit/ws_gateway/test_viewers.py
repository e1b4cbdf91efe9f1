"""What dashboards of the new dialect hear beside readings: recordings, events, raw samples."""

import json
from dataclasses import replace
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import GroupEvent, RawBlock, Recorded
from tests.support.messages import GOLDEN
from ws_gateway import dashboards
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import v1
from ws_gateway.dialects.first import BadFrame
from ws_gateway.dialects.v1 import Watch


class Ear:
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def send(self, key: str, frame: str) -> None:
        self.heard.append(json.loads(frame))


@pytest.fixture
def room() -> Dashboards:
    return Dashboards(lambda: 0.0)


def viewer_of(room: Dashboards, group: str | None) -> Ear:
    ear = Ear()
    room.add_viewer(ear, group)
    return ear


def event(number: int) -> GroupEvent:
    example = GOLDEN["group_event"]
    assert isinstance(example, GroupEvent)
    return replace(example, id=f"e{number}")


def test_recorded_streams(room):
    """A dashboard of all classes hears of every stream, that of one class of its own ones only."""
    everybody, mine, others = viewer_of(room, None), viewer_of(room, "ABC123"), viewer_of(room, "X")
    marks = GOLDEN["recorded"]
    assert isinstance(marks, Recorded)
    (stream, *_) = marks.streams
    room.take_recorded("test", [stream, replace(stream, group="X", rows=7)])
    assert [[each["rows"] for each in ear.heard[0]["streams"]] for ear in (everybody, mine, others)] == [
        [stream.rows, 7],
        [stream.rows],
        [7],
    ]
    assert everybody.heard[0]["type"] == "recorded"


def test_a_late_dashboard_hears_what_was_marked(room, monkeypatch):
    """The newest events of its class, in order; the oldest are forgotten, and so are groups long without any."""
    monkeypatch.setattr(dashboards, "GROUPS_MAX", 2)
    for number in range(dashboards.EVENTS_MAX + 5):
        room.take_event(topics.event("local", "A"), event(number))
    room.take_event(topics.event("local", "B"), event(1000))
    heard = [each["id"] for each in viewer_of(room, "A").heard]
    assert heard == [f"e{number}" for number in range(5, dashboards.EVENTS_MAX + 5)]
    assert len(viewer_of(room, None).heard) == dashboards.EVENTS_MAX + 1
    room.take_event(topics.event("local", "C"), event(1001))
    assert viewer_of(room, "A").heard == []


def test_raw_samples_go_to_who_watches(room):
    """Only to a dashboard that asked for this stream, of a class that it may see, and until it asks no more."""
    block = GOLDEN["raw"]
    assert isinstance(block, RawBlock)
    topic = topics.raw("local", "A", "bench")
    viewer, stranger = viewer_of(room, "A"), viewer_of(room, "B")
    assert not room.is_watched(topic)
    room.watch(viewer, "A", "bench")
    room.watch(stranger, "A", "bench")
    room.watch(Ear(), "A", "bench")
    assert room.is_watched(topic)
    room.take_raw(topic, block)
    room.take_raw(topics.raw("local", "A", "other"), block)
    assert [(each["type"], each["source"]) for each in viewer.heard] == [("raw", "bench")]
    assert stranger.heard == []
    room.watch(viewer, None, None)
    assert not room.is_watched(topic)
    room.watch(viewer, "A", "bench")
    room.remove_viewer(viewer)
    assert not room.is_watched(topic)


def test_watch():
    """A stream or none; anything else is a bad frame."""
    assert v1.said(b'{"type": "watch", "group": "A", "source": "b"}') == Watch(group="A", source="b")
    assert v1.said(b'{"type": "watch", "group": null}') == Watch()
    with pytest.raises(BadFrame):
        v1.said(b'{"type": "watch", "group": 5}')
