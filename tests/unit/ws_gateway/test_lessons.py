"""Which lessons run, as every gateway knows them."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.json import decode
from neuroone.contract.messages import SEQ_MAX, Door, EventType, GroupEvent, LessonState, Removed
from neuroone.mqtt.outbox import Outgoing
from tests.support.messages import NOON
from ws_gateway import lessons
from ws_gateway.lessons import NO_LESSON, Lessons

START, STOP = EventType.SESSION_START, EventType.SESSION_STOP
SCIENCE = LessonState(name="Ciências", began=NOON)
RUI = Removed(group="5RUI", source="Rui")


class Gateway:
    """A gateway's lessons, and its link to the broker: what it publishes waits until the broker takes it."""

    def __init__(self, broker: "Broker") -> None:
        self.broker = broker
        self.now_s = 0.0
        self.is_connected = False
        self.identity = self
        self.site = "local"
        self.waiting: list[tuple[str, LessonState | None, Callable[[], None] | None]] = []
        self.kept: dict[str, tuple[str, LessonState, Callable[[], None] | None]] = {}
        self.shown: list[tuple[str, LessonState]] = []
        client: Any = self
        self.lessons = Lessons(client, lambda group, state: self.shown.append((group, state)), lambda: self.now_s)
        broker.gateways.append(self)
        self.link()

    def publish(self, topic: topics.Topic, state: LessonState, on_ack: Callable[[], None]) -> bool:
        self.kept[str(topic)] = (str(topic), state, on_ack)
        self.waiting.append(self.kept[str(topic)])
        return True

    def put(self, outgoing: Outgoing) -> bool:
        self.waiting.append((outgoing.topic, decode(LessonState, outgoing.payload) if outgoing.payload else None, None))
        return True

    def leave_to_broker(self, topic: topics.Topic) -> None:
        self.kept.pop(str(topic), None)

    def link(self) -> None:
        self.is_connected = True
        self.waiting = [*self.kept.values()]
        self.lessons.on_link()
        for topic, state in self.broker.retained.items():
            self.lessons.on_state(topics.parse(topic), state)

    def unlink(self) -> None:
        self.is_connected = False
        self.lessons.on_link()

    def after(self, seconds: float) -> None:
        self.now_s += seconds
        self.lessons.check()
        self.broker.settle()


class Broker:
    """A broker of lessons."""

    def __init__(self) -> None:
        self.gateways: list[Gateway] = []
        self.retained: dict[str, LessonState] = {}
        self.taken = 0

    def event(self, type: EventType, text: str = "", minutes: int = 0, group: str = topics.ALL) -> None:
        event = GroupEvent(id=f"e{minutes}", time=NOON + timedelta(minutes=minutes), type=type, text=text, source=None)
        for each in self.gateways:
            if each.is_connected:
                each.lessons.on_event(topics.event("local", group), event)

    def settle(self) -> None:
        """Take what the gateways have published, one message of each in turn, and deliver it to all."""
        while any(each.is_connected and each.waiting for each in self.gateways):
            for each in self.gateways:
                if each.is_connected and each.waiting:
                    self.take(each, *each.waiting.pop(0))

    def take(self, by: Gateway, topic: str, state: LessonState | None, on_ack: Callable[[], None] | None) -> None:
        self.taken += 1
        assert self.taken < 100, "the gateways contradict each other for ever"
        if state is None:
            self.retained.pop(topic, None)
        else:
            self.retained[topic] = state
        for each in self.gateways:
            if each.is_connected:
                each.lessons.on_state(topics.parse(topic), state)
        if on_ack:
            on_ack()

    def agree_on(self, state: LessonState, group: str = topics.ALL) -> bool:
        on_broker = self.retained.get(str(topics.lesson("local", group)), NO_LESSON)
        return {state} == {on_broker, *(each.lessons.of(group) for each in self.gateways)}


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_a_lesson_is_published_and_shown_once_from_its_start_to_its_stop(broker):
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    assert broker.agree_on(SCIENCE)
    broker.event(EventType.MARKER, "olhos fechados")
    broker.event(STOP, minutes=50)
    broker.settle()
    assert broker.agree_on(NO_LESSON)
    assert gateway.shown == [(topics.ALL, SCIENCE), (topics.ALL, NO_LESSON)]


def test_every_gateway_knows_the_lesson_also_one_that_starts_later(broker):
    Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    late = Gateway(broker)
    assert broker.agree_on(SCIENCE)
    assert late.shown == [(topics.ALL, SCIENCE)]
    broker.event(STOP, minutes=50)
    broker.settle()
    assert broker.agree_on(NO_LESSON)


def test_a_second_start_with_the_same_name_lets_the_lesson_go_on_and_another_name_begins_the_next(broker):
    Gateway(broker)
    broker.event(START, "Ciências")
    broker.event(START, "Ciências", minutes=1)
    broker.settle()
    assert broker.agree_on(SCIENCE)
    broker.event(START, "Arte", minutes=50)
    broker.settle()
    assert broker.agree_on(LessonState(name="Arte", began=NOON + timedelta(minutes=50)))


def test_a_stop_without_a_start_publishes_nothing(broker):
    Gateway(broker)
    broker.event(STOP)
    broker.settle()
    assert broker.taken == 0


def test_a_gateway_that_was_away_learns_what_it_missed_and_brings_nothing_back(broker):
    away, there = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    away.unlink()
    broker.event(STOP, minutes=50)
    broker.event(START, "Arte", minutes=55)
    there.lessons.change(topics.ALL, LessonState(name="Arte", began=NOON, door=Door.ASK))
    broker.settle()
    away.link()
    away.after(lessons.RESTORE_AFTER_S)
    assert broker.agree_on(LessonState(name="Arte", began=NOON, door=Door.ASK))


def test_what_a_gateway_could_not_publish_in_time_does_not_bring_a_lesson_back(broker):
    """Its connection broke between the event and its own state."""
    away, _ = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    away.unlink()
    broker.settle()
    broker.event(STOP, minutes=50)
    broker.settle()
    away.link()
    broker.settle()
    assert broker.agree_on(NO_LESSON)


def test_a_lesson_outlives_a_broker_that_loses_everything(broker):
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.event(START, "7B", group="A")
    broker.settle()
    gateway.unlink()
    broker.retained.clear()
    gateway.after(60.0)
    gateway.link()
    assert broker.retained == {}
    gateway.after(lessons.RESTORE_AFTER_S)
    assert broker.agree_on(SCIENCE)
    assert broker.agree_on(LessonState(name="7B", began=NOON), "A")


def test_two_gateways_that_change_at_the_same_time_agree_in_the_end(broker):
    one, two = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    for gateway, door in ((one, Door.ASK), (two, Door.CLOSED)):
        gateway.lessons.change(topics.ALL, LessonState(name="Ciências", began=NOON, door=door))
    broker.settle()
    assert broker.agree_on(one.lessons.of(topics.ALL))


def test_a_state_that_somebody_clears_ends_the_lesson(broker):
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    broker.take(gateway, str(topics.lesson("local", topics.ALL)), None, None)
    assert broker.agree_on(NO_LESSON)


def test_the_states_of_groups_without_a_lesson_do_not_pile_up(broker, monkeypatch):
    """Neither on the broker nor in memory; a lesson that runs stays, however long."""
    monkeypatch.setattr(lessons, "LESSONS_MAX", 3)
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.event(START, "7B", group="A")
    broker.event(STOP, group="A")
    broker.settle()
    gateway.after(lessons.CLEAR_AFTER_S)
    assert [*broker.retained] == [str(topics.lesson("local", topics.ALL))]
    for number in range(4):
        broker.event(START, "x", group=f"G{number}")
    broker.settle()
    assert gateway.lessons.of(topics.ALL) == NO_LESSON, "it is the oldest of more than so many"
    assert (topics.ALL, NO_LESSON) in gateway.shown


def test_of_two_changes_at_one_moment_none_is_lost(broker):
    """A teacher closes the door while another one removes a student at the other gateway."""
    one, two = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    one.lessons.update(topics.ALL, removed=(RUI,))
    two.lessons.update(topics.ALL, door=Door.CLOSED)
    broker.settle()
    assert broker.agree_on(replace(SCIENCE, door=Door.CLOSED, removed=(RUI,), revision=2))
    two.lessons.update(topics.ALL, removed=())
    one.lessons.update(topics.ALL, door=Door.ASK)
    broker.settle()
    assert broker.agree_on(replace(SCIENCE, door=Door.CLOSED, removed=(RUI,), revision=4)), "the stricter one counts"


def test_a_gateway_that_is_slow_to_publish_the_start_does_not_open_the_door(broker):
    """It stood still between hearing the event and its own state; the teacher has closed the door meanwhile."""
    one, slow = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.take(one, *one.waiting.pop(0))
    one.lessons.update(topics.ALL, door=Door.ASK)
    broker.take(one, *one.waiting.pop(0))
    assert slow.lessons.of(topics.ALL).door is Door.ASK
    broker.settle()
    assert broker.agree_on(replace(SCIENCE, door=Door.ASK, revision=1))
    assert one.shown[-1][1].door is slow.shown[-1][1].door is Door.ASK


def test_a_door_that_was_set_while_the_broker_was_away_is_set(broker):
    one, two = Gateway(broker), Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    one.unlink()
    one.lessons.update(topics.ALL, door=Door.ASK)
    assert one.lessons.of(topics.ALL).door is Door.ASK, "at once for those who come to this gateway"
    one.link()
    broker.settle()
    assert broker.agree_on(replace(SCIENCE, door=Door.ASK, revision=1))
    assert two.shown[-1][1].door is Door.ASK


@pytest.mark.parametrize("seed", range(30))
def test_gateways_agree_whatever_they_do_at_the_same_time(broker, seed):
    """Three gateways with teachers who set the door and remove students, while links break and messages are late."""
    rng = random.Random(seed)
    gateways = [Gateway(broker) for _ in range(3)]
    broker.event(START, "Ciências")
    for number in range(15):
        gateway = rng.choice(gateways)
        if gateway.lessons.of(topics.ALL).began is None:
            continue
        match rng.randrange(4):
            case 0:
                gateway.lessons.update(topics.ALL, door=rng.choice(list(Door)))
            case 1:
                gateway.lessons.update(topics.ALL, removed=(Removed(group=f"G{number}", source="Rui"),))
            case 2 if gateway.is_connected:
                gateway.unlink()
            case 2:
                gateway.link()
            case _ if gateway.is_connected and gateway.waiting:
                broker.take(gateway, *gateway.waiting.pop(0))
    for gateway in gateways:
        if not gateway.is_connected:
            gateway.link()
    broker.settle()
    for gateway in gateways:
        gateway.after(lessons.RESTORE_AFTER_S)
    assert broker.agree_on(gateways[0].lessons.of(topics.ALL))
    assert len({gateway.shown[-1] for gateway in gateways}) == 1


def test_a_revision_has_a_highest_value(broker):
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.settle()
    broker.take(gateway, str(topics.lesson("local", topics.ALL)), replace(SCIENCE, revision=SEQ_MAX), None)
    gateway.lessons.update(topics.ALL, door=Door.CLOSED)
    broker.settle()
    assert broker.agree_on(replace(SCIENCE, door=Door.CLOSED, revision=SEQ_MAX))


def test_the_lesson_that_takes_a_student_in_is_its_groups_own_or_everybodys(broker):
    gateway = Gateway(broker)
    broker.event(START, "Ciências")
    broker.event(START, "7B", group="A")
    assert gateway.lessons.taking_in("A") == ("A", LessonState(name="7B", began=NOON))
    assert gateway.lessons.taking_in("B") == (topics.ALL, SCIENCE)
    broker.event(STOP, group="A")
    assert gateway.lessons.taking_in("A") == (topics.ALL, SCIENCE)
    assert gateway.lessons.running() == [SCIENCE]
