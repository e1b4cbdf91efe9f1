"""What LSL is told about streams, and the values of their samples."""

import pytest

from neuroone.contract.messages import BANDS, EventType, GroupEvent, RawBlock
from neuroone.lsl import descriptions
from tests.support.messages import GOLDEN, NOON, SEED_BANDS, reading


def test_raw_samples_are_microvolts_and_a_quality_that_nobody_says_is_none_of_the_scale() -> None:
    block = GOLDEN["raw"]
    assert isinstance(block, RawBlock)
    assert descriptions.microvolts(block)[0] == pytest.approx(-450.0)
    assert descriptions.values(reading()) == [85.0, 72.0, -1.0, *map(float, SEED_BANDS)]
    assert [label for label, *_ in descriptions.VALUES] == ["attention", "meditation", "poor_signal", *BANDS]


@pytest.mark.parametrize(
    ("type", "text", "source", "marker"),
    [
        (EventType.MARKER, "olhos fechados", None, "olhos fechados"),
        (EventType.MARKER, "piscou", "Ana", "Ana: piscou"),
        (EventType.SESSION_START, "Aula 1", None, "session_start: Aula 1"),
        (EventType.SESSION_STOP, "", None, "session_stop"),
        (EventType.MARKER, "", None, ""),
    ],
)
def test_an_event_is_one_line_of_text(type: EventType, text: str, source: str | None, marker: str) -> None:
    assert descriptions.marker(GroupEvent(id="c0ffee", time=NOON, type=type, text=text, source=source)) == marker
