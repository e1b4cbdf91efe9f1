"""The connection to one port: opened in the background, and when and at which speed it is opened again."""

import pytest

from neuroone.contract.messages import Link
from serial_bridge.ports.connection import REOPEN, Connection
from serial_bridge.ports.port import PacedPort, Port, PortFault
from serial_bridge.ports.sources import SerialSource
from tests.support.waiting import wait_for


class FaultySource(SerialSource):
    """A serial port whose next openings end with these faults; without one it opens."""

    def __init__(self, baud: int | None = None) -> None:
        super().__init__("COM4", baud)
        self.faults: list[Exception] = []

    def open(self, baud: int) -> Port:
        if self.faults:
            raise self.faults.pop()
        return PacedPort(self.device, iter([(0.0, b"abc")]), lambda: 0.0)


@pytest.fixture
def connection() -> Connection:
    return Connection(FaultySource())


def opened(connection: Connection, now_s: float) -> Port | None:
    return wait_for(lambda: connection.open(now_s), "open port")


def open_and_close(connection: Connection, now_s: float = 0.0, *, has_frames: bool) -> None:
    opened(connection, now_s)
    connection.close(has_frames=has_frames)


def test_a_port_is_opened_and_read(connection):
    assert connection.read() == b""
    assert opened(connection, 5.0) is connection.port
    assert connection.read() == b"abc"
    assert connection.counters == {"bytes": 3, "opened": 1}
    connection.close(has_frames=True)
    assert connection.port is None


def test_speeds_are_tried_one_after_the_other_until_one_brings_frames(connection):
    speeds = []
    for _ in range(4):
        speeds.append(connection.baud)
        open_and_close(connection, has_frames=False)
    assert speeds == [57600, 115200, 9600, 57600]
    open_and_close(connection, has_frames=True)
    assert connection.baud == 115200
    connection.switch_to_raw_speed()
    assert connection.baud == 57600


def test_a_speed_that_was_given_is_the_only_one():
    connection = Connection(FaultySource(9600))
    open_and_close(connection, has_frames=False)
    assert connection.baud == 9600


def test_delays_grow_with_faults_until_frames_arrive(connection):
    for attempt in range(3):
        connection.source.faults = [PortFault(Link.NO_PORT, "plug it in")]
        with pytest.raises(PortFault):
            opened(connection, 1000.0 * attempt)
        connection.plan_retry(1000.0 * attempt, is_fault=True)
        full_s = REOPEN.first_s * 2**attempt
        assert connection.open(1000.0 * attempt + full_s / 2 - 0.01) is None
        assert connection._opening is None
    open_and_close(connection, 4000.0, has_frames=True)
    connection.plan_retry(5000.0, is_fault=False)
    assert opened(connection, 5000.0 + REOPEN.first_s)


def test_an_unexpected_error_in_opening_is_an_os_error(connection, caplog):
    connection.source.faults = [ZeroDivisionError("a bug")]
    with pytest.raises(OSError, match="a bug"):
        opened(connection, 0.0)
    assert "a port cannot be opened" in caplog.text


def test_the_last_speed_is_known(connection):
    """It is the last one while every other has been tried without frames; frames begin it anew."""
    last = []
    for _ in range(4):
        last.append(connection.is_last_speed)
        open_and_close(connection, has_frames=False)
    assert last == [False, False, True, True]
    open_and_close(connection, has_frames=True)
    assert not connection.is_last_speed
    assert Connection(FaultySource(9600)).is_last_speed
