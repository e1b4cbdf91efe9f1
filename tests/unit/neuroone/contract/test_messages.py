"""Messages are valid from the moment they are made, and stay as they are."""

import copy
import math
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from neuroone.contract.checks import replace
from neuroone.contract.errors import BadMessage
from neuroone.contract.messages import Health, Kind, Missing, RecordedStream, ServiceState
from tests.support.messages import GOLDEN, NOON, RUN, reading, stream_state

LISBON = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attention": 101}, "attention: must be 0 to 100"),
        ({"attention": True}, "attention: must be a whole number"),
        ({"attention": 8.0}, "attention: must be a whole number"),
        ({"poor_signal": -1}, "poor_signal: must be 0 to 255"),
        ({"seq": 10**400}, "seq: must be 0 to 9007199254740991"),
        ({"time": datetime(2026, 11, 22)}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),  # noqa: DTZ001
        ({"time": NOON.astimezone(LISBON)}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),
        ({"time": "2026-11-22T18:20:31.123456Z"}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),
        ({"time": None}, "time: must be a UTC time like 2026-11-22T18:20:31.123456Z"),
        ({"kind": "robot"}, "kind: must be one of headset, client"),
        ({"name": "\ud800"}, "name: must be Unicode text"),
        ({"name": b"Ana"}, "name: must be text"),
        ({"session": None}, "session: must be text"),
    ],
)
def test_making_an_invalid_message_names_the_field(change: dict[str, Any], words: str) -> None:
    for make in (lambda: reading(**change), lambda: replace(reading(), **change)):
        with pytest.raises(BadMessage) as caught:
            make()
        assert str(caught.value) == words


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**63, 10**400])
def test_numbers_are_finite(number: float) -> None:
    for change in ({"uptime_s": abs(number)}, {"counters": {"a": number}}, {"gauges": {"a": number}}):
        values: dict[str, Any] = {"time": NOON, "uptime_s": 1, "memory_bytes": None, "counters": {}, "gauges": {}}
        with pytest.raises(BadMessage, match="finite"):
            Health(**{**values, **change})


def test_a_fault_in_a_listed_object_is_named_with_its_path() -> None:
    with pytest.raises(BadMessage, match="missing: must be a list of at most 3 objects"):
        RecordedStream(
            group="A", source="B", session="C", seq=0, rows=1, duplicates=0, gaps=0,
            missing=(Missing(first=1, last=2),) * 4,
        )  # fmt: skip


def test_a_missing_value_is_named_and_an_unknown_one_is_a_mistake_in_the_program() -> None:
    with pytest.raises(BadMessage, match="first: is missing"):
        Missing(last=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field third"):
        Missing(first=1, last=2, third=3)  # type: ignore[call-arg]


def test_the_run_of_a_state_is_left_out_while_it_is_not_known() -> None:
    old = stream_state()
    assert old.run is msgspec.UNSET
    assert replace(replace(old, run=RUN), run=msgspec.UNSET) == old
    for wrong in ("", "x" * 65, None):
        with pytest.raises(BadMessage, match="run"):
            replace(old, run=wrong)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda message: pickle.loads(pickle.dumps(message))])
def test_a_copy_is_equal(copied: Callable[[Any], Any]) -> None:
    for message in GOLDEN.values():
        assert copied(message) == message


def test_a_message_does_not_change() -> None:
    with pytest.raises(AttributeError):
        reading().attention = 1  # type: ignore[misc]
    state = GOLDEN["service_state"]
    assert isinstance(state, ServiceState)
    assert hash(state) == hash(replace(state))
    assert reading(kind="client").kind is Kind.CLIENT
