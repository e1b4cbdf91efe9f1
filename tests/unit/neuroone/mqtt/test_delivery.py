"""What the broker delivered."""

import pytest

from neuroone.contract import topics
from neuroone.contract.errors import BadTopic
from neuroone.contract.json import encode
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import reading


def test_a_delivery_is_opened_by_its_topic() -> None:
    topic = topics.reading("local", "ABC123", "Joao_Silva")
    assert Delivery(str(topic), encode(reading()), False, 0, 1).open() == (topic, reading())
    with pytest.raises(BadTopic):
        Delivery("neuroone/v2/local/streams/a/b/reading", b"{}", False, 0, 1).open()
