"""Which of one student's readings go out."""

import pytest

from tests.support.messages import NOON
from ws_gateway.dialects.first import StudentFrame
from ws_gateway.students.rate_limit import Arrival, RateLimiter


def arrival(attention: int) -> Arrival:
    return Arrival(StudentFrame("Ana", None, {"attention": attention}), NOON, 0.0)


def attention(let_through: Arrival | None) -> int | None:
    return None if let_through is None else let_through.frame.values["attention"]


def exhausted() -> RateLimiter:
    """A rate limit of 5 readings a second whose burst is used up at 0 s."""
    limiter = RateLimiter(5, 0.0)
    while limiter.offer(arrival(1), 0.0):
        pass
    limiter.waiting, limiter.coalesced = None, 0
    return limiter


def test_one_reading_a_second_goes_straight_through():
    limiter = RateLimiter(5, 0.0)
    assert [attention(limiter.offer(arrival(n), float(n))) for n in range(1, 100)] == list(range(1, 100))
    assert limiter.coalesced == 0


def test_a_burst_after_a_hung_network_goes_through_at_once():
    """Ten seconds of a phone without Wi-Fi arrive together and none is lost."""
    limiter = RateLimiter(5, 0.0)
    assert all(limiter.offer(arrival(n), 0.0) for n in range(1, 11))


def test_513_a_second_are_coalesced_to_the_rate():
    """An app that sends every packet gets five readings a second recorded, among them the one that is not zero."""
    limiter = exhausted()
    let_through = []
    for number in range(513 * 4):
        now_s = number / 513
        full = number % 513 == 100
        let_through += [attention(limiter.offer(arrival(50 if full else 0), now_s))]
    sent = [each for each in let_through if each is not None]
    assert 19 <= len(sent) <= 21
    assert sent.count(50) == 4
    assert limiter.coalesced + len(sent) + (limiter.waiting is not None) == 513 * 4


def test_the_newest_full_reading_wins():
    """A blank reading does not replace it."""
    limiter = exhausted()
    for value in (7, 8, 0):
        assert limiter.offer(arrival(value), 0.05) is None
    assert attention(limiter.release(0.21)) == 8
    assert limiter.coalesced == 2


def test_blanks_alone_are_sent():
    limiter = exhausted()
    limiter.offer(arrival(0), 0.01)
    assert attention(limiter.release(0.21)) == 0


def test_nothing_is_sent_if_nothing_waits():
    assert RateLimiter(5, 0.0).release(1.0) is None


def sent_at_once(limiter: RateLimiter, frames: int, now_s: float) -> int:
    return sum(limiter.offer(arrival(1), now_s) is not None for _ in range(frames))


@pytest.mark.parametrize(("silent_s", "frames"), [(3, 3), (60, 60), (60.4, 61), (120, 120)])
def test_what_arrives_together_after_a_silence_goes_through(silent_s, frames):
    """Also when the burst allowance was used up a moment before the silence, but for what it has gained since."""
    limiter = exhausted()
    assert sent_at_once(limiter, frames, silent_s) == frames
    assert limiter.coalesced == 0


def test_what_a_silence_allows_may_arrive_in_parts():
    limiter = exhausted()
    assert [sent_at_once(limiter, 20, 60 + part / 10) for part in range(3)] == [20, 20, 20]


@pytest.mark.parametrize(("silent_s", "most"), [(30, 30), (120, 120), (600, 120), (86_400, 120)])
def test_a_silence_allows_no_more_than_its_seconds_and_two_minutes(silent_s, most):
    """Beside the burst of ten that is always allowed."""
    assert sent_at_once(exhausted(), 1000, silent_s) == most + 10


def test_a_steady_phone_gathers_no_allowance():
    """After an hour it may not flood any more than at first."""
    limiter = RateLimiter(5, 0.0)
    for second in range(3600):
        assert limiter.offer(arrival(1), float(second)) is not None
    assert sent_at_once(limiter, 1000, 3599.5) <= 10


def test_an_app_that_pauses_between_floods_gains_the_seconds_of_its_pauses_only():
    limiter = exhausted()
    sent = sum(sent_at_once(limiter, 513, float(second)) for second in range(2, 600, 2))
    assert sent <= 600 + 5 * 600 + 10
