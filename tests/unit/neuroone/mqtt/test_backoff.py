"""Waiting before the next try."""

import random

from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract.errors import NeuroOneError
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.backoff import CONNECT_TIMEOUT_S, FIRST_TIMEOUT_S, SEVERAL_CAP_S, Attempts, Backoff
from neuroone.mqtt.reasons import ConnectionLost, HungUp, NoAnswer

A, B, C = (BrokerAddress(name, 1) for name in "abc")
REFUSED, CUT_OFF, ENDED = ConnectionLost("refused"), NoAnswer("no answer"), HungUp("it closed the connection")


@given(st.integers(0, 10_000), st.integers())
def test_delays_double_have_a_cap_and_jitter(attempt: int, seed: int) -> None:
    """Between half of the doubled delay and all of it, never beyond the cap."""
    backoff = Backoff(first_s=0.5, cap_s=10.0)
    full_s = min(10.0, 0.5 * 2.0 ** min(attempt, 30))
    assert full_s / 2 <= backoff.delay_s(attempt, random.Random(seed)) <= full_s


def test_a_broker_that_does_not_answer_is_not_waited_for_again_after_each_connection() -> None:
    """Node B is alive but ends connections, while A is cut off; then B is dead and A is back."""
    attempts = Attempts([B, A], Backoff())

    def after(fault: NeuroOneError, *, was_connected: bool = False, hung_up: bool = False) -> BrokerAddress:
        attempts.failed(fault, was_connected=was_connected, hung_up=hung_up)
        return attempts.next.address

    assert after(ENDED, was_connected=True) == A
    assert after(CUT_OFF) == B
    assert after(ENDED, was_connected=True) == B
    assert after(ENDED, hung_up=True) == B, "it is asked once more"
    assert after(ENDED, was_connected=True) == B
    assert after(REFUSED) == A
    assert after(ENDED, was_connected=True) == B, "A has answered"


def test_one_that_is_cut_off_comes_last_and_each_of_the_others_first() -> None:
    attempts = Attempts([A, B, C], Backoff())
    attempts.failed(CUT_OFF, was_connected=True)
    tried = [attempts.next.address]
    for _ in range(3):
        attempts.failed(REFUSED)
        tried.append(attempts.next.address)
    assert tried == [B, C, A, B]


def test_several_brokers_are_waited_for_less_long_than_one() -> None:
    """The first round is short, and no wait gets longer than half a second."""
    alone, several = Attempts([A], Backoff()), Attempts([A, B], Backoff())
    assert (alone.connect_timeout_s, several.connect_timeout_s) == (CONNECT_TIMEOUT_S, FIRST_TIMEOUT_S)
    for _ in range(9):
        alone.failed(REFUSED)
        several.failed(REFUSED)
    assert several.connect_timeout_s == CONNECT_TIMEOUT_S
    assert several.next.delay_s <= SEVERAL_CAP_S < alone.next.delay_s


def test_with_several_brokers_each_connection_has_another_client_id() -> None:
    """A NATS node may be unable to clear what it keeps under the old one."""
    alone, several = Attempts([A], Backoff()), Attempts([A, B], Backoff())
    for each in (alone, several):
        each.failed(ENDED, was_connected=True)
        each.failed(REFUSED)
    assert (alone.id_suffix, several.id_suffix) == ("", "-1")
