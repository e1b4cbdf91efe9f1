"""The order of a session's readings."""

from hypothesis import given
from hypothesis import strategies as st

from csv_recorder.live.reorder import HELD_MAX, ORDER_S, ReorderBuffer


def buffer(next_seq: int, *seqs: int) -> ReorderBuffer[int]:
    made: ReorderBuffer[int] = ReorderBuffer(next_seq)
    for seq in seqs:
        made.held[seq] = seq
    return made


def test_what_comes_in_order_is_written_at_once():
    made = buffer(5, 5, 6, 7)
    assert made.pop(0.0) == ([5, 6, 7], [])
    assert not made.held


def test_what_comes_too_early_waits_for_its_predecessor():
    made = buffer(0, 0, 2, 3)
    assert made.pop(0.0) == ([0], [])
    made.held[1] = 1
    assert made.pop(ORDER_S / 2) == ([1, 2, 3], [])


def test_a_hole_is_given_up_after_a_while():
    made = buffer(0, 2)
    assert made.pop(100.0) == ([], [])
    assert made.pop(100.0 + ORDER_S) == ([2], [(0, 1)])
    made.held[1] = 1
    assert made.pop(120.0) == ([1], [])
    made.held[3] = 3
    assert made.pop(120.0) == ([3], [])


def test_each_hole_has_its_own_time():
    made = buffer(0, 1, 3)
    made.pop(0.0)
    assert made.pop(ORDER_S) == ([1], [(0, 0)])
    assert made.pop(ORDER_S + 1) == ([], [])
    assert made.pop(2 * ORDER_S) == ([3], [(2, 2)])


def test_too_many_waiting_readings_give_up_the_hole():
    made = buffer(0, *range(1, HELD_MAX + 2))
    items, holes = made.pop(0.0)
    assert (len(items), holes) == (HELD_MAX + 1, [(0, 0)])


@given(seqs=st.lists(st.integers(0, 30), unique=True), cuts=st.lists(st.integers(0, 30)))
def test_whatever_the_order_everything_comes_out_once_and_sorted(seqs: list[int], cuts: list[int]) -> None:
    made = buffer(0)
    out = []
    for at, seq in enumerate(seqs):
        made.held[seq] = seq
        if at in cuts:
            out += made.pop(0.0)[0]
    out += made.pop(0.0, all=True)[0]
    assert out == sorted(seqs)
