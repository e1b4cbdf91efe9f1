"""Lessons of everybody, as real gateways tell them to dashboards that come early, late, and after a restart."""

import json
import signal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from neuroone.contract import topics
from neuroone.contract.messages import EventType, GroupEvent, LessonState
from tests.support.gateways import GatewayProgram, Peer, happens, hear
from tests.support.messages import NOON

pytestmark = pytest.mark.broker
EVERYBODY = topics.lesson("local", topics.ALL)


class Dashboard:
    """A dashboard of the new dialect."""

    def __init__(self, gateway: GatewayProgram, code: str | None = None) -> None:
        self._connecting = connect(gateway.url, subprotocols=[Subprotocol("neuroone.v1")])
        self._code = code

    async def __aenter__(self) -> "Dashboard":
        self._connection: ClientConnection = await self._connecting
        await self.say("hello", role="dashboard", code=self._code)
        await self.hear_of("link")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def say(self, kind: str, **content: Any) -> None:
        await self._connection.send(json.dumps({"type": kind, **content}))

    async def hear_of(self, kind: str) -> Any:
        while (heard := await hear(self._connection))["type"] != kind:
            pass
        return heard

    async def lesson(self) -> tuple[str, str | None, bool]:
        """Receive the next frame about a lesson: its group, its name, and whether it runs."""
        heard = await self.hear_of("lesson")
        return heard["group"], heard["name"], heard["began"] is not None


def published(peer: Peer) -> list[LessonState]:
    return [message for topic, message in peer.heard if topic == EVERYBODY and isinstance(message, LessonState)]


async def test_dashboards_know_the_lesson_whenever_and_wherever_they_come(gateways, peer):
    one, two = gateways
    async with Dashboard(one) as teacher, Dashboard(two) as other:
        await teacher.say("marker", id="t1", event="session_start", text="Ciências")
        for each in (teacher, other):
            assert await each.lesson() == (topics.ALL, "Ciências", True)
        async with Dashboard(two, code="7B") as late:
            assert await late.lesson() == (topics.ALL, "Ciências", True)
        await happens(lambda: len(published(peer)) >= 2)
        assert len(set(published(peer))) == 1, "both gateways publish the same state"
        two.end(signal.SIGKILL)
        two.start(peer)
        async with Dashboard(two) as after_restart:
            assert await after_restart.lesson() == (topics.ALL, "Ciências", True)
            stop = GroupEvent(id="x", time=NOON, type=EventType.SESSION_STOP, text="", source=None)
            peer.bus.publish(topics.event("local", topics.ALL), stop)
            for each in (teacher, after_restart):
                assert await each.lesson() == (topics.ALL, None, False)


async def test_a_lesson_of_one_class_is_shown_to_that_class(gateways, peer):
    """A marker without a code, of a dashboard of one class, is about that class, as before."""
    one, _ = gateways
    async with Dashboard(one, code="A") as teacher, Dashboard(one, code="B") as other, Dashboard(one) as everybody:
        await teacher.say("marker", id="t1", event="session_start", text="7A")
        for each in (teacher, everybody):
            assert await each.lesson() == ("A", "7A", True)
        await everybody.say("marker", id="t2", event="session_start", text="Feira")
        assert (await other.hear_of("event"))["group"] == topics.ALL
        for each in (teacher, other, everybody):
            assert await each.lesson() == (topics.ALL, "Feira", True)


async def test_a_mark_without_a_code_is_one_event_of_everybody(gateways, peer):
    """Thirty phones with thirty codes get one mark at one time; one of a dashboard of a class stays that class's."""
    one, two = gateways
    async with Dashboard(one, code="A") as of_a, Dashboard(two, code="B") as of_b, Dashboard(one) as everybody:
        await of_a.say("marker", id="m1", text="A")
        assert (await of_a.hear_of("event"))["group"] == "A"
        await everybody.say("marker", id="m2", text="olhos fechados")
        for each in (of_a, of_b):
            assert (await each.hear_of("event"))["group"] == topics.ALL
        await happens(lambda: len(marks_on(peer)) == 2)
        assert sorted(marks_on(peer)) == [("A", "A"), (topics.ALL, "olhos fechados")]


def marks_on(peer: Peer) -> list[tuple[str, str]]:
    """Groups and texts of the marks that are on the broker."""
    events = [(topic["group"], message) for topic, message in peer.heard if isinstance(message, GroupEvent)]
    return [(group, event.text) for group, event in events if event.type is EventType.MARKER]
