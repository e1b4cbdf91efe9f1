"""The class view's rules, which are those of the teacher's page."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("numpy")
from monitor_gui.classroom import POINTS_MAX, TILE_MIN_PX, Classmate, Tile, arranged, tile_of, tile_size
from monitor_gui.view import Signal
from neuroone.contract.doubt import Doubt
from neuroone.contract.messages import BANDS, StreamStatus
from tests.support import messages


def reading(second: int, **changes: Any) -> Any:
    """A reading of this second, whose numbers move."""
    time = messages.NOON + timedelta(seconds=second)
    return messages.reading(**{"seq": second, "time": time, "poor_signal": 0, "delta": 1000 + second, **changes})


def tile(source: str, name: str | None = None, group: str = "6B", **changes: Any) -> Tile:
    """A student's tile after one good reading."""
    mate = Classmate()
    mate.add(reading(0, **changes.pop("reading", {})), 10.0)
    state = messages.stream_state(name=name, code=changes.pop("code", group))
    return tile_of((group, source), state, mate, changes.pop("status", StreamStatus.ONLINE), 0.5)


def labels(tiles: list[Tile]) -> list[str]:
    """The ids of these tiles, in their order."""
    return [each.source for each in tiles]


@pytest.mark.parametrize(
    ("changes", "signal", "doubt", "is_valid"),
    [
        ({}, Signal.GOOD, None, True),
        ({"poor_signal": None}, Signal.UNKNOWN, Doubt.NO_QUALITY, True),
        ({"poor_signal": 26}, Signal.ADJUSTING, Doubt.POOR_CONTACT, False),
        ({"poor_signal": 200}, Signal.OFF, Doubt.POOR_CONTACT, False),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 0)}, Signal.UNKNOWN, Doubt.NO_BANDS, False),
        ({"poor_signal": None, **dict.fromkeys(BANDS, 99)}, Signal.UNKNOWN, Doubt.CLIPPED, True),
    ],
)
def test_doubt_and_contact_decide_what_counts(
    changes: dict[str, Any], signal: Signal, doubt: Doubt | None, is_valid: bool
) -> None:
    one = tile("a", reading=changes)
    assert (one.signal, one.doubt, one.is_valid, one.has_contact) == (signal, doubt, is_valid, is_valid)


@pytest.mark.parametrize("status", [StreamStatus.STALE, StreamStatus.OFFLINE, None])
def test_an_old_reading_counts_no_more(status: StreamStatus | None) -> None:
    assert not tile("a", status=status).is_valid


def test_equal_numbers_for_ten_seconds_are_frozen_back_to_the_first() -> None:
    mate = Classmate()
    for second in range(12):
        mate.add(reading(second, delta=7), float(second))
        if second == 9:
            assert mate.points[0].attention == 85
    assert mate.doubt is Doubt.FROZEN
    assert {point.attention for point in mate.points} == {None}


def test_a_repeated_reading_counts_once_and_the_curve_is_bounded() -> None:
    mate = Classmate()
    for second in range(3 * POINTS_MAX):
        for _ in range(2):
            mate.add(reading(second), float(second))
    assert len(mate.points) == POINTS_MAX
    assert mate.points[-1].time_s - mate.points[0].time_s == POINTS_MAX - 1


def test_students_stand_by_name_and_never_by_attention() -> None:
    """Without case and accents; the nameless last; who needs help first only where that is asked for."""
    tiles = [
        tile("z", "Zélia"),
        tile("n"),
        tile("e", "édson", reading={"attention": 1}),
        tile("b", "bia", reading={"poor_signal": 200}),
        tile("a", "Ágata", reading={"attention": 100}),
    ]
    assert labels(arranged(tiles, None, "", help_first=False)) == ["a", "b", "e", "z", "n"]
    assert labels(arranged(tiles, None, "", help_first=True)) == ["b", "a", "e", "z", "n"]


@pytest.mark.parametrize("search", ["zelia", "ZÉLIA", " lia ", "6b zel"])
def test_the_search_knows_no_accents(search: str) -> None:
    tiles = [tile("z", "Zélia"), tile("x", "Bia", group="7A"), tile("y", "Zeca", group="7A")]
    assert labels(arranged(tiles, None, search, help_first=False)) == ["z"]
    assert labels(arranged(tiles, "7A", "", help_first=False)) == ["x", "y"]


def test_who_is_back_under_another_code_is_one_student_and_two_of_one_name_are_told_apart() -> None:
    gone, back = tile("a", "Ana", "OLD", status=StreamStatus.OFFLINE), tile("b", "Ana", "NEW")
    assert labels(arranged([gone, back], None, "", help_first=False)) == ["b"]
    assert not arranged([gone, back], None, "", help_first=False)[0].is_apart
    two = arranged([tile("a", "Ana", "X"), back], None, "", help_first=False)
    assert [each.is_apart for each in two] == [True, True]
    assert labels(arranged([gone], None, "", help_first=False)) == ["a"]


def sizes() -> Iterator[tuple[int, int, int]]:
    """Numbers of students, and views."""
    for count in (1, 6, 30, 300):
        for size in ((300, 200), (1000, 520), (1900, 950)):
            yield count, *size


@pytest.mark.parametrize(("count", "width_px", "height_px"), list(sizes()))
def test_tiles_are_as_large_as_fits(count: int, width_px: int, height_px: int) -> None:
    wide, high = tile_size(count, width_px, height_px)
    assert wide <= width_px
    assert high >= TILE_MIN_PX[1]
    rows = -(-count // (width_px // wide))
    if count <= (width_px // TILE_MIN_PX[0]) * (height_px // TILE_MIN_PX[1]):
        assert rows * high <= height_px
