"""What the broker delivered."""

import pytest

from neuroone.contract import topics
from neuroone.contract.errors import BadTopic
from neuroone.contract.json import encode
from neuroone.mqtt import delivery
from neuroone.mqtt.delivery import Delivery, LiveStates
from tests.support.messages import reading


def test_a_delivery_is_opened_by_its_topic() -> None:
    topic = topics.reading("local", "ABC123", "Joao_Silva")
    assert Delivery(str(topic), encode(reading()), False, 0, 1).open() == (topic, reading())
    with pytest.raises(BadTopic):
        Delivery("neuroone/v2/local/streams/a/b/reading", b"{}", False, 0, 1).open()


def test_topics_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LIVE_MAX_TOPICS", 1)
    counters = dict.fromkeys(("late_states", "live_states_forgotten"), 0)
    live = LiveStates(counters)
    for each in ("a/state", "a/state", "b/state", "b/reading"):
        assert not live.is_late(each, retained=False)
    assert [live.is_late(each, retained=True) for each in ("a/state", "b/state")] == [True, False]
    assert counters == {"late_states": 1, "live_states_forgotten": 1}
