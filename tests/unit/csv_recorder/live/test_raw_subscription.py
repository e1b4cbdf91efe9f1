"""Raw samples are received while a lesson wants those of its students."""

from csv_recorder.live.raw_subscription import RawSubscription
from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import LessonState
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import NOON

WANTED = encode(LessonState(name=None, began=NOON, raw=True))
OLD = encode(LessonState(name=None, began=NOON))


def test_from_the_first_lesson_that_wants_them_to_the_end_of_the_last_one() -> None:
    """Whatever else arrives; a state of an earlier version, an ended lesson and a broken one want none."""
    asked: list[str] = []
    subscription = RawSubscription(lambda: asked.append("on"), lambda: asked.append("off"))

    def deliver(group: str, payload: bytes) -> None:
        subscription.on_delivery(Delivery(str(topics.lesson("local", group)), payload, True, 1, 1))

    deliver("A", OLD)
    subscription.on_delivery(Delivery(str(topics.reading("local", "A", "Ana")), WANTED, False, 1, 1))
    assert asked == []
    for payload in (OLD, b"", b"{", encode(LessonState(name=None, began=None))):
        asked.clear()
        for group in ("A", "B", "A"):
            deliver(group, WANTED)
        deliver("A", payload)
        assert asked == ["on"]
        deliver("B", payload)
        deliver("B", payload)
        assert asked == ["on", "off"]
