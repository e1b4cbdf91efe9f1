"""Which ports look like headsets, and finding one again."""

import pytest

from serial_bridge.ports import detect
from serial_bridge.ports.detect import SerialPortInfo
from serial_bridge.ports.sources import open_source

DONGLE = SerialPortInfo("/dev/ttyUSB0", "USB Serial", 0x1A86, 0x7523, "1-1.4")


@pytest.mark.parametrize(
    ("port", "rank"),
    [
        (DONGLE, 3),
        (SerialPortInfo("COM4", "USB-SERIAL CH340 (COM4)", 0x1A86, 0x7523), 3),
        (SerialPortInfo("COM5", "Silicon Labs CP210x", 0x10C4, 0xEA60), 3),
        (SerialPortInfo("COM6", "USB-SERIAL CH340 (COM6)"), 2),
        (SerialPortInfo("/dev/tty.MindWaveMobile-DevA", "n/a"), 4),
        (SerialPortInfo("COM7", "Standard Serial over Bluetooth link (COM7)", hardware="BTHENUM\\{0000}"), 1),
        (SerialPortInfo("/dev/rfcomm0", "rfcomm0"), 1),
        (SerialPortInfo("/dev/ttyS0", "ttyS0"), 0),
        (SerialPortInfo("/dev/ttyACM0", "Some modem", 0x1234, 0x5678), 0),
    ],
)
def test_rank(port, rank):
    """VID:PID counts before text; ports of other devices are not candidates."""
    assert detect.classify(port)[0] == rank
    assert bool(detect.candidates([port])) == bool(rank)
    assert detect.classify(port)[1]


def test_likeliest_first():
    """Candidates come with the likeliest first."""
    bluetooth, named = SerialPortInfo("/dev/rfcomm0", "rfcomm0"), SerialPortInfo("COM3", "MindWave")
    assert detect.candidates([bluetooth, DONGLE, named]) == [named, DONGLE, bluetooth]


def test_source_is_the_place_on_the_usb():
    """The source id comes from the USB location, else from the name, and is an id."""
    assert DONGLE.source_id == "usb-1-1-4"
    assert SerialPortInfo("COM4").source_id == "COM4"
    assert SerialPortInfo("/dev/rfcomm0").source_id == "rfcomm0"


def test_again():
    """A port is found by its name, by its place, by its serial number, or as the only one with its chip."""
    moved = SerialPortInfo("/dev/ttyUSB1", "USB Serial", 0x1A86, 0x7523, "1-1.4")
    elsewhere = SerialPortInfo("/dev/ttyUSB2", "USB Serial", 0x1A86, 0x7523, "1-2")
    another = SerialPortInfo("/dev/ttyUSB3", "USB Serial", 0x1A86, 0x7523, "1-3")
    assert detect.again(DONGLE, [elsewhere, DONGLE]) is DONGLE
    assert detect.again(DONGLE, [elsewhere, moved]) is moved
    assert detect.again(DONGLE, [elsewhere]) is elsewhere
    assert detect.again(DONGLE, [elsewhere, another]) is None
    assert detect.again(SerialPortInfo("/dev/ttyS0"), [SerialPortInfo("/dev/ttyS1")]) is None
    numbered = SerialPortInfo("COM3", "FTDI", 0x0403, 0x6001, None, "A1")
    same = SerialPortInfo("COM9", "FTDI", 0x0403, 0x6001, None, "A1")
    other = SerialPortInfo("COM8", "FTDI", 0x0403, 0x6001, None, "A2")
    assert detect.again(numbered, [other, same]) is same


def test_present():
    """The computer's ports can be listed."""
    assert all(port.device for port in detect.present())


def test_port_names_a_source(tmp_path):
    """--port names a simulated headset, a capture or a serial port."""
    capture = tmp_path / "José 1.bytes"
    capture.write_bytes(b"")
    assert open_source("sim", None, 1).source_id == "sim"
    assert open_source(str(capture), None, 1).source_id.startswith("Jose-1-")
    assert (open_source("/dev/ttyUSB7", None, 1).source_id, open_source("/dev/ttyUSB7", None, 1).can_reopen) == (
        "ttyUSB7",
        True,
    )
    assert open_source("socket://host:1", None, 1).source_id.startswith("host-1-")
