"""Students who wait: bounded in number and memory, fair to every address, and what their phones have sent is kept."""

import tracemalloc
from datetime import timedelta

import pytest

from neuroone.contract.messages import WaitingReason
from tests.support.messages import NOON
from tests.support.student_world import frame
from ws_gateway.door import waiting
from ws_gateway.door.rules import Candidate, Verdict
from ws_gateway.door.waiting import DoorIsFull, WaitingClient, WaitingList
from ws_gateway.students.rate_limit import BACKLOG_MAX, Arrival


def client(address: str = "10.0.0.1", name: str | None = "Ana", after_s: float = 0.0) -> WaitingClient:
    return WaitingClient(
        Candidate((name, "A"), address), Verdict.ASK, WaitingReason.NEW, NOON + timedelta(seconds=after_s), lambda: None
    )


def arrival(second: float, attention: int = 0) -> Arrival:
    return Arrival(frame("Ana", "A", Att=attention, Delta=2**24 - 1), NOON + timedelta(seconds=second), second)


def test_the_newest_two_minutes_of_a_phone_are_kept():
    """Each with its own time and numbers; those before are counted."""
    students = WaitingList(5)
    ana = client()
    students.add(ana)
    for second in range(200):
        students.keep(ana, arrival(second, second % 101))
    kept = ana.arrivals(1000.0)
    assert (len(kept), students.lost) == (BACKLOG_MAX, 200 - BACKLOG_MAX)
    assert [each.frame.values["attention"] for each in kept] == [second % 101 for second in range(80, 200)]
    assert [each.time for each in kept] == [NOON + timedelta(seconds=second) for second in range(80, 200)]
    assert {(each.frame.name, each.frame.code, each.frame.values["delta"], each.arrived_s) for each in kept} == {
        ("Ana", "A", 2**24 - 1, 1000.0)
    }


def test_what_comes_too_fast_is_coalesced_as_for_every_student():
    """513 frames a second for ten seconds keep 5 a second; nothing is counted twice."""
    students = WaitingList(5)
    ana = client()
    students.add(ana)
    for number in range(5130):
        students.keep(ana, arrival(number / 513))
    kept = ana.arrivals(0.0)
    assert 50 <= len(kept) <= 62
    assert len(kept) + students.lost == 5130


def test_a_burst_after_a_silence_is_kept():
    students = WaitingList(5)
    ana = client()
    students.add(ana)
    students.keep(ana, arrival(0))
    for number in range(60):
        students.keep(ana, arrival(60, number))
    assert (len(ana.arrivals(0.0)), students.lost) == (61, 0)


def test_a_crowd_shares_the_memory_and_leaves_everybody_some(monkeypatch):
    monkeypatch.setattr(waiting, "KEPT_FRAMES", 1000)
    students = WaitingList(5)
    crowd = [client(f"10.0.0.{number % 200}") for number in range(100)]
    for each in crowd:
        students.add(each)
        for second in range(100):
            students.keep(each, arrival(second))
    for _ in crowd:
        students.next()
    assert {len(each.kept) for each in crowd} == {10}
    assert students.lost == 100 * 90
    for each in crowd:
        students.remove(each)
        students.remove(each)
    assert students._kept == len(students) == 0


def test_one_who_waits_with_two_minutes_of_frames_takes_20_kb():
    tracemalloc.start()
    students = WaitingList(5)
    before, _ = tracemalloc.get_traced_memory()
    for number in range(100):
        ana = client(f"10.0.0.{number}", f"Ana-{number}")
        students.add(ana)
        for second in range(150):
            students.keep(ana, arrival(second))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 100 < 20_000


def test_a_full_list_makes_room_for_another_network_at_the_cost_of_the_most_crowded(monkeypatch):
    monkeypatch.setattr(waiting, "WAITING_MAX", 100)
    students = WaitingList(5)
    crowd = [client("2001:db8::1" if number % 2 else "2001:db8::2", f"Flood-{number}") for number in range(100)]
    for each in crowd:
        assert students.add(each) is None
    with pytest.raises(DoorIsFull):
        students.add(client("2001:db8::3"))
    assert [students.add(client(f"10.0.0.{number}")) for number in range(3)] == crowd[:-4:-1]
    assert len(students) == 100


def shown(students: WaitingList, most: int) -> tuple[list[str | None], int]:
    listed, more = students.listed(lambda each: True, most)
    return [each.candidate.who[0] for each in listed], more


def test_a_crowd_hides_neither_other_networks_nor_who_came_before_or_after_it():
    students = WaitingList(5)
    names: list[str | None] = ["Before", *(f"Flood-{number}" for number in range(1000)), "After"]
    for second, name in enumerate(names):
        students.add(client("10.0.0.1", name, second))
    for number in range(10):
        students.add(client(f"10.0.1.{number}", f"Other-{number}", 2000 + number))
    listed, more = shown(students, 30)
    assert {"Before", "After", *(f"Other-{number}" for number in range(10))} <= set(listed)
    assert more == 1012 - 30
    assert listed == sorted(listed, key=[*names, *(f"Other-{number}" for number in range(10))].index)


def test_a_crowd_of_many_networks_hides_nobody_who_came_before_or_after_it():
    students = WaitingList(5)
    for second in range(1000):
        students.add(client(f"10.0.{second >> 8}.{second & 255}", f"Student-{second}", second))
    listed, more = shown(students, 60)
    assert listed == [f"Student-{second}" for second in (*range(30), *range(970, 1000))]
    assert more == 940


def test_only_those_who_are_to_be_shown_are_listed_and_counted():
    students = WaitingList(5)
    for second in range(10):
        students.add(client("10.0.0.1", f"Ana-{second}", second))
    listed, more = students.listed(lambda each: each.candidate.who[0] in ("Ana-3", "Ana-7"), 1)
    assert ([each.candidate.who[0] for each in listed], more) == (["Ana-3"], 1)


def test_everybody_is_visited_in_turn():
    students = WaitingList(5)
    everybody = [client(f"10.0.0.{number}") for number in range(5)]
    for each in everybody:
        students.add(each)
    assert [students.next() for _ in range(10)] == everybody * 2
