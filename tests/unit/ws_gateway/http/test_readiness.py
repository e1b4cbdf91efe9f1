"""The words of /readyz."""

from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.contract.shards import Shard
from ws_gateway.http.readiness import FAULTY_MAX, Readiness


class World:
    """A gateway whose broker and recorder are as a test says; it stands for client and replay buffer."""

    def __init__(self) -> None:
        self.is_stopping = False
        self.is_connected = True
        self.has_recorder = True
        self.missing: list[Shard] = []
        this: Any = self
        self.readiness = Readiness(this, this, lambda: self.is_stopping)

    def recorder(self, fault: str | None, status=ServiceStatus.ONLINE, instance="main", service="csv_recorder"):
        state = ServiceState(status=status, version="0.1.0", epoch=1, connection=1, fault=fault)
        self.readiness.on_service(topics.service_state("local", service, instance), state)

    def answer(self) -> tuple[int, str]:
        return self.readiness.answer()


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_ready_with_broker_and_recorder(world):
    world.recorder(None)
    assert world.answer() == (200, "ready\n")


def test_without_a_broker_it_is_not_ready(world):
    world.is_connected = False
    assert world.answer() == (503, "The broker is not there.\n")


def test_a_gateway_that_stops_is_not_ready_and_says_why(world):
    world.is_stopping = True
    assert world.answer() == (503, "The gateway is stopping.\n")


def test_without_a_recorder_it_is_degraded(world):
    world.has_recorder = False
    status, text = world.answer()
    assert (status, text.split(":")[0]) == (200, "degraded")


def test_a_fault_of_the_recorders_disk_is_told_until_it_is_over(world):
    world.recorder("cannot record: No space left on device")
    assert world.answer() == (200, "degraded: the recorder main: cannot record: No space left on device\n")
    world.has_recorder = False  # it has recorded nothing for a while
    assert world.answer()[1].startswith("degraded: the recorder main: cannot record: No space left on device\n")
    world.has_recorder = True
    world.recorder(None)
    assert world.answer() == (200, "ready\n")


def test_each_faulty_recorder_is_told_and_one_that_left_is_not(world):
    world.recorder("a", instance="one")
    world.recorder("b", instance="two")
    world.recorder(None, ServiceStatus.OFFLINE, instance="one")
    assert world.answer() == (200, "degraded: the recorder two: b\n")


def test_faults_of_other_services_do_not_count(world):
    world.recorder("no headset", service="serial_bridge")
    assert world.answer() == (200, "ready\n")


def test_what_another_program_publishes_can_neither_break_nor_fill_the_answer(world):
    """Line breaks, and thousands of recorders."""
    world.recorder("a\r\n\r\nb")
    assert world.answer() == (200, "degraded: the recorder main: a b\n")
    for number in range(2 * FAULTY_MAX):
        world.recorder("x", instance=f"r{number}")
    assert world.answer()[1].count("\n") == FAULTY_MAX


def test_shards_without_a_recorder_are_named(world):
    world.has_recorder, world.missing = False, [Shard(2, 3)]
    assert world.answer() == (200, "degraded: no recorder of 2/3 is there, so their students are not recorded\n")
