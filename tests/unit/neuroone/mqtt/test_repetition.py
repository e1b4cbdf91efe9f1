"""Which states are published once more."""

from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.packets import Publish
from neuroone.mqtt.repetition import REPEAT_AFTER_S, REPEATED_AT_ONCE_MAX, Repetition

ONLINE = Outgoing("a/state", b"online", 1, True)


def test_a_state_is_due_once() -> None:
    states = Repetition()
    states.on_ack(ONLINE, 0.0)
    states.on_ack(Outgoing("a/reading", b"1", 1, False), 0.0)
    assert not states.due(REPEAT_AFTER_S - 0.1)
    assert states.due(REPEAT_AFTER_S) == [ONLINE]
    states.on_ack(ONLINE, REPEAT_AFTER_S)
    assert not states.due(10 * REPEAT_AFTER_S)


def test_a_newer_state_takes_the_place_of_an_older_one_and_a_cleared_one_is_not_due() -> None:
    states, newer = Repetition(), Outgoing("a/state", b"offline", 1, True)
    for each in (ONLINE, newer, Outgoing("b/state", b"online", 1, True), Outgoing("b/state", b"", 1, True)):
        states.on_ack(each, 0.0)
    assert states.due(REPEAT_AFTER_S) == [newer]


def test_a_state_that_another_client_has_replaced_is_not_due() -> None:
    """What counts is the last one that was published there: ours of before may come back after ours of now is acked."""
    states, kept = Repetition(), Outgoing("b/state", b"online", 1, True)
    for each in (ONLINE, kept):
        states.on_ack(each, 0.0)
    for topic, payload, is_retained in (
        ("a/state", b"online", False),
        ("a/state", b"of another", False),
        ("a/state", b"online", True),
        ("b/state", b"ours of before", False),
        ("b/state", b"online", False),
    ):
        states.on_publish(Publish(topic, payload, is_retained))
    assert states.due(REPEAT_AFTER_S) == [kept]
    assert not states.due(2 * REPEAT_AFTER_S)


def test_many_states_are_due_some_at_a_time_and_none_after_a_new_connection() -> None:
    states = Repetition()
    for number in range(REPEATED_AT_ONCE_MAX + 2):
        states.on_ack(Outgoing(f"{number}/state", b"online", 1, True), 0.0)
    states.on_ack(Outgoing("later/state", b"online", 1, True), 1.0)
    assert len(states.due(REPEAT_AFTER_S)) == REPEATED_AT_ONCE_MAX
    assert len(states.due(REPEAT_AFTER_S)) == 2
    states.begin()
    assert not states.due(2 * REPEAT_AFTER_S)
