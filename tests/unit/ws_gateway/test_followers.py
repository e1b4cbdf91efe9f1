"""What clients that follow one student get."""

from datetime import timedelta
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import BANDS, StreamStatus
from tests.support.messages import NOON, reading, stream_state
from tests.unit.ws_gateway.test_dashboards import Ear
from ws_gateway import followers
from ws_gateway.access import TEACH, WATCH_ALL, Grant
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects.first import VALUES, BadFrame
from ws_gateway.followers import Follow, follow_in


class Lesson:
    """A gateway's other half, whose students send once a second."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.dashboards = Dashboards(lambda: self.now_s)

    def follow(self, query: str, grant: Grant = WATCH_ALL) -> Ear:
        ear = Ear()
        follow = follow_in(query)
        assert follow is not None
        assert self.dashboards.followers.add(ear, follow, grant)
        return ear

    def send(self, source: str, attention: int, code: str = "7B", **changes: Any) -> None:
        name = source.partition("-")[0]
        said = reading(name=name, code=code, attention=attention, session=source, **changes)
        self.dashboards.on_reading(topics.reading("local", topics.group_id(code), source), said)

    def end(self, source: str) -> None:
        topic = topics.stream_state("local", "7B", source)
        self.dashboards.on_state(topic, stream_state(status=StreamStatus.OFFLINE))

    def tick(self, ear: Ear, seconds: float = 1.0) -> int | None:
        """Let the time of one frame pass; return its attention, or None if there was none."""
        self.now_s += seconds
        ear.heard.clear()
        self.dashboards.send_headset()
        return ear.heard[0]["Att"] if ear.heard else None


@pytest.fixture
def lesson() -> Lesson:
    return Lesson()


@pytest.mark.parametrize(
    ("query", "follow"),
    [
        ("", None),
        ("token=follow", None),
        ("follow=7B", Follow("7B")),
        ("follow=7B/Ana", Follow("7B", "Ana")),
        ("token=t&follow=7B%2FAna+Maria&doubtful=no", Follow("7B", "Ana Maria", takes_doubtful=False)),
        ("follow=6%C2%BA%20A/Jos%C3%A9", Follow(topics.group_id("6º A"), "José")),
        ("follow=7B/Jose%CC%81", Follow("7B", "José")),
        ("follow=7B/Ana/Bia", Follow("7B", "Ana/Bia")),
    ],
)
def test_the_address_names_a_code_or_a_code_and_a_name(query, follow):
    assert follow_in(query) == follow


@pytest.mark.parametrize(
    "query", ["follow=", "follow=%20", "follow=/Ana", "follow=7B/", "follow=7B/%20", "follow=7B&follow=7C"]
)
def test_an_unclear_follow_is_refused(query):
    with pytest.raises(BadFrame, match="follow"):
        follow_in(query)
    with pytest.raises(BadFrame, match="doubtful"):
        follow_in("follow=7B&doubtful=maybe")


def test_a_client_gets_its_student_once_a_second_and_nobody_else(lesson):
    """Ten keys in the order of every frame; while a student says no new number, the last one, until it is stale."""
    ana, anybody, other = (lesson.follow(f"follow={whom}") for whom in ("7B/Ana", "7B", "7C/Ana"))
    lesson.send("Ana", 60)
    lesson.send("Bia", 30)
    lesson.send("Bia", 31)
    assert [lesson.tick(ana), lesson.tick(anybody)] == [60, 31]
    assert list(ana.heard[0]) == list(VALUES)
    assert [lesson.tick(ana), lesson.tick(other)] == [None, None]


def test_a_client_of_two_namesakes_stays_with_one_until_that_stream_ends(lesson):
    """The one who began last; while the stream is stale nothing comes, and certainly not the other one's numbers."""
    ear = lesson.follow("follow=7B/Ana")
    lesson.send("Ana", 1)
    lesson.send("Ana-2", 2)
    assert lesson.tick(ear) == 2
    lesson.send("Ana", 1)
    assert lesson.tick(ear) == 2
    for _ in range(2):
        lesson.send("Ana", 1)
        assert lesson.tick(ear) is None
    lesson.end("Ana-2")
    assert lesson.tick(ear, 0.5) == 1
    lesson.send("Ana-2", 2)
    assert lesson.tick(ear, 0.5) == 1


def test_of_two_namesakes_the_one_who_began_again_is_the_newest(lesson):
    lesson.follow("follow=7B")
    for session, attention in (("Ana", 1), ("Ana-2", 2), ("anew", 3)):
        said = reading(name="Ana", code="7B", attention=attention, session=session)
        source = "Ana" if session == "anew" else session
        lesson.dashboards.on_reading(topics.reading("local", "7B", source), said)
    assert lesson.tick(lesson.follow("follow=7B/Ana")) == 3


def test_a_student_who_leaves_and_comes_back_is_followed_again(lesson):
    """After an end in good order, and after a silence that lasts so long that the stream counts as ended."""
    ear = lesson.follow("follow=7B/Ana")
    assert lesson.tick(ear) is None
    for silent_s in (2.0, 20.0):
        lesson.send("Ana", 60)
        assert lesson.tick(ear) == 60
        lesson.end("Ana")
        assert lesson.tick(ear, silent_s) is None


def test_a_source_that_somebody_else_wears_now_is_not_followed_any_more(lesson):
    ear = lesson.follow("follow=7B/Ana")
    lesson.send("Ana", 60)
    assert lesson.tick(ear) == 60
    said = reading(name="Bia", code="7B", session="next")
    lesson.dashboards.on_reading(topics.reading("local", "7B", "Ana"), said)
    assert lesson.tick(ear) is None


def test_doubtful_numbers_are_left_out_on_request(lesson):
    """Poor contact, no bands, frozen; clipped bands and an unknown quality say nothing against attention."""
    default, strict = lesson.follow("follow=7B/Ana"), lesson.follow("follow=7B/Ana&doubtful=no")
    clipped = dict.fromkeys(BANDS, 99)
    for changes, is_sent in (
        ({}, True),
        ({"poor_signal": 0}, True),
        ({"poor_signal": 26}, False),
        (dict.fromkeys(BANDS, 0), False),
        (clipped, True),
    ):
        lesson.send("Ana", 60, **changes)
        assert lesson.tick(default) == 60
        assert bool(strict.heard) is is_sent
        strict.heard.clear()
    for second in range(12):
        lesson.send("Ana", 55, poor_signal=0, time=NOON + timedelta(seconds=second))
        assert lesson.tick(default) == 55
    assert len(strict.heard) == 10


@pytest.mark.parametrize(
    ("grant", "query", "is_shown"),
    [
        (TEACH, "follow=7B/Ana", True),
        (Grant(group="7B"), "follow=7B/Ana", True),
        (Grant(group="7C"), "follow=7B/Ana", False),
        (Grant(student="Ana"), "follow=7B/Ana", True),
        (Grant(student="Bia"), "follow=7B/Ana", False),
        (Grant(group="7C", student="Ana"), "follow=7B", False),
    ],
)
def test_a_client_follows_nobody_whom_its_token_does_not_show(lesson, grant, query, is_shown):
    follow = follow_in(query)
    assert follow is not None
    assert lesson.dashboards.followers.add(Ear(), follow, grant) is is_shown


def test_a_token_of_one_student_follows_only_this_one_in_a_class(lesson):
    ear = lesson.follow("follow=7B", Grant(student="Ana"))
    lesson.send("Bia", 30)
    assert lesson.tick(ear) is None
    lesson.send("Ana", 60)
    lesson.send("Bia", 30)
    assert lesson.tick(ear) == 60


@pytest.mark.parametrize("typed", ["Jose\u0301", "Jos\u00e9", " Jos\u00e9 "])
@pytest.mark.parametrize("of_token", ["Jose\u0301", "Jos\u00e9"])
def test_a_name_is_the_same_however_a_keyboard_writes_its_accents(lesson, typed, of_token):
    ears = [lesson.follow(query, Grant(student=of_token)) for query in ("follow=7B", "follow=7B/Jos%C3%A9")]
    topic = topics.reading("local", "7B", "any")
    lesson.dashboards.on_reading(topic, reading(name=typed, code="7B", attention=60))
    assert [lesson.tick(ears[0]), ears[1].heard[0]["Att"]] == [60, 60]
    assert not Grant(student=of_token).includes("7B", "Jose")
    assert not Grant(student=of_token).includes("7B", None)


def test_what_is_remembered_of_a_group_is_bounded_and_ends_with_its_last_client(lesson, monkeypatch):
    monkeypatch.setattr(followers, "STREAMS_MAX", 3)
    ear = lesson.follow("follow=7B")
    for number in range(10):
        lesson.send(f"Ana-{number}", number)
    held = lesson.dashboards.followers._groups
    assert list(held["7B"]) == ["Ana-7", "Ana-8", "Ana-9"]
    lesson.dashboards.remove(ear)
    lesson.tick(ear)
    assert held is not lesson.dashboards.followers._groups
    assert lesson.dashboards.followers._groups == {}
