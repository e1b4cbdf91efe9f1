"""Ports: the faults of real ones, and the one that replays a capture."""

import errno
import os
from contextlib import suppress

import pytest
from serial import Serial, SerialException

from neuroone.contract.messages import Link
from serial_bridge.ports import port as ports
from serial_bridge.ports.port import PacedPort, PortFault, SerialPort, fault_of


@pytest.mark.parametrize(
    ("error", "device", "link"),
    [
        (SerialException(errno.ENOENT, "could not open port"), "/dev/ttyUSB0", Link.NO_PORT),
        (SerialException(errno.EACCES, "could not open port"), "/dev/ttyUSB0", Link.NO_PERMISSION),
        (SerialException(errno.EBUSY, "could not open port"), "/dev/ttyUSB0", Link.PORT_BUSY),
        (SerialException("Could not exclusively lock port /dev/ttyUSB0"), "/dev/ttyUSB0", Link.PORT_BUSY),
        (SerialException("could not open port 'COM4': PermissionError(13, 'Acesso negado.')"), "COM4", Link.PORT_BUSY),
        (SerialException("could not open port 'COM9': not found"), "COM9", Link.NO_PORT),
        (SerialException("could not open port 'COM5': OSError(22, '...', None, 121)"), "COM5", Link.NO_PORT),
        (SerialException("Could not open port: Connection refused"), "socket://h:1", Link.NO_PORT),
        (ValueError("invalid URL"), "foo://x", Link.NO_PORT),
    ],
)
def test_faults_of_ports(error, device, link):
    """An error of the system becomes a link state with a hint that names the port."""
    fault = fault_of(error, device)
    assert fault.link is link
    assert fault.hint is not None
    assert device in fault.hint
    if device.startswith("/dev"):
        assert ("dialout" if link is Link.NO_PERMISSION else "brltty") in fault.hint


def test_paced_port():
    """Parts are returned once they are due; after the last one the link has ended."""
    now_s = 50.0
    port = PacedPort("file", iter([(0.0, b"a"), (1.0, b"b"), (2.0, b"c"), (4.0, b"d")]), lambda: now_s, speed=2.0)
    assert (port.read(), port.read()) == (b"a", b"")
    now_s = 51.0
    assert (port.read(), port.has_more) == (b"b", True), "what is read together has one time"
    assert (port.read(), port.has_more, port.read()) == (b"c", False, b"")
    now_s = 99.0
    assert port.read() == b"d"
    with pytest.raises(PortFault) as ended:
        port.read()
    assert ended.value.link is Link.ENDED


def test_a_replay_goes_on_at_its_pace_after_a_hold_up():
    """What would be due while the broker is slow does not come at once, and nothing of it is lost."""
    now_s = 100.0
    port = PacedPort("file", iter([(n / 10, bytes([n])) for n in range(100)]), lambda: now_s)
    came: list[tuple[float, bytes]] = []
    for n in range(1000):
        now_s = 100 + n / 20
        if 40 <= n < 600:
            port.hold()
            continue
        with suppress(PortFault):
            came += [(now_s, part) for part in [port.read()] if part]
    assert b"".join(part for _, part in came) == bytes(range(100))
    assert max(len(part) for _, part in came) <= 2
    assert came[-1][0] == pytest.approx(130 + 10 - 2, abs=0.2)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are of POSIX systems")
@pytest.mark.parametrize("keeps_dtr", [True, False])
def test_a_port_of_an_unknown_device_is_opened_without_setting_dtr(monkeypatch, keeps_dtr):
    calls: list[str] = []
    monkeypatch.setattr(Serial, "_update_dtr_state", lambda self: calls.append("dtr"))
    far, near = os.openpty()
    SerialPort(os.ttyname(near), 57600, keeps_dtr=keeps_dtr).close()
    os.close(far)
    os.close(near)
    assert bool(calls) != keeps_dtr


def test_where_dtr_can_be_left_low_it_is_low_before_the_port_is_opened(monkeypatch):
    """As on Windows, where nobody has run this."""
    opened: list[bool] = []
    monkeypatch.setattr(ports, "KEEPS_DTR_LOW", True)
    monkeypatch.setattr(Serial, "open", lambda self: opened.append(self.dtr))
    for keeps_dtr in (True, False):
        with suppress(*ports.FAULTS):
            SerialPort("COM4", 57600, keeps_dtr=keeps_dtr)
    assert opened == [False, True]
