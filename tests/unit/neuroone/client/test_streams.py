"""What a subscription tells of each stream: readings once each, their doubts, and who is there."""

from datetime import timedelta

import msgspec
import pytest

from neuroone.client import subscribe
from neuroone.client.streams import HOLES_MAX, SESSIONS_MAX, LiveReading, Streams
from neuroone.contract import topics
from neuroone.contract.doubt import Doubt
from neuroone.contract.errors import SettingsError
from neuroone.contract.json import encode
from neuroone.contract.messages import Message, ServiceState, ServiceStatus, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import NOON, reading, stream_state

GROUP, SOURCE = IDS = ("7B", "Ana")
READINGS = topics.reading("local", *IDS)
STATE = topics.stream_state("local", *IDS)


class Heard:
    """Streams at a time that the test sets."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.now_s = 100.0
        self.streams.on_link(True, self.now_s)

    def put(self, topic: Topic, message: Message | None) -> LiveReading | None:
        payload = b"" if message is None else encode(message)
        return self.streams.on_delivery(Delivery(str(topic), payload, False, 0, 1), self.now_s)

    def reads(self, seq: int, **changes: object) -> LiveReading | None:
        return self.put(READINGS, reading(**{"seq": seq, "time": NOON + timedelta(seconds=seq), **changes}))

    def changes(self) -> list[StreamStatus | None]:
        return [each.status for each in self.streams.changes(self.now_s)]


def test_each_reading_comes_once_in_whatever_order_and_however_often_the_broker_sends_it() -> None:
    """What fills a hole comes late; what was before the first one is not from now."""
    heard = Heard()
    sent = [5, 6, 5, 9, 8, 8, 9, 7, 6, 4, 10]
    got = [each for seq in sent if (each := heard.reads(seq)) is not None]
    assert [each.reading.seq for each in got] == [5, 6, 9, 8, 7, 10]
    assert [each.missed for each in got] == [0, 0, 2, 0, 0, 0]
    assert heard.streams.counters == {"readings": 6, "repeated": 5, "bad_messages": 0}


def test_a_new_session_begins_anew_and_the_one_before_is_still_known() -> None:
    heard = Heard()
    assert heard.reads(3)
    assert heard.reads(0, session="b" * 32)
    assert heard.reads(3) is None
    assert heard.reads(4)


def test_what_hostile_numbers_leave_behind_is_bounded() -> None:
    heard = Heard()
    for number in range(20):
        heard.reads(0, session=f"{number:032x}")
        heard.reads(2**31 - 1, session=f"{number:032x}")
        heard.reads(2**31 + 5, session=f"{number:032x}")
    (stream,) = heard.streams._streams.values()
    assert len(stream.sessions) == SESSIONS_MAX
    assert {len(each.holes) for each in stream.sessions.values()} == {HOLES_MAX}


@pytest.mark.parametrize(
    ("changes", "doubt", "attention", "has_bands"),
    [
        ({"poor_signal": 0}, None, 85, True),
        ({"poor_signal": None}, Doubt.NO_QUALITY, 85, True),  # every phone
        ({"poor_signal": 26}, Doubt.POOR_CONTACT, None, False),
        ({"poor_signal": 0, "attention": 0}, None, None, True),
    ],
)
def test_a_reading_says_which_of_its_numbers_mean_something(
    changes: dict[str, int | None], doubt: Doubt | None, attention: int | None, has_bands: bool
) -> None:
    got = Heard().reads(0, **changes)
    assert got is not None
    assert (got.doubt, got.attention, got.bands is not None) == (doubt, attention, has_bands)
    assert got.is_valid is (doubt is not Doubt.POOR_CONTACT)


def test_an_app_that_repeats_its_last_numbers_is_doubted_and_one_late_reading_does_not_clear_it() -> None:
    heard = Heard()
    got = [heard.reads(seq) for seq in (*range(9), 10, 11, 9, 12)]
    assert [each.doubt for each in got if each is not None][-4:] == [
        Doubt.FROZEN,
        Doubt.FROZEN,
        Doubt.NO_QUALITY,
        Doubt.FROZEN,
    ]


def test_a_stream_is_online_stale_and_offline_by_the_rules_of_the_monitor() -> None:
    """The age of its last reading, its own words, and the life of its service."""
    heard = Heard()
    heard.put(STATE, stream_state(status=StreamStatus.ONLINE))
    assert heard.changes() == [StreamStatus.ONLINE]
    heard.reads(0)
    assert heard.changes() == []
    for later_s, status in ((3.0, StreamStatus.STALE), (7.0, StreamStatus.OFFLINE)):
        heard.now_s += later_s
        assert heard.changes() == [status]
    heard.reads(1)
    assert heard.streams.has_news
    assert heard.changes() == [StreamStatus.ONLINE]
    state = stream_state()
    dead = ServiceState(status=ServiceStatus.OFFLINE, version="1", epoch=1, connection=1)
    heard.put(topics.service_state("local", state.service, state.instance), dead)
    assert heard.changes() == [StreamStatus.OFFLINE]
    heard.put(topics.service_state("local", state.service, state.instance), None)
    assert heard.changes() == [StreamStatus.ONLINE]
    heard.put(STATE, None)  # nobody speaks for it: its readings do
    heard.now_s += 3
    assert heard.changes() == [StreamStatus.STALE]


def test_the_time_without_a_broker_is_not_silence_of_the_headset() -> None:
    heard = Heard()
    heard.put(STATE, stream_state())
    heard.reads(0)
    heard.changes()
    heard.streams.on_link(False, heard.now_s)
    heard.now_s += 60
    assert heard.changes() == [None]
    heard.streams.on_link(True, heard.now_s)
    assert heard.changes() == [StreamStatus.ONLINE]


def test_streams_that_were_offline_all_the_time_are_not_told() -> None:
    heard = Heard()
    heard.put(STATE, stream_state(status=StreamStatus.OFFLINE))
    heard.streams.on_link(False, heard.now_s)
    assert heard.changes() == []


@pytest.mark.parametrize("payload", [b"{}", b"\xff", b"[]", msgspec.json.encode({"status": "no"})])
def test_a_message_that_breaks_the_contract_is_counted(payload: bytes) -> None:
    streams = Streams()
    for topic in (str(READINGS), str(STATE), "neuroone/v1/local/nothing"):
        assert streams.on_delivery(Delivery(topic, payload, False, 0, 1), 0.0) is None
    assert streams.counters["bad_messages"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"broker": "localhost:1883"}, "broker: the address must be like mqtt://host:1883"),
        ({"broker": "mqtt://h", "site": "a/b"}, "site: an id is"),
        ({"broker": "mqtt://h", "queue_max": 0}, "queue_max: must be at least 1"),
    ],
)
def test_wrong_arguments_are_said_at_once(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        subscribe(**arguments)  # type: ignore[call-overload]
