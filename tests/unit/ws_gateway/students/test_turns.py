"""Work that can wait for its turn."""

import asyncio

from ws_gateway.students.turns import Turns


async def test_one_piece_in_each_turn_of_the_loop():
    """In order, and others come to their turn in between."""
    done: list[str] = []
    turns: Turns[str] = Turns(done.append, 10)
    for piece in ("a", "b", "c"):
        turns.put(piece)
    asyncio.get_running_loop().call_soon(done.append, "other")
    while len(done) < 4:  # noqa: ASYNC110 (each sleep is one turn)
        await asyncio.sleep(0)
    assert done == ["a", "other", "b", "c"]
    turns.put("d")
    await asyncio.sleep(0)
    assert done[-1] == "d"


async def test_the_oldest_are_left_out():
    """What waits is bounded, and what was left out is counted."""
    done: list[int] = []
    turns: Turns[int] = Turns(done.append, 2)
    for piece in range(5):
        turns.put(piece)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (done, turns.dropped) == ([3, 4], 3)


async def test_a_fault_holds_nothing_up():
    """The next piece has its turn all the same."""
    done: list[int] = []

    def do(piece: int) -> None:
        done.append(1 // piece)

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    turns: Turns[int] = Turns(do, 2)
    turns.put(0)
    turns.put(1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [1]
    assert len(faults) == 1
