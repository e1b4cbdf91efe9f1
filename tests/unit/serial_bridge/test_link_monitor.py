"""The link's status, second by second."""

from collections.abc import Callable, Iterator

import pytest

from neuroone.contract.messages import Link, StreamStatus
from serial_bridge.headsets.events import Event, Raw
from serial_bridge.headsets.thinkgear import Decoder, encode
from serial_bridge.link_monitor import LinkMonitor
from serial_bridge.ports.simulated import SimulatedHeadset

RAW: list[Event] = [Raw((1, 2, 3, 4))]


@pytest.fixture
def monitor() -> LinkMonitor:
    monitor = LinkMonitor("COM4")
    monitor.on_open(100.0)
    return monitor


def receive(monitor: LinkMonitor, now_s: float, reading: bool = True) -> None:
    monitor.on_bytes(now_s)
    monitor.on_events(RAW, now_s)
    if reading:
        monitor.on_reading(now_s)


def judged(monitor: LinkMonitor, now_s: float) -> tuple[StreamStatus, Link]:
    status = monitor.status(now_s)
    return status.status, status.link


def test_before_anything(monitor):
    """An open port without bytes yet is still being searched."""
    assert judged(monitor, 100.1) == (StreamStatus.OFFLINE, Link.SEARCHING)


def test_ages_of_a_stream(monitor):
    """Online with a reading, stale after 3 s, offline after 10 s."""
    receive(monitor, 101)
    assert judged(monitor, 101) == (StreamStatus.ONLINE, Link.CONNECTED)
    assert judged(monitor, 103.9) == (StreamStatus.ONLINE, Link.CONNECTED)
    assert judged(monitor, 104) == (StreamStatus.STALE, Link.SILENT)
    assert judged(monitor, 111) == (StreamStatus.OFFLINE, Link.SILENT)


def test_frames_without_readings(monitor):
    """Frames that make no reading leave the link connected and the stream offline."""
    for second in range(101, 115):
        receive(monitor, second, reading=False)
    assert judged(monitor, 115) == (StreamStatus.OFFLINE, Link.CONNECTED)


def test_bytes_without_frames(monitor):
    """Bytes without a frame for 5 s make the link NO_FRAMES, and the port is opened anew."""
    for tenth in range(1000, 1051):
        monitor.on_bytes(tenth / 10)
    assert judged(monitor, 105.1) == (StreamStatus.OFFLINE, Link.NO_FRAMES)
    assert monitor.must_reopen(105.1)
    assert not monitor.must_reopen(104)


def test_a_silent_port_is_opened_anew_after_10_s(monitor):
    receive(monitor, 101)
    assert not monitor.must_reopen(105)
    assert monitor.must_reopen(111)


def test_a_fault_stands_until_frames_arrive(monitor):
    """Opening a port anew does not hide its fault."""
    monitor.on_fault(Link.PORT_BUSY, "close it")
    monitor.on_open(120)
    assert monitor.status(120.1).link is Link.PORT_BUSY
    receive(monitor, 121)
    assert monitor.status(121).link is Link.CONNECTED


def test_lost_port_is_offline_at_once(monitor):
    """A port that is gone makes the stream offline even right after a reading."""
    receive(monitor, 101)
    monitor.on_fault(Link.UNPLUGGED, "plug it in")
    assert judged(monitor, 101) == (StreamStatus.OFFLINE, Link.UNPLUGGED)


def test_a_pause_for_the_broker_is_not_silence(monitor):
    receive(monitor, 101)
    monitor.on_paused(120)
    assert not monitor.must_reopen(120)
    assert monitor.status(121).link is Link.CONNECTED


def test_dongle_commands():
    """A waiting dongle is told to connect every 5 s, and never before two frames prove that it is one."""
    monitor = LinkMonitor("COM4", b"\x12\x34")
    monitor.on_open(0)
    standby = Decoder().feed(encode(b"\xd4\x01\x00"))
    monitor.on_events(standby, 1)
    assert monitor.command(1, 115200) == b""
    monitor.on_events(standby, 2)
    assert monitor.command(2, 115200) == b"\xc0\x12\x34"
    assert monitor.command(3, 115200) == b""
    assert monitor.command(7, 115200) == b"\xc0\x12\x34"
    monitor.on_bytes(8)
    monitor.on_events(Decoder().feed(encode(b"\xd1\x02\x12\x34")), 8)
    assert monitor.status(8).link is Link.NO_HEADSET
    monitor.on_events(Decoder().feed(encode(b"\xd0\x02\x12\x34")), 9)
    assert monitor.status(9).link is Link.CONNECTED
    assert monitor.headset_id == b"\x12\x34"
    assert monitor.command(20, 115200) == b""


def test_raw_is_asked_for_at_9600_only():
    """A module without raw samples is told to send them only with --raw, and only at 9600 baud."""
    frame = Decoder().feed(encode(b"\x02\x00\x04\x32"))
    for asks_raw, baud, expected in ((True, 9600, b"\x02"), (True, 57600, b""), (False, 9600, b"")):
        monitor = LinkMonitor("COM4", asks_raw=asks_raw)
        monitor.on_open(0)
        for second in range(1, 4):
            monitor.on_bytes(second)
            monitor.on_events(frame, second)
        assert monitor.command(3, baud) == expected
        assert monitor.command(2, baud) == b""


def test_damaged_line_has_a_hint(monitor):
    """While readings are withheld the hint gives the reason."""
    receive(monitor, 101)
    monitor.is_line_damaged = True
    assert "cable" in (monitor.status(101).hint or "")


def test_no_speed_is_ruled_out_before_all_are_tried():
    """Only where the last speed brought nothing either the hint says so."""
    monitor = LinkMonitor("COM4")
    for n, is_last in enumerate((False, False, True)):
        monitor.on_open(10.0 * n, is_last_speed=is_last)
        for tenth in range(1, 60):
            monitor.on_bytes(10.0 * n + tenth / 10)
        status = monitor.status(10.0 * n + 5.9)
        assert status.link is Link.NO_FRAMES
        assert ("none of those tried" in (status.hint or "")) == is_last


def second_of(cut: Callable[[bytes], bytes], seed: int = 1) -> Iterator[list[Event]]:
    """The events of each tenth of a second of a headset, of whose bytes some are missing."""
    headset, decoder = SimulatedHeadset(seed), Decoder()
    for tenth in range(1, 400):
        yield decoder.feed(cut(headset.advance(tenth / 10)))


@pytest.mark.parametrize(
    ("cut", "is_shared"),
    [
        (lambda part: part, False),
        (lambda part: part[: len(part) * 43 // 100], True),
        (lambda part: b"".join(part[at : at + 30] for at in range(0, len(part), 50)), True),
        (lambda part: b"" if part[5] % 50 == 0 else part, False),
    ],
    ids=["all", "43 %", "60 % in pieces", "2 % lost"],
)
def test_a_port_that_another_program_reads_too_has_a_hint(monitor, cut, is_shared):
    """Where much of a headset's bytes are missing; some lost ones are no reason."""
    for tenth, events in enumerate(second_of(cut), 1):
        now_s = 100 + tenth / 10
        monitor.on_bytes(now_s)
        monitor.on_events(events, now_s)
        monitor.on_reading(now_s)
        monitor.status(now_s)
    status = monitor.status(now_s)
    assert status.link is Link.CONNECTED
    assert ("another program" in (status.hint or "")) == is_shared


def test_a_headset_that_sends_fewer_samples_shares_no_port(monitor):
    """250 samples a second without a gap are all there are."""
    for tenth in range(1, 400):
        now_s = 100 + tenth / 10
        monitor.on_bytes(now_s)
        monitor.on_events([Raw((1,) * 25)], now_s)
    assert monitor.status(now_s).hint is None
