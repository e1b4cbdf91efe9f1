"""What a link's watch says, second by second."""

import pytest

from neuroone.contract.messages import Link, StreamStatus
from serial_bridge.headsets.events import Event, Raw
from serial_bridge.headsets.thinkgear import Decoder, encode
from serial_bridge.link_monitor import Watch

RAW: list[Event] = [Raw((1, 2, 3, 4))]


@pytest.fixture
def watch() -> Watch:
    watch = Watch("COM4")
    watch.opened(100.0)
    return watch


def heard(watch: Watch, now_s: float, reading: bool = True) -> None:
    watch.arrived(now_s)
    watch.took(RAW, now_s)
    if reading:
        watch.read(now_s)


def said(watch: Watch, now_s: float) -> tuple[StreamStatus, Link]:
    standing = watch.standing(now_s)
    return standing.status, standing.link


def test_before_anything(watch):
    """An open port without bytes yet is searched."""
    assert said(watch, 100.1) == (StreamStatus.OFFLINE, Link.SEARCHING)


def test_ages_of_a_stream(watch):
    """Online with a reading, stale after 3 s, offline after 10 s."""
    heard(watch, 101)
    assert said(watch, 101) == (StreamStatus.ONLINE, Link.CONNECTED)
    assert said(watch, 103.9) == (StreamStatus.ONLINE, Link.CONNECTED)
    assert said(watch, 104) == (StreamStatus.STALE, Link.SILENT)
    assert said(watch, 111) == (StreamStatus.OFFLINE, Link.SILENT)


def test_frames_without_readings(watch):
    """Frames that make no reading leave the link connected and the stream offline."""
    for second in range(101, 115):
        heard(watch, second, reading=False)
    assert said(watch, 115) == (StreamStatus.OFFLINE, Link.CONNECTED)


def test_bytes_without_frames(watch):
    """Bytes without a frame for 5 s are said to make no sense, and the port is opened anew."""
    for tenth in range(1000, 1051):
        watch.arrived(tenth / 10)
    assert said(watch, 105.1) == (StreamStatus.OFFLINE, Link.NO_FRAMES)
    assert watch.must_reopen(105.1)
    assert not watch.must_reopen(104)


def test_silence_is_waited_for_before_reopening(watch):
    """A silent port is given 10 s before it is opened anew."""
    heard(watch, 101)
    assert not watch.must_reopen(105)
    assert watch.must_reopen(111)


def test_trouble_is_said_until_it_is_over(watch):
    """Opening a port anew does not hide what was wrong with it."""
    watch.failed(Link.PORT_BUSY, "close it")
    watch.opened(120)
    assert watch.standing(120.1).link is Link.PORT_BUSY
    heard(watch, 121)
    assert watch.standing(121).link is Link.CONNECTED


def test_lost_port_is_offline_at_once(watch):
    """A port that is gone makes the stream offline whatever it read just now."""
    heard(watch, 101)
    watch.failed(Link.UNPLUGGED, "plug it in")
    assert said(watch, 101) == (StreamStatus.OFFLINE, Link.UNPLUGGED)


def test_held_back_reading_is_no_silence(watch):
    """While the broker is slow nothing is read on purpose: that is no silence."""
    heard(watch, 101)
    watch.held_back(120)
    assert not watch.must_reopen(120)
    assert watch.standing(121).link is Link.CONNECTED


def test_dongle_commands():
    """A dongle is told to connect when it waits, every 5 s, and not before it has shown itself."""
    watch = Watch("COM4", b"\x12\x34")
    watch.opened(0)
    standby = Decoder().feed(encode(b"\xd4\x01\x00"))
    watch.took(standby, 1)
    assert watch.command(1, 115200) == b""
    watch.took(standby, 2)
    assert watch.command(2, 115200) == b"\xc0\x12\x34"
    assert watch.command(3, 115200) == b""
    assert watch.command(7, 115200) == b"\xc0\x12\x34"
    watch.arrived(8)
    watch.took(Decoder().feed(encode(b"\xd1\x02\x12\x34")), 8)
    assert watch.standing(8).link is Link.NO_HEADSET
    watch.took(Decoder().feed(encode(b"\xd0\x02\x12\x34")), 9)
    assert watch.standing(9).link is Link.CONNECTED
    assert watch.headset_id == b"\x12\x34"
    assert watch.command(20, 115200) == b""


def test_raw_is_asked_for_at_9600_only():
    """A module without raw samples is told to send them if that was asked for, at 9600 baud."""
    frame = Decoder().feed(encode(b"\x02\x00\x04\x32"))
    for asks_raw, baud, expected in ((True, 9600, b"\x02"), (True, 57600, b""), (False, 9600, b"")):
        watch = Watch("COM4", asks_raw=asks_raw)
        watch.opened(0)
        for second in range(1, 4):
            watch.arrived(second)
            watch.took(frame, second)
        assert watch.command(3, baud) == expected
        assert watch.command(2, baud) == b""


def test_damaged_line_has_a_hint(watch):
    """While readings are withheld the state says why."""
    heard(watch, 101)
    watch.is_line_damaged = True
    assert "cable" in (watch.standing(101).hint or "")
