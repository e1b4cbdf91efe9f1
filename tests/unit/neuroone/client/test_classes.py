"""The sums of classes, from single readings."""

from typing import Any

from neuroone.client.classes import Classes, ClassSummary
from neuroone.client.streams import STREAMS_MAX, LiveReading
from neuroone.contract.doubt import Doubt
from tests.support.messages import reading


def live(source: str, doubt: Doubt | None = None, group: str = "7B", **values: Any) -> LiveReading:
    return LiveReading(group, source, reading(**values), doubt)


def test_only_numbers_that_mean_something_and_are_new_are_in_the_means() -> None:
    classes = Classes()
    classes.add(live("silent", attention=100), 0.0)
    classes.add(live("one", Doubt.NO_QUALITY, attention=40, meditation=10), 4.0)
    classes.add(live("two", Doubt.CLIPPED, attention=61, meditation=0), 4.0)
    classes.add(live("poor", Doubt.POOR_CONTACT, attention=100), 4.0)
    classes.add(live("other", Doubt.FROZEN, group="8A"), 4.0)
    assert classes.summaries(5.0) == {"7B": ClassSummary(4, 2, 50.5, 10.0), "8A": ClassSummary(1, 0, None, None)}
    classes.add(live("one", attention=42, meditation=12), 11.0)
    assert classes.summaries(11.5) == {"7B": ClassSummary(3, 1, 42.0, 12.0), "8A": ClassSummary(1, 0, None, None)}
    assert classes.summaries(22.0) == {}


def test_what_is_remembered_is_bounded() -> None:
    classes = Classes()
    for number in range(STREAMS_MAX + 2):
        classes.add(live(str(number)), 0.0)
    assert classes.summaries(0.0)["7B"].students == STREAMS_MAX
