"""What teachers ask of the door, over gateways that hear each other."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import (
    REMOVED_MAX,
    Admission,
    Decision,
    Door,
    EventType,
    GroupEvent,
    LessonState,
    Message,
    Removed,
    Waiting,
)
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.identity import Identity
from tests.support.messages import NOON
from tests.support.student_world import World, frame
from ws_gateway.access import TEACH, Grant
from ws_gateway.dialects.first import BadFrame
from ws_gateway.door.board import EXPIRES_S, GATEWAYS_MAX
from ws_gateway.door.entrance import STARTING_MAX_S, Entrance
from ws_gateway.door.rules import Candidate, Verdict
from ws_gateway.door.waiting import WaitingClient
from ws_gateway.lessons import Lessons
from ws_gateway.students.student import Taken
from ws_gateway.websocket.send_queue import SendQueue


class Dashboard:
    """Keeps the last frame that a teacher got."""

    def __init__(self) -> None:
        self.board: dict[str, Any] = {"students": [], "removed": []}
        self.frames = 0

    def send(self, key: str, content: str) -> None:
        self.board = json.loads(content)
        self.frames += 1

    @property
    def names(self) -> list[str]:
        return [each["name"] for each in self.board["students"]]


class Gateway(World):
    """One gateway; a `Site` delivers what it publishes."""

    def __init__(self, site: "Site", name: str) -> None:
        super().__init__()
        self.site = site
        self.client.identity = Identity("local", "ws_gateway", name, "0.1.0", epoch=1, run=name)
        client: Any = self
        self.session = SimpleNamespace(has_states=True)
        self.identity = self.client.identity
        self.is_connected = True
        lessons = Lessons(client, lambda group, state: self.entrance.on_lesson(state), lambda: self.now_s)
        self.entrance = Entrance(
            cast(AsyncClient, client), self.students, lessons, rate_hz=5, now=lambda: NOON, clock=lambda: self.now_s
        )
        self.teacher = self.dashboard()
        self.told: list[Verdict] = []
        self.check_silence()

    def publish(self, topic: topics.Topic, message: Message, on_ack: Any = None) -> bool:
        self.site.deliver(topic, message)
        if on_ack is not None:
            on_ack()
        return True

    def leave_to_broker(self, topic: topics.Topic) -> None:
        pass

    def dashboard(self, grant: Grant = TEACH) -> Dashboard:
        dashboard = Dashboard()
        self.entrance.board.add(cast(SendQueue, dashboard), grant)
        return dashboard

    def wait(self, name: str, code: str, address: str = "10.0.0.9") -> WaitingClient:
        waiting = self.entrance.door.enter(
            Candidate((name, code), address), lambda: self.told.append(waiting.verdict if waiting else Verdict.FULL)
        )
        assert waiting is not None
        self.pass_time()
        return waiting

    def pass_time(self, seconds: float = 1.0) -> None:
        for gateway in self.site.gateways:
            gateway.now_s += seconds
            gateway.entrance.visit()
            gateway.entrance.publish()


class Site:
    """Two gateways, and a lesson of everybody whose door asks."""

    def __init__(self) -> None:
        self.gateways: list[Gateway] = []
        self.sent: list[Message] = []
        self.gateways += [Gateway(self, "one"), Gateway(self, "two")]
        self.event(EventType.SESSION_START)
        self.gateways[0].entrance.requests.set_door(topics.ALL, Door.ASK)

    def event(self, type: EventType) -> None:
        event = GroupEvent(id="e", time=NOON, type=type, text="", source=None)
        for gateway in self.gateways:
            gateway.entrance.lessons.on_event(topics.event("local", topics.ALL), event)

    def deliver(self, topic: topics.Topic, message: Message) -> None:
        self.sent.append(message)
        for gateway in self.gateways:
            match message:
                case LessonState():
                    gateway.entrance.lessons.on_state(topic, message)
                case Waiting():
                    gateway.entrance.board.on_waiting(topic["instance"], message)
                case Admission() if topic["instance"] == gateway.identity.instance:
                    gateway.entrance.on_admission(message)

    def removed(self) -> set[tuple[str, str]]:
        (lesson,) = self.gateways[0].entrance.lessons.running()
        assert self.gateways[1].entrance.lessons.running() == [lesson]
        return {(each.group, each.source) for each in lesson.removed}


@pytest.fixture
def site() -> Site:
    return Site()


def test_teachers_see_who_waits_at_any_gateway_until_they_come_in(site):
    one, two = site.gateways
    maria, ana = one.wait("Maria", "5MARIA"), two.wait("Ana", "5ANA")
    late = two.dashboard()
    for teacher in (one.teacher, two.teacher, late):
        assert sorted(teacher.names) == ["Ana", "Maria"]
    for waiting in (maria, ana):
        one.entrance.requests.decide(waiting.id, Decision.ADMIT)
    one.pass_time()
    assert (one.told, two.told) == ([Verdict.COME_IN], [Verdict.COME_IN])
    assert one.teacher.names == two.teacher.names == []


def test_a_teacher_of_one_class_sees_that_class(site):
    one, _ = site.gateways
    one.wait("Maria", "5MARIA"), one.wait("Ana", "5ANA")
    one.entrance.requests.decide(one.wait("Rui", "5RUI").id, Decision.REFUSE)
    of_class = one.dashboard(Grant(is_teacher=True, group="5ANA"))
    assert (of_class.names, of_class.board["removed"]) == (["Ana"], [])


def test_the_list_of_a_gateway_that_is_gone_goes_too(site):
    one, two = site.gateways
    two.wait("Ana", "5ANA")
    site.gateways.remove(two)
    one.pass_time(EXPIRES_S - 1)
    assert one.teacher.names == ["Ana"]
    one.pass_time(2)
    assert one.teacher.names == []


def test_lists_of_a_thousand_gateways_do_not_pile_up(site):
    one, _ = site.gateways
    one.wait("Ana", "5ANA")
    (waiting,) = [message for message in site.sent if isinstance(message, Waiting) and message.students][-1:]
    for number in range(1000):
        one.entrance.board.on_waiting(f"gateway-{number}", waiting)
    assert len(one.teacher.names) == GATEWAYS_MAX


def test_teachers_get_nothing_while_nothing_changes(site):
    one, _ = site.gateways
    one.pass_time()
    frames = one.teacher.frames
    for _ in range(100):
        one.pass_time()
    assert one.teacher.frames == frames


@pytest.mark.parametrize("at", [0, 1])
def test_who_is_refused_is_kept_out_and_who_is_admitted_again_is_forgiven(site, at):
    """At whichever gateway the teacher and the student are."""
    one, gateway = site.gateways[0], site.gateways[at]
    rui = gateway.wait("Rui", "5RUI")
    one.entrance.requests.decide(rui.id, Decision.REFUSE)
    gateway.pass_time()
    assert (gateway.told, site.removed(), one.teacher.names) == ([Verdict.REMOVED], {("5RUI", "Rui")}, [])
    assert one.teacher.board["removed"] == [{"id": "5RUI/Rui", "group": "5RUI", "source": "Rui"}]
    one.entrance.requests.decide("5RUI/Rui", Decision.ADMIT)
    gateway.pass_time()
    assert (gateway.told[1:], site.removed(), one.teacher.names) == ([Verdict.ASK], set(), ["Rui"])


def test_who_is_admitted_from_another_address_is_removed_no_more(site):
    one, two = site.gateways
    one.entrance.requests.decide(one.wait("Rui", "5RUI").id, Decision.REFUSE)
    again = two.wait("Rui", "5RUI", "10.0.0.77")
    assert [each["reason"] for each in two.teacher.board["students"]] == ["removed"]
    one.entrance.requests.decide(again.id, Decision.ADMIT)
    assert (two.told, site.removed()) == ([Verdict.COME_IN], set())


def test_a_removed_student_is_told_at_the_gateway_that_has_the_stream(site):
    one, two = site.gateways
    taken: list[Taken] = []
    student = two.students.on_frame(None, frame("Rui", "5RUI"))
    student.on_taken = taken.append
    with pytest.raises(BadFrame, match="no student"):
        one.entrance.requests.remove(("5RUI", "Rui"))
    for topic, state in two.client.sent:
        if topic.rule is topics.STREAM_STATE:
            one.registry.on_state(topic, cast(Any, state))
    one.entrance.requests.remove(("5RUI", "Rui"))
    assert (taken, len(two.students), two.client.statuses()) == ([Taken.BY_TEACHER], 0, ["online", "offline"])


def test_what_cannot_be_done_is_said(site):
    one, _ = site.gateways
    with pytest.raises(BadFrame) as fault:
        one.entrance.requests.decide("0" * 32, Decision.ADMIT)
    assert fault.value.code == "not_waiting"
    with pytest.raises(BadFrame) as fault:
        one.entrance.requests.set_door("7B", Door.OPEN)
    assert fault.value.code == "no_lesson"
    many = tuple(Removed(group=f"G{number}", source="Rui") for number in range(REMOVED_MAX))
    one.entrance.lessons.update(topics.ALL, removed=many)
    waiting = one.wait("Ana", "5ANA")
    with pytest.raises(BadFrame) as fault:
        one.entrance.requests.decide(waiting.id, Decision.REFUSE)
    assert fault.value.code == "too_many_removed"
    assert one.teacher.names == ["Ana"]


def test_the_end_of_the_lesson_opens_the_door(site):
    one, _ = site.gateways
    one.wait("Ana", "5ANA")
    site.event(EventType.SESSION_STOP)
    one.pass_time()
    assert (one.told, one.teacher.names) == ([Verdict.COME_IN], [])


def test_nobody_is_refused_in_a_lesson_that_has_just_ended(site):
    one, _ = site.gateways
    waiting = one.wait("Ana", "5ANA")
    site.event(EventType.SESSION_STOP)
    with pytest.raises(BadFrame, match="lesson"):
        one.entrance.requests.decide(waiting.id, Decision.REFUSE)
    assert one.entrance.lessons.of(topics.ALL) == LessonState(name=None, began=None)


def test_a_second_decision_about_a_student_who_is_gone_does_nothing(site):
    _, two = site.gateways
    two.entrance.on_admission(Admission(time=NOON, id="gone", decision=Decision.ADMIT))
    waiting = two.wait("Ana", "5ANA")
    two.entrance.door.leave(waiting)
    two.entrance.on_admission(Admission(time=NOON, id=waiting.id, decision=Decision.ADMIT))
    assert two.told == []


async def test_no_client_gets_in_before_the_broker_has_said_which_lesson_runs(site):
    """A gateway that starts again in the middle of a lesson; without a broker it waits a few seconds only."""
    for has_broker in (True, False):
        gateway = Gateway(site, "starts")
        gateway.session.has_states = False
        client = asyncio.create_task(gateway.entrance.wait_until_ready())
        gateway.entrance.visit()
        await asyncio.sleep(0)
        assert not client.done()
        if has_broker:
            gateway.session.has_states = True
        else:
            gateway.now_s += STARTING_MAX_S
        gateway.entrance.visit()
        await client
        assert gateway.entrance.is_ready


def test_a_state_of_a_lesson_that_is_full_of_rubbish_harms_nobody(site):
    """From another program that may write it."""
    one, _ = site.gateways
    (lesson,) = one.entrance.lessons.running()
    rubbish = tuple(Removed(group="x", source=f"-{number}" * 9) for number in range(REMOVED_MAX))
    site.deliver(topics.lesson("local", topics.ALL), replace(lesson, removed=rubbish, revision=2**53 - 1))
    waiting = one.wait("Ana", "5ANA")
    one.entrance.requests.decide(waiting.id, Decision.ADMIT)
    assert one.told == [Verdict.COME_IN]
