"""Which ports look like headsets, and finding one again."""

import pytest
from serial.tools.list_ports import comports

from serial_bridge.ports import detect
from serial_bridge.ports.sources import open_source
from tests.support.serial_ports import listed_port

DONGLE = listed_port("/dev/ttyUSB0", "USB Serial", 0x1A86, 0x7523, location="1-1.4")


@pytest.mark.parametrize(
    ("port", "rank"),
    [
        (DONGLE, 3),
        (listed_port("COM4", "USB-SERIAL CH340 (COM4)", 0x1A86, 0x7523), 3),
        (listed_port("COM5", "Silicon Labs CP210x", 0x10C4, 0xEA60), 3),
        (listed_port("COM6", "USB-SERIAL CH340 (COM6)"), 2),
        (listed_port("/dev/tty.MindWaveMobile-DevA", "n/a"), 4),
        (listed_port("COM7", "Standard Serial over Bluetooth link (COM7)", hwid="BTHENUM\\{0000}"), 1),
        (listed_port("/dev/rfcomm0", "rfcomm0"), 1),
        (listed_port("/dev/ttyS0", "ttyS0"), 0),
        (listed_port("/dev/ttyACM0", "Some modem", 0x1234, 0x5678), 0),
    ],
)
def test_rank(port, rank):
    """VID:PID counts before text; ports of other devices are not candidates."""
    assert detect.classify(port)[0] == rank
    assert bool(detect.candidates([port])) == bool(rank)
    assert detect.classify(port)[1]


def test_likeliest_first():
    """Candidates come with the likeliest first."""
    bluetooth, named = listed_port("/dev/rfcomm0", "rfcomm0"), listed_port("COM3", "MindWave")
    assert detect.candidates([bluetooth, DONGLE, named]) == [named, DONGLE, bluetooth]


def test_source_is_the_place_on_the_usb():
    """The source id comes from the USB location, else from the name, and is an id."""
    assert detect.source_id(DONGLE) == "usb-1-1-4"
    assert detect.source_id(listed_port("COM4")) == "COM4"
    assert detect.source_id(listed_port("/dev/rfcomm0")) == "rfcomm0"


def test_again():
    """A port is found by its name, by its place, by its serial number, or as the only one with its chip."""
    moved = listed_port("/dev/ttyUSB1", "USB Serial", 0x1A86, 0x7523, location="1-1.4")
    elsewhere = listed_port("/dev/ttyUSB2", "USB Serial", 0x1A86, 0x7523, location="1-2")
    another = listed_port("/dev/ttyUSB3", "USB Serial", 0x1A86, 0x7523, location="1-3")
    assert detect.again(DONGLE, [elsewhere, DONGLE]) is DONGLE
    assert detect.again(DONGLE, [elsewhere, moved]) is moved
    assert detect.again(DONGLE, [elsewhere]) is elsewhere
    assert detect.again(DONGLE, [elsewhere, another]) is None
    assert detect.again(listed_port("/dev/ttyS0"), [listed_port("/dev/ttyS1")]) is None
    numbered = listed_port("COM3", "FTDI", 0x0403, 0x6001, serial_number="A1")
    same = listed_port("COM9", "FTDI", 0x0403, 0x6001, serial_number="A1")
    other = listed_port("COM8", "FTDI", 0x0403, 0x6001, serial_number="A2")
    assert detect.again(numbered, [other, same]) is same


def test_present():
    """The computer's ports can be listed."""
    assert all(port.device for port in comports())


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


@pytest.mark.parametrize(
    "port",
    [
        listed_port("/dev/ttyACM0", "USB CDC", 0x1A86, 0x5722),
        listed_port("/dev/cu.usbmodem2017_2_251", "n/a"),
        listed_port("/dev/tty.MyndBand-SPP", "n/a"),
        listed_port("COM7", "MindLink on Bluetooth"),
    ],
    ids=lambda port: port.device,
)
def test_further_receivers_and_headsets_are_looked_at(port):
    assert detect.classify(port)[0] >= 3
