"""Tests of when `neuroone up` says what is wrong."""

from neuroone.up.reminders import CHANGE_S, KEYS_MAX, REPEAT_MAX_S, REPEAT_S, SETTLED_S, Reminders

LESSON_S = 50 * 60


def said_in(reminders: Reminders, from_s: int, to_s: int, **problems: str) -> list[tuple[int, str, str]]:
    """Step once a second with these problems; return what was said, and when."""
    return [(now_s, *each) for now_s in range(from_s, to_s) for each in reminders.step(problems, float(now_s))]


def test_a_problem_is_said_soon_then_ever_more_rarely_then_that_it_is_mended() -> None:
    """Eight lines in a lesson of 50 minutes."""
    reminders = Reminders()
    said = said_in(reminders, 0, LESSON_S, disk="full")
    at = [round((now_s - SETTLED_S) / 60) for now_s, kind, text in said if (kind, text) == ("hint", "full")]
    assert at == [0, 1, 3, 7, 15, 25, 35, 45]
    assert len(at) == len(said)
    assert said_in(reminders, LESSON_S, LESSON_S + 600) == [(LESSON_S + SETTLED_S, "mended", "full")]


def test_what_is_over_at_once_is_not_said() -> None:
    reminders = Reminders()
    assert said_in(reminders, 0, 2, gateway="away") == []
    assert said_in(reminders, 2, 100) == []


def test_another_sentence_about_the_same_thing_is_no_mending() -> None:
    """A headset that was not there and now is silent still gives no readings."""
    reminders = Reminders()
    said = said_in(reminders, 0, 30, headset="not there") + said_in(reminders, 30, 60, headset="silent")
    assert [each[1:] for each in said] == [("hint", "not there"), ("hint", "silent")]


def test_a_problem_that_comes_and_goes_is_not_said_each_time() -> None:
    reminders = Reminders()
    said = []
    for begin_s in range(0, LESSON_S, 20):
        said += said_in(reminders, begin_s, begin_s + 10, headset="silent")
        said += said_in(reminders, begin_s + 10, begin_s + 20)
    assert 6 <= len([kind for _, kind, _ in said if kind == "hint"]) <= 9
    assert [kind for _, kind, _ in said] == ["hint", "mended"] * (len(said) // 2)


def test_a_sentence_that_changes_all_the_time_is_said_at_a_bounded_rate() -> None:
    reminders = Reminders()
    said = [each for now_s in range(600) for each in reminders.step({"headset": f"speed {now_s % 3}"}, float(now_s))]
    assert len(said) <= 600 / CHANGE_S
    assert said


def test_a_problem_that_comes_back_later_is_said_at_once() -> None:
    reminders = Reminders()
    said_in(reminders, 0, LESSON_S, disk="full")
    later_s = LESSON_S + int(REPEAT_S) + 1
    said_in(reminders, LESSON_S, later_s)
    assert said_in(reminders, later_s, later_s + 10, disk="full") == [(later_s + SETTLED_S, "hint", "full")]


def test_what_is_remembered_is_bounded() -> None:
    reminders = Reminders()
    many = {f"headset {number}": "silent" for number in range(10 * KEYS_MAX)}
    assert len(said_in(reminders, 0, int(REPEAT_MAX_S), **many)) <= KEYS_MAX * 5
    assert len(reminders._problems) == KEYS_MAX
