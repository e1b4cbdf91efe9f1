"""One student is one student: over connections and gateways, in its sessions and acks, and in bursts."""

import contextlib
import random
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import (
    BANDS,
    GroupEvent,
    Kind,
    Reading,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)
from tests.support.student_world import ANA, World, elsewhere, frame, other_gateway
from ws_gateway.dialects import first
from ws_gateway.students.newcomers import HELD_MAX
from ws_gateway.students.student import Student, Taken
from ws_gateway.students.students import ABSENT_MAX


@pytest.fixture
def world() -> World:
    return World()


def watch_for(world: World, seconds: float, step_s: float = 0.5) -> None:
    """Let time pass, with a check of silence twice a second."""
    for _ in range(round(seconds / step_s)):
        world.now_s += step_s
        world.students.check_silence()


def awake(world: World) -> None:
    """Check silence once more, so that the gateway counts as not busy."""
    world.check_silence()


def phone(world: World, name: str | None = "Joao_Silva", **values: Any) -> tuple[Student, list[Taken]]:
    """A new connection of a phone with its first frame, and what it hears when another one takes its student."""
    taken: list[Taken] = []
    student = world.students.on_frame(None, frame(name, **values))
    student.on_taken = taken.append
    return student, taken


def streams(world: World) -> list[str]:
    """The source of each reading that was published."""
    return [topic["source"] for topic, message in world.client.sent if isinstance(message, Reading)]


@pytest.mark.parametrize("silent_s", [3.0, 5.0, 9.0, 35.0])
def test_a_phone_that_comes_back_while_its_old_connection_is_half_open_goes_on(world, silent_s):
    """It has the same stream, session and numbers, and the old connection has nothing left to end."""
    awake(world)
    first, taken = phone(world)
    watch_for(world, silent_s)
    again, _ = phone(world)
    assert taken == [Taken.BY_ANOTHER_CONNECTION]
    assert (again.stream, len(world.students)) == (first.stream, 1)
    assert [(each.session, each.seq) for each in world.client.readings()] == [(first.session, 0), (first.session, 1)]
    assert world.client.statuses()[-1] == "online"


@pytest.mark.parametrize("silent_s", [0.0, 0.5, 1.0, 2.5])
def test_a_phone_that_comes_back_sooner_goes_on_once_the_old_connection_was_silent_for_3_s(world, silent_s):
    """Before that it may be another student of its name: its readings are held back, and lose nothing by it."""
    awake(world)
    first, taken = phone(world)
    watch_for(world, silent_s)
    second, _ = phone(world, Delta=0)
    for delta in range(1, 6):
        watch_for(world, 1)
        assert world.students.on_frame(second, frame(Delta=delta)) is second
    assert (second.stream, taken) == (first.stream, [Taken.BY_ANOTHER_CONNECTION])
    assert set(streams(world)) == {"Joao_Silva"}
    assert [(each.session, each.seq) for each in world.client.readings()] == [(first.session, n) for n in range(7)]
    assert [each.delta for each in world.client.readings()[1:]] == [*range(6)]
    assert len(world.students) == 1


@pytest.mark.parametrize("is_first_alive", [False, True])
def test_a_phone_whose_second_connection_ends_soon_too_loses_nothing(world, is_first_alive):
    """If a namesake still speaks, it is the second student on all of its connections."""
    awake(world)
    first, _ = phone(world)
    for delta in (1, 2, 3):
        watch_for(world, 0.5)
        again, _ = phone(world, Delta=delta)
        world.students.leave(again)
        assert len(world.students) == 1
    if is_first_alive:
        world.students.on_frame(first, frame())
    watch_for(world, 4)
    source = "Joao_Silva-2" if is_first_alive else "Joao_Silva"
    readings = zip(streams(world), world.client.readings(), strict=True)
    assert [(source, each.delta) for source, each in readings if each.delta] == [(source, n) for n in (1, 2, 3)]
    assert world.client.statuses()[-1] == ("stale" if is_first_alive else "offline")


def test_a_last_frame_of_the_old_connection_that_comes_late_makes_no_second_student(world):
    """The network stood still: it delivers what was sent on both connections at once."""
    awake(world)
    first, _ = phone(world)
    watch_for(world, 1)
    second, _ = phone(world, Delta=2)
    world.now_s += 0.1
    world.students.on_frame(first, frame(Delta=1))
    for delta in (3, 4, 5, 6):
        watch_for(world, 1)
        world.students.on_frame(second, frame(Delta=delta))
    assert [each.delta for each in world.client.readings()] == [0, 1, 2, 3, 4, 5, 6]
    assert set(streams(world)) == {"Joao_Silva"}


@pytest.mark.parametrize("is_open_then", [False, True])
def test_a_phone_whose_old_connection_is_closed_after_the_new_one_was_opened_goes_on(world, is_open_then):
    """Its first readings are in the same stream."""
    awake(world)
    first, _ = phone(world)
    second, _ = phone(world, Delta=1)
    world.students.leave(first)
    if not is_open_then:
        world.students.leave(second)
    watch_for(world, 0.5)
    assert streams(world) == ["Joao_Silva", "Joao_Silva"]
    assert [each.delta for each in world.client.readings()] == [0, 1]
    assert len(world.students) == is_open_then


def test_what_is_held_back_of_a_newcomer_is_bounded(world):
    """A gateway that stands still for long cannot judge who it is; nothing is left out before the rate limit."""
    awake(world)
    phone(world)
    second, _ = phone(world)
    for number in range(10 * HELD_MAX):
        world.now_s += 1
        world.students.on_frame(second, frame(Delta=number))
        assert second.newcomer is None or len(second.newcomer.held) <= HELD_MAX
    world.check_silence()
    assert [each.delta for each in world.client.readings()[2:]] == [*range(10 * HELD_MAX)]


def test_a_gateway_that_stops_publishes_what_is_held_back(world):
    awake(world)
    phone(world)
    phone(world, Delta=1)
    world.students.leave(phone(world, Delta=2)[0])
    world.students.leave_all()
    assert [each.delta for each in world.client.readings()] == [0, 1, 2]
    assert (len(world.students), [*world.students.newcomers]) == (0, [])


def test_two_that_both_speak_are_two_also_when_one_is_silent_later(world):
    awake(world)
    first, taken = phone(world)
    watch_for(world, 0.5)
    second, _ = phone(world)
    for _ in range(3):
        watch_for(world, 0.5)
        first = world.students.on_frame(first, frame())
        watch_for(world, 0.5)
        second = world.students.on_frame(second, frame())
    for _ in range(8):
        watch_for(world, 1)
        assert world.students.on_frame(second, frame()) is second
    assert (first.source, second.source, taken) == ("Joao_Silva", "Joao_Silva-2", [])


def test_the_second_of_two_comes_back_to_its_own_stream(world):
    """Whether the first one still speaks or has left."""
    awake(world)
    first, _ = phone(world)
    second, _ = phone(world)
    world.students.on_frame(first, frame())
    for first_speaks in (True, False):
        for _ in range(6):
            watch_for(world, 1)
            if first_speaks:
                world.students.on_frame(first, frame())
        assert phone(world)[0].stream == second.stream
        if first_speaks:
            world.students.leave(first)
            topic, state = world.client.sent[-1]
            assert isinstance(state, StreamState)
            world.students.on_state(topic, state)  # the broker sends a gateway its own states too


@pytest.mark.parametrize("other", [{"name": "Joao"}, {"code": "B"}, {"code": None}, {"name": None}])
def test_only_the_same_name_and_code_take_a_stream_over(world, other):
    awake(world)
    about = {"name": "Joao_Silva", "code": "ABC123"}
    first = world.students.on_frame(None, frame(**about))
    first.on_taken = lambda why: pytest.fail("nobody may take it")
    watch_for(world, 5)
    assert world.students.on_frame(None, frame(**{**about, **other})).key != first.key


def test_students_without_a_name_take_nothing_over(world):
    """There may be many, and nothing says that two are one."""
    awake(world)
    phone(world, None, code=None)
    watch_for(world, 5)
    assert phone(world, None, code=None)[0].source == "anonymous-2"


def test_a_busy_gateway_takes_no_stream_from_a_connection_that_it_has_not_read(world):
    """After a minute of standing still the frames of both wait; the one that is read first must not win."""
    awake(world)
    first, taken = phone(world)
    world.now_s += 60
    second, _ = phone(world)
    world.students.check_silence()
    world.students.on_frame(second, frame())
    world.students.on_frame(first, frame())
    for _ in range(8):
        watch_for(world, 1)
        world.students.on_frame(second, frame())
        world.students.on_frame(first, frame())
    assert (first.source, second.source, taken) == ("Joao_Silva", "Joao_Silva-2", [])


def test_a_connection_that_speaks_again_after_its_stream_was_taken_is_another_student(world):
    awake(world)
    phone(world)
    watch_for(world, 5)
    phone(world)
    assert phone(world)[0].source == "Joao_Silva-2"


def test_a_phone_that_comes_to_another_gateway_goes_on_there(world):
    """The gateway that it left has said that the stream is silent."""
    awake(world)
    other_gateway(world)
    world.students.on_state(ANA, elsewhere(status=StreamStatus.STALE))
    assert phone(world, "Ana", code="A")[0].source == "Ana"


@pytest.mark.parametrize("about", [{"name": "Ana Maria"}, {"code": "a"}, {"kind": Kind.HEADSET}])
def test_a_silent_stream_of_somebody_else_at_another_gateway_is_not_taken(world, about):
    awake(world)
    other_gateway(world)
    world.students.on_state(ANA, elsewhere(status=StreamStatus.STALE, **about))
    assert phone(world, "Ana", code="A")[0].source == "Ana-2"


@pytest.mark.parametrize("change", [StreamStatus.STALE, StreamStatus.OFFLINE])
def test_a_phone_that_comes_to_another_gateway_sooner_goes_on_once_the_stream_is_silent(world, change):
    """Or has ended: its old connection may be closed later than the new one is opened."""
    awake(world)
    other_gateway(world)
    world.students.on_state(ANA, elsewhere())
    student, _ = phone(world, "Ana", code="A")
    assert student.source == "Ana-2"
    watch_for(world, 2)
    world.students.on_state(ANA, elsewhere(status=change))
    watch_for(world, 0.5)
    assert world.students.on_frame(student, frame("Ana", "A")) is student
    assert student.source == "Ana"
    assert streams(world) == ["Ana", "Ana"]


def test_a_namesake_that_speaks_at_another_gateway_is_another_student_at_once(world):
    awake(world)
    other_gateway(world)
    world.students.on_state(ANA, elsewhere())
    phone(world, "Ana", code="A")
    watch_for(world, 1)
    world.students.newcomers.on_reading(ANA, world.now_s)
    watch_for(world, 0.5)
    assert streams(world) == ["Ana-2"]


def test_a_newcomer_leaves_its_place_to_a_student_who_has_it_at_another_gateway(world):
    """Nothing was published of it yet."""
    awake(world)
    other_gateway(world)
    first, _ = phone(world, "Ana", code="A")
    second, _ = phone(world, "Ana", code="A")
    world.students.on_state(topics.stream_state("local", "A", "Ana-2"), elsewhere(session="theirs"))
    watch_for(world, 1)
    world.students.on_frame(first, frame("Ana", "A"))
    watch_for(world, 0.5)
    assert (second.source, streams(world)) == ("Ana-3", ["Ana", "Ana", "Ana-3"])


def test_two_at_two_gateways_stay_two_when_one_falls_silent_later(world):
    awake(world)
    other_gateway(world)
    world.students.on_state(ANA, elsewhere())
    student, _ = phone(world, "Ana", code="A")
    for _ in range(5):
        watch_for(world, 1)
        world.students.on_frame(student, frame("Ana", "A"))
    world.students.on_state(ANA, elsewhere(status=StreamStatus.STALE))
    watch_for(world, 1)
    assert world.students.on_frame(student, frame("Ana", "A")) is student


def test_a_half_open_connection_leaves_its_stream_to_the_gateway_that_has_the_phone_now(world):
    """It says nothing of that stream any more."""
    awake(world)
    other_gateway(world)
    student, taken = phone(world, "Ana", code="A")
    watch_for(world, 5)
    said = len(world.client.sent)
    world.students.on_state(ANA, elsewhere())
    assert (len(taken), len(world.students)) == (1, 0)
    world.students.leave(student)
    watch_for(world, 10)
    assert len(world.client.sent) == said
    assert phone(world, "Ana", code="A")[0].source == "Ana-2"


@pytest.mark.parametrize(("theirs", "stays"), [("a-gateway", False), ("z-gateway", True)])
def test_of_two_that_speak_on_one_stream_at_two_gateways_one_gives_way(world, theirs, stays):
    """They came at the same moment. This gateway is called `host`; the other one decides the other way round."""
    awake(world)
    topic = topics.service_state("local", "ws_gateway", theirs)
    world.registry.on_service(topic, ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1, connection=1))
    _, taken = phone(world, "Ana", code="A")
    world.students.on_state(ANA, elsewhere(instance=theirs))
    assert taken == ([] if stays else [Taken.BY_ANOTHER_STUDENT])
    assert world.client.statuses() == (["online", "online"] if stays else ["online"])


# --- the new dialect ---------------------------------------------------------------------------


def number(seq: object, **values: object) -> dict[str, Any]:
    return {"seq": seq, "attention": 60, "meditation": 40, **dict.fromkeys(BANDS, 9), **values}


class App:
    """An app of the new dialect, and the acks that it hears."""

    def __init__(self, world: World, name: str = "Ana", code: str = "A", session: str | None = "session-1") -> None:
        self.world = world
        self.acks: list[int] = []
        self.taken: list[Taken] = []
        self.student = world.students.resume(name, code, session)
        self.student.on_progress = lambda stage, seq: self.acks.append(seq)
        self.student.on_taken = self.taken.append

    def send(self, *seqs: object, **values: object) -> None:
        for seq in seqs:
            self.world.students.on_reading(self.student, number(seq, **values))


def test_a_connected_student_hears_acks_however_many_came_later(world, monkeypatch):
    monkeypatch.setattr("ws_gateway.students.students.SESSIONS_MAX", 5)
    app = App(world)
    app.send(0)
    for n in range(20):
        App(world, name=f"s{n}", session=f"session-of-{n}").send(0)
    app.send(1)
    assert app.acks == [0, 1]
    again = App(world)
    assert (app.taken, again.student.acked) == ([Taken.BY_ANOTHER_CONNECTION], 1)


def test_sessions_that_have_ended_are_bounded(world, monkeypatch):
    """The one that ended first is forgotten first."""
    monkeypatch.setattr("ws_gateway.students.students.SESSIONS_MAX", 2)
    apps = [App(world, name=f"s{n}", session=f"session-of-{n}") for n in range(3)]
    for app in apps:
        app.send(0)
        world.students.leave(app.student)
    assert [App(world, f"s{n}", session=f"session-of-{n}").student.seq for n in range(3)] == [0, 1, 1]


@pytest.mark.parametrize("other", [{"name": "Bia"}, {"code": "B"}])
@pytest.mark.parametrize("has_left", [False, True])
def test_a_session_belongs_to_who_began_it(world, other, has_left):
    """Under another name it gets a new id, and the first student goes on."""
    app = App(world)
    app.send(0)
    if has_left:
        world.students.leave(app.student)
    stranger = App(world, **other)
    assert stranger.student.session != "session-1"
    assert app.taken == []
    stranger.send(0)
    assert stranger.acks == [0]
    assert App(world).student.session == "session-1"


def test_a_session_that_another_gateway_knows_belongs_to_who_began_it(world):
    world.students.on_state(ANA, elsewhere(session="session-1", status=StreamStatus.OFFLINE))
    assert App(world, name="Bia").student.session != "session-1"
    assert App(world).student.session == "session-1"


def test_a_session_comes_back_to_its_stream_after_a_restart_of_the_gateway(world):
    """Also if its student is back before a namesake of the same class."""
    for source, session in (("Ana", "session-1"), ("Ana-2", "session-2")):
        topic = topics.stream_state("local", "A", source)
        world.students.on_state(topic, elsewhere(instance="host", session=session, status=StreamStatus.OFFLINE))
    second, first = App(world, session="session-2"), App(world, session="session-1")
    assert [second.student.source, first.student.source] == ["Ana-2", "Ana"]


def test_an_ack_says_that_every_reading_up_to_it_is_there(world):
    """A reading that was left out holds the acks back until it comes, and then it is published."""
    app = App(world)
    app.send(0, 1, 4, 5)
    assert max(app.acks) == 1
    app.send(3)
    assert max(app.acks) == 1
    app.send(2)
    assert app.acks[-1] == 5
    assert sorted(each.seq for each in world.client.readings()) == [0, 1, 2, 3, 4, 5]


def test_what_came_twice_is_published_once(world):
    app = App(world)
    app.send(0, 1, 3, 3, 1, 2, 2, 0)
    assert [each.seq for each in world.client.readings()] == [0, 1, 3, 2]
    assert app.acks[-1] == 3


def test_a_reading_that_was_refused_as_bad_holds_no_ack_back(world):
    """Apps do not send it again; one that does is heard."""
    app = App(world)
    app.send(0)
    for bad in (1, "x", None):
        with pytest.raises(first.BadFrame):
            app.send(bad, attention=101)
    app.send(2)
    assert app.acks == [0, 2]
    app.send(1)
    assert [each.seq for each in world.client.readings()] == [0, 2, 1]


def test_an_app_that_gave_readings_up_goes_on_with_those_that_it_has(world):
    """It begins with the oldest one after hello; what it left out before that will not come."""
    app = App(world)
    app.send(0, 1, 3)
    again = App(world)
    again.send(2, 3, 4)
    assert again.acks[-1] == 4
    once_more = App(world)
    once_more.send(500_000, 500_001)
    assert once_more.acks == [500_000, 500_001]


def test_readings_that_were_left_out_are_bounded(world):
    app = App(world)
    app.send(0)
    for seq in (2**53 - 1, ABSENT_MAX + 2):
        with pytest.raises(first.BadFrame) as caught:
            app.send(seq)
        assert (caught.value.code, caught.value.field) == ("bad_value", "seq")
    app.send(1)
    assert app.acks == [0, 1]


# --- bursts ------------------------------------------------------------------------------------


def events(world: World) -> list[GroupEvent]:
    return [message for _, message in world.client.sent if isinstance(message, GroupEvent)]


@pytest.mark.parametrize("seconds", [12, 60, 120])
def test_frames_that_arrive_together_after_a_silence_are_all_published(world, seconds):
    student, _ = phone(world)
    for _ in range(30):
        world.now_s += 1
        world.students.on_frame(student, frame())
    before = len(world.client.readings())
    world.now_s += seconds
    for n in range(seconds):
        world.students.on_frame(student, frame(Att=n % 100))
    assert [each.attention for each in world.client.readings()[before:]] == [n % 100 for n in range(seconds)]
    assert world.students.counters["readings_coalesced"] == 0
    assert events(world) == []


def test_what_was_coalesced_stands_in_the_events_of_the_session(world):
    """Once when it begins, and with the whole number before the session ends."""
    student = None
    for n in range(40):
        student = world.students.on_frame(student, frame(Att=n))
    assert student is not None
    world.check_silence()
    for n in range(40, 60):
        world.students.on_frame(student, frame(Att=n))
    world.check_silence()
    world.students.leave(student)
    topic = topics.event("local", "ABC123")
    assert [each[0] for each in world.client.sent if isinstance(each[1], GroupEvent)] == [topic, topic]
    assert [each.text.split()[0] for each in events(world)] == ["29", "49"]
    assert {(each.type, each.source) for each in events(world)} == {("marker", "Joao_Silva")}
    assert isinstance(world.client.sent[-1][1], StreamState)


def test_a_flood_makes_few_events(world):
    student = None
    for n in range(513 * 60):
        world.now_s += 1 / 513
        student = world.students.on_frame(student, frame(Att=n % 100))
        if n % 256 == 0:
            world.students.check_silence()
    assert len(events(world)) <= 4
    assert len(world.client.readings()) <= 60 * 5 + 12


# --- whatever happens ----------------------------------------------------------------------------


class Phone:
    """A connection of either dialect, and the student that it has."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.student: Student | None = None
        self.next = 0

    def _have(self, student: Student) -> None:
        self.student = student
        student.on_taken = lambda why: setattr(self, "student", None)

    def send_frame(self, name: str | None, code: str) -> None:
        student = self.world.students.on_frame(self.student, frame(name, code))
        if student is not self.student:
            self._have(student)

    def say_hello(self, name: str, session: str) -> None:
        self.close()
        student = self.world.students.resume(name, "A", session)
        self._have(student)
        self.next = student.acked + 1

    def send_reading(self, step: int, **values: object) -> None:
        if self.student is not None:
            seq = max(0, self.next + step)
            self.next = max(self.next, seq + 1)
            with contextlib.suppress(first.BadFrame):
                self.world.students.on_reading(self.student, number(seq, **values))

    def close(self) -> None:
        if self.student is not None:
            self.world.students.leave(self.student)
            self.student = None


@pytest.mark.parametrize("seed", range(20))
def test_every_connection_has_its_own_student_whatever_happens(world, seed):
    """No stream and no session belongs to two, and nobody has a student that the gateway does not know."""
    chance = random.Random(seed)
    other_gateway(world)
    old, new = [Phone(world) for _ in range(5)], [Phone(world) for _ in range(4)]
    for _ in range(300):
        world.now_s += chance.choice([0, 0.1, 0.5, 1, 2])
        if chance.random() < 0.9:
            world.students.check_silence()
        match chance.choice("fffffhrrcs"):
            case "f":
                chance.choice(old).send_frame(chance.choice(["Ana", "Bia", None]), chance.choice("AAB"))
            case "h":
                chance.choice(new).say_hello(chance.choice(["Ana", "Bia"]), chance.choice(["session-1", "session-2"]))
            case "r":
                chance.choice(new).send_reading(
                    chance.choice([0, 0, 1, -1, -2, 3]), attention=chance.choice([1, 1, 101])
                )
            case "c":
                chance.choice([*old, *new]).close()
            case "s":
                status, session = chance.choice([*StreamStatus]), chance.choice(["theirs", "session-1"])
                topic = topics.stream_state("local", "A", chance.choice(["Ana", "Ana-2", "Bia"]))
                world.students.on_state(topic, elsewhere(status=status, session=session))
        students = [phone.student for phone in (*old, *new) if phone.student is not None]
        assert len({student.key for student in students}) == len(students) == len(world.students)
        assert len({student.session for student in students}) == len(students)
