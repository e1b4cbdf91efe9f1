"""What the feed keeps of the deliveries."""

from typing import Any

import pytest

pytest.importorskip("numpy")
from monitor_gui import feed as feeds
from monitor_gui.feed import Feed, StreamId
from monitor_gui.history import History
from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import GroupEvent, Message, ServiceState
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery
from tests.support import messages

ANA, BIA = StreamId("TURMA", "ana"), StreamId("TURMA", "bia")
BROKER = BrokerAddress("nowhere", 1883)


class Client:
    """A client that only notes its subscriptions and delivers what a test gives it."""

    def __init__(
        self, broker: BrokerAddress, *, subscriptions: Any, on_delivery: Any, on_fatal: Any, on_link: Any
    ) -> None:
        self.subscriptions = dict(subscriptions)
        self.on_delivery = on_delivery
        self.is_connected = True

    def start(self) -> None:
        """It has no connection."""

    def close(self, timeout_s: float) -> None:
        """As above."""

    def subscribe(self, filter: str, qos: int) -> None:
        self.subscriptions[filter] = qos

    def unsubscribe(self, filter: str) -> None:
        del self.subscriptions[filter]

    def deliver(self, topic: Topic | str, payload: Message | bytes) -> None:
        """As if the broker had sent it."""
        content = payload if isinstance(payload, bytes) else encode(payload)
        self.on_delivery(Delivery(str(topic), content, False, 0, 1))


@pytest.fixture
def feed() -> Feed:
    """A feed that is connected to a `Client`."""
    feed = Feed(Client, "local", lambda: 100.0)  # type: ignore[arg-type]
    feed.connect(BROKER)
    return feed


def client_of(feed: Feed) -> Client:
    """The feed's client."""
    assert isinstance(feed._client, Client)
    return feed._client


def history_of(feed: Feed, stream: StreamId) -> History:
    """What was kept of a stream."""
    with feed.watched(stream) as watched:
        return watched.history


def test_only_watched_streams_are_subscribed(feed: Feed) -> None:
    """A monitor that shows one headset does not receive the raw samples of a whole school."""
    before = set(client_of(feed).subscriptions)
    feed.watch(ANA, BIA)
    both = set(client_of(feed).subscriptions)
    assert len(both - before) == 5  # two readings, two raw traces, the events of their one group
    feed.watch(BIA)
    assert both - set(client_of(feed).subscriptions) == {
        str(topics.reading("local", *ANA)),
        str(topics.raw("local", *ANA)),
    }
    feed.watch()
    assert set(client_of(feed).subscriptions) == before


def test_showing_a_second_stream_keeps_the_history_of_the_first(feed: Feed) -> None:
    feed.watch(ANA)
    client_of(feed).deliver(topics.reading("local", *ANA), messages.reading())
    feed.watch(ANA, BIA)
    assert history_of(feed, ANA).counters["readings"] == 1
    assert history_of(feed, BIA).counters["readings"] == 0


def test_messages_against_the_contract_are_counted(feed: Feed) -> None:
    """A wrong payload or topic does not stop the feed."""
    feed.watch(ANA)
    client_of(feed).deliver(topics.reading("local", *ANA), b"no JSON")
    client_of(feed).deliver("some/other/topic", messages.reading())
    assert feed.counters["bad_messages"] == 2
    client_of(feed).deliver(topics.reading("local", *ANA), messages.reading())
    assert history_of(feed, ANA).counters["readings"] == 1


def test_an_empty_retained_message_clears_a_state(feed: Feed) -> None:
    """A stream's state comes with the state of the service that owns it."""
    state = messages.stream_state()
    client_of(feed).deliver(topics.stream_state("local", *ANA), state)
    owner = messages.GOLDEN["service_state"]
    assert isinstance(owner, ServiceState)
    client_of(feed).deliver(topics.service_state("local", state.service, state.instance), owner)
    assert feed.states() == {ANA: state}
    assert feed.state(ANA) == (state, owner)
    client_of(feed).deliver(topics.stream_state("local", *ANA), b"")
    assert feed.states() == {}


def test_streams_beyond_the_limit_are_counted_and_left_out(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "STREAMS_MAX", 2)
    for source in ("a", "b", "c", "a"):
        client_of(feed).deliver(topics.stream_state("local", "g", source), messages.stream_state())
    assert len(feed.states()) == 2
    assert feed.counters["streams_left_out"] == 1


def test_an_event_that_comes_twice_is_shown_once(feed: Feed) -> None:
    """QoS 1 may deliver again."""
    event = messages.GOLDEN["group_event"]
    assert isinstance(event, GroupEvent)
    feed.watch(ANA)
    for _ in range(2):
        client_of(feed).deliver(topics.event("local", "TURMA"), event)
    client_of(feed).deliver(topics.event("local", "OUTRA"), event)
    with feed.watched(ANA) as watched:
        assert list(watched.events) == [event]


def test_an_event_of_everybody_is_shown_for_each_stream(feed: Feed) -> None:
    event = messages.GOLDEN["group_event"]
    assert isinstance(event, GroupEvent)
    assert str(topics.event("local", topics.ALL)) in client_of(feed).subscriptions
    feed.watch(ANA)
    client_of(feed).deliver(topics.event("local", topics.ALL), event)
    with feed.watched(ANA) as watched:
        assert list(watched.events) == [event]


def test_a_new_broker_starts_with_empty_histories_and_old_deliveries_are_dropped(feed: Feed) -> None:
    feed.watch(ANA)
    old = client_of(feed)
    old.deliver(topics.reading("local", *ANA), messages.reading())
    feed.connect(BROKER)
    assert set(client_of(feed).subscriptions) == set(old.subscriptions)
    old.deliver(topics.reading("local", *ANA), messages.reading(seq=1))
    assert history_of(feed, ANA).counters["readings"] == 0
    feed.close()
